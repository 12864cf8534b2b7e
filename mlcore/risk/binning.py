"""Quantile bins with cut points that a person can read, and small integer codes for them."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np


def readable_between(low: float, high: float) -> float:
    """The shortest decimal c with low <= c < high (low < high), so that tables print "18.5", not "18.500000000000004"."""
    if low.is_integer() and high == low + 1.0:
        return low  # counts: "at most 1" reads better than "at most 1.5"
    middle = low + (high - low) / 2.0
    for digits in range(1, 18):
        cut = float(f"{middle:.{digits}g}")
        if low <= cut < high:
            return cut
    return low


def quantile_cuts(values: np.ndarray, most_bins: int, weight: np.ndarray | None = None) -> np.ndarray:
    """At most `most_bins - 1` ascending cut points of one column; a value belongs to bin k when cut[k-1] < value <= cut[k].

    values: (n,) float64, NaN (missing) ignored. A column with few distinct values gets a cut between every two of them.
    """
    present = values[np.isfinite(values)]
    if present.size == 0:
        return np.empty(0)
    distinct, counts = np.unique(present, return_counts=True)
    if len(distinct) > most_bins:
        # Positions by rank: each cut falls after the distinct value at which the next equal share of rows is complete.
        share = np.cumsum(counts) / present.size
        after = np.unique(np.searchsorted(share, np.arange(1, most_bins) / most_bins - 1e-12))
        after = after[after < len(distinct) - 1]
    else:
        after = np.arange(len(distinct) - 1)
    return np.array([readable_between(float(distinct[k]), float(distinct[k + 1])) for k in after])


class Bins:
    """Cut points for each feature, and codes: 0 … len(cuts) for values in ascending order, len(cuts) + 1 for missing."""

    def __init__(self, cuts: list[np.ndarray]) -> None:
        self.cuts = [np.ascontiguousarray(cut, dtype=float) for cut in cuts]
        self._lists = [cut.tolist() for cut in self.cuts]
        self.sizes = np.array([len(cut) + 2 for cut in self.cuts], dtype=np.intp)

    @classmethod
    def fit(cls, matrix: np.ndarray, most_bins: int = 32) -> Bins:
        return cls([quantile_cuts(matrix[:, j], most_bins) for j in range(matrix.shape[1])])

    def codes(self, matrix: np.ndarray) -> np.ndarray:
        """(n, f) uint8 codes of an (n, f) float64 matrix, in column-major order (one feature's codes lie together)."""
        result = np.empty(matrix.shape, dtype=np.uint8, order="F")
        for j in range(matrix.shape[1]):
            result[:, j] = self.codes_of(j, matrix[:, j])
        return result

    def codes_of(self, j: int, values: np.ndarray) -> np.ndarray:
        cut = self.cuts[j]
        code = np.searchsorted(cut, values, side="left").astype(np.uint8)
        code[~np.isfinite(values)] = len(cut) + 1
        return code

    def code(self, j: int, value: float | None) -> int:
        """One value's code; None is missing. The scalar twin of `codes_of`."""
        cut = self._lists[j]
        return len(cut) + 1 if value is None else bisect_left(cut, value)

    def as_floats(self, codes: np.ndarray) -> np.ndarray:
        """Codes as float64 with NaN for missing: what scikit-learn's trees take."""
        result = codes.astype(float)
        result[codes == (self.sizes - 1)[None, :]] = np.nan
        return result

    def to_state(self) -> list[np.ndarray]:
        return list(self.cuts)
