"""Early signals: how many of a vintage have gone bad by each month on book, beside earlier vintages at the same age.

A loan's window closes after a year or so; how fast its vintage goes bad shows after a few months already.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from mlcore.metrics import wilson
from mlcore.splits import as_utc

DAYS_A_MONTH = 365.25 / 12
LEAST_LOANS = 30


@dataclass(frozen=True)
class MonthOnBook:
    """Of the loans that were watched for so many months: share that had gone bad by then, its interval, and the reference's share."""

    month: int
    loans: int
    bad: int
    share: float
    low: float
    high: float
    reference: float | None
    reference_loans: int
    p: float | None


def by_month_on_book(
    started: np.ndarray,
    went_bad: np.ndarray,
    watched_until: np.ndarray,
    vintage: np.ndarray,
    *,
    months: int = 12,
) -> list[MonthOnBook]:
    """Of the loans of one vintage against all others.

    started, went_bad (NaT: not), watched_until: (n,) datetime64. vintage: (n,) bool, the loans that are looked at; the others are what they
    are held against. A loan counts at a month only if it was watched for that long, good or bad: else early defaults alone would be
    counted.
    """
    started, went_bad, until = (as_utc(each) if not isinstance(each, np.ndarray) else each for each in (started, went_bad, watched_until))
    day = np.timedelta64(1, "D")
    age = (until - started) / day / DAYS_A_MONTH
    at = (went_bad - started) / day / DAYS_A_MONTH
    made = []
    for month in range(1, months + 1):
        watched = age >= month
        with np.errstate(invalid="ignore"):
            bad = watched & (at <= month)
        mine, others = watched & vintage, watched & ~vintage
        n, m = int(mine.sum()), int(others.sum())
        if n < LEAST_LOANS:
            break
        k, known = int((bad & mine).sum()), int((bad & others).sum())
        low, high = wilson(k, n)
        p = None
        if m >= LEAST_LOANS:
            pooled = (k + known) / (n + m)
            se = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
            p = float(2 * stats.norm.sf(abs(k / n - known / m) / se)) if se > 0 else 1.0
        made.append(MonthOnBook(month, n, k, k / n, float(low or 0), float(high or 0), known / m if m >= LEAST_LOANS else None, m, p))
    return made
