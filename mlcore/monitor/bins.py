"""Columns cut into bins once, by a sample of the reference, so that every later row is one small integer a column.

Bin 0 is "missing"; being missing is a value of its own. Numbers get the reference's deciles (a bin each where there are few values),
categories their most frequent values. What lies outside all that the reference knew has a code of its own (numbers: below or above the
reference's range; categories: a value it never had), so that it is counted apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from mlcore.schema import Schema
from mlcore.splits import as_utc

MISSING = 0
DECILES = 10
MOST_VALUES = 15
"""Categories and counts with more values keep this many; the rest share a bin."""
OUTSIDE_SHARE = 0.001
"""The reference's range leaves out this share at either end: a single slip in the reference must not make later slips usual."""


@dataclass(frozen=True)
class ColumnBins:
    """How one column is cut. size: number of bins, bin 0 included.

    edges: number columns; bin 1 lies below the first, the last one above the last. values: category columns; value k has bin k + 1, the
    last bin is "any other". known: every value of the sample. low, high: the reference's range. chance: share of rows that lie outside (or
    have a value that the sample does not) without anything being wrong. date: the numbers are days before the application.
    """

    name: str
    kind: Literal["number", "category"]
    title: str
    size: int
    edges: np.ndarray = field(default_factory=lambda: np.empty(0))
    values: tuple[str, ...] = ()
    known: frozenset[str] = frozenset()
    low: float = -np.inf
    high: float = np.inf
    chance: float = 0.0
    date: bool = False

    def code(self, values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
        """(n,) int16 bin of each row, and (n,) bool: outside of what the reference knew."""
        if self.kind == "category":
            return self._of_texts(values)
        numbers = values.to_numpy(dtype=float, na_value=np.nan)
        finite = np.isfinite(numbers)
        codes = np.searchsorted(self.edges, numbers, side="right").astype(np.int16) + np.int16(1)
        codes[~finite] = MISSING
        # An infinity is no number, but it is not missing either: it is counted as outside of every range.
        outside = np.isinf(numbers) | (finite & ((numbers < self.low) | (numbers > self.high)))
        return codes, outside

    def _of_texts(self, values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
        place = {value: number + 1 for number, value in enumerate(self.values)}
        if isinstance(values.dtype, pd.CategoricalDtype):
            at, levels = values.cat.codes.to_numpy(), [str(level) for level in values.cat.categories]
        else:
            at, found = pd.factorize(values, use_na_sentinel=True)
            levels = [str(level) for level in found]
        # The last place stands for position -1: missing.
        to = np.array([*(place.get(level, self.size - 1) for level in levels), MISSING], dtype=np.int16)
        strange = np.array([*(level not in self.known for level in levels), False])
        return to[at], strange[at]

    def label(self, number: int) -> str:
        """What a bin holds, for a reader."""
        if number == MISSING:
            return "missing"
        if self.kind == "category":
            return self.values[number - 1] if number <= len(self.values) else "any other"
        if not len(self.edges):
            return "any value"
        if number == 1:
            return f"below {_said(self.edges[0])}"
        if number > len(self.edges):
            return f"{_said(self.edges[-1])} or more"
        return f"{_said(self.edges[number - 2])} to {_said(self.edges[number - 1])}"


def _said(edge: float) -> str:
    """Three digits, or whole numbers: a label, not the edge itself."""
    return f"{edge:,.0f}" if abs(edge) >= 1000 else f"{edge:.3g}"


class Bins:
    """The bins of all columns that a model sees, texts left out."""

    def __init__(self, columns: Mapping[str, ColumnBins]) -> None:
        self.columns = dict(columns)

    def __iter__(self) -> Any:
        return iter(self.columns.values())

    def __len__(self) -> int:
        return len(self.columns)

    @classmethod
    def of(cls, sample: pd.DataFrame, schema: Schema, submitted_at: pd.Series | None = None) -> Bins:
        """Bins by a sample of the reference; a column that the sample lacks counts as missing in all of it."""
        made = {}
        for column in schema:
            if column.kind == "text" or not column.known_at_application or column.protected:
                continue
            values = as_plain(sample, column.name, column.kind, submitted_at)
            cut = _category if column.kind == "category" else _number
            made[column.name] = replace(cut(column.name, column.title, values), date=column.kind == "date")
        return cls(made)

    @classmethod
    def of_outputs(cls, outputs: Mapping[str, np.ndarray | pd.Series], titles: Mapping[str, str] | None = None) -> Bins:
        """Bins of what a model says: numbers by deciles, words by value."""
        made = {}
        for name, values in outputs.items():
            series = pd.Series(values)
            cut = _number if pd.api.types.is_numeric_dtype(series) else _category
            made[name] = cut(name, (titles or {}).get(name, name.replace("_", " ").capitalize()), series)
        return cls(made)


def as_plain(frame: pd.DataFrame, name: str, kind: str, submitted_at: pd.Series | None) -> pd.Series:
    """A column as numbers or texts; a date as days before the application (its calendar date drifts by itself)."""
    if name not in frame:
        return pd.Series([None] * len(frame), dtype=object) if kind == "category" else pd.Series(np.full(len(frame), np.nan))
    if kind == "date":
        if submitted_at is None:
            return pd.Series(np.full(len(frame), np.nan))
        days = (as_utc(submitted_at) - as_utc(frame[name])) / np.timedelta64(1, "D")
        return pd.Series(days)
    return frame[name]


def _number(name: str, title: str, values: pd.Series) -> ColumnBins:
    numbers = values.to_numpy(dtype=float, na_value=np.nan)
    known = numbers[np.isfinite(numbers)]
    if not len(known):
        return ColumnBins(name, "number", title, size=2, low=np.inf, high=-np.inf, chance=1 / (len(values) + 1))
    distinct = np.unique(known)
    if len(distinct) <= MOST_VALUES:
        edges = (distinct[1:] + distinct[:-1]) / 2
    else:
        edges = np.unique(np.quantile(known, np.linspace(0, 1, DECILES + 1)[1:-1]))
    low, high = np.quantile(known, [OUTSIDE_SHARE, 1 - OUTSIDE_SHARE])
    if len(distinct) <= MOST_VALUES:
        low, high = distinct[0], distinct[-1]
    outside = float(((known < low) | (known > high)).sum())
    return ColumnBins(
        name, "number", title, size=len(edges) + 2, edges=edges, low=float(low), high=float(high), chance=(outside + 1) / (len(values) + 1)
    )


def _category(name: str, title: str, values: pd.Series) -> ColumnBins:
    counts = values.dropna().astype(str).value_counts()
    top = tuple(counts.index[:MOST_VALUES])
    # Good–Turing: the share of values not yet seen is the share of rows whose value was seen once.
    once = int((counts == 1).sum())
    return ColumnBins(
        name,
        "category",
        title,
        size=len(top) + 2,
        values=top,
        known=frozenset(counts.index),
        chance=(once + 1) / (len(values) + 1),
    )
