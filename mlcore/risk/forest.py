"""A random forest: scikit-learn's, on quantile codes, its trees averaged as log-odds so that their contributions add up.

scikit-learn averages the leaves' rates. Averaging their (shrunk) log-odds ranks alike, and TreeSHAP is then exact on the score itself.
It has no monotone directions: scikit-learn's forests take them only where no value is missing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mlcore.risk.coded import CodedTrees
from mlcore.risk.shap import Ensemble
from mlcore.risk.trees import Node
from mlcore.risk.tuning import levelled_log_loss, validation_folds

TREES = 100
MOST_DEPTH = 6
LEAF_SHARES = (0.002, 0.01)
"""Candidates for the least share of the rows in a leaf."""
SHRINKAGE = 10.0
"""Rows' worth of the portfolio's rate in every leaf."""


class Forest(CodedTrees):
    """A random forest of shallow trees. `settings`: the least leaf size that validation chose."""

    name = "forest"

    def _grow(
        self, coded: np.ndarray, frozen: dict[int, float], labels: np.ndarray, submitted_at: pd.Series | None, weight: np.ndarray
    ) -> Ensemble:
        share = self._share(coded, frozen, labels, submitted_at, weight) if self.given is None else float(self.given["least_leaf_share"])
        self.settings = {"least_leaf_share": share, "trees": TREES, "depth": MOST_DEPTH}
        return self._average(coded, labels, weight, share, TREES, frozen)

    def _share(
        self, coded: np.ndarray, frozen: dict[int, float], labels: np.ndarray, submitted_at: pd.Series | None, weight: np.ndarray
    ) -> float:
        folds = validation_folds(labels, submitted_at, folds=2, seed=self.seed)[:1]
        losses = np.zeros(len(LEAF_SHARES))
        for k, share in enumerate(LEAF_SHARES):
            for train, valid in folds:
                fitted = self._average(coded[train], labels[train], weight[train], share, TREES // 4, frozen)
                losses[k] += levelled_log_loss(labels[valid], fitted.log_odds(coded[valid]))
        return LEAF_SHARES[int(np.argmin(losses))]

    def _average(
        self, coded: np.ndarray, labels: np.ndarray, weight: np.ndarray, share: float, trees: int, frozen: dict[int, float]
    ) -> Ensemble:
        from sklearn.ensemble import RandomForestClassifier

        model = RandomForestClassifier(
            n_estimators=trees,
            max_depth=MOST_DEPTH,
            min_samples_leaf=max(5, int(share * len(labels))),
            max_features="sqrt",
            max_samples=0.7,
            random_state=self.seed,
        ).fit(coded, labels, sample_weight=weight)
        prior = float(np.average(labels, weights=weight))
        latest = {column: float(coded[:, column].max()) for column in frozen}
        nodes = [_nodes(one.tree_, prior, 1.0 / trees) for one in model.estimators_]
        return Ensemble.from_trees(nodes, 0.0, self.features_, latest)


def _nodes(tree: Any, prior: float, share: float) -> list[Node]:
    """One of the forest's trees; a leaf's value is its share of the forest's mean log-odds."""
    count = tree.weighted_n_node_samples
    rate = (tree.value[:, 0, 1] * count + SHRINKAGE * prior) / (count + SHRINKAGE)
    value = share * (np.log(rate) - np.log1p(-rate))
    columns = (tree.feature, tree.threshold, tree.missing_go_to_left, tree.children_left, tree.children_right, value, count)
    return [
        Node(int(f), float(t), bool(m), int(left), int(right), float(v), float(c))
        for f, t, m, left, right, v, c in zip(*(column.tolist() for column in columns), strict=True)
    ]
