"""One decision tree, small enough to read: monotone where the direction is known, missing on a side of its own choosing.

It is the first tree of scikit-learn's HistGradientBoosting at learning rate one: unlike DecisionTreeClassifier it takes monotone directions
and missing values together. Its Newton step v from the prior p is (rate - p) / (p (1 - p)), so each leaf's rate comes back exactly.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from mlcore.risk.coded import CodedTrees
from mlcore.risk.shap import Ensemble
from mlcore.risk.trees import Node, boosted_nodes
from mlcore.risk.tuning import levelled_log_loss, validation_folds

LEAVES = (4, 8, 16, 32)
MOST_DEPTH = 6


class Tree(CodedTrees):
    """A single tree. `settings`: the number of leaves that validation chose."""

    name = "tree"

    def _grow(
        self, coded: np.ndarray, frozen: dict[int, float], labels: np.ndarray, submitted_at: pd.Series | None, weight: np.ndarray
    ) -> Ensemble:
        leaves = self._leaves(coded, frozen, labels, submitted_at, weight) if self.given is None else int(self.given["leaves"])
        self.settings = {"leaves": leaves}
        return self._one(coded, labels, weight, leaves, frozen)

    def _leaves(
        self, coded: np.ndarray, frozen: dict[int, float], labels: np.ndarray, submitted_at: pd.Series | None, weight: np.ndarray
    ) -> int:
        folds = validation_folds(labels, submitted_at, folds=3, seed=self.seed)
        losses = np.zeros(len(LEAVES))
        for k, leaves in enumerate(LEAVES):
            for train, valid in folds:
                fitted = self._one(coded[train], labels[train], weight[train], leaves, frozen)
                losses[k] += levelled_log_loss(labels[valid], fitted.log_odds(coded[valid]))
        return LEAVES[int(np.argmin(losses))]

    def _one(self, coded: np.ndarray, labels: np.ndarray, weight: np.ndarray, leaves: int, frozen: dict[int, float]) -> Ensemble:
        from sklearn.ensemble import HistGradientBoostingClassifier

        model = HistGradientBoostingClassifier(
            learning_rate=1.0,
            max_iter=1,
            max_leaf_nodes=leaves,
            max_depth=MOST_DEPTH,
            min_samples_leaf=max(5, len(labels) // 100),
            monotonic_cst=self._directions(coded),
            early_stopping=False,
            random_state=self.seed,
        ).fit(coded, labels, sample_weight=weight)
        (tree,), intercept = boosted_nodes(model)
        latest = {column: float(coded[:, column].max()) for column in frozen}
        return Ensemble.from_trees([_log_odds_leaves(tree, intercept)], 0.0, self.features_, latest)


def _log_odds_leaves(tree: list[Node], intercept: float) -> list[Node]:
    """The tree with each leaf's log-odds in place of its Newton step, the prior counting as one row more."""
    prior = 1.0 / (1.0 + np.exp(-intercept))
    result = []
    for node in tree:
        rate = prior + node.value * prior * (1.0 - prior)
        rate = (np.clip(rate, 0.0, 1.0) * node.count + prior) / (node.count + 1.0)
        result.append(replace(node, value=float(np.log(rate) - np.log1p(-rate))))
    return result
