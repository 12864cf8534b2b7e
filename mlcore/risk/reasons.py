"""Which stories told for and against an applicant, by how much each moved the score from the model's stated baseline.

Columns that tell one story form a family, and a family is one reason. At most four adverse reasons are given, the practice that the
official interpretation of Regulation B (12 CFR 1002.9(b)(2), comment 5) describes, together with the two baselines to measure against: the
average of all applicants, or of those at or just above the score that is still approved. The texts of reasons are the lender's affair, not
this module's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import Any, Literal

import numpy as np
import pandas as pd

from mlcore.metrics import expit, midranks
from mlcore.risk.base import Scores
from mlcore.schema import Column, Schema

MOST_REASONS = 4
LEAST_EFFECT = 0.01  # log-odds: below it a family moved the probability by less than a quarter of a percentage point
TINY = 1e-9  # the strongest is given however small, unless it is a rounding error
CORRELATED = 0.8
BLOCK = 16_384


@dataclass(frozen=True)
class Reason:
    """One family's effect on one application.

    effect: log-odds against the baseline, positive where it speaks for default. probability_change: by how much the default probability
    would be different if this family stood at the baseline. column: the family's column with the strongest effect, whose `value` it had.
    """

    family: str
    column: str
    title: str
    effect: float
    probability_change: float
    value: Any = None
    missing: bool = False

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


class Families:
    """The families of a model's columns, in the order of their first column."""

    def __init__(self, of: Mapping[str, str], titles: Mapping[str, str] | None = None) -> None:
        self.of = dict(of)
        self.columns = tuple(self.of)
        self.names = tuple(dict.fromkeys(self.of.values()))
        self.titles = {name: (titles or {}).get(name, name.replace("_", " ").capitalize()) for name in self.columns}
        number = {name: position for position, name in enumerate(self.names)}
        self.index = np.array([number[family] for family in self.of.values()], dtype=np.int64)
        self.numbers = self.index.tolist()
        self.inside = [self.members(family).tolist() for family in range(len(self.names))]
        self._membership = (self.index[:, None] == np.arange(len(self.names))).astype(float)

    @classmethod
    def of_schema(cls, schema: Schema, merged: Mapping[str, str] | None = None) -> Families:
        """The families that a schema declares. merged: family → family that it was joined to (see `correlated`)."""
        forbidden = [column.name for column in schema if column.protected]
        if forbidden:
            raise ValueError(f"Protected characteristics give no reasons: {', '.join(forbidden)}.")
        joined = merged or {}
        return cls(
            {column.name: joined.get(column.family_key, column.family_key) for column in schema},
            {column.name: column.title for column in schema},
        )

    def sums(self, contributions: np.ndarray) -> np.ndarray:
        """(n, families) of (n, columns), rows contiguous."""
        return contributions @ self._membership

    def members(self, family: int) -> np.ndarray:
        return np.flatnonzero(self.index == family)

    def to_state(self) -> dict[str, Any]:
        return {"columns": list(self.columns), "families": list(self.of.values()), "titles": [self.titles[name] for name in self.columns]}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Families:
        return cls(dict(zip(state["columns"], state["families"], strict=True)), dict(zip(state["columns"], state["titles"], strict=True)))


def strongest(
    scores: Scores, families: Families, *, side: Literal["adverse", "favourable"] = "adverse", limit: int = MOST_REASONS
) -> tuple[np.ndarray, np.ndarray]:
    """The `limit` families that raised (adverse) or lowered (favourable) each score most, vectorised.

    Returns (n, limit) positions in `families.names`, -1 where there are no more, and (n, limit) effects in log-odds, 0 there. The strongest
    is given however small; the others only from `LEAST_EFFECT` on.
    """
    n = len(scores.contributions)
    sign = 1.0 if side == "adverse" else -1.0
    chosen, effect = np.full((n, limit), -1, dtype=np.int64), np.zeros((n, limit))
    for start in range(0, n, BLOCK):
        signed = families.sums(scores.contributions[start : start + BLOCK]) * sign
        at = np.arange(len(signed))
        for place in range(min(limit, signed.shape[1])):
            best = signed.argmax(axis=1)
            value = signed[at, best]
            signed[at, best] = -np.inf
            counts = value >= (LEAST_EFFECT if place else TINY)
            chosen[start : start + BLOCK, place] = np.where(counts, best, -1)
            effect[start : start + BLOCK, place] = np.where(counts, sign * value, 0.0)
    return chosen, effect


