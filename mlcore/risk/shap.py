"""Trees as arrays of their leaves, and exact path-dependent TreeSHAP on them (Lundberg et al. 2020, algorithm 1).

A row meets each feature's condition on a leaf's path or it does not, so a leaf's Shapley values depend only on which conditions hold.
With o_j (0/1: holds) and z_j (share of training rows that pass j's splits), feature i's value at a leaf of value v over d features is
v * (o_i - z_i) * sum over subsets S of the others, |S|! (d-1-|S|)! / d! * prod_{j in S} o_j * prod_{j not in S} z_j.
Leaves with the same number of features are evaluated together, rows x leaves at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial
from typing import Any

import numpy as np

from mlcore.risk.trees import Node, paths

_CELLS = 4_000_000
"""Rows × leaves × features held at a time: some 32 MB an array."""


_MANY_ROWS = 500
"""Above it the work is done leaf by leaf: numpy's overhead for each leaf is then small beside the rows."""


@dataclass(frozen=True)
class LeafGroup:
    """Leaves whose paths use the same number d of features. A row is in the box where low < x <= high, or x is missing and `missing`."""

    feature: np.ndarray  # (leaves, d) intp
    low: np.ndarray  # (leaves, d) float64
    high: np.ndarray  # (leaves, d) float64
    missing: np.ndarray  # (leaves, d) bool
    passing: np.ndarray  # (leaves, d) float64: z, the share of training rows that pass this feature's splits on the path
    value: np.ndarray  # (leaves,) float64


