"""Gradient boosting with monotone directions: scikit-learn's HistGradientBoosting, kept as arrays of leaves.

Several learning shapes are tried on later rows with early stopping; the best is fitted again on everything with as many trees.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mlcore.risk.encoded import EncodedRung
from mlcore.risk.shap import Ensemble, Node
from mlcore.risk.tuning import FEW_ROWS, levelled_log_loss, validation_folds

SHAPES: tuple[dict[str, Any], ...] = (
    {"max_leaf_nodes": 8, "min_samples_leaf": 20, "l2_regularization": 5.0},
    {"max_leaf_nodes": 16, "min_samples_leaf": 60, "l2_regularization": 10.0},
)
MOST_TREES = 300
MOST_DEPTH = 6
"""TreeSHAP's work grows with the square of a path's features."""


def staged_best(model: Any, matrix: np.ndarray, labels: np.ndarray, every: int = 10) -> tuple[int, float]:
    """(trees, levelled log-loss) at the best multiple of `every` trees of a fitted HistGradientBoostingClassifier."""
    best = (every, np.inf)
    raw = np.full(len(matrix), float(model._baseline_prediction.ravel()[0]))
    for count, trees in enumerate(model._predictors, start=1):
        raw += trees[0].predict(matrix, *_no_categories(), n_threads=1)
        if count % every == 0 or count == len(model._predictors):
            loss = levelled_log_loss(labels, raw)
            if loss < best[1]:
                best = (count, loss)
            elif count > best[0] + 8 * every:
                break
    return best


def _no_categories() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((0, 8), dtype=np.uint32), np.zeros(0, dtype=np.uint32)


def nodes_of(model: Any) -> tuple[list[list[Node]], float]:
    """A fitted HistGradientBoostingClassifier's trees as plain nodes, and its intercept."""
    trees = [_tree(predictors[0].nodes) for predictors in model._predictors]
    return trees, float(model._baseline_prediction.ravel()[0])


def _tree(nodes: np.ndarray) -> list[Node]:
    columns = [
        nodes[name].tolist()
        for name in ("feature_idx", "num_threshold", "missing_go_to_left", "left", "right", "value", "count", "is_leaf")
    ]
    return [
        Node(int(f), float(t), bool(m), -1 if leaf else int(left), -1 if leaf else int(right), float(v), float(c))
        for f, t, m, left, right, v, c, leaf in zip(*columns, strict=True)
    ]


class Boosting(EncodedRung):
    """Monotone gradient boosting. `settings`: the shape, learning rate and number of trees that validation chose."""

    name = "boosting"

    def _fit(self, matrix: np.ndarray, labels: np.ndarray, submitted_at: pd.Series | None, weight: np.ndarray) -> None:
        small = len(labels) < FEW_ROWS
        rate = 0.05 if small else 0.08
        folds = validation_folds(labels, submitted_at, folds=3 if small else 1, seed=self.seed)
        found = []
        for shape in SHAPES:
            counts, losses = [], []
            for train, valid in folds[: 3 if small else 1]:
                model = self._model(shape, rate, MOST_TREES).fit(
                    matrix[train], labels[train], sample_weight=weight[train], X_val=matrix[valid], y_val=labels[valid]
                )
                count, loss = staged_best(model, matrix[valid], labels[valid])
                counts.append(count)
                losses.append(loss)
            found.append((float(np.mean(losses)), int(np.mean(counts)), shape))
        _, trees, shape = min(found, key=lambda row: row[0])
        self.settings = {**shape, "learning_rate": rate, "trees": trees}
        model = self._model(shape, rate, trees, early_stopping=False).fit(matrix, labels, sample_weight=weight)
        self.ensemble_ = Ensemble.from_trees(*nodes_of(model), matrix.shape[1])

    def _model(self, shape: dict[str, Any], rate: float, trees: int, early_stopping: bool = True) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(
            learning_rate=rate,
            max_iter=trees,
            max_depth=MOST_DEPTH,
            max_features=0.5,
            monotonic_cst=self.encoder.directions,
            early_stopping=early_stopping,
            n_iter_no_change=20,
            random_state=self.seed,
            **shape,
        )

    def _log_odds(self, matrix: np.ndarray) -> np.ndarray:
        return self.ensemble_.log_odds(matrix)

    def _parts(self, matrix: np.ndarray) -> tuple[np.ndarray, float]:
        return self.ensemble_.contributions(matrix)

    def _state(self) -> dict[str, Any]:
        return self.ensemble_.to_state()

    def _restore(self, state: dict[str, Any]) -> None:
        self.ensemble_ = Ensemble.from_state(state)
