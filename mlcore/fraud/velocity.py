"""How often an identifier was used just before: counts by window for a million applications, by sorting and binary search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlcore.fraud.facts import COUNT_LIMIT, KINDS, WINDOWS

MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Identifiers:
    """m pairs of an application and an identifier that it states.

    row: (m,) int64 position of the application. kind: (m,) int8 position in `facts.KINDS`. key: (m,) int64, the same number for the same
    identifier of the same kind and no other. No pair occurs twice.
    """

    row: np.ndarray
    kind: np.ndarray
    key: np.ndarray

    @classmethod
    def from_columns(cls, columns: dict[str, np.ndarray]) -> Identifiers:
        """From {kind: (n,) object}, None where not given. Values must be normalised already: equal is what is spelt the same."""
        rows, kinds, keys, used = [], [], [], 0
        for kind, values in columns.items():
            codes, distinct = pd.factorize(np.asarray(values, dtype=object))
            given = np.flatnonzero(codes >= 0)
            rows.append(given)
            kinds.append(np.full(len(given), KINDS.index(kind), dtype=np.int8))
            keys.append(codes[given].astype(np.int64) + used)
            used += len(distinct)
        empty = np.empty(0, dtype=np.int64)
        return cls(
            np.concatenate(rows) if rows else empty,
            np.concatenate(kinds) if kinds else empty.astype(np.int8),
            np.concatenate(keys) if keys else empty,
        )

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True)
class Sorted:
    """The same pairs by key, then time, then row; of keys that occur once only their number is left.

    start: (m,) position of each pair's key's first pair. before: (m,) how many pairs of its key are of a strictly earlier time.
    place: (m,) how many come before it in this order, ties included.
    """

    row: np.ndarray
    kind: np.ndarray
    key: np.ndarray
    time: np.ndarray
    start: np.ndarray
    before: np.ndarray
    place: np.ndarray

    @classmethod
    def of(cls, ids: Identifiers, at: np.ndarray) -> Sorted:
        """at: (n,) int64 microseconds of each application."""
        keys = int(ids.key.max()) + 1 if len(ids) else 0
        shared = np.bincount(ids.key, minlength=keys)[ids.key] > 1 if len(ids) else np.empty(0, dtype=bool)
        row, kind, key = ids.row[shared], ids.kind[shared], ids.key[shared]
        time = at[row]
        order = np.lexsort((row, time, key))
        row, kind, key, time = row[order], kind[order], key[order], time[order]
        position = np.arange(len(row))
        new_key = np.append(True, key[1:] != key[:-1]) if len(row) else np.empty(0, dtype=bool)
        new_time = new_key | np.append(True, time[1:] != time[:-1]) if len(row) else new_key
        start = np.maximum.accumulate(np.where(new_key, position, 0)) if len(row) else position
        tie = np.maximum.accumulate(np.where(new_time, position, 0)) if len(row) else position
        return cls(row, kind, key, time, start, tie - start, position - start)


def counts(ids: Identifiers, pairs: Sorted, n: int) -> dict[str, np.ndarray]:
    """{feature: (n,) float32}: applications with the same identifier in each window before; NaN where there is no such identifier."""
    instants = np.unique(pairs.time)
    width = len(instants) + 1
    # A key and the rank of a time in one number: 23 and 20 bits at a million applications, where microseconds would not fit.
    place = pairs.key * width + np.searchsorted(instants, pairs.time)
    made: dict[str, np.ndarray] = {}
    for window, seconds in WINDOWS:
        since = np.searchsorted(instants, pairs.time - seconds * MICROSECONDS)
        first = np.searchsorted(place, pairs.key * width + since)
        found = np.minimum(pairs.start + pairs.before - first, COUNT_LIMIT).astype(np.float32)
        for number, kind in enumerate(KINDS):
            column = np.full(n, np.nan, dtype=np.float32)
            column[ids.row[ids.kind == number]] = 0
            of_kind = pairs.kind == number
            np.fmax.at(column, pairs.row[of_kind], found[of_kind])
            made[f"{kind}_{window}"] = column
    return made
