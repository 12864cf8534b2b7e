"""Logistic regression with L1, L2 and sign constraints: Newton's method outside, coordinate descent inside.

The quadratic approximation and cyclic coordinate descent of Friedman, Hastie and Tibshirani (2010), on the Gram matrix, with each
coefficient clipped to its allowed sign. scikit-learn has no sign constraints, and this loads in milliseconds.
"""

from __future__ import annotations

import numpy as np


def fit_logistic(
    matrix: np.ndarray,
    default: np.ndarray,
    weight: np.ndarray,
    *,
    l1: float = 0.0,
    l2: float | np.ndarray = 1.0,
    sign: np.ndarray | None = None,
    start: tuple[float, np.ndarray] | None = None,
    steps: int = 12,
    tolerance: float = 1e-6,
) -> tuple[float, np.ndarray]:
    """Intercept and (p,) coefficients that minimise sum(weight * log-loss) + l1 * |b| + sum(l2 * b**2) / 2.

    matrix: (n, p) float64. sign: (p,) of -1, 0, 1; a coefficient of sign 1 stays >= 0. The intercept is not penalised.
    start: an earlier solution to begin from (a neighbouring penalty's saves most of the work).
    """
    rows, p = matrix.shape
    y = default.astype(float)
    ridge = np.broadcast_to(np.asarray(l2, dtype=float), (p,))
    low = np.where(sign == 1, 0.0, -np.inf) if sign is not None else np.full(p, -np.inf)
    high = np.where(sign == -1, 0.0, np.inf) if sign is not None else np.full(p, np.inf)
    if start is None:
        rate = float(np.clip(np.average(y, weights=weight), 1e-6, 1 - 1e-6))
        intercept, coefficients = float(np.log(rate / (1 - rate))), np.zeros(p)
    else:
        intercept, coefficients = start[0], start[1].copy()
    loss = _objective(matrix, y, weight, intercept, coefficients, l1, ridge)
    for _ in range(steps):
        p_hat = 1.0 / (1.0 + np.exp(-np.clip(matrix @ coefficients + intercept, -30, 30)))
        curvature = np.maximum(weight * p_hat * (1.0 - p_hat), 1e-9)
        residual = weight * (y - p_hat)
        # The intercept is profiled out: columns are centred under the curvature weights.
        mean = curvature @ matrix / curvature.sum()
        gram = (matrix * curvature[:, None]).T @ matrix - curvature.sum() * np.outer(mean, mean)
        gradient = residual @ matrix - residual.sum() * mean
        target = _descend(gram, gradient, coefficients, l1, ridge, low, high)
        shift = target - coefficients
        lift = residual.sum() / curvature.sum() - mean @ shift
        size = 1.0
        while True:  # halve the step until the true objective falls
            trial = intercept + size * lift, coefficients + size * shift
            new = _objective(matrix, y, weight, *trial, l1, ridge)
            if new <= loss + 1e-12 * abs(loss) or size < 1e-4:
                break
            size /= 2.0
        change = loss - new
        intercept, coefficients, loss = trial[0], trial[1], new
        if change < tolerance * abs(loss):
            break
    return intercept, coefficients


def _objective(
    matrix: np.ndarray, y: np.ndarray, weight: np.ndarray, intercept: float, coefficients: np.ndarray, l1: float, ridge: np.ndarray
) -> float:
    z = matrix @ coefficients + intercept
    return float(weight @ (np.logaddexp(0.0, z) - y * z) + l1 * np.abs(coefficients).sum() + 0.5 * (ridge * coefficients**2).sum())


def _descend(
    gram: np.ndarray, gradient: np.ndarray, start: np.ndarray, l1: float, ridge: np.ndarray, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Minimise the penalised quadratic model around `start` by coordinate descent: (p,) coefficients."""
    if l1 == 0.0 and np.isinf(low).all() and np.isinf(high).all():
        return start + np.linalg.solve(gram + np.diag(ridge + 1e-9), gradient - ridge * start)
    b, slope = start.copy(), gradient.copy()  # slope: gradient of the log-likelihood at b
    diagonal = np.diag(gram)
    bottom = (diagonal + ridge + 1e-9).tolist()
    diagonals, lows, highs = diagonal.tolist(), low.tolist(), high.tolist()
    for _ in range(60):
        most = 0.0
        for j in range(len(b)):
            old = b[j]
            pull = slope[j] + diagonals[j] * old
            if l1:
                pull = pull - l1 if pull > l1 else pull + l1 if pull < -l1 else 0.0
            new = min(max(pull / bottom[j], lows[j]), highs[j])
            if new != old:
                slope -= gram[j] * (new - old)
                b[j] = new
                most = max(most, abs(new - old) * bottom[j] ** 0.5)
        if most < 1e-3:
            break
    return b
