"""How far out in its tails an application lies: ECOD (Li et al., IEEE TKDE 2022), on quantiles instead of all training rows.

Each column's empirical tail probabilities become −log p; an application's score is the largest of the sums over left tails, right tails and
the tail that the column's skewness points to. A category counts by how rare its value is. Missing values add nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mlcore.schema import Schema

QUANTILES = 512
MOST_CATEGORIES = 200


@dataclass(frozen=True)
class Tails:
    """numbers: names of numeric columns that vary. values: (f, QUANTILES) rising. rows: (f,) training rows with a value.
    skew: (f,) sign of the skewness. shares: {category column: {value: share of training rows}}.
    """

    numbers: tuple[str, ...]
    values: np.ndarray
    rows: np.ndarray
    skew: np.ndarray
    shares: dict[str, dict[str, float]]

    @classmethod
    def fit(cls, frame: pd.DataFrame, schema: Schema) -> Tails:
        """frame: (n, columns of `schema`). Columns that never vary, dates and text are left out."""
        numbers, values, rows, skew, shares = [], [], [], [], {}
        grid = np.linspace(0, 1, QUANTILES)
        for column in schema.usable():
            if column.kind in ("number", "boolean"):
                known = frame[column.name].to_numpy(dtype=float)
                known = known[np.isfinite(known)]
                if len(known) < 2 or known.min() == known.max():
                    continue
                numbers.append(column.name)
                values.append(np.quantile(known, grid))
                rows.append(len(known))
                skew.append(np.sign(np.mean((known - known.mean()) ** 3)))
            elif column.kind == "category":
                counts = frame[column.name].value_counts().head(MOST_CATEGORIES)
                if len(counts) > 1:
                    shares[column.name] = {str(value): float(share) for value, share in (counts / len(frame)).items()}
        return cls(tuple(numbers), np.array(values).reshape(len(numbers), QUANTILES), np.array(rows, dtype=float), np.array(skew), shares)

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.numbers, *self.shares)

    def rarity(self, name: str, values: pd.Series) -> np.ndarray:
        """(n,) −log of each category's share in training, NaN where missing; a new value counts as half as frequent as the rarest."""
        shares = self.shares[name]
        rarest = min(shares.values()) / 2
        codes, distinct = pd.factorize(values, use_na_sentinel=True)
        # Each distinct value once: a portfolio has millions of rows and a few hundred values.
        return np.array([*(-np.log(shares.get(str(value), rarest)) for value in distinct), np.nan])[codes]

    def surprise(self, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """(n,) scores, and (n, columns of `names`) −log of each value's tail probability: what the score is made of."""
        n = len(frame)
        left, right = np.zeros((n, len(self.names))), np.zeros((n, len(self.names)))
        for number, name in enumerate(self.numbers):
            value = frame[name].to_numpy(dtype=float) if name in frame else np.full(n, np.nan)
            known = np.isfinite(value)
            least = 1.0 / (self.rows[number] + 1)
            # Ties share the most favourable rank, so that the commonest value is never surprising.
            below = np.searchsorted(self.values[number], value, side="right") / QUANTILES
            above = 1 - np.searchsorted(self.values[number], value, side="left") / QUANTILES
            left[:, number] = np.where(known, -np.log(np.clip(below, least, 1)), 0)
            right[:, number] = np.where(known, -np.log(np.clip(above, least, 1)), 0)
        for number, name in enumerate(self.shares, start=len(self.numbers)):
            if name in frame:
                left[:, number] = right[:, number] = np.nan_to_num(self.rarity(name, frame[name]))
        turned = left.copy()
        turned[:, : len(self.numbers)] = np.where(self.skew < 0, left[:, : len(self.numbers)], right[:, : len(self.numbers)])
        sums = np.stack([part.sum(axis=1) for part in (left, right, turned)])
        parts = np.stack([left, right, turned])[sums.argmax(axis=0), np.arange(n)] if n else left
        return sums.max(axis=0) if n else np.empty(0), parts

    def to_state(self) -> dict[str, Any]:
        return {"numbers": list(self.numbers), "values": self.values, "rows": self.rows, "skew": self.skew, "shares": self.shares}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Tails:
        return cls(**{**state, "numbers": tuple(state["numbers"])})
