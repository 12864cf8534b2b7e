"""A small neural net in numpy: 64 and 32 ReLU units with dropout, Adam, early stopping, averaged over seeds, stored as arrays.

Inputs are quantile-encoded: each number's rank among the training rows in [-1, 1], zero with an indicator where it is missing.
scikit-learn's MLP has no dropout. Contributions are integrated gradients (Sundararajan et al. 2017) from the mean training input, their
small numerical remainder spread in proportion, so that they add up exactly. Directions of risk are not promised.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mlcore.risk.binning import quantile_cuts
from mlcore.risk.encoded import EncodedRung
from mlcore.risk.tuning import FEW_ROWS, levelled_log_loss, sigmoid, validation_folds

HIDDEN = (64, 32)
DROPOUT = 0.25
MOST_EPOCHS = 40
PATIENCE = 5
DECAY = 1e-3
RATE = 2e-3
SEEDS = 3
PATH_STEPS = 24
BLOCK = 4096

Weights = list[np.ndarray]  # W1, b1, W2, b2, W3, b3


class Neural(EncodedRung):
    """The averaged net. `settings`: epochs that early stopping on validation rows chose."""

    name = "neural"

    def _fit(self, matrix: np.ndarray, labels: np.ndarray, submitted_at: pd.Series | None, weight: np.ndarray) -> None:
        self.grids_ = [quantile_cuts(matrix[:, j], 64) for j in range(matrix.shape[1])]
        self.gaps_ = np.isnan(matrix).any(axis=0)
        inputs = self._inputs(matrix)
        batch = 32 if len(labels) < FEW_ROWS else 256
        count = self._epochs(inputs, labels, submitted_at, weight, batch) if self.given is None else int(self.given["epochs"])
        self.settings = {"epochs": count, "seeds": SEEDS, "hidden": list(HIDDEN), "dropout": DROPOUT}
        self.nets_ = [self._train(inputs, labels, weight, self.seed + 1 + k, count, batch, None)[0] for k in range(SEEDS)]
        self.mean_ = np.average(inputs, axis=0, weights=weight)

    def _epochs(self, inputs: np.ndarray, labels: np.ndarray, submitted_at: pd.Series | None, weight: np.ndarray, batch: int) -> int:
        small = len(labels) < FEW_ROWS
        epochs = []
        for train, valid in validation_folds(labels, submitted_at, folds=3 if small else 2, seed=self.seed)[: 3 if small else 1]:
            held = (inputs[valid], labels[valid])
            _, best = self._train(inputs[train], labels[train], weight[train], self.seed, MOST_EPOCHS, batch, held)
            epochs.append(best)
        return max(1, round(float(np.mean(epochs))))

    def _inputs(self, matrix: np.ndarray) -> np.ndarray:
        """(n, features + indicators) float64: ranks in [-1, 1] (zero where missing), then an indicator for each feature that has gaps."""
        missing = ~np.isfinite(matrix)
        ranks = np.zeros(matrix.shape)
        for j, grid in enumerate(self.grids_):
            if len(grid):
                # Between two grid points the rank rises linearly, so that no detail within a bin is lost.
                place = np.interp(matrix[:, j], grid, np.arange(len(grid))) if len(grid) > 2 else np.searchsorted(grid, matrix[:, j])
                ranks[:, j] = 2.0 * place / (len(grid) - 1 if len(grid) > 2 else len(grid)) - 1.0
        ranks[missing] = 0.0
        return np.concatenate([ranks, missing[:, self.gaps_]], axis=1)

    def _train(
        self,
        inputs: np.ndarray,
        labels: np.ndarray,
        weight: np.ndarray,
        seed: int,
        epochs: int,
        batch: int,
        held: tuple[np.ndarray, np.ndarray] | None,
    ) -> tuple[Weights, int]:
        """One net, and the epoch at which it was best on the held rows (`epochs` without them)."""
        r = np.random.default_rng(seed)
        sizes = (inputs.shape[1], *HIDDEN, 1)
        net: Weights = []
        for fan_in, fan_out in zip(sizes, sizes[1:], strict=False):
            net += [r.normal(0.0, np.sqrt(2.0 / fan_in), (fan_in, fan_out)), np.zeros(fan_out)]
        net[4] *= 0.1
        rate = float(np.average(labels, weights=weight))
        net[5][:] = np.log(rate / (1.0 - rate))
        first, second, step = [np.zeros_like(w) for w in net], [np.zeros_like(w) for w in net], 0
        best, best_loss = 1, np.inf
        for epoch in range(1, epochs + 1):
            order = r.permutation(len(labels))
            for start in range(0, len(order), batch):
                rows = order[start : start + batch]
                gradients = _gradients(net, inputs[rows], labels[rows], weight[rows], r)
                step += 1
                for w, g, m, v in zip(net, gradients, first, second, strict=True):
                    m *= 0.9
                    m += 0.1 * g
                    v *= 0.999
                    v += 0.001 * g * g
                    w -= RATE * (m / (1 - 0.9**step) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8) + DECAY * w * (w.ndim > 1))
            if held is not None:
                loss = levelled_log_loss(held[1], _forward(net, held[0]))
                if loss < best_loss:
                    best, best_loss = epoch, loss
                elif epoch >= best + PATIENCE:
                    break
        return net, best if held is not None else epochs

    def _log_odds(self, matrix: np.ndarray) -> np.ndarray:
        inputs = self._inputs(matrix)
        return sum(_forward(net, inputs) for net in self.nets_) / len(self.nets_)

    def _parts(self, matrix: np.ndarray) -> tuple[np.ndarray, float]:
        inputs = self._inputs(matrix)
        baseline = float(sum(_forward(net, self.mean_[None])[0] for net in self.nets_) / len(self.nets_))
        parts = np.zeros(inputs.shape)
        for start in range(0, len(inputs), BLOCK):
            block = inputs[start : start + BLOCK] - self.mean_
            slope = np.zeros(block.shape)
            for net in self.nets_:
                for step in range(PATH_STEPS):
                    slope += _slopes(net, self.mean_ + block * ((step + 0.5) / PATH_STEPS))
            parts[start : start + BLOCK] = block * slope / (PATH_STEPS * len(self.nets_))
        width = matrix.shape[1]
        result = parts[:, :width].copy()
        result[:, self.gaps_] += parts[:, width:]
        remainder = self._log_odds(matrix) - baseline - result.sum(axis=1)
        size = np.abs(result)
        total = size.sum(axis=1, keepdims=True)
        result += remainder[:, None] * np.where(total > 0, size / np.where(total > 0, total, 1.0), 1.0 / width)
        return result, baseline

    def _state(self) -> dict[str, Any]:
        return {"grids": list(self.grids_), "gaps": self.gaps_, "mean": self.mean_, "nets": [list(net) for net in self.nets_]}

    def _restore(self, state: dict[str, Any]) -> None:
        self.grids_ = [np.asarray(grid) for grid in state["grids"]]
        self.gaps_ = np.asarray(state["gaps"], dtype=bool)
        self.mean_ = np.asarray(state["mean"])
        self.nets_ = [[np.asarray(w) for w in net] for net in state["nets"]]


def _forward(net: Weights, x: np.ndarray) -> np.ndarray:
    """(n,) log-odds, without dropout."""
    h = np.maximum(x @ net[0] + net[1], 0.0)
    h = np.maximum(h @ net[2] + net[3], 0.0)
    return (h @ net[4] + net[5])[:, 0]


def _slopes(net: Weights, x: np.ndarray) -> np.ndarray:
    """(n, inputs) gradient of the log-odds."""
    a = x @ net[0] + net[1]
    b = np.maximum(a, 0.0) @ net[2] + net[3]
    return (((b > 0) * net[4][:, 0]) @ net[2].T * (a > 0)) @ net[0].T


def _gradients(net: Weights, x: np.ndarray, y: np.ndarray, weight: np.ndarray, r: np.random.Generator) -> Weights:
    """Mean weighted log-loss's gradient over one batch, with inverted dropout after both hidden layers."""
    keep = 1.0 - DROPOUT
    one = np.maximum(x @ net[0] + net[1], 0.0)
    one_mask = (r.random(one.shape) < keep) / keep
    one_out = one * one_mask
    two = np.maximum(one_out @ net[2] + net[3], 0.0)
    two_mask = (r.random(two.shape) < keep) / keep
    two_out = two * two_mask
    error = (weight * (sigmoid((two_out @ net[4] + net[5])[:, 0]) - y) / len(y))[:, None]
    back_two = (error @ net[4].T) * two_mask * (two > 0)
    back_one = (back_two @ net[2].T) * one_mask * (one > 0)
    return [x.T @ back_one, back_one.sum(axis=0), one_out.T @ back_two, back_two.sum(axis=0), two_out.T @ error, error.sum(axis=0)]
