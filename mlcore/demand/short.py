"""What can still be said where there is too little history for a backtest, and when nothing can."""

from __future__ import annotations

import numpy as np
from scipy import stats

from mlcore.demand.intervals import LEVELS
from mlcore.demand.panel import Panel

LEAST_PERIODS = 6
"""Fewer complete periods than this give no forecast: a mean of five with its interval says next to nothing."""


def too_little(panel: Panel) -> str:
    """Why there is nothing to forecast from, or ""."""
    if panel.reason:
        return panel.reason
    known = int((~np.isnan(panel.observed)).any(axis=0).sum())
    if known < LEAST_PERIODS:
        noun = panel.frequency.noun
        return f"Too little history: {known} complete {noun}{'s' * (known != 1)}; a forecast needs at least {LEAST_PERIODS}."
    return ""


def mean_forecast(panel: Panel, horizon: int, size: float | None, sizes: float) -> tuple[np.ndarray, np.ndarray]:
    """(n, horizon) the mean so far, and its (4, n, horizon) predictive interval.

    The wider of Student's (spread as seen) and that of chance alone (`chance`): few periods seldom show the whole spread.
    """
    known = ~np.isnan(panel.observed).any(axis=0)
    values = panel.observed[:, known] if known.sum() > 1 else np.nan_to_num(panel.observed)
    t = values.shape[1]
    mean = values.mean(axis=1)
    spread = values.std(axis=1, ddof=1) * np.sqrt(1 + 1 / t)
    bounds = chance(values.sum(axis=1), t, size, sizes)
    rows = []
    for k, level in enumerate(LEVELS):
        reach = stats.t.ppf((1 + level) / 2, t - 1) * spread
        rows += [np.minimum(mean - reach, bounds[2 * k]), np.maximum(mean + reach, bounds[2 * k + 1])]
    bounds = np.maximum(np.array(rows), 0.0)
    return np.repeat(mean[:, None], horizon, axis=1), np.repeat(bounds[:, :, None], horizon, axis=2)


def chance(total: np.ndarray, t: int, size: float | None, sizes: float) -> np.ndarray:
    """(4, n) lo80, hi80, lo95, hi95 of the next period, had t periods brought `total` (n,) by chance at a constant rate.

    Counts: gamma–Poisson with Jeffreys' prior, so that t zeros in a row do not promise a zero. Amounts (`size`, the mean amount of one
    application, is given): the count's interval times the size, widened for their spread.
    """
    counts = total / (size or 1.0)
    rows = []
    for level in LEVELS:
        for tail in ((1 - level) / 2, (1 + level) / 2):
            bound = stats.nbinom.ppf(tail, 0.5 + counts, t / (t + 1))
            mean = counts / t
            rows.append(bound if size is None else np.maximum(mean + (bound - mean) * np.sqrt(sizes), 0.0) * size)
    return np.array(rows)
