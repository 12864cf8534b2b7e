"""Which candidate a series takes: the one that did best on it so far, its own record and its level's together; else seasonal naive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlcore.demand.backtest import COMBINATION, SHARE, Trials

POOL = 8.0
"""A series' own record weighs as its origins, that of all series of its level as this many."""
SHARPNESS = 4.0
"""Weights in the combination: (error relative to seasonal naive) ** −SHARPNESS."""
PREFER = 0.98
"""A single method must beat the combination by this much: a mean of methods is the steadier choice."""


@dataclass(frozen=True)
class Chosen:
    """points: (k, n, h) what was, or would have been, forecast from each origin, by what was known there; the last is the forecast.

    method: (n,) int at the end, len(names) − 1 is the combination. weights: (c, n) of the candidates in the combination at the end.
    """

    names: list[str]
    points: np.ndarray
    method: np.ndarray
    weights: np.ndarray


def choose(trials: Trials, levels: np.ndarray, young: np.ndarray, sparse: np.ndarray) -> Chosen:
    """levels: (n,) int of nodes whose records are pooled. young: (n,) bool, series that must take their parent's share.

    sparse: (n,) bool, series that are often zero: chosen by squared errors. Absolute ones would reward forecasting the median, which is
    nothing at all for a cell with one application in two periods, and a thousand such cells would add up to nothing.
    """
    c, k, n, h = trials.forecasts.shape
    names = [*trials.names, COMBINATION]
    forecasts = np.concatenate([trials.forecasts, np.full((1, k, n, h), np.nan)])
    sums = np.zeros((c + 1, k, n, h))
    usable = np.isfinite(trials.forecasts).all(axis=(1, 3))  # a candidate that fails at one origin is not trusted at another
    usable = np.concatenate([usable, np.ones((1, n), dtype=bool)])
    counts = np.cumsum(~np.isnan(trials.actual), axis=2)
    points = np.empty((k, n, h))
    share = names.index(SHARE) if SHARE in names else None
    method = weights = None
    scaled = trials.scale[:, :, None]
    for now, origin in enumerate(trials.origins):
        relative = _relative(sums, counts, trials.origins, origin, now, usable, levels)
        relative[:, sparse] = np.sqrt(relative[:, sparse])
        weights = np.where(usable[:c], relative[:c], np.inf) ** -SHARPNESS
        weights /= weights.sum(axis=0)
        forecasts[c, now] = np.einsum("cn,cnh->nh", weights, np.where(usable[:c, :, None], np.nan_to_num(trials.forecasts[:, now]), 0.0))
        relative[c] *= PREFER
        method = np.where(usable, relative, np.inf).argmin(axis=0) if now else np.full(n, c)
        if share is not None:
            method = np.where(young, share, method)
        points[now] = forecasts[method, now, np.arange(n)]
        error = np.abs(forecasts[:, now] - trials.actual[None, now]) / scaled[now]
        error[:, sparse] **= 2
        sums[:, now] = np.cumsum(np.nan_to_num(error), axis=2)
    return Chosen(names, points, method, weights)


def _relative(
    sums: np.ndarray, counts: np.ndarray, origins: np.ndarray, origin: int, now: int, usable: np.ndarray, levels: np.ndarray
) -> np.ndarray:
    """(c + 1, n) error so far relative to seasonal naive's, own and level's mixed; 1 for all where nothing is known yet."""
    c, _, n, h = sums.shape
    seen = [(j, int(min(h, origin - origins[j]))) for j in range(now) if origin > origins[j]]
    if not seen:
        return np.ones((c, n))
    own = sum(sums[:, j, :, s - 1] for j, s in seen)
    count = sum(counts[j, :, s - 1] for j, s in seen)
    weight = sum((counts[j, :, s - 1] > 0).astype(float) for j, s in seen)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = own / np.maximum(count, 1)
    floor = 1e-6
    ratio = np.maximum(mean, floor) / np.maximum(mean[0], floor)
    pooled = np.empty_like(ratio)
    for level in np.unique(levels):
        nodes = levels == level
        for k in range(c):
            some = nodes & usable[k]
            top, base = mean[k, some].sum(), mean[0, some].sum()
            pooled[k, nodes] = max(top, floor) / max(base, floor) if some.any() else 1.0
    log = (weight * np.log(ratio) + POOL * np.log(pooled)) / (weight + POOL)
    return np.exp(np.clip(log, -6, 6))
