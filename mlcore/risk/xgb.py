"""XGBoost, where the package `xgboost` (the CPU wheel `xgboost-cpu`) is installed: on quantile codes, kept as arrays of leaves.

Codes are small integers, so that XGBoost's float32 inputs and thresholds lose nothing and its trees are reproduced exactly.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from mlcore.risk.coded import CodedTrees
from mlcore.risk.shap import Ensemble
from mlcore.risk.trees import Node
from mlcore.risk.tuning import FEW_ROWS, levelled_log_loss, validation_folds

MOST_TREES = 300
EVERY = 10


class XGBoost(CodedTrees):
    """Monotone XGBoost with row and column subsampling. `settings`: the number of trees that validation chose."""

    name = "xgboost"
    most_bins = 64

    def _grow(
        self, coded: np.ndarray, frozen: dict[int, float], labels: np.ndarray, submitted_at: pd.Series | None, weight: np.ndarray
    ) -> Ensemble:
        trees = self._trees(coded, labels, submitted_at, weight) if self.given is None else int(self.given["trees"])
        self.settings = {"trees": trees}
        booster, intercept = self._booster(coded, labels, weight, trees)
        leaves = _leaves(booster, coded)
        dumped = booster.get_dump(dump_format="json")
        nodes = [_nodes(json.loads(text), np.bincount(leaves[:, k], weights=weight)) for k, text in enumerate(dumped)]
        return Ensemble.from_trees(nodes, intercept, self.features_, frozen)

    def _trees(self, coded: np.ndarray, labels: np.ndarray, submitted_at: pd.Series | None, weight: np.ndarray) -> int:
        small = len(labels) < FEW_ROWS
        losses = np.zeros(MOST_TREES // EVERY)
        for train, valid in validation_folds(labels, submitted_at, folds=3 if small else 2, seed=self.seed)[: 3 if small else 1]:
            booster, _ = self._booster(coded[train], labels[train], weight[train], MOST_TREES)
            losses += [levelled_log_loss(labels[valid], raw) for raw in _staged(booster, coded[valid])]
        return EVERY * (int(np.argmin(losses)) + 1)

    def _booster(self, coded: np.ndarray, labels: np.ndarray, weight: np.ndarray, trees: int) -> tuple[Any, float]:
        """A fitted booster and the log-odds that it starts from."""
        import xgboost

        rate = float(np.average(labels, weights=weight))
        settings = {
            "objective": "binary:logistic",
            "base_score": rate,
            "eta": 0.08,
            "max_depth": 4,
            "min_child_weight": 5.0,
            "lambda": 5.0,
            "subsample": 0.7,
            "colsample_bytree": 0.5,
            "monotone_constraints": tuple(int(direction) for direction in self._directions(coded)),
            "tree_method": "hist",
            "seed": self.seed,
        }
        data = xgboost.DMatrix(coded, label=labels, weight=weight)
        return xgboost.train(settings, data, num_boost_round=trees), float(np.log(rate) - np.log1p(-rate))


def _staged(booster: Any, coded: np.ndarray) -> list[np.ndarray]:
    import xgboost

    data = xgboost.DMatrix(coded)
    counts = range(EVERY, MOST_TREES + 1, EVERY)
    return [booster.predict(data, output_margin=True, iteration_range=(0, count)) for count in counts]


def _leaves(booster: Any, coded: np.ndarray) -> np.ndarray:
    """(n, trees) int: the id of the leaf that each row reaches."""
    import xgboost

    return booster.predict(xgboost.DMatrix(coded), pred_leaf=True).reshape(len(coded), -1).astype(np.intp)


def _nodes(root: dict[str, Any], reached: np.ndarray) -> list[Node]:
    """One dumped tree. reached: rows by leaf id; the dump's own cover is a sum of curvatures, which would tilt the mean applicant.

    XGBoost sends x < threshold to "yes"; on integer codes that is x <= threshold - 1/2 after rounding up.
    """
    nodes: list[Node] = []

    def add(part: dict[str, Any]) -> int:
        at = len(nodes)
        count = float(reached[part["nodeid"]]) if part["nodeid"] < len(reached) else 0.0
        nodes.append(Node(0, 0.0, False, -1, -1, float(part.get("leaf", 0.0)), count))
        if "leaf" not in part:
            children = {child["nodeid"]: child for child in part["children"]}
            left, right = add(children[part["yes"]]), add(children[part["no"]])
            threshold = float(np.ceil(part["split_condition"])) - 0.5
            missing_left = part["missing"] == part["yes"]
            nodes[at] = Node(int(part["split"][1:]), threshold, missing_left, left, right, 0.0, nodes[left].count + nodes[right].count)
        return at

    add(root)
    return nodes
