"""The one interface behind which every rung of the ladder stands, and what scoring hands back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd

from mlcore.schema import Schema

FloatArray = np.ndarray  # float64
Frame = pd.DataFrame


class FitError(ValueError):
    """Nothing can be learned from these rows: none at all, one class only, or no column that varies. The message says which."""


TITLES = {
    "prior": "Prior (everyone the same)",
    "logistic": "Logistic regression",
    "scorecard": "WOE scorecard",
    "tree": "Decision tree",
    "forest": "Random forest",
    "boosting": "Gradient boosting",
    "pairwise": "Pairwise tables",
    "xgboost": "XGBoost",
    "neural": "Neural network",
}


@dataclass(frozen=True)
class Dataset:
    """Labelled applications. Rows are in the same order everywhere.

    frame: (n, columns of `schema`), as `mlcore.schema` describes. default: (n,) int8, 1 where it defaulted within the window.
    submitted_at: (n,) datetime64[ns, UTC] Series, or None where a lender's data have no dates (splits are then stratified and repeated).
    amount: (n,) float64 exposure at application, NaN where unknown. protected: columns that only the fairness report sees, or None.
    defaulted_at: (n,) datetime64 Series, NaT where it did not default or nobody knows when; for the vintage curves alone.
    weight: (n,) how many loans each stands for in a sample (`mlcore.sampling`), None where each is one; fits and calibration follow it, and
    among the judged rows it is the same for all.
    """

    frame: Frame
    default: np.ndarray
    schema: Schema
    submitted_at: pd.Series | None = None
    amount: FloatArray | None = None
    protected: Frame | None = None
    defaulted_at: pd.Series | None = None
    weight: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.default)

    def take(self, rows: np.ndarray) -> Dataset:
        """The given rows (integer positions or a boolean mask), everything alongside."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        return Dataset(
            frame=self.frame.iloc[rows].reset_index(drop=True),
            default=self.default[rows],
            schema=self.schema,
            submitted_at=None if self.submitted_at is None else self.submitted_at.iloc[rows].reset_index(drop=True),
            amount=None if self.amount is None else self.amount[rows],
            protected=None if self.protected is None else self.protected.iloc[rows].reset_index(drop=True),
            defaulted_at=None if self.defaulted_at is None else self.defaulted_at.iloc[rows].reset_index(drop=True),
            weight=None if self.weight is None else self.weight[rows],
        )

    @property
    def default_rate(self) -> float:
        """Of all loans that these stand for."""
        return float(np.average(self.default, weights=self.weight))


@dataclass(frozen=True)
class Scores:
    """What a model says of n applications, contributions included.

    probability: (n,) calibrated default probability. log_odds: (n,) its logit, = baseline + contributions.sum(axis=1) to 1e-6.
    contributions: (n, f) log-odds added by each feature against `baseline`, in the order of `features`.
    features: names of input columns (contributions of derived and paired terms are already shared out among their columns).
    """

    probability: FloatArray
    log_odds: FloatArray
    contributions: FloatArray
    features: tuple[str, ...]
    baseline: float


class Rung(Protocol):
    """One estimator of the ladder, fitted on a frame and labels. Nothing happens in `__init__`; learned attributes end in `_`.

    `fit` imputes, bins and encodes inside itself, so that a split never leaks through preparation. Missing values are information.
    """

    name: str

    def fit(
        self, frame: Frame, default: np.ndarray, *, submitted_at: pd.Series | None = None, weight: FloatArray | None = None
    ) -> Rung: ...

    def log_odds(self, frame: Frame, submitted_at: pd.Series | None = None) -> FloatArray:
        """(n,) uncalibrated log-odds of default."""
        ...

    def contributions(self, frame: Frame, submitted_at: pd.Series | None = None) -> tuple[FloatArray, float]:
        """(n, f) per column of the schema it was built with, and the intercept; they add up to `log_odds` to 1e-6."""
        ...

    def to_state(self) -> dict[str, Any]:
        """Plain data (numbers, strings, lists, dicts, numpy arrays): what `mlcore.artifacts` stores. No estimator objects."""
        ...

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Rung: ...


@dataclass
class RungResult:
    """A rung's figures on the later rows that it was not fitted on: {metric: {"value", "low", "high"}}."""

    name: str
    figures: dict[str, dict[str, float]]
    fit_seconds: float
    settings: dict[str, Any] = field(default_factory=dict)
