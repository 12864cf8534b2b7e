"""Categories as numbers: the default rate of a value, shrunk towards its group's by the evidence there is.

Empirical-Bayes target encoding after Micci-Barreca (2001). Values of the shape of a code (a postcode, an industry number) shrink towards
the rate of their prefix rather than the portfolio's. A column of many values is cross-fitted: a training row's own outcome
never enters its own encoding, or trees would learn the label through rare values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

FEW_LEVELS = 16
"""Up to so many values a level's rate rests on enough rows to be used directly."""
FOLDS = 5
MOST_LEVELS = 5000
"""Rarer values beyond the most frequent ones score like unseen ones: free text declared as a category can't blow up a model."""


def logit(p: np.ndarray | float) -> Any:
    return np.log(p) - np.log1p(-np.asarray(p))


def _strength(total: np.ndarray, bad: np.ndarray, prior: np.ndarray) -> float:
    """Rows' worth of prior: within-level over between-level variance, by the method of moments."""
    seen = total > 0
    if seen.sum() < 2:
        return 50.0
    n, rate, p = total[seen], bad[seen] / total[seen], prior[seen]
    noise = p * (1.0 - p)
    between = (np.sum(n * (rate - p) ** 2) - np.sum(noise)) / np.sum(n)
    return float(np.clip(np.average(noise, weights=n) / max(between, 1e-9), 5.0, 500.0))


