"""From any lender's frame to a matrix in which every column of the application weighs the same, whatever its kind or scale.

Numbers are scaled by median and interquartile range and cut at three of those; categories are coded as factor analysis of mixed data
does it (Pagès 2004: a rare value counts more than a frequent one) and divided, so that a category of twelve values does not weigh eleven
times a number. Columns of one family share its weight: one story told six times is one story.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from mlcore.schema import Column, Schema

LEAST_SHARE = 0.05
"""A category's value below this share is pooled into `OTHER`: coded alone, twenty rows would outweigh everything else."""
LEAST_POOL = 0.02
MOST_LEVELS = 12
MOST_MISSING = 0.98
CUT = 3.0
OTHER, MISSING = "(other)", "(not given)"
_NORMAL = 1.349  # interquartile range of a standard normal
_DAY_NS = 86_400_000_000_000


@dataclass
class Block:
    """How one column of the application becomes `width` columns of the matrix.

    Numbers: (x or its log, minus centre) over scale, cut at ±CUT, 0 where missing; one more column tells what is missing where
    `missing` (its share) is set. Categories: one column a level, `shares` beside them; a value in none of the levels is all zeros.
    """

    name: str
    kind: str
    weight: float = 1.0
    log: bool = False
    centre: float = 0.0
    scale: float = 1.0
    missing: float | None = None
    levels: list[str] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)

    @property
    def width(self) -> int:
        return len(self.levels) if self.kind == "category" else 1 + (self.missing is not None)

    def code(self, values: np.ndarray) -> np.ndarray:
        """(n, width) float64 of the column's (n,) values: float with NaN, or object with None."""
        return self._levels(values) if self.kind == "category" else self._number(values)

    def _number(self, values: np.ndarray) -> np.ndarray:
        gone = ~np.isfinite(values)
        clean = np.where(gone, 0.0, values)
        moved = np.log1p(np.maximum(clean, 0.0)) if self.log else clean
        result = np.zeros((len(values), self.width))
        result[:, 0] = np.where(gone, 0.0, np.clip((moved - self.centre) / self.scale, -CUT, CUT))
        if self.missing is not None:
            result[:, 1] = (gone - self.missing) / np.sqrt(self.missing * (1 - self.missing))
            result /= np.sqrt(2.0)
        return result * self.weight

    def _levels(self, values: np.ndarray) -> np.ndarray:
        shares = np.array(self.shares)
        hit = self.hits(values)
        coded = (hit - shares) / np.sqrt(shares) / np.sqrt(max(len(shares) - 1, 1))
        coded[~hit.any(axis=1)] = 0.0
        return coded * self.weight

    def hits(self, values: np.ndarray) -> np.ndarray:
        """(n, levels) bool: which level each value is; a row of False where it is none of them."""
        place = {level: number for number, level in enumerate(self.levels)}
        pool, none = place.get(OTHER, -1), place.get(MISSING, -1)
        at = np.array([none if value is None or value != value else place.get(str(value), pool) for value in values], dtype=np.int64)
        result = np.zeros((len(at), len(self.levels)), dtype=bool)
        known = np.flatnonzero(at >= 0)
        result[known, at[known]] = True
        return result


