"""What would change the outcome: the nearest changes that an applicant could make and that the model itself confirms.

Only columns that are declared changeable move; everything else stays as it is. A column with a known direction of risk moves only towards
less risk, a debt or a requested amount only downwards, and nothing leaves the range of what applicants really have (5 %–95 %). What hangs
together moves together: paying down a balance lowers its utilisation by the same share. Every proposal is scored by the model before it is
made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd

from mlcore.risk.model import RiskModel
from mlcore.schema import Column, Schema

MOST_CHANGES = 3
MOST_PROPOSALS = 3
STEPS = {1: 40, 2: 12, 3: 6}
"""Values tried of each column, by how many columns move at once: 40, 144 or 216 combinations a set."""
LOWER_ONLY = ("amount", "revolving_balance")
"""More of these is never advice, whatever a model makes of it."""
TOGETHER = {"revolving_balance": "revolving_utilisation", "revolving_utilisation": "revolving_balance"}
"""Columns that move by the same share, since one divided by the other (the credit limit) does not change."""
EACH_CHANGE = 0.15
"""What one more change weighs against moving further: 15 % of the applicants between the old value and the new."""
LEAST_SHARE = 0.02  # a category's value that fewer have is not proposed


@dataclass(frozen=True)
class Change:
    column: str
    title: str
    unit: str
    old: Any
    new: Any
    follows: str | None = None
    """The column of which this one is a consequence, None for a change of its own."""


@dataclass(frozen=True)
class Proposal:
    """Changes that together bring the default probability below the cut-off. distance: the smaller, the nearer (see `EACH_CHANGE`)."""

    changes: tuple[Change, ...]
    probability: float
    distance: float


@dataclass(frozen=True)
class Counterfactuals:
    """probability: as things stand. lowest: the lowest that any tried combination reaches. proposals: the nearest first, none if nothing
    helps.
    """

    probability: float
    cutoff: float
    lowest: float
    proposals: tuple[Proposal, ...]
    tried: int

    def in_words(self) -> str:
        if self.probability < self.cutoff:
            return "The application is below the cut-off as it stands."
        if not self.proposals:
            return f"No feasible change brings it below {self.cutoff:.1%}; the lowest that was reached is {self.lowest:.1%}."
        return f"{len(self.proposals)} feasible change(s) would bring it from {self.probability:.1%} to below {self.cutoff:.1%}."


def feasible_ranges(frame: pd.DataFrame, schema: Schema) -> dict[str, list[Any]]:
    """What applicants really have, for the changeable columns: 21 quantiles of a number (5 %–95 %), the common values of a category."""
    made: dict[str, list[Any]] = {}
    for column in schema:
        if not column.changeable or column.name not in frame:
            continue
        known = frame[column.name].dropna()
        if column.kind == "number":
            finite = known.to_numpy(dtype=float)
            finite = finite[np.isfinite(finite)]
            if len(finite):
                made[column.name] = np.quantile(finite, np.linspace(0.05, 0.95, 21)).tolist()
        elif column.kind in ("category", "boolean") and len(known):
            shares = known.value_counts(normalize=True)
            made[column.name] = [_plain(value) for value in shares.index[shares >= LEAST_SHARE]]
    return made


def counterfactuals(
    model: RiskModel,
    row: pd.DataFrame,
    *,
    cutoff: float,
    submitted_at: pd.Series | None = None,
    ranges: Mapping[str, list[Any]] | None = None,
    limit: int = MOST_PROPOSALS,
) -> Counterfactuals:
    """The nearest feasible changes that bring one application (a frame of one row) below `cutoff`.

    ranges: as `feasible_ranges` gives; the model's own where None. Sets of one, two and three columns are tried; of several that help,
    those of which a part helps already are left out.
    """
    if len(row) != 1:
        raise ValueError(f"One application at a time, not {len(row)}.")
    ranges = model.ranges if ranges is None else ranges
    probability = float(model.probability(row, submitted_at)[0])
    if probability < cutoff:
        return Counterfactuals(probability, cutoff, probability, (), 0)
    movable = [
        column for column in model.schema if column.changeable and not column.protected and column.name in ranges and column.name in row
    ]
    lowest, tried, found = probability, 0, []
    for size in range(1, MOST_CHANGES + 1):
        values = {column.name: _candidates(column, row[column.name].iloc[0], ranges[column.name], STEPS[size]) for column in movable}
        for chosen in combinations([column for column in movable if values[column.name]], size):
            names = tuple(column.name for column in chosen)
            if _redundant(names, found):
                continue
            grid = list(product(*(values[name] for name in names)))
            frame, consequences = _moved(row, names, grid, model.schema)
            dates = None if submitted_at is None else pd.Series(list(submitted_at) * len(grid))
            scored = model.probability(frame, dates)
            tried += len(grid)
            lowest = min(lowest, float(scored.min()))
            helps = np.flatnonzero(scored < cutoff)
            if not len(helps):
                continue
            distances = np.array([_distance(names, grid[number], row, ranges) for number in helps])
            best = int(helps[np.argmin(distances)])
            verified = float(model.score(frame.iloc[[best]], None if dates is None else dates.iloc[[best]]).probability[0])
            if verified < cutoff:
                changes = _changes(names, row, frame.iloc[best], consequences, model.schema)
                found.append((names, Proposal(changes, verified, float(distances.min()))))
    proposals = sorted((proposal for _, proposal in found), key=lambda proposal: proposal.distance)
    return Counterfactuals(probability, cutoff, lowest, tuple(proposals[:limit]), tried)


def _candidates(column: Column, value: Any, known: list[Any], steps: int) -> list[Any]:
    """Values to try, nearest first. A missing value has none: nobody can change what was never stated."""
    if value is None or pd.isna(value):
        return []
    if column.kind != "number":
        return [other for other in known if other != value][:steps]
    low, high = float(known[0]), float(known[-1])
    ends = []
    if column.direction >= 0 and value > low:
        ends.append(low)
    if column.direction <= 0 and value < high and column.name not in LOWER_ONLY:
        ends.append(high)
    made: list[float] = []
    for end in ends:
        each = steps // len(ends)
        step = _readable(abs(end - value) / each)
        # Rounded away from the value, so that a proposal reads "8,500" and still suffices.
        path = np.linspace(value, end, each + 1)[1:]
        made += list(dict.fromkeys(float(np.clip((np.floor if end < value else np.ceil)(x / step) * step, low, high)) for x in path))
    return sorted((x for x in made if x != value), key=lambda x: abs(x - value))


def _readable(step: float) -> float:
    """The power of ten, or a half or fifth of one, at or below a step."""
    power = 10.0 ** np.floor(np.log10(step)) if step > 0 else 1.0
    return float(next(factor * power for factor in (5.0, 2.0, 1.0) if factor * power <= step * (1 + 1e-9)))


def _moved(row: pd.DataFrame, names: tuple[str, ...], grid: list[tuple[Any, ...]], schema: Schema) -> tuple[pd.DataFrame, dict[str, str]]:
    """`row` repeated with the grid's values, and what follows from them: {column: the column that it follows}."""
    frame = row.iloc[np.zeros(len(grid), dtype=int)].reset_index(drop=True)
    consequences: dict[str, str] = {}
    for number, name in enumerate(names):
        frame[name] = pd.Series([values[number] for values in grid], dtype=row[name].dtype)
        other = TOGETHER.get(name)
        if other in names or other is None or other not in schema or other not in row:
            continue
        old, partner = row[name].iloc[0], row[other].iloc[0]
        if not pd.isna(partner) and old:
            frame[other] = float(partner) * frame[name].to_numpy(dtype=float) / float(old)
            consequences[other] = name
    return frame, consequences