def leads(scores: Scores, families: Families, chosen: np.ndarray, *, side: Literal["adverse", "favourable"] = "adverse") -> np.ndarray:
    """(n, limit) positions of the columns that weighed most in each chosen family (as `strongest` gives them), -1 where none is chosen."""
    sign = 1.0 if side == "adverse" else -1.0
    made = np.full(chosen.shape, -1, dtype=np.int64)
    for family in range(len(families.names)):
        inside = families.members(family)
        row, place = np.nonzero(chosen == family)
        if len(row):
            made[row, place] = inside[np.argmax(sign * scores.contributions[np.ix_(row, inside)], axis=1)]
    return made


def reasons(
    scores: Scores,
    families: Families,
    *,
    frame: pd.DataFrame | None = None,
    side: Literal["adverse", "favourable"] = "adverse",
    limit: int = MOST_REASONS,
) -> list[list[Reason]]:
    """For each application its reasons, the strongest first. frame: the (n, columns) that were scored, for the values behind them."""
    chosen, effects = strongest(scores, families, side=side, limit=limit)
    changes = scores.probability[:, None] - expit(scores.log_odds[:, None] - effects)
    lead_of = leads(scores, families, chosen, side=side)
    given: list[list[Reason]] = []
    for row in range(len(chosen)):
        mine = []
        for family, lead_at, effect, change in zip(chosen[row], lead_of[row], effects[row], changes[row], strict=True):
            if family < 0:
                break
            lead = families.columns[lead_at]
            value = frame[lead].iloc[row] if frame is not None and lead in frame else None
            missing = frame is not None and (value is None or bool(pd.isna(value)))
            mine.append(
                Reason(
                    families.names[family],
                    lead,
                    families.titles[lead],
                    float(effect),
                    float(change),
                    None if missing else _plain(value),
                    missing,
                )
            )
        given.append(mine)
    return given


def reasons_of_one(
    contributions: Sequence[float],
    log_odds: float,
    families: Families,
    *,
    row: Mapping[str, Any] | None = None,
    side: Literal["adverse", "favourable"] = "adverse",
    limit: int = MOST_REASONS,
) -> list[Reason]:
    """`reasons` of a single application in plain Python, without numpy's overhead. row: {column: value}, None where missing."""
    sign = 1.0 if side == "adverse" else -1.0
    sums = [0.0] * len(families.names)
    for number, value in zip(families.numbers, contributions, strict=True):
        sums[number] += value
    order = sorted(range(len(sums)), key=lambda number: -sign * sums[number])[:limit]
    probability = 1.0 / (1.0 + exp(-log_odds))
    given = []
    for place, family in enumerate(order):
        effect = sums[family]
        if sign * effect < (LEAST_EFFECT if place else TINY):
            break
        lead = families.columns[max(families.inside[family], key=lambda column: sign * contributions[column])]
        value = None if row is None else row.get(lead)
        change = probability - 1.0 / (1.0 + exp(effect - log_odds))
        given.append(Reason(families.names[family], lead, families.titles[lead], effect, change, value, row is not None and value is None))
    return given


def correlated(frame: pd.DataFrame, schema: Schema, *, threshold: float = CORRELATED, most_rows: int = 5000) -> dict[str, str]:
    """Families to join because numbers of theirs move together: {family: the family that it joins}, by |Spearman| ≥ `threshold`.

    Rows beyond `most_rows` are thinned evenly; pairs are compared on rows where both are known, from 50 on.
    """
    rows = np.unique(np.linspace(0, max(len(frame) - 1, 0), min(most_rows, len(frame))).astype(int))
    numbers = [column for column in schema if column.kind in ("number", "boolean") and column.name in frame]
    values = [pd.to_numeric(frame[column.name].iloc[rows]).to_numpy(dtype=float) for column in numbers]
    leader: dict[str, str] = {}

    def root(family: str) -> str:
        while family in leader:
            family = leader[family]
        return family

    ranks = [_ranks(each) for each in values]
    for i, j in _pairs(numbers):
        both = np.isfinite(ranks[i]) & np.isfinite(ranks[j])
        if both.sum() < 50:
            continue
        one, other = ranks[i][both], ranks[j][both]
        spread = one.std() * other.std()
        if spread > 0 and abs(np.mean((one - one.mean()) * (other - other.mean())) / spread) >= threshold:
            first, second = root(numbers[i].family_key), root(numbers[j].family_key)
            if first != second:
                leader[second] = first
    return {family: root(family) for family in leader}


def _pairs(columns: list[Column]) -> Iterable[tuple[int, int]]:
    for i, first in enumerate(columns):
        for j in range(i + 1, len(columns)):
            if first.family_key != columns[j].family_key:
                yield i, j


def _ranks(values: np.ndarray) -> np.ndarray:
    made = np.full(len(values), np.nan)
    known = np.isfinite(values)
    made[known] = midranks(values[known])
    return made


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return value.isoformat() if hasattr(value, "isoformat") else value
