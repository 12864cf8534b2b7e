"""What the groups are like on applications that came later: how many, how many defaulted, what they earned; and a map to look at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mlcore import splits
from mlcore.metrics import ProfitTerms, filled_amount, wilson

MAP_POINTS = 400
MOST_PERIODS = 24


def later(labels: np.ndarray, k: int, default: np.ndarray, amount: np.ndarray | None, terms: ProfitTerms) -> dict[str, Any]:
    """labels: (n,) of later applications. default: (n,) float, NaN where not known (yet). Shares are of all n, the rest of the known.

    value: what a loan earned (margin of a repaid one, loss of a defaulted one) as a share of the amount; per application beside it.
    """
    everyone = np.ones(len(labels), dtype=bool)
    groups = [_side(labels == group, default, amount, terms) for group in range(k)]
    return {"all": _side(everyone, default, amount, terms), "groups": groups, "apart": _apart(groups)}


def _side(mine: np.ndarray, default: np.ndarray, amount: np.ndarray | None, terms: ProfitTerms) -> dict[str, Any]:
    known = mine & np.isfinite(default)
    loans, defaults = int(known.sum()), int(default[known].sum())
    low, high = wilson(defaults, loans)
    made: dict[str, Any] = {
        "rows": int(mine.sum()),
        "share": float(mine.mean()) if len(mine) else None,
        "loans": loans,
        "defaults": defaults,
        "default_rate": {"value": defaults / loans if loans else None, "low": low, "high": high},
        "value_share": None,
        "value_each": None,
    }
    if loans and amount is not None:
        lent = filled_amount(amount, len(amount))[known]
        earned = lent * np.where(default[known] == 1, -terms.loss_given_default, terms.margin)
        made["value_share"] = float(earned.sum() / lent.sum()) if lent.sum() > 0 else None
        made["value_each"] = float(earned.mean())
        made["amount_each"] = float(lent.mean())
    return made


def _apart(groups: list[dict[str, Any]]) -> dict[str, float] | None:
    """Pearson's test of the same default rate in all groups: {chi2, p}; None where a group has no known loans."""
    table = np.array([[side["defaults"], side["loans"] - side["defaults"]] for side in groups], dtype=float)
    if len(table) < 2 or (table.sum(axis=1) == 0).any() or (table.sum(axis=0) == 0).any():
        return None
    from scipy.stats import chi2_contingency

    found = chi2_contingency(table, correction=False)
    return {"chi2": float(found.statistic), "p": float(found.pvalue)}


def over_time(labels: np.ndarray, k: int, submitted_at: pd.Series | None) -> list[dict[str, Any]]:
    """[{period, rows, shares: [k]}] by month, or by quarter where there are more than `MOST_PERIODS` months; the latest ones."""
    if submitted_at is None:
        return []
    moments = splits.as_utc(submitted_at)
    known = ~np.isnat(moments)
    if not known.any():
        return []
    months = splits.period_starts(moments[known], "month")
    starts = months if len(np.unique(months)) <= MOST_PERIODS else splits.period_starts(moments[known], "quarter")
    made = []
    for start in np.unique(starts)[-MOST_PERIODS:]:
        counts = np.bincount(labels[known][starts == start], minlength=k)
        made.append({"period": str(start), "rows": int(counts.sum()), "shares": (counts / counts.sum()).tolist()})
    return made


def map_of(matrix: np.ndarray, labels: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """A picture only: {points: [[x, y, group]], explained: share of all variation that the two axes show}.

    Principal components of (n, d) rows, cut at their outermost hundredth and scaled to −1…1; a few hundred points without who they are.
    """
    centred = matrix - matrix.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    if centred.shape[1] < 2 or values[-1] <= 1e-9:
        return {"points": [], "explained": None}
    axes = vectors[:, [-1, -2]]
    axes = axes * np.where(np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None, :], axis=0) < 0, -1.0, 1.0)  # one sign, always
    rows = np.sort(np.random.default_rng([seed, 41]).permutation(len(matrix))[:MAP_POINTS])
    flat = centred[rows] @ axes
    low, high = np.quantile(flat, (0.01, 0.99), axis=0)
    flat = 2 * (np.clip(flat, low, high) - low) / np.maximum(high - low, 1e-12) - 1
    points = [[round(float(x), 3), round(float(y), 3), int(group)] for (x, y), group in zip(flat, labels[rows], strict=True)]
    return {"points": points, "explained": float(values[-2:].sum() / values.sum())}
