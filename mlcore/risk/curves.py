"""What a ranking is worth tenth by tenth, and how defaults come in with a loan's age."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlcore.metrics import wilson
from mlcore.splits import period_starts

MONTH = np.timedelta64(2_629_746, "s")
"""A twelfth of a year of 365.2425 days."""
MOST_VINTAGES = 24
MOST_MONTHS = 60
MOST_UNDATED = 0.05
"""Of the defaults; with more of them undated the curves would say more of the file than of the loans."""


def lift(default: np.ndarray, probability: np.ndarray, groups: int = 10) -> list[dict[str, Any]]:
    """Equally large groups, the riskiest first.

    Each with its default rate, and that over the rate of all (`lift`), both with Wilson's interval; and cumulated from the riskiest on:
    which share of the loans (`looked_at`) holds which share of the defaults (`caught`, with Wilson's interval). Empty without defaults.
    """
    default, probability = np.asarray(default, dtype=float), np.asarray(probability, dtype=float)
    bad, n = default.sum(), len(default)
    if not bad or bad == n:
        return []
    rate, rows, seen, caught = bad / n, [], 0, 0.0
    for group in np.array_split(np.argsort(-probability, kind="stable"), min(groups, n)):
        events = float(default[group].sum())
        seen, caught = seen + len(group), caught + events
        low, high = wilson(events, len(group))
        caught_low, caught_high = wilson(caught, bad)
        rows.append(
            {
                "rows": len(group),
                "defaults": int(events),
                "predicted": float(probability[group].mean()),
                "rate": {"value": events / len(group), "low": low, "high": high},
                "lift": {"value": events / len(group) / rate, "low": low / rate, "high": high / rate},
                "looked_at": seen / n,
                "caught": {"value": caught / bad, "low": caught_low, "high": caught_high},
            }
        )
    return rows


def vintages(
    default: np.ndarray,
    probability: np.ndarray,
    began: np.ndarray,
    defaulted: np.ndarray,
    *,
    window_months: int | None = None,
    as_of: np.datetime64 | None = None,
) -> dict[str, Any]:
    """Cumulative default by months on book, one curve a month of origination (a quarter, where there are more than 24 of those).

    began, defaulted: (n,) datetime64, NaT where unknown. window_months: how long each loan was watched; None for final outcomes, whose
    curves end where the vintage's youngest loan is at `as_of` (by default the latest date of all). A loan counts from the month on book on
    in which it defaulted; a default without a date counts at the curve's end. `predicted` is the vintage's mean probability. Where too many
    defaults have no date there are no rows, and `why` says so.
    """
    default, dated = np.asarray(default) == 1, ~np.isnat(began)
    undated = int((default & np.isnat(defaulted)).sum())
    if not dated.any() or undated > MOST_UNDATED * default.sum():
        many = f"{undated:,} of {int(default.sum()):,} defaults have no date." if dated.any() else "The loans have no dates."
        return {"rows": [], "why": many}
    by = "month" if len(np.unique(period_starts(began[dated], "month"))) <= MOST_VINTAGES else "quarter"
    starts = period_starts(began, by)
    if as_of is None:
        as_of = np.concatenate([began[dated], defaulted[~np.isnat(defaulted)]]).max()
    age = np.maximum(np.ceil((defaulted - began) / MONTH), 1)
    rows = []
    for start in np.unique(starts[dated])[-MOST_VINTAGES:]:
        group = np.flatnonzero(starts == start)
        months = window_months or min(int((as_of.astype(began.dtype) - began[group].max()) / MONTH), MOST_MONTHS)
        if months < 1:
            continue
        ages = age[group[default[group]]]
        # Months are not all of one length: within a window, what came on its last days is still in its last month.
        ages = np.where(np.isnan(ages), months, np.minimum(ages, months if window_months else months + 1))
        counts = np.cumsum(np.bincount(ages.astype(int), minlength=months + 2)[1 : months + 1])
        low, high = wilson(float(counts[-1]), len(group))
        rows.append(
            {
                "start": str(start.astype("datetime64[D]")),
                "rows": len(group),
                "defaults": int(counts[-1]),
                "predicted": float(np.asarray(probability)[group].mean()),
                "rate": {"value": counts[-1] / len(group), "low": low, "high": high},
                "cumulative": counts / len(group),
            }
        )
    return {"by": by, "window_months": window_months, "undated": undated, "rows": rows}
