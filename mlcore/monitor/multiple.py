"""Many tests at once: adjusted p-values."""

from __future__ import annotations

import numpy as np


def holm(p: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """(m,) p-values adjusted so that the chance of any false rejection is at most the level, whatever the dependence (Holm 1979).

    weights: (m,) positive; a test with twice the weight may reject at twice the level.
    """
    p = np.asarray(p, dtype=float)
    if not len(p):
        return p
    weights = np.ones(len(p)) if weights is None else np.asarray(weights, dtype=float)
    if (weights <= 0).any():
        raise ValueError("Weights of tests must be positive.")
    order = np.argsort(p / weights, kind="stable")
    left = np.cumsum(weights[order][::-1])[::-1]
    stepped = np.maximum.accumulate(p[order] / weights[order] * left)
    made = np.empty(len(p))
    made[order] = np.minimum(stepped, 1.0)
    return made


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """(m,) p-values adjusted so that of the rejected at most the level's share is false on average (independent or positively tied)."""
    p = np.asarray(p, dtype=float)
    m = len(p)
    if not m:
        return p
    order = np.argsort(-p, kind="stable")
    stepped = np.minimum.accumulate(p[order] * m / np.arange(m, 0, -1))
    made = np.empty(m)
    made[order] = np.minimum(stepped, 1.0)
    return made