class Ensemble:
    """A sum of trees plus an intercept. `log_odds` and `contributions` of an (n, f) float64 matrix."""

    def __init__(self, groups: list[LeafGroup], intercept: float, features: int) -> None:
        self.groups = groups
        self.intercept = intercept
        self.features = features
        self.baseline = intercept + sum(float(g.value @ g.passing.prod(axis=1)) for g in groups)

    @classmethod
    def from_trees(cls, trees: list[list[Node]], intercept: float, features: int, frozen: dict[int, float] | None = None) -> Ensemble:
        """frozen: features that were fitted on but are fixed to one value from now on (see `mlcore.risk.trees.paths`)."""
        leaves: dict[int, list[tuple]] = {}
        for tree in trees:
            for conditions, value in paths(tree, frozen):
                leaves.setdefault(len(conditions), []).append((conditions, value))
        groups = []
        for d, found in sorted(leaves.items()):
            if d == 0:
                intercept += sum(value for _, value in found)
                continue
            table = np.array([[(j, *box) for j, box in conditions.items()] for conditions, _ in found], dtype=float)
            groups.append(
                LeafGroup(
                    feature=table[:, :, 0].astype(np.intp),
                    low=table[:, :, 1],
                    high=table[:, :, 2],
                    missing=table[:, :, 3].astype(bool),
                    passing=table[:, :, 4],
                    value=np.array([value for _, value in found]),
                )
            )
        return cls(groups, float(intercept), features)

    def _chunks(self, group: LeafGroup, rows: int) -> list[tuple[slice, slice]]:
        leaves, d = group.feature.shape
        row_step = max(1, min(rows, 2048))
        leaf_step = max(1, _CELLS // (row_step * d))
        return [(slice(r, r + row_step), slice(k, k + leaf_step)) for r in range(0, rows, row_step) for k in range(0, leaves, leaf_step)]

    @staticmethod
    def _holds(matrix: np.ndarray, group: LeafGroup, leaves: slice) -> np.ndarray:
        """(rows, leaves, d) bool: which conditions of which leaves hold."""
        values = matrix[:, group.feature[leaves]]
        holds = (values > group.low[leaves]) & (values <= group.high[leaves])
        return holds | (np.isnan(values) & group.missing[leaves])

    def log_odds(self, matrix: np.ndarray) -> np.ndarray:
        result = np.full(len(matrix), self.intercept)
        for group in self.groups:
            for rows, leaves in self._chunks(group, len(matrix)):
                inside = self._holds(matrix[rows], group, leaves).all(axis=2)
                result[rows] += inside @ group.value[leaves]
        return result

    def contributions(self, matrix: np.ndarray) -> tuple[np.ndarray, float]:
        """(n, f) Shapley values, and the training rows' mean that they add up from."""
        if len(matrix) > _MANY_ROWS:
            return self._leaf_by_leaf(matrix), self.baseline
        result = np.zeros((len(matrix), self.features))
        for group in self.groups:
            for rows, leaves in self._chunks(group, len(matrix)):
                holds = self._holds(matrix[rows], group, leaves).astype(float)
                values = _leaf_values(holds, group.passing[leaves]) * group.value[leaves][None, :, None]
                flat = group.feature[leaves].ravel()
                # Sum over the leaves by feature: a sparse one-hot product, done as a sort and a segmented sum.
                order = np.argsort(flat, kind="stable")
                starts = np.flatnonzero(np.diff(flat[order], prepend=-1))
                result[rows, flat[order][starts]] += np.add.reduceat(values.reshape(len(holds), -1)[:, order], starts, axis=1)
        return result, self.baseline

    def _leaf_by_leaf(self, matrix: np.ndarray) -> np.ndarray:
        """For many rows: one leaf at a time, its values looked up by which of its d conditions hold (2**d patterns)."""
        columns = np.ascontiguousarray(matrix.T)
        gaps = np.isnan(columns)
        result = np.zeros((self.features, len(matrix)))
        for group in self.groups:
            leaves, d = group.feature.shape
            patterns = (np.arange(2**d)[:, None] >> np.arange(d)) & 1
            step = max(1, _CELLS // (2**d * d))
            for start in range(0, leaves, step):
                part = slice(start, start + step)
                holds = np.repeat(patterns[:, None, :].astype(float), len(group.value[part]), axis=1)
                tables = _leaf_values(holds, group.passing[part]) * group.value[part][None, :, None]
                for k in range(tables.shape[1]):
                    at = np.zeros(len(matrix), dtype=np.intp)
                    for i, j in enumerate(group.feature[start + k]):
                        inside = (columns[j] > group.low[start + k, i]) & (columns[j] <= group.high[start + k, i])
                        if group.missing[start + k, i]:
                            inside |= gaps[j]
                        at |= inside.astype(np.intp) << i
                    for i, j in enumerate(group.feature[start + k]):
                        result[j] += tables[:, k, i].take(at)
        return np.ascontiguousarray(result.T)

    def to_state(self) -> dict[str, Any]:
        return {
            "intercept": self.intercept,
            "features": self.features,
            "groups": [
                {
                    "feature": group.feature.astype(np.int32),
                    "low": group.low,
                    "high": group.high,
                    "missing": group.missing,
                    "passing": group.passing,
                    "value": group.value,
                }
                for group in self.groups
            ],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Ensemble:
        groups = [LeafGroup(**{**one, "feature": np.asarray(one["feature"]).astype(np.intp)}) for one in state["groups"]]
        return cls(groups, float(state["intercept"]), int(state["features"]))


def _leaf_values(holds: np.ndarray, passing: np.ndarray) -> np.ndarray:
    """(rows, leaves, d) Shapley values of leaves of value one.

    The sum over subsets of the others is a polynomial in the subset's size: extend it by all features but one, d times (d is a path's
    length, six or so), which needs no division and so stays exact where a z is zero.
    """
    rows, leaves, d = holds.shape
    result = np.empty_like(holds)
    size_weight = [factorial(k) * factorial(d - 1 - k) / factorial(d) for k in range(d)]
    for i in range(d):
        sums = [np.ones((rows, leaves))]  # sums[k]: total of the products over subsets of size k
        for j in range(d):
            if j == i:
                continue
            o, z = holds[:, :, j], passing[None, :, j]
            sums = [(sums[k] * z if k < len(sums) else 0.0) + (sums[k - 1] * o if k > 0 else 0.0) for k in range(len(sums) + 1)]
        total = sum(weight * part for weight, part in zip(size_weight, sums, strict=True))
        result[:, :, i] = (holds[:, :, i] - passing[None, :, i]) * total
    return result
