"""What the rungs above the prior share: an encoder in front, contributions per feature shared out to schema columns behind."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd

from mlcore.risk.features import Encoder, check_labels
from mlcore.risk.tuning import weights_or_ones
from mlcore.schema import Schema


class EncodedRung:
    """A rung that works on the encoder's matrix. A subclass says `_fit`, `_log_odds`, `_parts`, `_state` and `_restore`.

    settings: what `fit` chose by validation, for the report. given: settings to fit with, None to search for them. Contributions have a
    column for every column of the schema (`schema.names`), zero for those that no model may read.
    """

    name = ""
    derived = True

    def __init__(self, schema: Schema, *, seed: int = 0) -> None:
        self.schema = schema
        self.seed = seed
        self.given: dict[str, Any] | None = None

    def fit(
        self, frame: pd.DataFrame, default: np.ndarray, *, submitted_at: pd.Series | None = None, weight: np.ndarray | None = None
    ) -> Self:
        """Learn from (n, columns) rows and (n,) 0/1 outcomes. Raises FitError where they hold nothing to learn from."""
        labels = check_labels(default)
        self.encoder = Encoder(self.schema, seed=self.seed, derived=self.derived)
        matrix = self.encoder.fit_transform(frame, labels, submitted_at)
        self.settings: dict[str, Any] = {}
        self._fit(matrix, labels, submitted_at, weights_or_ones(weight, len(labels)))
        return self

    def again(
        self, frame: pd.DataFrame, default: np.ndarray, *, submitted_at: pd.Series | None = None, weight: np.ndarray | None = None
    ) -> Self:
        """Another rung of this kind, fitted to these rows with the settings that this one found: the search is not done twice."""
        other = type(self)(self.schema, seed=self.seed)
        other.given = dict(self.settings)
        return other.fit(frame, default, submitted_at=submitted_at, weight=weight)

    def log_odds(self, frame: pd.DataFrame, submitted_at: pd.Series | None = None) -> np.ndarray:
        """(n,) uncalibrated log-odds of default."""
        return self._log_odds(self.encoder.transform(frame, submitted_at))

    def contributions(self, frame: pd.DataFrame, submitted_at: pd.Series | None = None) -> tuple[np.ndarray, float]:
        """(n, columns of the schema) log-odds against the mean training applicant, and that mean."""
        parts, baseline = self._parts(self.encoder.transform(frame, submitted_at))
        return parts @ self.encoder.shares(), baseline

    def to_state(self) -> dict[str, Any]:
        """Plain data: numbers, strings, lists, dicts and numpy arrays."""
        return {"rung": self.name, "seed": self.seed, "encoder": self.encoder.to_state(), "settings": self.settings, "model": self._state()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        encoder = Encoder.from_state(state["encoder"])
        self = cls(encoder.schema, seed=int(state["seed"]))
        self.encoder = encoder
        self.settings = dict(state["settings"])
        self._restore(state["model"])
        return self

    def _fit(self, matrix: np.ndarray, labels: np.ndarray, submitted_at: pd.Series | None, weight: np.ndarray) -> None:
        raise NotImplementedError

    def _log_odds(self, matrix: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _parts(self, matrix: np.ndarray) -> tuple[np.ndarray, float]:
        """(n, features) log-odds of each feature, and the baseline that they add up from."""
        raise NotImplementedError

    def _state(self) -> dict[str, Any]:
        raise NotImplementedError

    def _restore(self, state: dict[str, Any]) -> None:
        raise NotImplementedError
