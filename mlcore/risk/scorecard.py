"""The classical scorecard: monotone bins, weights of evidence, a logistic regression on them, points that a person can add up.

Weight of evidence and information value as in Siddiqi (2006), with the sign turned so that a higher weight means more risk. Bins are merged
by pooling adjacent violators until the default rate moves one way only, the known direction of risk or the better of the two.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mlcore.risk.binning import Bins
from mlcore.risk.encoded import EncodedRung
from mlcore.risk.penalised import fit_logistic
from mlcore.risk.printing import bin_labels
from mlcore.risk.tuning import FEW_ROWS, levelled_log_loss, validation_folds

START_BINS = 20
LEAST_SHARE = 0.04
"""Of the rows in a bin; a smaller bin joins its neighbour."""
LEAST_IV = 0.01
MOST_FEATURES = 15
MOST_CORRELATION = 0.8
SMOOTHING = 0.5
PENALTIES = (30.0, 10.0, 3.0, 1.0)
POINTS_AT, ODDS_AT, POINTS_TO_DOUBLE = 600.0, 50.0, 20.0
"""600 points at 50 good to one bad, 20 more for twice the odds."""


def pooled(good: np.ndarray, bad: np.ndarray, rising: bool) -> np.ndarray:
    """Groups (ascending int, one for each bin) after which bad / all rises (or falls) from group to group: pool adjacent violators."""
    blocks: list[list[float]] = []
    for k in range(len(good)):
        blocks.append([good[k], bad[k], 1])
        while len(blocks) > 1 and _violates(blocks[-2], blocks[-1], rising):
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    return np.repeat(np.arange(len(blocks)), [int(block[2]) for block in blocks])


def _violates(left: list[float], right: list[float], rising: bool) -> bool:
    left_rate, right_rate = (side[1] / max(side[0] + side[1], 1e-12) for side in (left, right))
    return left_rate >= right_rate if rising else left_rate <= right_rate


def monotone_cuts(codes: np.ndarray, cuts: np.ndarray, labels: np.ndarray, weight: np.ndarray, direction: int) -> np.ndarray:
    """The cut points that remain of one feature's fine bins after merging small bins and violations of one direction."""
    size = len(cuts) + 1
    present = codes < size
    bad = np.bincount(codes[present], weights=weight[present] * labels[present], minlength=size)
    good = np.bincount(codes[present], weights=weight[present], minlength=size) - bad
    keep = list(range(size))  # the last fine bin of every group
    least = LEAST_SHARE * weight.sum()
    groups, held = [], 0.0
    for k in keep:
        held += good[k] + bad[k]
        if held >= least or k == size - 1:
            groups.append(k)
            held = 0.0
    if len(groups) > 1 and (good[groups[-2] + 1 :] + bad[groups[-2] + 1 :]).sum() < least:
        groups.pop(-2)
    starts = [0, *[k + 1 for k in groups[:-1]]]
    good, bad = np.add.reduceat(good, starts), np.add.reduceat(bad, starts)
    options = [direction == 1] if direction else [True, False]
    best = max((pooled(good, bad, rising) for rising in options), key=lambda g: _information(good, bad, g))
    ends = np.flatnonzero(np.diff(best) > 0)
    return cuts[[groups[k] for k in ends]]


def _information(good: np.ndarray, bad: np.ndarray, groups: np.ndarray) -> float:
    g, b = (np.bincount(groups, weights=counts) + SMOOTHING for counts in (good, bad))
    g, b = g / g.sum(), b / b.sum()
    return float(np.sum((b - g) * np.log(b / g)))


