"""Naive, seasonal naive, exponential smoothing, damped trend and Theta, for all series in one pass of numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mlcore.demand.calendar import Frequency
from mlcore.demand.season import ahead, deseasonalised, indices

SIMPLE = np.array([[a, 0.0, 1.0] for a in (0.02, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8)])
DAMPED = np.array([[a, b, phi] for a in (0.1, 0.2, 0.35, 0.5, 0.7) for b in (0.05, 0.2) for phi in (0.85, 0.95)])
"""(g, 3): alpha, beta as a share of alpha, and phi. Each series takes the one with the least one-step error so far."""
FADE = {"daily": 0.997, "weekly": 0.99, "monthly": 0.98}
"""An error's weight in choosing these, per period that has gone by since."""


def naive(history: np.ndarray, horizon: int) -> np.ndarray:
    return np.repeat(history[:, -1:], horizon, axis=1)


def seasonal_naive(history: np.ndarray, m: int, horizon: int) -> np.ndarray:
    """(n, horizon): what came in the same season last; the last value where the history is shorter than a season."""
    if history.shape[1] < m:
        return naive(history, horizon)
    return history[:, -m:][:, np.arange(horizon) % m]


def smooth(values: np.ndarray, grid: np.ndarray, fade: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Holt's linear smoothing with damped trend of (n, t) values over a grid of (g, 3) parameters, skipping NaN.

    Returns each series' (n,) level, trend and (n, 3) parameters at the end, for the parameters with the least faded absolute error.
    Source: Gardner and McKenzie (1985); Hyndman, Koehler, Ord and Snyder (2008), error-correction form.
    """
    n, t = values.shape
    alpha, beta, phi = grid[:, 0][:, None], (grid[:, 0] * grid[:, 1])[:, None], grid[:, 2][:, None]
    known = ~np.isnan(values)
    born = np.where(known.any(axis=1), known.argmax(axis=1), t)
    start = _first_mean(values, known)
    level = np.tile(start, (len(grid), 1))
    trend = np.zeros_like(level)
    cost = np.zeros_like(level)
    has_trend = bool((grid[:, 1] > 0).any())
    first = int(born.min()) if n else 0
    for at in range(first, t):
        seen = known[:, at]
        if not seen.any() and not has_trend:
            continue
        expected = level + phi * trend if has_trend else level
        error = np.where(seen, values[:, at] - expected, 0.0)
        error = np.where(np.isnan(error), 0.0, error)
        cost *= fade
        cost += np.abs(error)
        level = expected + alpha * error
        if has_trend:
            trend = phi * trend + beta * error
    best = cost.argmin(axis=0)
    rows = np.arange(n)
    return level[best, rows], trend[best, rows], grid[best]


def _first_mean(values: np.ndarray, known: np.ndarray, k: int = 5) -> np.ndarray:
    rank = np.cumsum(known, axis=1)
    early = known & (rank <= k)
    return np.where(early, values, 0.0).sum(axis=1) / np.maximum(early.sum(axis=1), 1)


def _extended(level: np.ndarray, trend: np.ndarray, phi: np.ndarray, horizon: int) -> np.ndarray:
    steps = np.cumsum(phi[:, None] ** np.arange(1, horizon + 1)[None, :], axis=1)
    return level[:, None] + trend[:, None] * steps


def _scaled(values: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Logarithms for series that are never near zero, others as they are, and the way back.

    Not square roots: they would give medians, and a thousand medians of small counts add up to far less than their total.
    """
    known = ~np.isnan(values)
    least = np.where(known, values, np.inf).min(axis=1)
    mean = np.where(known, values, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    logs = ((least > 0.02 * mean) & (least > 0))[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        changed = np.where(logs, np.log(values), values)

    def back(forecast: np.ndarray) -> np.ndarray:
        return np.where(logs, np.exp(np.minimum(forecast, 50.0)), np.maximum(forecast, 0.0))

    return changed, back


def family(history: np.ndarray, kind: Frequency, horizon: int) -> dict[str, np.ndarray]:
    """{method: (n, horizon)} for the clean (n, t) history: naive excepted, all on deseasonalised values with the season put back."""
    recent = history[:, max(0, (history.shape[1] - kind.window) // kind.season * kind.season) :]
    t = recent.shape[1]
    index = indices(recent, kind)
    season = ahead(index, t, horizon)
    flat = deseasonalised(recent, index)
    fade = FADE[kind.name]
    level, _, chosen = smooth(flat, SIMPLE, fade)
    found = {"exponential smoothing": level[:, None] * season}
    found["theta"] = _theta(flat, level, chosen[:, 0], horizon) * season
    changed, back = _scaled(flat)
    level, trend, chosen = smooth(changed, DAMPED, fade)
    found["damped trend"] = back(_extended(level, trend, chosen[:, 2], horizon)) * season
    return found


def _theta(flat: np.ndarray, level: np.ndarray, alpha: np.ndarray, horizon: int) -> np.ndarray:
    """Smoothing plus half of the linear trend: Assimakopoulos and Nikolopoulos (2000), in the form of Hyndman and Billah (2003)."""
    n, t = flat.shape
    known = ~np.isnan(flat)
    at = np.where(known, np.arange(t)[None, :], 0.0)
    value = np.where(known, flat, 0.0)
    count = np.maximum(known.sum(axis=1), 1)
    middle = at.sum(axis=1) / count
    spread = np.where(known, (np.arange(t)[None, :] - middle[:, None]) ** 2, 0.0).sum(axis=1)
    slope = (value * np.where(known, np.arange(t)[None, :] - middle[:, None], 0.0)).sum(axis=1) / np.maximum(spread, 1e-9)
    rest = (1 - (1 - alpha) ** count) / np.maximum(alpha, 1e-9)
    steps = np.arange(horizon)[None, :] + rest[:, None]
    return np.maximum(level[:, None] + slope[:, None] / 2 * steps, 0.0)
