"""Gaps, closures, births and outliers. Every decision about a period rests on earlier periods only, so that backtests see no future."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mlcore.demand.calendar import Frequency

LAGS = {"daily": (7, 14, 21, 28, 35), "weekly": (1, 2, 3, 4, 5), "monthly": (1, 2, 3, 4, 5)}
"""The periods that say what is usual: the same weekday of five weeks, or the five periods before."""
SPREAD = {"daily": 56, "weekly": 26, "monthly": 18}
OUTLIER = 6.0
"""Robust standard deviations beyond which a value is an outlier; it is taken as half as far away."""
PATIENCE = {"daily": 3, "weekly": 2, "monthly": 1}
"""After as many outliers on the same side, within twice as many periods, it is a new level."""
BIRTH = 5.0
"""Zeros before the first application where this many were to be expected, had the series been alive."""


def usual(values: np.ndarray, kind: Frequency) -> np.ndarray:
    """(…, t): the median of the values at `LAGS`, NaN where there is none of them."""
    stack = np.full((len(LAGS[kind.name]), *values.shape), np.nan)
    for row, lag in zip(stack, LAGS[kind.name], strict=True):
        if lag < values.shape[-1]:
            row[..., lag:] = values[..., :-lag]
    known = ~np.isnan(stack)
    stack.sort(axis=0)  # NaN last
    n = known.sum(axis=0)
    low = np.take_along_axis(stack, np.maximum((n - 1) // 2, 0)[None], axis=0)[0]
    high = np.take_along_axis(stack, np.minimum(n // 2, len(stack) - 1)[None], axis=0)[0]
    return np.where(n > 0, (low + high) / 2, np.nan)


def empty_runs(series: np.ndarray, kind: Frequency, implausible: float, excused: np.ndarray | None = None) -> list[tuple[int, int]]:
    """[start, end) of runs of zeros in a (t,) series that are too long to be chance, given what was usual before them (Poisson).

    excused: (t,) bool, days on which nothing is to be expected anyway.
    """
    excused = np.zeros(len(series), dtype=bool) if excused is None else excused
    zero = np.nan_to_num(series, nan=0.0) == 0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], zero, [False]]).astype(int)))
    found = []
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        before = series[max(0, start - 8 * (7 if kind.name == "daily" else 1)) : start]
        if not len(before) or np.nan_to_num(before).max(initial=0.0) * (end - start) < implausible:
            continue
        if kind.name == "daily":
            by_weekday = np.array([_mean(before[(np.arange(start - len(before), start) % 7) == k]) for k in range(7)])
            expected = by_weekday[np.arange(start, end) % 7][~excused[start:end]].sum()
        else:
            expected = _mean(before) * (end - start)
        if expected >= implausible:
            found.append((start, end))
    return found


def _mean(values: np.ndarray) -> float:
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else 0.0


def forget_unborn(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """NaN where a series' leading zeros mean that it did not exist yet; and (n,) int where each begins.

    A series that applies so rarely that its leading zeros may be chance keeps them.
    """
    alive = np.nan_to_num(values) > 0
    first = np.where(alive.any(axis=1), alive.argmax(axis=1), 0)
    t = values.shape[1]
    active = alive.sum(axis=1) / np.maximum(t - first, 1)  # periods with applications, not applications: one large one proves nothing
    first = np.where(first * active >= BIRTH, first, 0)
    values[np.arange(t)[None, :] < first[:, None]] = np.nan
    return values, first


def fill(values: np.ndarray, kind: Frequency) -> np.ndarray:
    """NaN after a series' first value become what was usual before (the same weekdays, or the periods before). In place, and returned."""
    t = values.shape[1]
    for at in np.flatnonzero(np.isnan(values).any(axis=0)):
        missing = np.isnan(values[:, at])
        lags = [lag for lag in LAGS[kind.name] if lag <= at]
        if not lags or at >= t:
            continue
        before = values[:, [at - lag for lag in lags]]
        known = ~np.isnan(before)
        count = known.sum(axis=1)
        mean = np.where(count > 0, np.where(known, before, 0.0).sum(axis=1) / np.maximum(count, 1), values[:, at - 1])
        values[missing, at] = mean[missing]
    return values


def cap_outliers(values: np.ndarray, kind: Frequency, *, floor: float) -> np.ndarray:
    """(n, t) with outliers pulled in. On square roots, where a count's spread does not depend on its level.

    floor: least standard deviation on that scale, ½ for counts (Poisson). Series that are usually zero are left alone.
    Source of the idea: Gelper, Fried and Croux (2010), robust forecasting by pre-cleaning with past values.
    """
    if values.shape[1] <= 2 * max(LAGS[kind.name][0], 6):
        return values.copy()
    root = np.sqrt(values)
    centre = usual(root, kind)
    residual = root - centre
    window = SPREAD[kind.name]
    spread = pd.DataFrame(np.abs(residual).T).rolling(window, min_periods=window // 2).median().shift(1).to_numpy().T * 1.4826
    spread = np.maximum(spread, np.maximum(floor, 0.05 * centre))
    odd = (np.abs(residual) > OUTLIER * spread) & (centre > 0)
    kept = odd.copy()
    side = np.sign(residual)
    patience = PATIENCE[kind.name]
    for at in range(patience, odd.shape[1]):
        lately = slice(max(at - 2 * patience, 0), at)
        same = odd[:, lately] & (side[:, lately] == side[:, at : at + 1])
        kept[:, at] &= same.sum(axis=1) < patience
    pulled = np.maximum(centre + side * OUTLIER / 2 * spread, 0.0) ** 2
    return np.where(kept, pulled, values)
