"""Linear quantile regression with a ridge, by the alternating direction method of multipliers (Boyd et al. 2011, section 6.1)."""

from __future__ import annotations

import numpy as np


def fit_quantile(
    columns: np.ndarray, target: np.ndarray, level: float, *, ridge: float = 3.0, steps: int = 400, tolerance: float = 1e-4
) -> tuple[float, np.ndarray]:
    """Intercept and coefficients (p,) that minimise Σ pinball(target − prediction) + ridge · Σ coefficient² / 2.

    columns: (n, p) of a scale of about one. target: (n,). One factorisation serves all steps, each of which reads the columns twice; it
    stops when the residuals move by less than `tolerance` of the target's spread.
    """
    n, p = columns.shape
    scale = float(np.std(target)) or 1.0
    start = float(np.quantile(target, level))
    y = (target - start) / scale
    mean = columns.mean(axis=0)
    centred = columns - mean
    step = 3.0  # per unit of the standardised target; between 1 and 10 convergence hardly differs
    penalty = np.full(p, ridge / step)
    inverse = np.linalg.inv(centred.T @ centred + np.diag(penalty + 1e-9 * n))
    coefficients, intercept = np.zeros(p), 0.0
    residual, dual = y.copy(), np.zeros(n)
    for _ in range(steps):
        wanted = y - residual + dual
        intercept = float(wanted.mean())
        coefficients = inverse @ (centred.T @ wanted)
        gap = y - intercept - centred @ coefficients
        moved = gap + dual
        new = np.where(moved > level / step, moved - level / step, np.where(moved < (level - 1) / step, moved - (level - 1) / step, 0.0))
        dual = moved - new
        change = float(np.abs(new - residual).mean() + np.abs(gap - new).mean())
        residual = new
        if change < tolerance:
            break
    coefficients = coefficients * scale
    # The level of what is left over is set exactly: the intercept is the quantile of the residuals.
    intercept = float(np.quantile(target - columns @ coefficients, level))
    return intercept, coefficients
