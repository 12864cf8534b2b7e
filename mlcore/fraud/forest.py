"""Isolation forest (Liu, Ting & Zhou 2008), fitted by scikit-learn and kept as plain arrays of nodes.

An application that random cuts separate quickly from all others is unusual. Missing values are set to the training median: being missing
is not unusual in itself, and the rules look at it where it matters.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

TREES = 100
SAMPLES = 256
EULER = 0.5772156649015329


def average_path(rows: np.ndarray) -> np.ndarray:
    """The mean path of an unsuccessful search among so many rows: what remains unexplored in a leaf."""
    rows = np.asarray(rows, dtype=float)
    many = np.maximum(rows, 3)
    return np.where(rows <= 1, 0.0, np.where(rows <= 2, 1.0, 2 * (np.log(many - 1) + EULER) - 2 * (many - 1) / many))


@dataclass(frozen=True)
class Forest:
    """median: (f,) what stands for a missing value. Nodes of all trees in one run, (m,): feature (-1 in a leaf), threshold (left is <=),
    left, right (positions), and length: path to the leaf, what is unexplored in it included. roots: (trees,) positions. scale: c(samples).
    """

    median: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    length: np.ndarray
    roots: np.ndarray
    scale: float

    @classmethod
    def fit(cls, matrix: np.ndarray, *, seed: int = 0) -> Forest:
        """matrix: (n, f) float64, NaN where missing; every column has a value somewhere."""
        from sklearn.ensemble import IsolationForest

        median = np.nanmedian(matrix, axis=0)
        samples = min(SAMPLES, len(matrix))
        model = IsolationForest(n_estimators=TREES, max_samples=samples, random_state=seed, n_jobs=1)
        model.fit(np.where(np.isfinite(matrix), matrix, median))
        parts: dict[str, list[np.ndarray]] = {name: [] for name in ("feature", "threshold", "left", "right", "length")}
        roots, used = [], 0
        for estimator in model.estimators_:
            tree = estimator.tree_
            leaf = tree.children_left < 0
            roots.append(used)
            parts["feature"].append(np.where(leaf, -1, tree.feature))
            parts["threshold"].append(np.where(leaf, 0.0, tree.threshold))
            parts["left"].append(np.where(leaf, 0, tree.children_left + used))
            parts["right"].append(np.where(leaf, 0, tree.children_right + used))
            parts["length"].append(np.where(leaf, _depths(tree) + average_path(tree.n_node_samples), 0.0))
            used += tree.node_count
        joined = {name: np.concatenate(values) for name, values in parts.items()}
        return cls(median=median, **joined, roots=np.array(roots), scale=float(average_path(np.array(samples))))

    def score(self, matrix: np.ndarray) -> np.ndarray:
        """(n,) in (0, 1], the more the more unusual: 2 to the power of minus the mean path over its expectation."""
        # scikit-learn cuts in single precision; a value on a threshold must fall on the same side here.
        values = np.where(np.isfinite(matrix), matrix, self.median).astype(np.float32)
        total = np.zeros(len(values))
        flat, start = np.ascontiguousarray(values).ravel(), np.arange(len(values)) * values.shape[1]
        feature, children, depths = self._walk
        for root, depth in zip(self.roots, depths, strict=True):
            at = np.full(len(values), root)
            # Whoever is in a leaf already steps on the spot: that costs less than picking out those who are not.
            for _ in range(depth):
                go_left = flat.take(start + feature.take(at)) <= self.threshold.take(at)
                at = children.take(2 * at + go_left)
            total += self.length.take(at)
        return 2.0 ** (-total / len(self.roots) / max(self.scale, 1e-9))

    @cached_property
    def _walk(self) -> tuple[np.ndarray, np.ndarray, list[int]]:
        """(m,) features, (2m,) of each node its right and its left child, a leaf being its own, and the depth of each tree."""
        leaf, own = self.feature < 0, np.arange(len(self.feature))
        left, right = np.where(leaf, own, self.left), np.where(leaf, own, self.right)
        depths = []
        for root in self.roots:
            level, depth = np.array([root]), 0
            while len(inner := level[~leaf[level]]):
                level, depth = np.concatenate([left[inner], right[inner]]), depth + 1
            depths.append(depth)
        return np.where(leaf, 0, self.feature), np.stack([right, left], axis=1).ravel(), depths

    def to_state(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Forest:
        return cls(**state)


def _depths(tree: Any) -> np.ndarray:
    depth = np.zeros(tree.node_count)
    for node in range(tree.node_count):  # parents come before their children
        if tree.children_left[node] >= 0:
            depth[tree.children_left[node]] = depth[tree.children_right[node]] = depth[node] + 1
    return depth
