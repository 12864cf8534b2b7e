"""The production rung: boosting of at most two features a path, averaged, and compiled exactly into one- and two-feature tables.

How it is fitted, on quantile codes (8–24 a feature):

1. Trial fits on earlier rows, checked on later ones (stratified folds without dates), choose the number of trees and how much of the
   score is a monotone spline regression on the same codes. That regression is additive, so it is mains tables too; on few
   rows it carries what trees can't find.
2. The trials' pair tables are purified and the strongest pairs are kept: at most 20, each worth at least 2 % of the strongest main effect.
   So a model is some 40 tables of at most 26 × 26 cells: it prints on a few pages, and each cell can be edited.
3. Sixteen fits on random 70 % of the rows, on these pairs only, monotone where the direction is known, are averaged and compiled. With
   dates each feature may also pair with the period, frozen at the latest one (`tuning.periods`), which leaves a main effect.

Boosting is scikit-learn's HistGradientBoosting with interaction constraints; the pairwise form follows Lou et al. (2013), "Accurate
intelligible models with pairwise interactions".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from mlcore.risk.binning import Bins
from mlcore.risk.boosting import EVERY, staged_log_odds
from mlcore.risk.encoded import EncodedRung
from mlcore.risk.logistic import Splines, fit_splines
from mlcore.risk.lookup import Lookup
from mlcore.risk.tables import Tables
from mlcore.risk.trees import boosted_nodes
from mlcore.risk.tuning import FEW_ROWS, levelled_log_loss, validation_folds, with_period

FITS = 16
SUBSAMPLE = 0.7
MOST_TREES = 240
MOST_PAIRS = 20
LEAST_STRENGTH = 0.02
MOST_BINS = 24
SHARES = (1.0, 0.75, 0.5)
"""Of the trees in the score; the rest is the spline regression's."""


