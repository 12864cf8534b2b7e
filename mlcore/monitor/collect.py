"""One pass over rows, in blocks of any size: what is left are counts by bin and fortnight, a sample, and one number a row and label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlcore.monitor.bins import MISSING, Bins, as_plain
from mlcore.splits import as_utc

FORTNIGHT = 14
"""Days of one count: long enough for what belongs together (a fraud ring, a household) to fall into one, short enough to have many."""
SAMPLED = 20_000
"""Rows kept, as codes, for the joint test."""
YEAR = 365.25


@dataclass
class Counts:
    """Of one column, by fortnight: rows a bin (f, bins), and rows outside of what the reference knew (f,)."""

    bins: np.ndarray
    outside: np.ndarray


class Collected:
    """What is known of a set of rows. `outputs` and labels are optional; blocks come in any order.

    labelled: probability (m,), default (m,) and fortnight (m,) of the rows that have a label, in the order in which they came.
    probability: (n,) of all rows that have one.
    """

    def __init__(self, bins: Bins, outputs: Bins | None = None, *, seed: int = 0) -> None:
        self.bins, self.output_bins = bins, outputs or Bins({})
        self.rows = 0
        self._first: int | None = None
        self._columns: dict[str, dict[int, np.ndarray]] = {name: {} for name in (*bins.columns, *self.output_bins.columns)}
        self._outside: dict[str, dict[int, int]] = {name: {} for name in self._columns}
        self._residuals = {name: np.zeros((each.size, 3)) for name, each in bins.columns.items()}
        self._probability: list[np.ndarray] = []
        self._probability_fortnight: list[np.ndarray] = []
        self._labels: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._sample: list[np.ndarray] = []
        self._sample_day: list[np.ndarray] = []
        self._sample_chance = 1.0
        self._sampled = 0
        self._rng = np.random.default_rng([seed, 71])

    def add(
        self,
        frame: pd.DataFrame,
        submitted_at: pd.Series,
        *,
        probability: np.ndarray | None = None,
        default: np.ndarray | None = None,
        outputs: Mapping[str, np.ndarray | pd.Series] | None = None,
    ) -> Collected:
        """Count a block of n rows.

        probability: (n,) NaN where there is none. default: (n,) 1, 0, or -1 for no label. outputs: {name: (n,)}, missing where not judged.
        """
        n = len(frame)
        if not n:
            return self
        day = as_utc(submitted_at).astype("datetime64[D]").astype(np.int64)
        fortnight = day // FORTNIGHT
        first = int(fortnight.min())
        place = fortnight - first
        span = int(place.max()) + 1
        codes = np.empty((n, len(self.bins)), dtype=np.int16)
        judged = self._judged(probability, default, n)
        for number, column in enumerate(self.bins):
            plain = as_plain(frame, column.name, "date" if column.date else column.kind, submitted_at)
            codes[:, number], outside = column.code(plain)
            self._count(column.name, column.size, codes[:, number], outside, place, first, span)
            if judged is not None:
                rows, residual, spread = judged
                at = codes[rows, number]
                for part, weights in enumerate((residual, spread, None)):
                    self._residuals[column.name][:, part] += np.bincount(at, weights, minlength=column.size)
        for column in self.output_bins:
            if outputs is not None and column.name in outputs:
                code, outside = column.code(pd.Series(outputs[column.name]))
                # An application that a part of the desk did not judge (no fraud score, no segment) says nothing about that part.
                known = code != MISSING
                if known.any():
                    self._count(column.name, column.size, code[known], outside[known], place[known], first, span)
        self._keep(codes, day)
        if probability is not None:
            known = np.isfinite(probability)
            self._probability.append(np.asarray(probability, dtype=float)[known])
            self._probability_fortnight.append(fortnight[known])
        if judged is not None:
            rows = judged[0]
            self._labels.append((np.asarray(probability, dtype=float)[rows], np.asarray(default)[rows].astype(np.int8), fortnight[rows]))
        self.rows += n
        return self

    @staticmethod
    def _judged(probability: np.ndarray | None, default: np.ndarray | None, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Positions of the rows with a probability and a label, their residuals default − p and variances p(1 − p)."""
        if probability is None or default is None:
            return None
        rows = np.flatnonzero(np.isfinite(probability) & (np.asarray(default) >= 0))
        if not len(rows):
            return None
        p = np.asarray(probability, dtype=float)[rows]
        return rows, np.asarray(default)[rows] - p, p * (1 - p)

    def _count(self, name: str, size: int, codes: np.ndarray, outside: np.ndarray, place: np.ndarray, first: int, span: int) -> None:
        counted = np.bincount(place * size + codes, minlength=span * size).reshape(span, size)
        strange = np.bincount(place[outside], minlength=span) if outside.any() else np.zeros(span, dtype=np.int64)
        for at in np.flatnonzero(counted.sum(axis=1)):
            key = first + int(at)
            mine = self._columns[name]
            mine[key] = mine[key] + counted[at] if key in mine else counted[at]
            self._outside[name][key] = self._outside[name].get(key, 0) + int(strange[at])

    def _keep(self, codes: np.ndarray, day: np.ndarray) -> None:
        """A uniform sample of all rows so far, within a factor of two of `SAMPLED`."""
        chosen = self._rng.random(len(codes)) < self._sample_chance
        self._sample.append(codes[chosen])
        self._sample_day.append(day[chosen])
        self._sampled += int(chosen.sum())
        while self._sampled > 2 * SAMPLED:
            kept = [self._rng.random(len(part)) < 0.5 for part in self._sample]
            self._sample = [part[keep] for part, keep in zip(self._sample, kept, strict=True)]
            self._sample_day = [part[keep] for part, keep in zip(self._sample_day, kept, strict=True)]
            self._sample_chance /= 2
            self._sampled = sum(map(len, self._sample))

    def fortnights(self, name: str | None = None) -> np.ndarray:
        """Sorted numbers of the fortnights that have rows (of one column)."""
        names = [name] if name else list(self.bins.columns) or list(self._columns)
        found = {key for each in names for key in self._columns.get(each, {})}
        return np.array(sorted(found), dtype=np.int64)

    def counts(self, name: str, fortnights: np.ndarray | None = None) -> Counts:
        """One column's counts, by fortnight in their order."""
        mine = self._columns[name]
        keys = [key for key in sorted(mine) if fortnights is None or key in set(fortnights.tolist())]
        size = self._column(name).size
        return Counts(
            np.array([mine[key] for key in keys]).reshape(len(keys), size),
            np.array([self._outside[name][key] for key in keys], dtype=np.int64),
        )

    def _column(self, name: str) -> object:
        return self.bins.columns.get(name) or self.output_bins.columns[name]

    def residuals(self, name: str) -> np.ndarray:
        """(bins, 3): Σ(default − p), Σp(1 − p) and rows, of the labelled rows."""
        return self._residuals[name]

    def sample(self, fortnights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Codes (s, columns) and days since 1970 (s,) of the sampled rows."""
        if not self._sample:
            return np.empty((0, len(self.bins)), dtype=np.int16), np.empty(0, dtype=np.int64)
        codes, day = np.concatenate(self._sample), np.concatenate(self._sample_day)
        if fortnights is None:
            return codes, day
        inside = np.isin(day // FORTNIGHT, fortnights)
        return codes[inside], day[inside]

    @property
    def probability(self) -> np.ndarray:
        return np.concatenate(self._probability) if self._probability else np.empty(0)

    @property
    def labelled(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if not self._labels:
            return np.empty(0), np.empty(0, dtype=np.int8), np.empty(0, dtype=np.int64)
        return tuple(np.concatenate([part[number] for part in self._labels]) for number in range(3))

    @property
    def days(self) -> float:
        """How long a time the rows span."""
        found = self.fortnights()
        return float(found[-1] - found[0] + 1) * FORTNIGHT if len(found) else 0.0

    def of_the_season(self, window: Collected, *, pad_days: int = 21, least_rows: int = 500) -> tuple[np.ndarray, str]:
        """The fortnights of these rows that lie in the window's time of the year (± `pad_days`), and what to say of them.

        All of them, with a warning, where they do not span a year, or where too few rows lie in that season.
        """
        mine, theirs = self.fortnights(), window.fortnights()
        if not len(mine) or not len(theirs):
            return mine, ""
        if self.days < YEAR - FORTNIGHT:
            return mine, "The reference spans less than a year: what only the season changes may show as drift."
        middle = (mine + 0.5) * FORTNIGHT
        low, high = theirs[0] * FORTNIGHT - pad_days, (theirs[-1] + 1) * FORTNIGHT + pad_days
        if high - low >= YEAR:
            return mine, ""
        # Distance to the window's middle, on the circle of the year.
        distance = np.abs((middle - (low + high) / 2 + YEAR / 2) % YEAR - YEAR / 2)
        season = mine[distance <= (high - low) / 2]
        name = next(iter(self.bins.columns), None)
        rows = int(self.counts(name, season).bins.sum()) if name else 0
        if rows < least_rows:
            return mine, f"Only {rows:,} rows of the reference lie in this season; all of it is compared, and the season may show as drift."
        return season, f"Compared with {rows:,} reference rows of the same time of the year."
