"""The ladder's ground: everybody gets the portfolio's default rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mlcore.risk.base import FitError
from mlcore.risk.tuning import weights_or_ones
from mlcore.schema import Schema


class Prior:
    """The training rows' default rate, half a default added to each class so that one-class data have finite log-odds."""

    name = "prior"

    def __init__(self, schema: Schema, *, seed: int = 0) -> None:
        self.schema = schema
        self.seed = seed

    def fit(
        self, frame: pd.DataFrame, default: np.ndarray, *, submitted_at: pd.Series | None = None, weight: np.ndarray | None = None
    ) -> Prior:
        labels = np.asarray(default, dtype=float)
        if labels.size == 0:
            raise FitError("There are no training rows.")
        weights = weights_or_ones(weight, len(labels))
        rate = (np.sum(weights * labels) + 0.5) / (np.sum(weights) + 1.0)
        self.log_odds_ = float(np.log(rate) - np.log1p(-rate))
        return self

    def log_odds(self, frame: pd.DataFrame, submitted_at: pd.Series | None = None) -> np.ndarray:
        return np.full(len(frame), self.log_odds_)

    def contributions(self, frame: pd.DataFrame, submitted_at: pd.Series | None = None) -> tuple[np.ndarray, float]:
        return np.zeros((len(frame), len(self.schema))), self.log_odds_

    @property
    def settings(self) -> dict[str, Any]:
        return {}

    def to_state(self) -> dict[str, Any]:
        return {"rung": self.name, "schema": self.schema.to_json(), "seed": self.seed, "log_odds": self.log_odds_}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Prior:
        self = cls(Schema.from_json(state["schema"]), seed=int(state["seed"]))
        self.log_odds_ = float(state["log_odds"])
        return self
