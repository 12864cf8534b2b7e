"""How far off to expect a forecast to be: conformal intervals from the errors of the same procedure at earlier origins."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import isotonic_regression

LEVELS = (0.80, 0.95)
NORMAL_RATIO = 1.53
"""95 % quantile of |error| over the 80 % one, were errors normal: the least that a 95 % interval is wider where few errors are known."""
POOL = 4.0
"""A series' own spread weighs as its origins, that of its level as this many."""

FADE = 0.85
"""Weight of an origin's errors per origin since: what is made next resembles the last ones most (Barber, Candès et al. 2023)."""
TINY = 1e-9
CLOSED = 0.05
"""Periods forecast below this share of the mean (a Sunday) are trivially right: they say nothing of the others' errors."""
ENOUGH = 19
"""Origins that a 95 % quantile takes: fewer have no twentieth."""

Transform = tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]


def _transforms(mean: np.ndarray) -> list[Transform]:
    """(g, its inverse, its slope) with errors that grow with the level, with its root, or not at all. mean: (n, 1)."""
    shift = 0.02 * mean + 1e-9
    return [
        (lambda y: np.log(y + shift), lambda u: np.exp(np.minimum(u, 600.0)) - shift, lambda y: 1 / (y + shift)),
        (lambda y: np.sqrt(y + shift), lambda u: np.maximum(u, 0.0) ** 2 - shift, lambda y: 0.5 / np.sqrt(y + shift)),
        (lambda y: y, lambda u: u, lambda y: np.ones_like(y)),
    ]


def intervals(
    points: np.ndarray, actual: np.ndarray, forecast: np.ndarray, groups: np.ndarray, least: np.ndarray, origins: np.ndarray
) -> np.ndarray:
    """(4, n, h): lo80, hi80, lo95, hi95 around (n, h) `forecast`, never below zero.

    points, actual: (k, n, h) reconciled backtest forecasts and what came (NaN: not known). groups: (n,) int of series whose errors have one
    shape. least: (n, h) standard deviation that chance alone gives; it holds as long as fewer than 19 origins are known.

    Split conformal prediction (Vovk; Lei et al. 2018) on |g(y) − g(ŷ)|, where g is the logarithm, root or identity under which a series'
    errors are most alike. Scores are divided by a curve of the horizon and by the series' spread at the *other* origins, so that what is
    not known of the spread widens the interval; then pooled, and the (n + 1)·level-th smallest taken.
    """
    k, n, h = points.shape
    mean = np.maximum(_mean(np.where(np.isnan(actual), np.nan, points), (0, 2)), TINY)[:, None]
    known = ~np.isnan(actual) & (points >= CLOSED * mean)
    best, score, kind = np.full(n, -np.inf), np.zeros((k, n, h)), np.zeros(n, int)
    forms = _transforms(mean)
    for number, (g, _, slope) in enumerate(forms):
        error = np.where(known, np.abs(g(np.nan_to_num(actual)) - g(points)), np.nan)
        fit = _mean(np.where(known, np.log(slope(points)), np.nan), (0, 2)) - np.log(np.maximum(_mean(error, (0, 2)), 1e-12))
        better = fit > best + 1e-9
        best, kind = np.where(better, fit, best), np.where(better, number, kind)
        score[:, better] = error[:, better]
    curve = np.ones((n, h))
    width = np.zeros((2, n))
    for group in np.unique(np.stack([groups, kind], axis=1), axis=0):
        nodes = np.flatnonzero((groups == group[0]) & (kind == group[1]))
        shape = _horizon_curve(score[:, nodes])
        curve[nodes] = shape
        width[:, nodes] = _widths(score[:, nodes] / shape, origins)
    result = np.empty((4, n, h))
    few = (known.any(axis=2).sum(axis=0) < ENOUGH)[:, None]
    for number, (g, inverse, _) in enumerate(forms):
        nodes = kind == number
        for row, reach in enumerate(width):
            q = reach[:, None] * curve
            low, high = inverse(g(forecast) - q), inverse(g(forecast) + q)
            floor = np.where(few, (1.28, 1.96)[row] * least, 0.0)
            low, high = np.minimum(low, forecast - floor), np.maximum(high, forecast + floor)
            result[2 * row, nodes], result[2 * row + 1, nodes] = low[nodes], high[nodes]
    return np.maximum(result, 0.0)


def _mean(values: np.ndarray, axes: tuple[int, ...] | int) -> np.ndarray:
    known = ~np.isnan(values)
    return np.where(known, values, 0.0).sum(axis=axes) / np.maximum(known.sum(axis=axes), 1)


def _horizon_curve(score: np.ndarray) -> np.ndarray:
    """(h,) mean error by horizon relative to its mean: isotonic, for a forecast does not become surer the further it looks."""
    own = np.maximum(_mean(score, (0, 2)), TINY)
    count = (~np.isnan(score)).sum(axis=(0, 1)).astype(float)
    level = _mean(score / own[None, :, None], (0, 1))
    if count.sum() == 0 or not level.any():
        return np.ones(score.shape[2])
    curve = isotonic_regression(level, weights=np.maximum(count, TINY)).x
    curve = np.convolve(np.pad(curve, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    return np.maximum(curve / ((count * curve).sum() / count.sum()), 1e-3)


def _widths(score: np.ndarray, origins: np.ndarray) -> np.ndarray:
    """(2, n) half-widths at 80 and 95 % for (k, n, h) scores of one group, at curve 1."""
    k, n, h = score.shape
    known = ~np.isnan(score)
    filled = np.where(known, score, 0.0)
    steps = np.arange(1, h + 1)
    until = np.append(origins, origins[-1] + h)
    spreads = np.full((k + 1, n), np.nan)
    for now in range(1, k + 1):
        # The errors that had shown by then, the later the heavier; at the end (now = k) all of them
        fade = np.where(origins[:now, None] + steps <= until[now], FADE ** np.arange(now)[::-1, None], 0.0)
        sums = np.einsum("kh,knh->n", fade, filled[:now])
        count = np.einsum("kh,knh->n", fade, known[:now].astype(float))
        if not count.sum() > 0:
            continue
        pooled = sums.sum() / count.sum()
        seen = ((fade[:, None, :] * known[:now]).sum(axis=2) > 0).sum(axis=0)
        weight = seen / (seen + POOL) if n > 1 else np.ones(n)
        spreads[now] = weight * sums / np.maximum(count, TINY) + (1 - weight) * pooled
    if not np.nan_to_num(spreads[k]).max() > 0:
        return np.zeros((2, n))
    ratio = score / np.maximum(spreads[:k, :, None], 0.05 * np.nanmean(spreads[k]))
    values = np.sort(ratio[~np.isnan(ratio)])
    if not len(values):
        return np.zeros((2, n))
    effective = _effective(ratio)
    found = [np.quantile(values, min(level * (1 + 1 / effective), 1.0)) for level in LEVELS]
    if (~np.isnan(ratio)).any(axis=(1, 2)).sum() < ENOUGH:
        found[1] = max(found[1], NORMAL_RATIO * found[0])
    return np.array(found)[:, None] * spreads[k]


def _effective(ratio: np.ndarray) -> float:
    """As many independent scores as the (k, n, h) dependent ones are worth: those of one origin share its luck (Kish's design effect)."""
    known = ~np.isnan(ratio)
    count = known.sum(axis=(1, 2))
    means = _mean(ratio, (1, 2))[count > 0]
    clusters = len(means)
    if clusters < 2:
        return 1.0
    between = means.var(ddof=1)
    return float(np.clip(clusters * ratio[known].var() / max(between, TINY), clusters / 2, known.sum()))
