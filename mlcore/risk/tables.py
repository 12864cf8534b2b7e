"""A score as a sum of one- and two-feature tables: what trees of at most two features a path compile to, exactly.

Every leaf of such a tree is a box over one or two features' codes, so a whole ensemble is
sum_j main_j[code_j] + sum_(j,k) pair_jk[code_j, code_k].
The split into mains and pairs is made unique by purification (Lengerich et al. 2020): under the training rows' joint distribution each pair
table has mean zero in every row and column, and each main table mean zero, so the intercept is the mean training applicant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mlcore.risk.trees import Node, paths


class NotPairwise(ValueError):
    """A leaf's path uses more than two features: these trees have no tables."""


@dataclass
class Tables:
    """mains[j]: (codes of j,), the last code being missing. pairs[(j, k)], j < k: (codes of j, codes of k). intercept: log-odds."""

    mains: list[np.ndarray]
    pairs: dict[tuple[int, int], np.ndarray]
    intercept: float

    @classmethod
    def zeros(cls, sizes: np.ndarray) -> Tables:
        return cls([np.zeros(size) for size in sizes], {}, 0.0)

    @classmethod
    def from_trees(cls, trees: list[list[Node]], intercept: float, sizes: np.ndarray, frozen: dict[int, float] | None = None) -> Tables:
        """The exact sum of trees over codes. frozen: features fixed to one value, which then need no table.

        Raises NotPairwise where a path holds more than two features that are not frozen.
        """
        tables = cls.zeros(sizes)
        total = intercept
        for tree in trees:
            for box, value in paths(tree, frozen):
                if not box:
                    total += value
                    continue
                if len(box) > 2:
                    raise NotPairwise(f"A path holds {len(box)} features; two can be made a table.")
                spans = {j: _spans(low, high, missing, int(sizes[j])) for j, (low, high, missing, _) in box.items()}
                tables._add(spans, value, sizes)
        tables.intercept = float(total)
        return tables

    def _add(self, spans: dict[int, list[slice]], value: float, sizes: np.ndarray) -> None:
        if len(spans) == 1:
            ((j, parts),) = spans.items()
            for part in parts:
                self.mains[j][part] += value
            return
        (j, first), (k, second) = sorted(spans.items())
        table = self.pairs.get((j, k))
        if table is None:
            table = self.pairs[j, k] = np.zeros((sizes[j], sizes[k]))
        for rows in first:
            for columns in second:
                table[rows, columns] += value

    def combine(self, share: float, other: Tables, other_share: float) -> Tables:
        """share × this + other_share × other."""
        mains = [share * a + other_share * b for a, b in zip(self.mains, other.mains, strict=True)]
        pairs = {key: share * table for key, table in self.pairs.items()}
        for key, table in other.pairs.items():
            pairs[key] = pairs[key] + other_share * table if key in pairs else other_share * table
        return Tables(mains, pairs, share * self.intercept + other_share * other.intercept)

    def purified(self, codes: np.ndarray, weight: np.ndarray) -> Tables:
        """The same sums with every pair reduced to what its two features don't say alone, centred on these (n, f) training codes.

        Cells that no training row fills get a thousandth of the independent share, so that their rows have a mean at all.
        """
        mains = [main.copy() for main in self.mains]
        shares = [np.bincount(codes[:, j], weights=weight, minlength=len(main)) / weight.sum() for j, main in enumerate(mains)]
        pairs, intercept = {}, self.intercept
        for (j, k), table in sorted(self.pairs.items()):
            size = table.shape[1]
            flat = np.bincount(codes[:, j].astype(np.intp) * size + codes[:, k], weights=weight, minlength=table.size)
            first, second = (shares[i] + 1e-3 / len(shares[i]) for i in (j, k))
            density = 0.999 * flat.reshape(table.shape) / weight.sum() + 0.001 * np.outer(first / first.sum(), second / second.sum())
            rest, row_part, column_part = _purify(table, density)
            left = float((rest.ravel() @ flat) / weight.sum())  # what the thousandth left of a mean
            rest -= left
            intercept += left
            mains[j] += row_part
            mains[k] += column_part
            pairs[j, k] = rest
        for main, share in zip(mains, shares, strict=True):
            mean = float(main @ share)
            main -= mean
            intercept += mean
        return Tables(mains, pairs, intercept)

    def log_odds(self, codes: np.ndarray) -> np.ndarray:
        """(n,) sums for (n, f) codes."""
        result = np.full(len(codes), self.intercept)
        for j, main in enumerate(self.mains):
            result += main[codes[:, j]]
        for (j, k), table in sorted(self.pairs.items()):
            result += table[codes[:, j], codes[:, k]]
        return result

    def strengths(self, codes: np.ndarray, weight: np.ndarray) -> dict[tuple[int, int], float]:
        """Each (purified) pair's standard deviation over the rows, in log-odds."""
        return {
            (j, k): float(np.sqrt(np.average(table[codes[:, j], codes[:, k]] ** 2, weights=weight))) for (j, k), table in self.pairs.items()
        }

    def to_state(self) -> dict[str, Any]:
        keys = sorted(self.pairs)
        return {
            "mains": list(self.mains),
            "pairs": [{"first": j, "second": k, "table": self.pairs[j, k]} for j, k in keys],
            "intercept": float(self.intercept),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Tables:
        pairs = {(int(row["first"]), int(row["second"])): np.asarray(row["table"], dtype=float) for row in state["pairs"]}
        return cls([np.asarray(main, dtype=float) for main in state["mains"]], pairs, float(state["intercept"]))


def _spans(low: float, high: float, missing: bool, size: int) -> list[slice]:
    """The codes with low < code <= high as a slice, and the last code where missing is inside."""
    # A split that only parts missing from present has the threshold infinity.
    start = 0 if low == -np.inf else size - 1 if low == np.inf else int(np.floor(low)) + 1
    stop = size - 1 if high == np.inf else min(int(np.floor(high)) + 1, size - 1)
    spans = [slice(start, stop)] if stop > start else []
    return [*spans, slice(size - 1, size)] if missing else spans


def _purify(table: np.ndarray, density: np.ndarray, rounds: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rest, row part, column part) with table = rest + row part[:, None] + column part, rest of mean zero along rows and columns."""
    row_mass, column_mass = density.sum(axis=1), density.sum(axis=0)
    row_part, column_part = np.zeros(table.shape[0]), np.zeros(table.shape[1])
    rest = table.copy()
    for _ in range(rounds):
        by_row = (rest * density).sum(axis=1) / row_mass
        rest -= by_row[:, None]
        by_column = (rest * density).sum(axis=0) / column_mass
        rest -= by_column
        row_part += by_row
        column_part += by_column
        if max(np.abs(by_row).max(), np.abs(by_column).max()) < 1e-12:
            break
    return rest, row_part, column_part