class Scorecard(EncodedRung):
    """WOE scorecard. `points()` is the card itself; `settings`: ridge penalty and number of characteristics."""

    name = "scorecard"

    def _fit(self, matrix: np.ndarray, labels: np.ndarray, submitted_at: pd.Series | None, weight: np.ndarray) -> None:
        fine = Bins.fit(matrix, START_BINS)
        codes = fine.codes(matrix)
        directions = self.encoder.directions
        self.bins_ = Bins([monotone_cuts(codes[:, j], fine.cuts[j], labels, weight, int(directions[j])) for j in range(matrix.shape[1])])
        codes = self.bins_.codes(matrix)
        self.woe_, values = self._evidence(codes, labels, weight)
        encoded = self._encoded(codes)
        self.chosen_ = self._choose(encoded, values)
        basis = encoded[:, self.chosen_]
        sign = np.ones(len(self.chosen_), dtype=int)
        l2 = self._penalty(basis, labels, submitted_at, weight, sign) if self.given is None else float(self.given["l2"])
        self.intercept_, self.slopes_ = fit_logistic(basis, labels, weight, l2=l2, sign=sign)
        self.means_ = np.average(basis * self.slopes_, axis=0, weights=weight)
        self.settings = {"l2": l2, "characteristics": int((self.slopes_ > 0).sum())}

    def _penalty(
        self, basis: np.ndarray, labels: np.ndarray, submitted_at: pd.Series | None, weight: np.ndarray, sign: np.ndarray
    ) -> float:
        folds = validation_folds(labels, submitted_at, folds=4 if len(labels) < FEW_ROWS else 2, seed=self.seed)
        losses = []
        for l2 in PENALTIES:
            fits = [(valid, fit_logistic(basis[train], labels[train], weight[train], l2=l2, sign=sign, steps=6)) for train, valid in folds]
            losses.append(sum(levelled_log_loss(labels[valid], basis[valid] @ b + a) for valid, (a, b) in fits))
        return PENALTIES[int(np.argmin(losses))]

    def _evidence(self, codes: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Each feature's weights of evidence by code, and its information value. A code that no row has gets zero."""
        woe, values = [], np.zeros(codes.shape[1])
        for j, size in enumerate(self.bins_.sizes):
            total = np.bincount(codes[:, j], weights=weight, minlength=size)
            bad = np.bincount(codes[:, j], weights=weight * labels, minlength=size)
            b, g = bad + SMOOTHING, total - bad + SMOOTHING
            b, g = b / b.sum(), g / g.sum()
            woe.append(np.where(total > 0, np.log(b / g), 0.0))
            values[j] = np.sum((b - g) * woe[-1])
        return woe, values

    def _encoded(self, codes: np.ndarray) -> np.ndarray:
        return np.column_stack([table[codes[:, j]] for j, table in enumerate(self.woe_)])

    @staticmethod
    def _choose(encoded: np.ndarray, values: np.ndarray) -> np.ndarray:
        """The features by information value, without those that repeat a better one; at least one."""
        order = np.argsort(-values, kind="stable")
        with np.errstate(invalid="ignore", divide="ignore"):
            correlation = np.nan_to_num(np.abs(np.corrcoef(encoded, rowvar=False).reshape(len(values), -1)))
        chosen: list[int] = []
        for j in order[:60]:
            informative = values[j] >= LEAST_IV and all(correlation[j, k] < MOST_CORRELATION for k in chosen)
            if informative and len(chosen) < MOST_FEATURES:
                chosen.append(int(j))
        return np.array(chosen or [int(order[0])], dtype=int)

    def points(self) -> list[dict[str, Any]]:
        """The card: {"feature", "bin", "woe", "points"} for every bin. An applicant's points add up to `points_of` his log-odds."""
        factor = POINTS_TO_DOUBLE / np.log(2.0)
        base = POINTS_AT - factor * np.log(ODDS_AT)
        share = (base - factor * self.intercept_) / len(self.chosen_)
        rows = []
        for slope, j in zip(self.slopes_, self.chosen_, strict=True):
            for label, woe in zip(bin_labels(self.encoder, self.bins_, int(j)), self.woe_[j], strict=True):
                points = float(share - factor * slope * woe)
                rows.append({"feature": self.encoder.features[j].name, "bin": label, "woe": float(woe), "points": points})
        return rows

    @staticmethod
    def points_of(log_odds: np.ndarray) -> np.ndarray:
        """(n,) points of log-odds of default."""
        factor = POINTS_TO_DOUBLE / np.log(2.0)
        return POINTS_AT - factor * np.log(ODDS_AT) - factor * log_odds

    def _log_odds(self, matrix: np.ndarray) -> np.ndarray:
        return self._encoded(self.bins_.codes(matrix))[:, self.chosen_] @ self.slopes_ + self.intercept_

    def _parts(self, matrix: np.ndarray) -> tuple[np.ndarray, float]:
        result = np.zeros(matrix.shape)
        result[:, self.chosen_] = self._encoded(self.bins_.codes(matrix))[:, self.chosen_] * self.slopes_ - self.means_
        return result, float(self.intercept_ + self.means_.sum())

    def _state(self) -> dict[str, Any]:
        return {
            "cuts": list(self.bins_.cuts),
            "woe": list(self.woe_),
            "chosen": self.chosen_,
            "intercept": float(self.intercept_),
            "slopes": self.slopes_,
            "means": self.means_,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.bins_ = Bins(state["cuts"])
        self.woe_ = [np.asarray(table) for table in state["woe"]]
        self.chosen_ = np.asarray(state["chosen"], dtype=int)
        self.intercept_, self.slopes_, self.means_ = float(state["intercept"]), np.asarray(state["slopes"]), np.asarray(state["means"])
