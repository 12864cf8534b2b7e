"""Regularised logistic regression on splines: each number a piecewise linear curve between its quantiles, each common category a level.

Ramps between knots (a linear B-spline in cumulative form) make a known direction of risk a sign constraint. The ridge draws a
feature's ramps towards one slope, since their sum is a column as well. L1 and L2 are chosen by validation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mlcore.risk.binning import quantile_cuts
from mlcore.risk.encoded import EncodedRung
from mlcore.risk.penalised import fit_logistic
from mlcore.risk.tuning import FEW_ROWS, levelled_losses, periods, simplest, validation_folds

PENALTIES: tuple[tuple[float, float], ...] = (
    (0.0, 1000.0),
    (0.0, 300.0),
    (0.0, 100.0),
    (0.0, 30.0),
    (0.0, 10.0),
    (0.0, 3.0),
    (0.0, 1.0),
    (3.0, 3.0),
    (10.0, 1.0),
)
"""(L1, L2) in units of rows, from strong to weak."""
MOST_COLUMNS = 260
"""Ramps in all: the knots of a wide frame are thinned to it, so that a fit stays within seconds."""


class Ramps:
    """The spline basis of one matrix: `knots[j]` ascending for each feature; each feature has a column for missing besides."""

    def __init__(self, knots: list[np.ndarray]) -> None:
        self.knots = [np.asarray(knot, dtype=float) for knot in knots]
        self.widths = [self._width(knot) for knot in self.knots]
        self.owner = np.repeat(np.arange(len(knots)), self.widths)

    @staticmethod
    def _width(knot: np.ndarray) -> int:
        ramps = max(len(knot) - 1, 0)
        return ramps + (1 if ramps > 1 else 0) + 1

    @classmethod
    def fit(cls, matrix: np.ndarray) -> Ramps:
        most = int(np.clip(MOST_COLUMNS // matrix.shape[1], 3, 9))
        return cls([cls._knots(matrix[:, j], most) for j in range(matrix.shape[1])])

    @staticmethod
    def _knots(values: np.ndarray, most: int) -> np.ndarray:
        present = values[np.isfinite(values)]
        distinct = np.unique(present)
        if len(distinct) <= most:
            return distinct
        # The ends at the 1st and 99th percentile: beyond them the curve is flat, so an absurd value can't run away with the score.
        inner = quantile_cuts(present, most - 1)
        low, high = np.quantile(present, (0.01, 0.99))
        return np.unique(np.concatenate([[low], inner[(inner > low) & (inner < high)], [high]]))

    def transform(self, matrix: np.ndarray) -> np.ndarray:
        """(n, columns) float64 in [0, 1]."""
        result = np.zeros((len(matrix), len(self.owner)))
        at = 0
        for j, knot in enumerate(self.knots):
            missing = ~np.isfinite(matrix[:, j])
            values = np.where(missing, 0.0, matrix[:, j])
            ramps = len(knot) - 1
            for k in range(ramps):
                column = np.clip((values - knot[k]) / (knot[k + 1] - knot[k]), 0.0, 1.0)
                column[missing] = 0.0
                result[:, at + k] = column
            if ramps > 1:
                result[:, at + ramps] = result[:, at : at + ramps].mean(axis=1)
            result[:, at + self.widths[j] - 1] = missing
            at += self.widths[j]
        return result

    def sums(self, basis: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
        """(n, features) of basis @ coefficients, by feature."""
        return np.add.reduceat(basis * coefficients, np.cumsum([0, *self.widths[:-1]]), axis=1)

    def signs(self, directions: np.ndarray) -> np.ndarray:
        """(columns,) of -1, 0, 1: ramps keep their feature's direction, the indicator of missing is free."""
        result = directions[self.owner]
        result[np.cumsum(self.widths) - 1] = 0
        return result


@dataclass(frozen=True)
class Splines:
    """A fitted spline regression: log-odds = intercept + ramps.transform(x) @ coefficients.

    held: log-odds of each fold's validation rows, at the penalty chosen.
    """

    ramps: Ramps
    intercept: float
    coefficients: np.ndarray
    settings: dict[str, Any]
    held: list[np.ndarray]