class Preparation:
    """Learned on one frame (`fit`), applied to any other (`transform`). `left_out`: {column: why}, for the report."""

    def __init__(self, schema: Schema, blocks: list[Block], left_out: dict[str, str]) -> None:
        self.schema = schema
        self.blocks = blocks
        self.left_out = left_out

    @classmethod
    def fit(cls, frame: pd.DataFrame, schema: Schema, submitted_at: pd.Series | None = None) -> Preparation:
        """Only usable columns (known at application, not protected, no text) are read. An empty result has no blocks; it never raises."""
        blocks, left_out = [], {}
        for column in schema.usable():
            if column.name not in frame:
                left_out[column.name] = "not in these data"
                continue
            values = column_values(frame, column, submitted_at)
            made = _fit_category(column, values) if column.kind == "category" else _fit_number(column, values)
            if isinstance(made, Block):
                blocks.append(made)
            else:
                left_out[column.name] = made
        families: dict[str, int] = {}
        for block in blocks:
            key = schema[block.name].family_key
            families[key] = families.get(key, 0) + 1
        for block in blocks:
            block.weight = families[schema[block.name].family_key] ** -0.5
        return cls(schema.usable(), blocks, left_out)

    def transform(self, frame: pd.DataFrame, submitted_at: pd.Series | None = None) -> np.ndarray:
        """(n, width) float64 without NaN. A column that the frame lacks counts as missing throughout."""
        if not self.blocks:
            return np.zeros((len(frame), 0))
        return np.concatenate([block.code(column_values(frame, self.schema[block.name], submitted_at)) for block in self.blocks], axis=1)

    @property
    def slices(self) -> list[slice]:
        """Where each block lies in the matrix."""
        ends = np.cumsum([block.width for block in self.blocks])
        return [slice(int(end) - block.width, int(end)) for end, block in zip(ends, self.blocks, strict=True)]

    def to_state(self) -> dict[str, Any]:
        return {"schema": self.schema.to_json(), "blocks": [asdict(block) for block in self.blocks], "left_out": dict(self.left_out)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Preparation:
        return cls(Schema.from_json(state["schema"]), [Block(**row) for row in state["blocks"]], dict(state["left_out"]))


def column_values(frame: pd.DataFrame, column: Column, submitted_at: pd.Series | None = None) -> np.ndarray:
    """(n,) float64 with NaN, or object of a category; a date as days before the application (before its newest without one)."""
    if column.name not in frame:
        return np.full(len(frame), None, dtype=object) if column.kind == "category" else np.full(len(frame), np.nan)
    raw = frame[column.name]
    if column.kind == "category":
        return raw.to_numpy(dtype=object)
    if column.kind == "date":
        then = _days(raw)
        now = np.full(len(raw), np.nanmax(then) if np.isfinite(then).any() else 0.0) if submitted_at is None else _days(submitted_at)
        return now - then
    values = raw.to_numpy(dtype=float, na_value=np.nan, copy=True)
    values[~np.isfinite(values)] = np.nan
    return values


def _days(moments: pd.Series) -> np.ndarray:
    stamps = pd.to_datetime(moments, utc=True).to_numpy("datetime64[ns]")
    result = np.floor_divide(stamps.astype(np.int64), _DAY_NS).astype(float)
    result[np.isnat(stamps)] = np.nan
    return result


def _fit_number(column: Column, values: np.ndarray) -> Block | str:
    present = values[np.isfinite(values)]
    if not present.size:
        return "never given"
    gone = 1.0 - present.size / values.size
    if gone > MOST_MISSING:
        return f"given in {1 - gone:.1%} of the applications only"
    tells = gone >= LEAST_SHARE
    if present.min() == present.max():
        return "the same for everyone" if not tells else Block(column.name, column.kind, centre=float(present[0]), missing=gone)
    low, middle, high = np.quantile(present, (0.05, 0.5, 0.95))
    # Incomes and balances: where the upper tail is three times the lower one, a step is a ratio, not a difference.
    log = column.kind == "number" and present.min() >= 0 and high - middle > 3 * (middle - low) and high > 20
    moved = np.log1p(present) if log else present
    centre = float(np.median(moved))
    scale = float(np.subtract(*np.quantile(moved, (0.75, 0.25)))) / _NORMAL
    # Mostly one value (delinquencies): the quartiles are equal or nearly so, and the standard deviation has to do.
    if scale < 0.25 * moved.std():
        centre, scale = float(moved.mean()), float(moved.std())
    return Block(column.name, column.kind, log=bool(log), centre=centre, scale=scale, missing=gone if tells else None)


def _fit_category(column: Column, values: np.ndarray) -> Block | str:
    text = pd.Series([MISSING if value is None or value != value else str(value) for value in values], dtype=object)
    shares = text.value_counts(normalize=True)
    if shares.get(MISSING, 0.0) > MOST_MISSING:
        return "never given" if shares.get(MISSING, 0.0) == 1.0 else "hardly ever given"
    if len(shares) < 2:
        return "the same for everyone"
    order = sorted(shares.index, key=lambda level: (-shares[level], str(level)))
    kept = [level for level in order if shares[level] >= LEAST_SHARE][:MOST_LEVELS]
    rest = 1.0 - sum(shares[level] for level in kept)
    named = sum(shares[level] for level in kept if level != MISSING)
    if named < 0.5 and rest > 0.5:
        return f"{len(shares):,} values, most of them rare: it would tell places or names, not kinds of customers"
    pooled = rest >= LEAST_POOL
    if len(kept) + pooled < 2:
        return "the same for nearly everyone"
    levels = [*kept, OTHER] if pooled else kept
    found = [float(shares[level]) for level in kept] + ([float(rest)] if pooled else [])
    return Block(column.name, "category", levels=levels, shares=found)
