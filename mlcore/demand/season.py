"""The pattern within a week or a year, estimated for all series at once and shrunk towards their total's where a series alone can't say."""

from __future__ import annotations

import numpy as np

from mlcore.demand.calendar import Frequency

FLOOR = 0.05
"""A season with less than this share of a usual one is closed: nothing can be said of the level from it."""


def moving_average(values: np.ndarray, m: int) -> np.ndarray:
    """(n, t) centred over one whole season (half weights at the ends where m is even); NaN where it does not fit or a value is NaN."""
    n, t = values.shape
    result = np.full((n, t), np.nan)
    span = m + 1 if m % 2 == 0 else m
    if t < span:
        return result
    known = ~np.isnan(values)
    sums = np.concatenate([np.zeros((n, 1)), np.cumsum(np.where(known, values, 0.0), axis=1)], axis=1)
    counts = np.concatenate([np.zeros((n, 1)), np.cumsum(known, axis=1)], axis=1)
    whole = counts[:, span:] - counts[:, :-span] == span
    window = sums[:, span:] - sums[:, :-span]
    if m % 2 == 0:
        window = window - (values[:, : t - span + 1] + values[:, span - 1 :]) / 2
    half = span // 2
    result[:, half : t - half] = np.where(whole, window / m, np.nan)
    return result


def indices(values: np.ndarray, kind: Frequency) -> np.ndarray:
    """(n, m) multiplicative seasonal indices, mean 1; column k belongs to the periods at positions k, k + m, … of `values`.

    Ratio to moving average over the last `kind.memory` periods. Each series' deviation from the total's indices (row 0) is shrunk by the
    share of its variance that is noise (James–Stein), the total's likewise towards 1, so a weak pattern vanishes by itself.
    Weeks of a year are smoothed over their neighbours first: 52 of them seen a few times say little each.
    """
    n, t = values.shape
    m = kind.season
    if t < m + 3:
        return np.ones((n, m))
    skip = max(0, (t - kind.memory) // m * m)  # a whole number of seasons, so that columns keep their place
    recent = values[:, skip:]
    average = moving_average(recent, m)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(average > 0, recent / average, np.nan)
    pad = -ratio.shape[1] % m
    table = np.concatenate([ratio, np.full((n, pad), np.nan)], axis=1).reshape(n, -1, m)
    known = ~np.isnan(table)
    count = known.sum(axis=1)
    mean = np.where(count > 0, np.where(known, table, 0.0).sum(axis=1) / np.maximum(count, 1), 1.0)
    noise = np.where(known, (table - mean[:, None, :]) ** 2, 0.0).sum(axis=(1, 2)) / np.maximum((count - 1).clip(0).sum(axis=1), 1)
    repeated = (count >= 2).sum(axis=1) > m / 2
    share = np.ones(n)
    if kind.name == "weekly":
        width = 5
        mean = sum(np.roll(mean, k, axis=1) for k in range(-(width // 2), width // 2 + 1)) / width
        share /= width
    noise = noise * share / np.maximum(count.mean(axis=1), 1)
    total = _shrunk(mean[:1], np.ones((1, m)), noise[:1], repeated[:1])
    result = _shrunk(mean, np.repeat(total, n, axis=0), noise, repeated)
    result[0] = total[0]
    result = np.maximum(result, 0.0)
    return result / np.maximum(result.mean(axis=1, keepdims=True), 1e-9)


def _shrunk(mean: np.ndarray, towards: np.ndarray, noise: np.ndarray, repeated: np.ndarray) -> np.ndarray:
    between = ((mean - towards) ** 2).mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        signal = np.where(repeated & (between > 0), np.clip(1 - noise / between, 0.0, 1.0), 0.0)
    return towards + signal[:, None] * (mean - towards)


def ahead(index: np.ndarray, t: int, horizon: int) -> np.ndarray:
    """(n, horizon): the indices of the periods after the first t."""
    return index[:, (t + np.arange(horizon)) % index.shape[1]]


def deseasonalised(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    """(n, t), NaN in seasons that are as good as closed."""
    along = index[:, np.arange(values.shape[1]) % index.shape[1]]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(along >= FLOOR, values / along, np.nan)