def _distance(names: tuple[str, ...], values: tuple[Any, ...], row: pd.DataFrame, ranges: Mapping[str, list[Any]]) -> float:
    """The share of applicants between old and new value, summed over the columns, and a charge for each."""
    total = 0.0
    for name, new in zip(names, values, strict=True):
        old = row[name].iloc[0]
        if isinstance(new, str):
            total += 0.5
            continue
        shares = np.interp([float(old), float(new)], ranges[name], np.linspace(0.05, 0.95, len(ranges[name])))
        spread = abs(float(ranges[name][-1]) - float(ranges[name][0])) or 1.0
        # Beyond the range all shares are equal; the plain distance keeps farther farther.
        total += abs(shares[1] - shares[0]) + 0.05 * abs(float(new) - float(old)) / spread
    return total + EACH_CHANGE * len(names)


def _redundant(names: tuple[str, ...], found: list[tuple[tuple[str, ...], Proposal]]) -> bool:
    linked = any(TOGETHER.get(one) == other for one, other in combinations(names, 2))
    return linked or any(set(smaller) < set(names) for smaller, _ in found)


def _changes(names: tuple[str, ...], row: pd.DataFrame, new: pd.Series, consequences: dict[str, str], schema: Schema) -> tuple[Change, ...]:
    made = []
    for name in (*names, *consequences):
        column = schema[name]
        made.append(Change(name, column.title, column.unit, _plain(row[name].iloc[0]), _plain(new[name]), consequences.get(name)))
    return tuple(made)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
