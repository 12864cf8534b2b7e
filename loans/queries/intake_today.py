"""What came in today beside what the forecast of the night expects of the whole day, in all branches together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db.models import Count, F, Func, JSONField, QuerySet, Value
from django.utils.translation import gettext as _

from loans.models import DemandForecast, LoanApplication, LoanProduct
from loans.queries.words import day_of

MOST_PRODUCTS = 8
MOST_NAMES = 500


@dataclass(frozen=True)
class Line:
    """came: so far. expected, low, high: of the whole day with its 80 % interval; None where it is not forecast (`reason` says why)."""

    title: str
    came: int
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Intake:
    """lines: all applications first, then products. reason: why nothing is expected of today; then no line has an expectation."""

    lines: list[Line]
    reason: str
    day: date
    forecast: DemandForecast | None
    synthetic: bool


def came_today(now: datetime) -> QuerySet:
    """Applications of the day by product: code, count. A range of the index on the time; days are UTC's, as in the forecast."""
    start = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    rows = LoanApplication.objects.filter(submitted_at__gte=start, submitted_at__lt=start + timedelta(days=1)).order_by()
    return rows.values(code=F("product__code")).annotate(came=Count("pk"))


def products() -> QuerySet:
    return LoanProduct.objects.order_by("code").values("code", "name")[:MOST_NAMES]


def intake_today(came: list[dict[str, Any]], named: list[dict[str, Any]], *, now: datetime) -> Intake:
    """came, named: rows of `came_today` and `products`. One query: total and products are taken out of the last vintage's 100 KB there."""
    parts = Func(F("data"), Value("$.series[*] ? (@.region == null)"), function="jsonb_path_query_array", output_field=JSONField())
    vintages = DemandForecast.objects.filter(frequency="daily", measure="count").order_by("-as_of", "-pk").defer("data")
    forecast = vintages.annotate(parts=parts).first()
    today = now.astimezone(UTC).date()
    series = {each.get("product"): each for each in forecast.parts} if forecast is not None else {}
    expected = {product: _row(each, today) for product, each in series.items()}
    total = sum(row["came"] for row in came)
    lines = [_line(_("All applications"), total, series.get(None), expected.get(None))]
    names = {row["code"]: row["name"] for row in named}
    counts = {row["code"]: row["came"] for row in came}
    # Those with most applications expected or there, so that a product that is late shows as well as one that is early.
    shown = sorted(
        {code for code in (*counts, *expected) if code is not None},
        key=lambda code: (-max(counts.get(code, 0), (expected.get(code) or {}).get("point", 0.0)), code),
    )
    for code in shown[:MOST_PRODUCTS]:
        lines.append(_line(names.get(code) or code, counts.get(code, 0), series.get(code), expected.get(code)))
    if counts.get(None):
        lines.append(Line(_("Without a product"), counts[None]))
    return Intake(
        lines=lines,
        reason=_why_not(forecast, series.get(None), expected.get(None), today),
        day=today,
        forecast=forecast,
        synthetic=bool(forecast and forecast.synthetic),
    )


def _row(series: dict[str, Any], today: date) -> dict[str, float] | None:
    return next((row for row in series.get("rows") or [] if row.get("period") == today.isoformat()), None)


def _line(title: str, came: int, series: dict[str, Any] | None, row: dict[str, float] | None) -> Line:
    if row is None:
        return Line(title, came, reason=(series or {}).get("reason") or "")
    return Line(title, came, row["point"], row["lo80"], row["hi80"])


def _why_not(forecast: DemandForecast | None, series: dict[str, Any] | None, row: dict[str, float] | None, today: date) -> str:
    if row is not None:
        return ""
    if forecast is None:
        return _("No forecast is made yet; the first comes with the night.")
    if series is None or not series.get("rows"):
        return (series or {}).get("reason") or _("The last forecast says nothing of single days.")
    return _("The last forecast, of %(day)s, does not reach today: is the scheduler running?") % {"day": day_of(forecast.as_of)}
