"""Applications as the demand forecast sees them, and its vintages as its page shows them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.utils.translation import gettext as _

from loans.models import DemandForecast

if TYPE_CHECKING:
    from mlcore.demand import ForecastSet, SeriesSet

PAST_VINTAGES = 24
SHOWN_PERIODS = 60


_DAYS = """
    SELECT (application.submitted_at AT TIME ZONE 'UTC')::date, product.code, nullif(application.region, ''), count(*),
           sum(application.amount)::float8, sum(application.amount::float8 ^ 2)
    FROM loans_loanapplication application LEFT JOIN loans_loanproduct product ON product.id = application.product_id GROUP BY 1, 2, 3
"""


def history() -> SeriesSet:
    """Every day's applications and amounts by product and region; nothing of their outcome, and nobody's name.

    Summed by the database: a million applications are some ten thousand rows here.
    """
    import pandas as pd

    from mlcore.demand import SeriesSet

    with connection.cursor() as cursor:
        cursor.execute(_DAYS)
        frame = pd.DataFrame(cursor.fetchall(), columns=["day", "product", "region", "count", "amount", "squares"])
    return SeriesSet.from_days(frame)


@dataclass(frozen=True)
class Came:
    """How past vintages did on the chosen series' level: "1 − WAPE" beside seasonal naive's, None where nothing can be compared yet."""

    level: str
    origins: int
    ours: float | None
    naive: float | None
    coverage80: float | None


@dataclass(frozen=True)
class DemandPage:
    """past: (period, value) that came, the latest last. rows: the forecast's. record: the series' own backtest. came: by level."""

    vintage: DemandForecast
    series: list[tuple[str, str]]
    chosen: str
    title: str
    past: list[tuple[str, float]]
    rows: list[dict[str, Any]]
    method: str
    reason: str
    notes: list[str]
    record: dict[str, Any] | None
    came: list[Came]


def key_text(product: str | None, region: str | None) -> str:
    return f"{product or ''}|{region or ''}"


def series_title(product: str | None, region: str | None) -> str:
    return " in ".join(part for part in (product, region) if part) or _("All applications")


def demand_page(vintage: DemandForecast, chosen: str) -> DemandPage:
    """Raises KeyError where the vintage has no such series."""
    from mlcore.demand import ForecastSet, actuals

    loaded = ForecastSet.from_json(vintage.data)
    by_key = {key_text(each.product, each.region): each for each in loaded.series}
    each = by_key[chosen]
    series = history()
    measure = loaded.measure
    known = actuals(
        series, frequency=vintage.frequency, as_of=datetime.now(tz=vintage.as_of.tzinfo), measure=measure, country=loaded.country
    )
    past = sorted(known.get(each.key, {}).items())
    record = each.backtest
    return DemandPage(
        vintage=vintage,
        series=[(key, series_title(one.product, one.region)) for key, one in by_key.items()],
        chosen=chosen,
        title=series_title(each.product, each.region),
        past=past[-SHOWN_PERIODS:],
        rows=[
            {"period": row.period, "point": row.point, "lo80": row.lo80, "hi80": row.hi80, "lo95": row.lo95, "hi95": row.hi95}
            | {"baseline": row.baseline, "came": known.get(each.key, {}).get(row.period)}
            for row in each.rows
        ],
        method=each.method,
        reason=each.reason or loaded.reason,
        notes=[*dict.fromkeys((*loaded.notes, *each.notes))],
        record=None
        if record is None
        else {
            "origins": record.origins,
            "horizon": record.horizon,
            "ours": record.one_minus_wape,
            "naive": record.naive_one_minus_wape,
            "mase": record.mase,
            "naive_mase": record.naive_mase,
        },
        came=_came(vintage, series, loaded),
    )


def _came(vintage: DemandForecast, series: SeriesSet, loaded: ForecastSet) -> list[Came]:
    from mlcore.demand import ForecastSet, accuracy

    earlier = DemandForecast.objects.filter(frequency=vintage.frequency, measure=vintage.measure).order_by("-as_of")[:PAST_VINTAGES]
    found = accuracy([ForecastSet.from_json(row.data) for row in earlier], series, datetime.now(tz=vintage.as_of.tzinfo))
    return [
        Came(each.level, each.origins, each.one_minus_wape, each.naive_one_minus_wape, each.coverage80)
        for each in found
        if each.level in ("total", "product", "region", "cell")
    ]