class Pairwise(EncodedRung):
    """Averaged two-feature boosting as tables. `settings`: trees, share of the trees, pairs by name.

    After `fit`: `bins_` (codes of the encoder's features), `tables_` (purified, editable), `lookup_` (the quick paths over both).
    """

    name = "pairwise"

    def _fit(self, matrix: np.ndarray, labels: np.ndarray, submitted_at: pd.Series | None, weight: np.ndarray) -> None:
        self.bins_ = Bins.fit(matrix, int(np.clip(len(labels) // 50, 8, MOST_BINS)))
        codes = self.bins_.codes(matrix)
        floats = self.bins_.as_floats(codes)
        dated, frozen = with_period(floats, submitted_at)
        small = len(labels) < FEW_ROWS
        folds = validation_folds(labels, submitted_at, folds=3 if small else 2, seed=self.seed)[: 3 if small else 1]
        splines = fit_splines(floats, labels, weight, self.encoder.directions, folds, submitted_at)
        pairs, trees, share = self._trials(dated, codes, labels, weight, folds, splines, frozen)
        models = self._fits(dated, labels, weight, trees, self._groups(pairs, bool(frozen)), FITS)
        tables = self._average(models, frozen).combine(share, _additive(splines, self.bins_), 1.0 - share)
        self.tables_ = tables.purified(codes, weight)
        names = [feature.name for feature in self.encoder.features]
        self.settings = {
            "trees": trees,
            "share_of_trees": share,
            **{key: float(value) for key, value in splines.settings.items()},
            "pairs": [f"{names[j]} × {names[k]}" for j, k in pairs],
        }
        self._ready()

    def _trials(
        self,
        dated: np.ndarray,
        codes: np.ndarray,
        labels: np.ndarray,
        weight: np.ndarray,
        folds: list[tuple[np.ndarray, np.ndarray]],
        splines: Splines,
        frozen: dict[int, float],
    ) -> tuple[list[tuple[int, int]], int, float]:
        """The pairs to keep, the number of trees and the share of the trees in the score, chosen on validation rows."""
        losses = np.zeros((len(SHARES), MOST_TREES // EVERY))
        strengths: dict[tuple[int, int], float] = {}
        main_strength = 0.0
        for (train, valid), additive in zip(folds, splines.held, strict=True):
            models = self._fits(dated[train], labels[train], weight[train], MOST_TREES, "pairwise", 2)
            staged = sum(staged_log_odds(model, dated[valid]) for model in models) / len(models)
            for row, share in enumerate(SHARES):
                losses[row] += [levelled_log_loss(labels[valid], share * raw + (1.0 - share) * additive) for raw in staged]
            latest = {column: float(dated[train, column].max()) for column in frozen}
            tables = self._average(models, latest).purified(codes[train], weight[train])
            for pair, strength in tables.strengths(codes[train], weight[train]).items():
                strengths[pair] = strengths.get(pair, 0.0) + strength
            main_strength += max(float(np.std(main[codes[train, j]])) for j, main in enumerate(tables.mains))
        row, column = np.unravel_index(np.argmin(losses), losses.shape)
        ranked = sorted(strengths, key=lambda pair: (-strengths[pair], pair))
        kept = [pair for pair in ranked[:MOST_PAIRS] if strengths[pair] >= LEAST_STRENGTH * main_strength]
        return kept, EVERY * (int(column) + 1), SHARES[row]

    def _groups(self, pairs: list[tuple[int, int]], with_period: bool) -> list[set[int]]:
        width = len(self.encoder.features)
        period = [{j, width} for j in range(width)] if with_period else []
        return [{j} for j in range(width)] + [set(pair) for pair in pairs] + period

    def _fits(self, matrix: np.ndarray, labels: np.ndarray, weight: np.ndarray, trees: int, groups: Any, count: int) -> list[Any]:
        """`count` fitted boosters on random parts of the rows. Inside `joblib.parallel_config(backend=…)` they spread over its workers."""
        from joblib import Parallel, delayed

        directions = np.append(self.encoder.directions, np.zeros(matrix.shape[1] - len(self.encoder.features), dtype=int))
        jobs = (delayed(_one_fit)(matrix, labels, weight, directions, trees, groups, self.seed * 1000 + k) for k in range(count))
        return Parallel()(jobs)

    def _average(self, models: list[Any], frozen: dict[int, float]) -> Tables:
        tables = Tables.zeros(self.bins_.sizes)
        for model in models:
            tables = tables.combine(1.0, Tables.from_trees(*boosted_nodes(model), self.bins_.sizes, frozen), 1.0 / len(models))
        return tables

    def _ready(self) -> None:
        self.lookup_ = Lookup(self.bins_, self.tables_, self.encoder.shares())

    def log_odds(self, frame: pd.DataFrame, submitted_at: pd.Series | None = None) -> np.ndarray:
        parts, baseline = self.contributions(frame, submitted_at)
        return self.lookup_.total(parts, baseline)

    def contributions(self, frame: pd.DataFrame, submitted_at: pd.Series | None = None) -> tuple[np.ndarray, float]:
        """(n, columns of the schema) log-odds against the mean training applicant, and that mean."""
        return self.lookup_.contributions(self.encoder.transform(frame, submitted_at))

    def one(self, row: Mapping[str, Any], submitted_at: datetime | None = None) -> tuple[float, list[float]]:
        """One application's log-odds and contributions by schema column, in plain Python: the digits of the frame's path.

        row: {column: value}, None or absent where missing; categories as str, dates as date or datetime.
        """
        return self.lookup_.one(self.encoder.one(row, submitted_at))

    def _state(self) -> dict[str, Any]:
        return {"cuts": list(self.bins_.cuts), "tables": self.tables_.to_state()}

    def _restore(self, state: dict[str, Any]) -> None:
        self.bins_ = Bins(state["cuts"])
        self.tables_ = Tables.from_state(state["tables"])
        self._ready()


def _one_fit(matrix: np.ndarray, labels: np.ndarray, weight: np.ndarray, directions: np.ndarray, trees: int, groups: Any, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    rows = np.random.default_rng(seed).random(len(labels)) < SUBSAMPLE
    if not 0 < labels[rows].mean() < 1:  # a handful of rows: a part of them may hold one class only
        rows[:] = True
    model = HistGradientBoostingClassifier(
        learning_rate=0.08,
        max_iter=trees,
        max_leaf_nodes=8,
        min_samples_leaf=20,
        l2_regularization=5.0,
        max_features=0.3,
        interaction_cst=groups,
        monotonic_cst=directions,
        early_stopping=False,
        random_state=seed,
    )
    return model.fit(matrix[rows], labels[rows], sample_weight=weight[rows])


def _additive(splines: Splines, bins: Bins) -> Tables:
    """The spline regression on codes as mains tables."""
    tables = Tables.zeros(bins.sizes)
    longest = int(bins.sizes.max())
    grid = np.tile(np.arange(longest, dtype=float)[:, None], (1, len(bins.sizes)))
    missing = np.full((1, len(bins.sizes)), np.nan)
    sums = splines.ramps.sums(splines.ramps.transform(np.vstack([grid, missing])), splines.coefficients)
    for j, size in enumerate(bins.sizes):
        tables.mains[j][: size - 1] = sums[: size - 1, j]
        tables.mains[j][size - 1] = sums[-1, j]
    tables.intercept = float(splines.intercept)
    return tables
