"""Forecasts of parts and of sums made to agree, and numbers that add up to the last digit."""

from __future__ import annotations

import numpy as np

from mlcore.demand.result import QUANTUM

ROUNDS = 6


def reconcile(forecasts: np.ndarray, parts: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """(n, c) coherent and non-negative forecasts nearest to (n, c) `forecasts`, distances weighted by 1 / `variance` (n,).

    parts: (n, leaves) bool, the leaves being the last nodes. Minimum trace with a diagonal covariance (WLS) after Wickramasuriya,
    Athanasopoulos and Hyndman (2019), in the form with constraints: y − WCᵀ(CWCᵀ)⁻¹Cy, so that only sums × sums are solved. Leaves that
    become negative are held at zero and the rest solved anew, after their non-negative version (2020).
    """
    n, leaves = parts.shape
    sums = n - leaves
    if sums == 0:
        return np.maximum(forecasts, 0.0)
    weights = np.maximum(variance.astype(float), 1e-12)
    members = parts[:sums].astype(float)
    result = np.empty_like(forecasts)
    columns = np.arange(forecasts.shape[1])
    held = np.zeros((leaves, forecasts.shape[1]), dtype=bool)
    for _ in range(ROUNDS):
        for pattern, group in _alike(held, columns):
            result[:, group] = _project(forecasts[:, group], members, weights, pattern)
        negative = result[sums:] < 0
        columns = np.flatnonzero(negative.any(axis=0))
        if not len(columns):
            break
        held |= negative
    bottom = np.maximum(result[sums:], 0.0)
    return np.concatenate([members @ bottom, bottom])


def _alike(held: np.ndarray, columns: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Columns grouped by which leaves are held at zero: each group is one solve."""
    groups: dict[bytes, list[int]] = {}
    for column in columns:
        groups.setdefault(held[:, column].tobytes(), []).append(int(column))
    return [(held[:, group[0]], np.array(group)) for group in groups.values()]


def _project(forecasts: np.ndarray, members: np.ndarray, weights: np.ndarray, held: np.ndarray) -> np.ndarray:
    sums = len(members)
    bottom = np.where(held[:, None], 0.0, forecasts[sums:])
    free = np.where(held, 0.0, weights[sums:])
    gap = forecasts[:sums] - members @ bottom
    spread = np.diag(weights[:sums]) + (members * free) @ members.T
    step = np.linalg.solve(spread, gap)
    bottom = bottom + free[:, None] * (members.T @ step)
    return np.concatenate([forecasts[:sums] - weights[:sums, None] * step, bottom])


def reported(leaves: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """(n, c) int64 hundredths of every node from (leaves, c) forecasts: leaves rounded so that their running sum is never half a unit off,
    parents the exact sums of these. So a thousand series of .004 a day do not vanish from their total."""
    running = np.round(np.cumsum(np.maximum(leaves, 0.0) * QUANTUM, axis=0)).astype(np.int64)
    whole = np.diff(running, axis=0, prepend=0)
    return parts.astype(np.int64) @ whole
