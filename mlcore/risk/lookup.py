"""Scoring by lookup: a table model's log-odds with all contributions, in bulk with numpy and one row in plain Python, to the same digits.

Both paths add the same numbers in the same order, so they agree to the last bit.
"""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

from mlcore.risk.binning import Bins
from mlcore.risk.tables import Tables

CHUNK = 8192
"""Rows at a time: codes and contributions of a chunk stay in the processor's second-level cache."""


class Lookup:
    """The quick paths over purified tables.

    Each table is one term. It is stored already multiplied by the share that a schema column gets of it (half a pair goes to each
    feature, a derived feature's part equally to its sources), so that scoring only looks up and adds.

    shares: (features, columns) as `Encoder.shares` gives them.
    """

    def __init__(self, bins: Bins, tables: Tables, shares: np.ndarray) -> None:
        self.bins = bins
        self.baseline = float(tables.intercept)
        self.columns = shares.shape[1]
        self.terms: list[tuple[int, int, int, list[tuple[np.ndarray, tuple[int, ...]]]]] = []
        for j, main in enumerate(tables.mains):
            if main.any():
                self.terms.append((j, -1, 0, self._scaled(main, shares[j])))
        for (j, k), table in sorted(tables.pairs.items()):
            if table.any():
                self.terms.append((j, k, table.shape[1], self._scaled(table.ravel(), 0.5 * (shares[j] + shares[k]))))
        self.used = sorted({j for term in self.terms for j in term[:2] if j >= 0})
        self._plain = [(j, k, width, [(table.tolist(), columns) for table, columns in parts]) for j, k, width, parts in self.terms]
        self._cuts = [(j, bins.cuts[j].tolist(), len(bins.cuts[j]) + 1) for j in self.used]

    @staticmethod
    def _scaled(table: np.ndarray, share: np.ndarray) -> list[tuple[np.ndarray, tuple[int, ...]]]:
        """[(table × share, columns that get it)], one for every distinct share."""
        found: dict[float, list[int]] = {}
        for column in np.flatnonzero(share).tolist():
            found.setdefault(float(share[column]), []).append(column)
        return [(np.ascontiguousarray(table * part), tuple(columns)) for part, columns in found.items()]

    def contributions(self, matrix: np.ndarray) -> tuple[np.ndarray, float]:
        """(n, columns) contributions of an (n, features) float64 matrix, and the baseline that they add up from."""
        rows = len(matrix)
        result = np.zeros((self.columns, rows))
        codes = np.empty((matrix.shape[1], CHUNK), dtype=np.intp)
        index, value = np.empty(CHUNK, dtype=np.intp), np.empty(CHUNK)
        for start in range(0, rows, CHUNK):
            size = min(CHUNK, rows - start)
            self._code(matrix[start : start + size], codes[:, :size])
            out = result[:, start : start + size]
            at, looked = index[:size], value[:size]
            for j, k, width, parts in self.terms:
                if k < 0:
                    where = codes[j, :size]
                else:
                    np.multiply(codes[j, :size], width, out=at)
                    np.add(at, codes[k, :size], out=at)
                    where = at
                for table, columns in parts:
                    # Codes are within the table by construction; "clip" only spares numpy its own check.
                    np.take(table, where, out=looked, mode="clip")
                    for column in columns:
                        out[column] += looked
        return result.T, self.baseline

    def _code(self, block: np.ndarray, codes: np.ndarray) -> None:
        """Codes of the features in use. So few cuts are counted faster than they are searched."""
        count, above = np.empty(len(block), dtype=np.uint8), np.empty(len(block), dtype=bool)
        step = above.view(np.uint8)
        for j, cuts, missing in self._cuts:
            values = np.ascontiguousarray(block[:, j])
            count[:] = 0
            for cut in cuts:
                np.greater(values, cut, out=above)
                np.add(count, step, out=count)
            np.isfinite(values, out=above)
            if not above.all():
                count[~above] = missing
            codes[j] = count

    @staticmethod
    def total(contributions: np.ndarray, baseline: float) -> np.ndarray:
        """(n,) log-odds: the sum in column order, as `one` adds it."""
        result = np.full(len(contributions), baseline)
        for column in range(contributions.shape[1]):
            result += contributions[:, column]
        return result

    def one(self, values: list[float | None]) -> tuple[float, list[float]]:
        """Log-odds and contributions of one row of features (None is missing)."""
        codes = [0] * len(values)
        for j, cuts, missing in self._cuts:
            value = values[j]
            codes[j] = missing if value is None else bisect_left(cuts, value)
        parts = [0.0] * self.columns
        for j, k, width, tables in self._plain:
            at = codes[j] if k < 0 else codes[j] * width + codes[k]
            for table, columns in tables:
                value = table[at]
                for column in columns:
                    parts[column] += value
        total = self.baseline
        for part in parts:
            total += part
        return total, parts
