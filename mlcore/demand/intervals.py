"""How far off to expect a forecast to be: conformal intervals from the errors of the same procedure at earlier origins."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

LEVELS = (0.80, 0.95)
NORMAL_RATIO = 1.53
"""95 % quantile of |error| over the 80 % one, were errors normal: the least that a 95 % interval is wider where few errors are known."""
POOL = 4.0
"""A series' own spread weighs as its origins, that of its level as this many."""

Transform = tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]


def _transforms(mean: np.ndarray) -> list[Transform]:
    """(g, its inverse, its slope) with errors that grow with the level, with its root, or not at all. mean: (n, 1)."""
    shift = 0.02 * mean + 1e-9
    return [
        (lambda y: np.log(y + shift), lambda u: np.exp(np.minimum(u, 600.0)) - shift, lambda y: 1 / (y + shift)),
        (lambda y: np.sqrt(y + shift), lambda u: np.maximum(u, 0.0) ** 2 - shift, lambda y: 0.5 / np.sqrt(y + shift)),
        (lambda y: y, lambda u: u, lambda y: np.ones_like(y)),
    ]


def intervals(points: np.ndarray, actual: np.ndarray, forecast: np.ndarray, groups: np.ndarray, least: np.ndarray) -> np.ndarray:
    """(4, n, h): lo80, hi80, lo95, hi95 around (n, h) `forecast`, never below zero.

    points, actual: (k, n, h) reconciled backtest forecasts and what came (NaN: not known). groups: (n,) int of series whose errors have one
    shape. least: (n, h) standard deviation that chance alone gives; it holds as long as fewer than 19 origins are known.

    Split conformal prediction (Vovk; Lei et al. 2018) on |g(y) − g(ŷ)|, where g is the logarithm, root or identity under which a series'
    errors are most alike. Scores are divided by a curve of the horizon and by the series' spread at the *other* origins, so that what is not
    known of the spread widens the interval; then pooled, and the (n + 1)·level-th smallest taken.
    """
    k, n, h = points.shape
    mean = np.maximum(_mean(np.where(np.isnan(actual), np.nan, points), (0, 2)), 1e-9)[:, None]
    known = ~np.isnan(actual)
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
        width[:, nodes] = _widths(score[:, nodes] / shape)
    result = np.empty((4, n, h))
    few = (known.any(axis=2).sum(axis=0) < 19)[:, None]
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
    """(h,) mean error by horizon relative to its mean, as a + b·√h with a, b ≥ 0: it never shrinks with the horizon."""
    h = score.shape[2]
    own = np.maximum(_mean(score, (0, 2)), 1e-12)
    known = ~np.isnan(score)
    count = known.sum(axis=(0, 1)).astype(float)
    level = _mean(score / own[None, :, None], (0, 1))
    if h < 2 or count.sum() == 0:
        return np.ones(h)
    root = np.sqrt(np.arange(1, h + 1))
    centre = (count * root).sum() / count.sum()
    middle = (count * level).sum() / count.sum()
    slope = (count * (root - centre) * (level - middle)).sum() / max((count * (root - centre) ** 2).sum(), 1e-12)
    slope = min(max(slope, 0.0), middle / centre)  # through the origin at most: errors grow like a random walk's
    curve = middle + slope * (root - centre)
    return np.maximum(curve / middle, 1e-3) if middle > 0 else np.ones(h)


def _widths(score: np.ndarray) -> np.ndarray:
    """(2, n) half-widths at 80 and 95 % for (k, n, h) scores of one group, at curve 1."""
    k, n, _ = score.shape
    known = ~np.isnan(score)
    sums = np.where(known, score, 0.0).sum(axis=2)
    count = known.sum(axis=2)
    origins = (count > 0).sum(axis=0).astype(float)
    pooled = np.maximum(_mean(score, (0, 1, 2)), 0.0)
    weight = np.where(origins > 0, origins, 0.0) / (origins + POOL) if n > 1 else np.ones(n)
    whole = weight * sums.sum(axis=0) / np.maximum(count.sum(axis=0), 1) + (1 - weight) * pooled
    rest = (sums.sum(axis=0) - sums) / np.maximum(count.sum(axis=0) - count, 1)
    spread = np.maximum(weight * rest + (1 - weight) * pooled, 1e-12)
    ratio = (score / spread[:, :, None])[known]
    if not len(ratio) or pooled <= 0:
        return np.zeros((2, n))
    ratio.sort()
    effective = max(origins.max(), 1.0)
    found = []
    for level in LEVELS:
        rank = level * (1 + 1 / effective)
        found.append(np.quantile(ratio, min(rank, 1.0)))
    found[1] = max(found[1], NORMAL_RATIO * found[0]) if effective < 19 else found[1]
    return np.array(found)[:, None] * whole
