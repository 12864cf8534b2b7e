"""Decision trees read out of scikit-learn as plain nodes, and the boxes that their leaves are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Node:
    """One node of a tree while it is read out of an estimator. Left is `value <= threshold`; `missing_left`: where NaN goes."""

    feature: int
    threshold: float
    missing_left: bool
    left: int
    right: int
    value: float
    count: float

    @property
    def is_leaf(self) -> bool:
        return self.left < 0


Box = dict[int, tuple[float, float, bool, float]]
"""{feature: (low, high, whether missing is inside, share of training rows that pass)}; a value is inside when low < value <= high."""


def paths(tree: list[Node], frozen: dict[int, float] | None = None) -> list[tuple[Box, float]]:
    """Each leaf's box and value. frozen: features with one fixed value; only the leaves that it reaches are given, without that feature."""
    frozen = frozen or {}
    result: list[tuple[Box, float]] = []
    stack: list[tuple[int, Box]] = [(0, {})]
    while stack:
        at, box = stack.pop()
        node = tree[at]
        if node.is_leaf:
            result.append((box, node.value))
            continue
        if node.feature in frozen:
            stack.append((node.left if frozen[node.feature] <= node.threshold else node.right, box))
            continue
        low, high, missing, share = box.get(node.feature, (-np.inf, np.inf, True, 1.0))
        for child, is_left in ((node.left, True), (node.right, False)):
            part = tree[child].count / node.count if node.count else 0.0
            inside = missing and (node.missing_left == is_left)
            bounds = (low, min(high, node.threshold)) if is_left else (max(low, node.threshold), high)
            stack.append((child, {**box, node.feature: (*bounds, inside, share * part)}))
    return result


def boosted_nodes(model: Any) -> tuple[list[list[Node]], float]:
    """A fitted HistGradientBoostingClassifier's trees, and its intercept.

    scikit-learn has no public way to them: `_predictors` and `_baseline_prediction` are as of the pinned version.
    """
    names = ("feature_idx", "num_threshold", "missing_go_to_left", "left", "right", "value", "count", "is_leaf")
    trees = []
    for (predictor,) in model._predictors:
        columns = [predictor.nodes[name].tolist() for name in names]
        trees.append(
            [
                Node(int(f), float(t), bool(m), -1 if leaf else int(left), -1 if leaf else int(right), float(v), float(c))
                for f, t, m, left, right, v, c, leaf in zip(*columns, strict=True)
            ]
        )
    return trees, float(model._baseline_prediction.ravel()[0])
