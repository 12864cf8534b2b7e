"""Gradient boosting with monotone directions: scikit-learn's HistGradientBoosting, kept as arrays of leaves.

Several learning shapes are tried on later rows with early stopping; the best is fitted again on everything with as many trees.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mlcore.risk.coded import CodedTrees
from mlcore.risk.shap import Ensemble
from mlcore.risk.trees import boosted_nodes
from mlcore.risk.tuning import FEW_ROWS, levelled_log_loss, validation_folds

SHAPES: tuple[dict[str, Any], ...] = (
    {"max_leaf_nodes": 8, "min_samples_leaf": 20, "l2_regularization": 5.0},
    {"max_leaf_nodes": 16, "min_samples_leaf": 60, "l2_regularization": 10.0},
)
MOST_TREES = 300
MOST_DEPTH = 6
"""TreeSHAP's work grows with the square of a path's features."""
EVERY = 10


def staged_log_odds(model: Any, matrix: np.ndarray) -> np.ndarray:
    """(stages, n) log-odds after every tenth tree."""
    stages = [raw.ravel() for count, raw in enumerate(model.staged_decision_function(matrix), start=1) if count % EVERY == 0]
    return np.array(stages if stages else [model.decision_function(matrix)])


class Boosting(CodedTrees):
    """Monotone gradient boosting. `settings`: the shape, learning rate and number of trees that validation chose."""

    name = "boosting"
    most_bins = 128

    def _grow(
        self, coded: np.ndarray, frozen: dict[int, float], labels: np.ndarray, submitted_at: pd.Series | None, weight: np.ndarray
    ) -> Ensemble:
        directions = self._directions(coded)
        self.settings = dict(self.given or self._search(coded, labels, submitted_at, weight, directions))
        shape = {name: self.settings[name] for name in SHAPES[0]}
        model = self._model(shape, self.settings["learning_rate"], self.settings["trees"], directions)
        return Ensemble.from_trees(*boosted_nodes(model.fit(coded, labels, sample_weight=weight)), self.features_, frozen)

    def _search(
        self, coded: np.ndarray, labels: np.ndarray, submitted_at: pd.Series | None, weight: np.ndarray, directions: np.ndarray
    ) -> dict[str, Any]:
        small = len(labels) < FEW_ROWS
        rate = 0.05 if small else 0.08
        folds = validation_folds(labels, submitted_at, folds=3 if small else 2, seed=self.seed)[: 3 if small else 1]
        found = []
        for shape in SHAPES:
            losses = np.zeros(MOST_TREES // EVERY)
            for train, valid in folds:
                model = self._model(shape, rate, MOST_TREES, directions).fit(coded[train], labels[train], sample_weight=weight[train])
                losses += [levelled_log_loss(labels[valid], raw) for raw in staged_log_odds(model, coded[valid])]
            found.append((float(losses.min()), EVERY * (int(np.argmin(losses)) + 1), shape))
        _, trees, shape = min(found, key=lambda row: row[0])
        return {**shape, "learning_rate": rate, "trees": trees}

    def _model(self, shape: dict[str, Any], rate: float, trees: int, directions: np.ndarray) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(
            learning_rate=rate,
            max_iter=trees,
            max_depth=MOST_DEPTH,
            max_features=0.5,
            monotonic_cst=directions,
            early_stopping=False,
            random_state=self.seed,
            **shape,
        )
