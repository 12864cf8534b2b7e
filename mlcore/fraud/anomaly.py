"""How unusual an application is among its lender's own: isolation forest and tail probabilities, merged by their mean percentile.

Neither knows what fraud is. The figure says "one in so many looks as odd", and which values are the odd ones; it never says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mlcore.fraud.forest import Forest
from mlcore.fraud.tails import Tails
from mlcore.schema import Schema

LEAST_ROWS = 200
MOST_ROWS = 100_000
PERCENTILES = 1001


class TooLittle(ValueError):
    """These applications are too few, or too much alike, to say what is usual. The message says which."""


@dataclass(frozen=True)
class Odd:
    """unusual: (n,) in [0, 1], the share of training applications that look less unusual. reasons: (n, columns) −log tail probabilities."""

    unusual: np.ndarray
    reasons: np.ndarray
    names: tuple[str, ...]

    def strongest(self, row: int, most: int = 3, least: float = 3.0) -> list[str]:
        """The columns whose value is rarest (less than 5 % as far out), the rarest first."""
        order = np.argsort(-self.reasons[row], kind="stable")[:most]
        return [self.names[number] for number in order if self.reasons[row, number] >= least]


@dataclass(frozen=True)
class Anomaly:
    """forest_at, tails_at, both_at: (PERCENTILES,) rising quantiles of the training scores, and of their mean percentile."""

    schema: Schema
    forest: Forest
    tails: Tails
    forest_at: np.ndarray
    tails_at: np.ndarray
    both_at: np.ndarray
    rows: int

    @classmethod
    def fit(cls, frame: pd.DataFrame, schema: Schema, *, seed: int = 0) -> Anomaly:
        """Learn what is usual from (n, columns) applications, mostly honest ones. Raises TooLittle."""
        if len(frame) < LEAST_ROWS:
            raise TooLittle(f"{len(frame):,} applications are too few to say what is unusual; it takes {LEAST_ROWS}.")
        if len(frame) > MOST_ROWS:
            frame = frame.iloc[np.sort(np.random.default_rng(seed).choice(len(frame), MOST_ROWS, replace=False))]
        tails = Tails.fit(frame, schema)
        if not tails.names:
            raise TooLittle("No column of these applications varies: nothing can be unusual.")
        matrix = _matrix(tails, frame)
        forest = Forest.fit(matrix, seed=seed)
        grid = np.linspace(0, 1, PERCENTILES)
        one, other = forest.score(matrix), tails.surprise(frame)[0]
        forest_at, tails_at = np.quantile(one, grid), np.quantile(other, grid)
        both = (_percentile(forest_at, one) + _percentile(tails_at, other)) / 2
        return cls(schema, forest, tails, forest_at, tails_at, np.quantile(both, grid), len(frame))

    def score(self, frame: pd.DataFrame) -> Odd:
        surprise, parts = self.tails.surprise(frame)
        both = (_percentile(self.forest_at, self.forest.score(_matrix(self.tails, frame))) + _percentile(self.tails_at, surprise)) / 2
        return Odd(_percentile(self.both_at, both), parts, self.tails.names)

    def to_state(self) -> dict[str, Any]:
        return {
            "schema": self.schema.to_json(), "forest": self.forest.to_state(), "tails": self.tails.to_state(), "forest_at": self.forest_at,
            "tails_at": self.tails_at, "both_at": self.both_at, "rows": self.rows,
        }  # fmt: skip

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Anomaly:
        made = {**state, "schema": Schema.from_json(state["schema"])}
        return cls(**{**made, "forest": Forest.from_state(state["forest"]), "tails": Tails.from_state(state["tails"])})


def _matrix(tails: Tails, frame: pd.DataFrame) -> np.ndarray:
    """(n, columns of `tails.names`): numbers as they are, categories as minus the log of their share."""
    made = np.full((len(frame), len(tails.names)), np.nan)
    for number, name in enumerate(tails.names):
        if name not in frame:
            continue
        if name in tails.shares:
            made[:, number] = tails.rarity(name, frame[name])
        else:
            made[:, number] = frame[name].to_numpy(dtype=float)
    return np.where(np.isfinite(made), made, np.nan)


def _percentile(quantiles: np.ndarray, score: np.ndarray) -> np.ndarray:
    """(n,) share of training scores below, ties counting half."""
    below, upto = np.searchsorted(quantiles, score, side="left"), np.searchsorted(quantiles, score, side="right")
    return (below + upto) / 2 / len(quantiles)
