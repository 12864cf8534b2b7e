"""How a rung chooses its own settings: validation rows that come after the rows it was fitted on, wherever there are dates."""

from __future__ import annotations

import numpy as np
import pandas as pd

FEW_ROWS = 4000
"""Below it one validation set is too noisy to choose by: folds are repeated or more of them are used."""


def time_order(submitted_at: pd.Series | None, rows: int) -> np.ndarray | None:
    """(n,) row positions from the oldest to the newest; None where dates are missing or all the same."""
    if submitted_at is None or submitted_at.isna().any() or submitted_at.nunique() < 3:
        return None
    return np.argsort(submitted_at.to_numpy("datetime64[ns]").astype(np.int64), kind="stable")[:rows]


PERIODS = 20
"""At most; a period holds some 250 rows at least."""


def periods(submitted_at: pd.Series | None, rows: int) -> np.ndarray | None:
    """(n,) float64 codes 0 … 19 at most of equally filled periods, the oldest first; None without dates.

    A model is fitted with the period as one more feature and then frozen at the latest one. So what was common to a time (a crisis, a
    campaign) is not blamed on the applicants who happened to come then, and an effect that changed counts as it is now.
    """
    if time_order(submitted_at, rows) is None:
        return None
    assert submitted_at is not None
    stamps = submitted_at.to_numpy("datetime64[ns]").astype(np.int64)
    count = int(np.clip(rows // 250, 4, PERIODS))
    edges = np.unique(np.quantile(stamps, np.arange(1, count) / count))
    codes = np.searchsorted(edges, stamps, side="left")
    return np.unique(codes, return_inverse=True)[1].astype(float)


def with_period(matrix: np.ndarray, submitted_at: pd.Series | None) -> tuple[np.ndarray, dict[int, float]]:
    """The (n, f) matrix with the period as column f, and {f: latest period}; the matrix as it is and {} without dates."""
    period = periods(submitted_at, len(matrix))
    if period is None:
        return matrix, {}
    return np.column_stack([matrix, period]), {matrix.shape[1]: float(period.max())}


def validation_folds(
    default: np.ndarray, submitted_at: pd.Series | None = None, *, folds: int = 3, seed: int = 0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(training rows, validation rows) pairs. With dates: the last blocks of the time order, each fitted on everything before it.

    Without dates, or where a block of the time order would hold one class only: stratified folds.
    """
    labels = np.asarray(default)
    order = time_order(submitted_at, len(labels))
    if order is not None:
        size = max(len(order) // (2 * folds + 1), 1)
        pairs = [(order[: len(order) - (k + 1) * size], order[len(order) - (k + 1) * size : len(order) - k * size]) for k in range(folds)]
        if all(_both(labels[train]) and _both(labels[valid]) for train, valid in pairs):
            return [(np.sort(train), np.sort(valid)) for train, valid in pairs]
    return stratified_folds(labels, folds=folds, seed=seed)


def stratified_folds(default: np.ndarray, *, folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """`folds` disjoint validation sets with the same share of defaults; fewer where there are fewer defaults than folds."""
    labels = np.asarray(default)
    generator = np.random.default_rng(seed)
    folds = max(2, min(folds, int(np.bincount(labels, minlength=2).min())))
    fold = np.empty(len(labels), dtype=int)
    for value in (0, 1):
        rows = np.flatnonzero(labels == value)
        fold[generator.permutation(rows)] = np.arange(len(rows)) % folds
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(folds)]


def _both(labels: np.ndarray) -> bool:
    return labels.size > 0 and 0 < labels.mean() < 1


def log_loss(default: np.ndarray, log_odds: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Mean negative log-likelihood of labels under uncalibrated log-odds."""
    return float(np.average(np.logaddexp(0.0, log_odds) - default * log_odds, weights=weight))


def levelled_losses(default: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    """(n,) log-losses after the best constant shift of the log-odds: how well a model ranks and spreads, whatever the later period's level.

    Calibration sets the level afterwards, so a rung is not chosen for having guessed it.
    """
    shift = 0.0
    for _ in range(25):
        p = sigmoid(log_odds + shift)
        step = (default.mean() - p.mean()) / max(float((p * (1 - p)).mean()), 1e-9)
        shift += float(np.clip(step, -2.0, 2.0))
        if abs(step) < 1e-9:
            break
    return np.logaddexp(0.0, log_odds + shift) - default * (log_odds + shift)


def levelled_log_loss(default: np.ndarray, log_odds: np.ndarray) -> float:
    """The mean of `levelled_losses`."""
    return float(levelled_losses(default, log_odds).mean())


def simplest(losses: list[np.ndarray]) -> int:
    """The first of the candidates, which come from simple to rich, whose loss is within one standard error of the best's.

    losses: for each candidate (n,) losses of the same rows; the standard error is that of the paired difference.
    """
    best = losses[int(np.argmin([each.mean() for each in losses]))]
    for number, each in enumerate(losses):
        worse = each - best
        if worse.mean() <= worse.std() / np.sqrt(len(worse)):
            return number
    raise AssertionError("The best is within its own standard error.")


def sigmoid(log_odds: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(log_odds, -700.0, 700.0)))


def weights_or_ones(weight: np.ndarray | None, rows: int) -> np.ndarray:
    """Weights scaled to mean one, so that penalties mean the same with and without them."""
    if weight is None:
        return np.ones(rows)
    weight = np.asarray(weight, dtype=float)
    return weight * (rows / weight.sum())