def fit_splines(
    matrix: np.ndarray,
    labels: np.ndarray,
    weight: np.ndarray,
    directions: np.ndarray,
    folds: list[tuple[np.ndarray, np.ndarray]],
    submitted_at: pd.Series | None = None,
    penalties: Sequence[tuple[float, float]] = PENALTIES,
) -> Splines:
    """Choose L1 and L2 on the folds, then fit all rows. With dates the period is a nuisance term, frozen at the latest.

    penalties: the candidates (L1, L2). The first within one standard error of the best is taken, without folds the first.
    """
    period = periods(submitted_at, len(labels))
    width = matrix.shape[1]
    if period is not None:
        matrix, directions = np.column_stack([matrix, period]), np.append(directions, 0)
    ramps = Ramps.fit(matrix)
    basis, sign = ramps.transform(matrix), ramps.signs(directions)
    losses: list[list[np.ndarray]] = [[] for _ in penalties]
    held: list[list[np.ndarray]] = []
    for train, valid in folds:
        start, fitted, later = None, basis[train], basis[valid]
        if period is not None:  # a later period is unknown to these rows' fit: it counts as the latest that is known
            later[:, ramps.owner == width] = basis[train[np.argmax(period[train])], ramps.owner == width]
        held.append([])
        for k, (l1, l2) in enumerate(penalties):
            start = fit_logistic(fitted, labels[train], weight[train], l1=l1, l2=l2, sign=sign, start=start, steps=6, tolerance=1e-4)
            held[-1].append(later @ start[1] + start[0])
            losses[k].append(levelled_losses(labels[valid], held[-1][k]))
    best = simplest([np.concatenate(each) for each in losses]) if folds else 0
    l1, l2 = penalties[best]
    intercept, coefficients = fit_logistic(basis, labels, weight, l1=l1, l2=l2, sign=sign)
    if period is not None:
        latest = basis[np.argmax(period)] * coefficients
        own = ramps.owner == width
        intercept, coefficients = intercept + float(latest[own].sum()), coefficients[~own]
        ramps = Ramps(ramps.knots[:-1])
    return Splines(ramps, intercept, coefficients, {"l1": l1, "l2": l2}, [fold[best] for fold in held])


def penalties_of(given: dict[str, Any] | None) -> list[tuple[float, float]]:
    """The penalty that an earlier fit's settings hold; none without them."""
    return [] if given is None else [(float(given["l1"]), float(given["l2"]))]


class Logistic(EncodedRung):
    """The spline logistic regression. `settings`: the L1 and L2 that validation chose."""

    name = "logistic"

    def _fit(self, matrix: np.ndarray, labels: np.ndarray, submitted_at: pd.Series | None, weight: np.ndarray) -> None:
        small = len(labels) < FEW_ROWS
        folds = validation_folds(labels, submitted_at, folds=5 if small else 2, seed=self.seed)[: 5 if small else 1]
        known = penalties_of(self.given)
        fitted = fit_splines(matrix, labels, weight, self.encoder.directions, [] if known else folds, submitted_at, known or PENALTIES)
        self.ramps_, self.intercept_, self.coefficients_ = fitted.ramps, fitted.intercept, fitted.coefficients
        self.settings = {**fitted.settings, "columns": len(fitted.coefficients)}
        self.means_ = np.average(self._sums(self.ramps_.transform(matrix)), axis=0, weights=weight)

    def _sums(self, basis: np.ndarray) -> np.ndarray:
        """(n, features): each feature's share of the log-odds, not yet centred."""
        return self.ramps_.sums(basis, self.coefficients_)

    def _log_odds(self, matrix: np.ndarray) -> np.ndarray:
        return self.ramps_.transform(matrix) @ self.coefficients_ + self.intercept_

    def _parts(self, matrix: np.ndarray) -> tuple[np.ndarray, float]:
        parts = self._sums(self.ramps_.transform(matrix)) - self.means_
        return parts, float(self.intercept_ + self.means_.sum())

    def _state(self) -> dict[str, Any]:
        return {
            "knots": list(self.ramps_.knots),
            "intercept": float(self.intercept_),
            "coefficients": self.coefficients_,
            "means": self.means_,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.ramps_ = Ramps(state["knots"])
        self.intercept_ = float(state["intercept"])
        self.coefficients_, self.means_ = np.asarray(state["coefficients"]), np.asarray(state["means"])