class CategoryEncoder:
    """One column's values → log-odds of default. Missing stays missing; an unseen value gets its prefix's or the portfolio's.

    After `fit`: `values_` holds the log-odds and `counts_` the log of 1 + training rows, in the order of `levels_`.
    """

    def fit(self, values: np.ndarray, default: np.ndarray) -> CategoryEncoder:
        """values: (n,) object of str or None. default: (n,) 0/1."""
        present = ~pd.isna(values)
        levels, codes = np.unique(values[present].astype(str), return_inverse=True)
        y = default[present].astype(float)
        self.many_ = len(levels) > FEW_LEVELS
        self.prefixes_ = self._prefix_lengths(levels, codes) if self.many_ else ()
        total = np.bincount(codes, minlength=len(levels)).astype(float)
        if len(levels) > MOST_LEVELS:
            keep = np.sort(np.argsort(-total, kind="stable")[:MOST_LEVELS])
            kept = np.isin(codes, keep)
            codes, y, levels, total = np.searchsorted(keep, codes[kept]), y[kept], levels[keep], total[keep]
        self.levels_ = levels
        self.counts_ = np.log1p(total)
        self._learn(codes, y)
        return self

    def _prefix_lengths(self, levels: np.ndarray, codes: np.ndarray) -> tuple[int, ...]:
        """(2, 3) for columns of fixed-width codes that begin with digits, else ()."""
        lengths = np.char.str_len(levels)[codes]
        width = int(np.median(lengths))
        coded = np.mean((lengths == width) & np.char.isdigit(np.array([level[:3] for level in levels]))[codes])
        return tuple(k for k in (2, 3) if k < width) if coded >= 0.9 and width >= 4 else ()

    def _learn(self, codes: np.ndarray, y: np.ndarray) -> None:
        rate = (y.sum() + 0.5) / (len(y) + 1.0)
        self.prior_ = float(logit(rate))
        prior = np.full(len(self.levels_), rate)
        self.prefix_values_: list[dict[str, float]] = []
        for length in self.prefixes_:
            groups, member = np.unique([level[:length] for level in self.levels_], return_inverse=True)
            group_prior = np.zeros(len(groups))
            group_prior[member] = prior
            rates = self._shrunk(member[codes], y, group_prior)
            self.prefix_values_.append(dict(zip(groups.tolist(), logit(rates).tolist(), strict=True)))
            prior = rates[member]
        self.values_ = logit(self._shrunk(codes, y, prior))

    @staticmethod
    def _shrunk(codes: np.ndarray, y: np.ndarray, prior: np.ndarray) -> np.ndarray:
        total = np.bincount(codes, minlength=len(prior)).astype(float)
        bad = np.bincount(codes, weights=y, minlength=len(prior))
        strength = _strength(total, bad, prior)
        return np.clip((bad + strength * prior) / (total + strength), 1e-6, 1 - 1e-6)

    # What a value becomes: [log-odds] or, with many values, [log-odds, log count, log-odds of the shortest prefix]
    def names(self, column: str) -> list[str]:
        if not self.many_:
            return [column]
        return [column, f"{column} frequency"] + ([f"{column} group"] if self.prefixes_ else [])

    def table(self) -> dict[str, tuple[float, ...]]:
        """{value: its features} for every value known."""
        width = len(self.names(""))
        rows = {}
        for level, value, count in zip(self.levels_.tolist(), self.values_.tolist(), self.counts_.tolist(), strict=True):
            group = (self.prefix_values_[0][level[: self.prefixes_[0]]],) if self.prefixes_ else ()
            rows[level] = (value, count, *group)[:width] if self.many_ else (value,)
        return rows

    def unseen(self, value: str) -> tuple[float, ...]:
        """Features of a value that was not in training: its longest known prefix's rate."""
        if not self.prefixes_:
            return (self.prior_, 0.0)[: len(self.names(""))]
        known = [table.get(value[:k]) for k, table in zip(self.prefixes_, self.prefix_values_, strict=True)]
        best = next((found for found in reversed(known) if found is not None), self.prior_)
        return (best, 0.0, self.prior_ if known[0] is None else known[0])

    def transform(self, values: np.ndarray) -> np.ndarray:
        """(n, len(names)) float64, NaN where missing."""
        codes, distinct = pd.factorize(values)
        table = self.table()
        width = len(self.names(""))
        rows = [table.get(str(value)) or self.unseen(str(value)) for value in distinct]
        lookup = np.array([*rows, (np.nan,) * width], dtype=float).reshape(-1, width)
        return lookup[codes]  # factorize gives -1 for missing: the last row

    def fit_transform(self, values: np.ndarray, default: np.ndarray, fold: np.ndarray) -> np.ndarray:
        """`fit`, then the training rows' features, cross-fitted over `fold` ((n,) int) where there are many values."""
        self.fit(values, default)
        result = self.transform(values)
        if self.many_:
            for k in range(int(fold.max()) + 1):
                held = fold == k
                if held.all() or not held.any():
                    continue
                part = CategoryEncoder().fit_like(self, values[~held], default[~held])
                result[held] = part.transform(values[held])
        return result

    def fit_like(self, whole: CategoryEncoder, values: np.ndarray, default: np.ndarray) -> CategoryEncoder:
        """Fit on part of the rows with the shape (many values, prefixes) that the whole has."""
        present = ~pd.isna(values)
        self.many_, self.prefixes_, self.levels_ = whole.many_, whole.prefixes_, whole.levels_
        found = pd.Index(self.levels_).get_indexer(values[present].astype(str))
        known = found >= 0
        # Counts stay the whole's: a level's size is no secret of its outcome, and a fold's would be smaller than scoring's.
        self.counts_ = whole.counts_
        self._learn(found[known], default[present][known].astype(float))
        return self

    def to_state(self) -> dict[str, Any]:
        return {
            "many": bool(self.many_),
            "prefixes": list(self.prefixes_),
            "prior": self.prior_,
            "levels": [str(level) for level in self.levels_],
            "values": np.asarray(self.values_, dtype=float),
            "counts": np.asarray(self.counts_, dtype=float),
            "prefix_values": self.prefix_values_,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> CategoryEncoder:
        self = cls()
        self.many_, self.prefixes_, self.prior_ = bool(state["many"]), tuple(state["prefixes"]), float(state["prior"])
        self.levels_ = np.array(state["levels"], dtype=str)
        self.values_, self.counts_ = np.asarray(state["values"]), np.asarray(state["counts"])
        self.prefix_values_ = [dict(table) for table in state["prefix_values"]]
        return self
