"""Numbers and days as people read them in this place: money, shares, ages, and what a probability means."""

from __future__ import annotations

import math
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache

from django.conf import settings
from django.utils import numberformat
from django.utils.formats import date_format, get_format
from django.utils.translation import gettext as _

SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}
DECIMALS = {"JPY": 0, "KRW": 0, "CLP": 0, "ISK": 0, "VND": 0, "BHD": 3, "JOD": 3, "KWD": 3, "OMR": 3, "TND": 3}
NOT_GIVEN = "not given"


def fixed(value: Decimal | float, digits: int) -> str:
    """A number with so many decimals: `1,234.50`, or `1.234,50` where the place writes it so. Every number on a page comes by here."""
    return numberformat.format(
        f"{value:.{digits}f}",
        decimal_sep=get_format("DECIMAL_SEPARATOR"),
        grouping=get_format("NUMBER_GROUPING"),
        thousand_sep=get_format("THOUSAND_SEPARATOR"),
        force_grouping=True,
    )


def whole(value: Decimal | float) -> str:
    return fixed(value, 0)


def signed(value: float, digits: int) -> str:
    """`+0.312`, `−0.4`; what rounds to nothing has its sign all the same."""
    return f"{'−' if value < 0 else '+'}{fixed(abs(value), digits)}"


def day_of(moment: date) -> str:
    """`2026-03-01`, or as DATE_FORMAT and the language have it."""
    return date_format(moment, "SHORT_DATE_FORMAT")


def moment_of(moment: datetime) -> str:
    return date_format(moment, "SHORT_DATETIME_FORMAT")


def read_number(text: str) -> Decimal:
    """What somebody typed, with the separators of his place or with plain ones. Raises ValueError where it is no number."""
    text = "".join(text.split())
    point, group = get_format("DECIMAL_SEPARATOR"), get_format("THOUSAND_SEPARATOR")
    groups = text.split(group)
    # "9.5" where the point groups thousands: three digits behind it are thousands, anything else is a decimal point after all.
    if not (group == "." and point not in text and len(groups) == 2 and len(groups[1]) != 3):
        text = text.replace(group, "").replace(point, ".")
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError(text) from None
    if not value.is_finite():
        raise ValueError(text)
    return value


def symbol() -> str:
    """Empty where the currency has no sign but its code."""
    return settings.CURRENCY_SYMBOL or SYMBOLS.get(settings.CURRENCY, "")


def with_currency(text: str) -> str:
    """`$12k`, `12k €`, `12k CHF`: the sign where the place has it."""
    sign = symbol()
    after = not sign if settings.CURRENCY_AFTER is None else settings.CURRENCY_AFTER
    return f"{text} {sign or settings.CURRENCY}" if after else f"{sign or settings.CURRENCY + ' '}{text}"


def money(value: Decimal | float | None) -> str:
    """`$12,000`, or `12,000 CHF` where the currency has no sign of its own. Cents only where there are any."""
    if value is None:
        return NOT_GIVEN
    digits = DECIMALS.get(settings.CURRENCY, 2) if settings.CURRENCY_DECIMALS is None else settings.CURRENCY_DECIMALS
    return with_currency(fixed(value, 0 if value == int(value) else digits))


def percent(share: float | None, digits: int = 1) -> str:
    """`12.4%`; what is not nothing is never shown as 0."""
    if share is None:
        return "–"
    smallest = 10.0**-digits
    if 0 < share * 100 < smallest / 2:
        return f"<{fixed(smallest, digits)}%"
    return f"{fixed(share * 100, digits)}%"


def points(change: float | None) -> str:
    """A change of a probability in percentage points: `+3.1`, `−0.4`."""
    if change is None:
        return "–"
    if round(abs(change) * 100, 1) == 0:
        return f"±{fixed(0, 1)}"
    return signed(change * 100, 1)


def number(value: float | int | None, digits: int = 3) -> str:
    if value is None:
        return "–"
    return whole(value) if isinstance(value, int) else fixed(value, digits)


def figure(value: float | int | None) -> str:
    """A number as short as it can be said: 12, 0.35, 1,200."""
    if value is None:
        return NOT_GIVEN
    digits = next(digits for digits in (0, 1, 2) if digits == 2 or round(float(value), 2) == round(float(value), digits))
    return fixed(value, digits)


def out_of(probability: float) -> tuple[int, int]:
    """(about how many, of how many): of 100 where that says something, of 1,000 or 10,000 where the risk is small."""
    for of in (100, 1000, 10_000):
        if probability * of >= 0.95:
            return min(round(probability * of), of), of
    return 0, 10_000


def frequency(probability: float) -> str:
    """What the probability means: `of 100 applicants like this about 12 default`."""
    many, of = out_of(probability)
    if many == 0:
        return _("of %(of)s applicants like this fewer than 1 defaults") % {"of": whole(of)}
    verb = "defaults" if many == 1 else "default"
    return _("of %(of)s applicants like this about %(many)s %(verb)s") % {"of": whole(of), "many": many, "verb": verb}


def days(then: datetime, now: datetime) -> int:
    return max((now - then).days, 0)


def age(then: datetime, now: datetime) -> str:
    """`3 days`, `5 hours`, `just now`."""
    return span((now - then).total_seconds()) or "just now"


def span(seconds: float) -> str:
    """`3 days`, `5 hours`; empty below a minute."""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            many = int(seconds // size)
            return f"{whole(many)} {unit}{'' if many == 1 else 's'}"
    return ""


def months(value: float | None) -> str:
    """`36 months`, with years where they are easier to see: `140 months (11 years 8 months)`."""
    if value is None:
        return NOT_GIVEN
    whole = int(value)
    if whole < 24:
        return f"{whole} month{'' if whole == 1 else 's'}"
    years, rest = divmod(whole, 12)
    tail = f" {rest} month{'' if rest == 1 else 's'}" if rest else ""
    return f"{whole} months ({years} years{tail})"


@lru_cache(maxsize=2048)
def code(value: str) -> str:
    """A code as words: `debt_consolidation` → `Debt consolidation`. What is not a code stays as it is."""
    return value.replace("_", " ").capitalize() if value.islower() else value


def expit(log_odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(-700.0, min(700.0, log_odds))))


def logit(probability: float) -> float:
    inside = min(max(probability, 1e-12), 1 - 1e-12)
    return math.log(inside) - math.log1p(-inside)
