"""Numbers as people read them: money, shares, ages, and what a probability means."""

from __future__ import annotations

import math
from datetime import datetime
from decimal import Decimal
from functools import lru_cache

from django.conf import settings

SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£"}
NOT_GIVEN = "not given"


def money(value: Decimal | float | None) -> str:
    """`$12,000`, or `12,000 CHF` where the currency has no sign of its own. Cents only where there are any."""
    if value is None:
        return NOT_GIVEN
    text = f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"
    symbol = SYMBOLS.get(settings.CURRENCY)
    return f"{symbol}{text}" if symbol else f"{text} {settings.CURRENCY}"


def percent(share: float | None, digits: int = 1) -> str:
    """`12.4%`; what is not nothing is never shown as 0."""
    if share is None:
        return "–"
    smallest = 10.0**-digits
    if 0 < share * 100 < smallest / 2:
        return f"<{smallest:.{digits}f}%"
    return f"{share * 100:.{digits}f}%"


def points(change: float | None) -> str:
    """A change of a probability in percentage points: `+3.1`, `−0.4`."""
    if change is None:
        return "–"
    text = f"{abs(change) * 100:.1f}"
    if text == "0.0":
        return "±0.0"
    return f"{'+' if change > 0 else '−'}{text}"


def number(value: float | int | None, digits: int = 3) -> str:
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.{digits}f}"


def figure(value: float | int | None) -> str:
    """A number as short as it can be said: 12, 0.35, 1,200."""
    if value is None:
        return NOT_GIVEN
    if float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:,.2f}".rstrip("0").rstrip(".")


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
        return f"of {of:,} applicants like this fewer than 1 defaults"
    verb = "defaults" if many == 1 else "default"
    return f"of {of:,} applicants like this about {many} {verb}"


def days(then: datetime, now: datetime) -> int:
    return max((now - then).days, 0)


def age(then: datetime, now: datetime) -> str:
    """`3 days`, `5 hours`, `just now`."""
    seconds = max((now - then).total_seconds(), 0)
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            many = int(seconds // size)
            return f"{many:,} {unit}{'' if many == 1 else 's'}"
    return "just now"


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
