"""A range for the amount: three quantile regressions of its logarithm, moved until they cover what they say, capped by affordability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mlcore.amount.affordability import AffordabilityRule
from mlcore.risk.features import Encoder
from mlcore.risk.logistic import Ramps
from mlcore.schema import Schema

STATE_VERSION = 1
QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class AmountRange:
    """(n,) each, in the currency of the amounts. low, middle, high: the 10 %, 50 % and 90 % quantiles of what applicants like this one
    carried, none above `cap`. cap: what the affordability rule allows, NaN where the income is not known. capped: bool, the rule cut the
    range's upper end.
    """

    low: np.ndarray
    middle: np.ndarray
    high: np.ndarray
    cap: np.ndarray
    capped: np.ndarray


class AmountModel:
    """Piecewise linear quantile regressions. `intercepts` (3,) and `coefficients` (columns of `ramps`, 3) are in log units."""

    def __init__(self, encoder: Encoder, ramps: Ramps, intercepts: np.ndarray, coefficients: np.ndarray, rule: AffordabilityRule) -> None:
        self.encoder = encoder
        self.ramps = ramps
        self.intercepts = intercepts
        self.coefficients = coefficients
        self.rule = rule

    def quantiles(self, frame: pd.DataFrame, submitted_at: pd.Series | None = None) -> np.ndarray:
        """(n, 3) amounts at `QUANTILES`, rising along each row, not capped."""
        basis = self.ramps.transform(self.encoder.transform(frame, submitted_at))
        # Quantiles that were fitted apart may cross; sorting them never raises their pinball loss (Chernozhukov et al. 2010).
        return np.exp(np.sort(basis @ self.coefficients + self.intercepts, axis=1))

    def suggest(self, frame: pd.DataFrame, submitted_at: pd.Series | None = None) -> AmountRange:
        """The range for n applications; the amount that they ask for plays no part in it."""
        found = self.quantiles(frame, submitted_at)
        cap = self.rule.cap(frame)
        # An unknown cap limits nothing; a quantile that is no number stays none, and does not become the cap.
        limited = np.minimum(found, np.where(np.isnan(cap), np.inf, cap)[:, None])
        return AmountRange(limited[:, 0], limited[:, 1], limited[:, 2], cap, found[:, 2] > np.where(np.isfinite(cap), cap, np.inf))

    @property
    def schema(self) -> Schema:
        return self.encoder.schema

    def answers(self, frame: pd.DataFrame, submitted_at: pd.Series | None = None) -> dict[str, np.ndarray]:
        """What must not change while the model is stored (`mlcore.golden`)."""
        return {"log_amount": np.log(self.quantiles(frame, submitted_at))}

    def to_state(self) -> dict[str, Any]:
        return {
            "version": STATE_VERSION,
            "encoder": self.encoder.to_state(),
            "knots": list(self.ramps.knots),
            "intercepts": self.intercepts,
            "coefficients": self.coefficients,
            "rule": self.rule.to_state(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> AmountModel:
        """The model of a state that `to_state` gave. Raises ValueError for another version."""
        if state.get("version") != STATE_VERSION:
            raise ValueError(f"This amount model has the version {state.get('version')!r}; {STATE_VERSION} is known.")
        return cls(
            Encoder.from_state(state["encoder"]),
            Ramps(state["knots"]),
            np.asarray(state["intercepts"]),
            np.asarray(state["coefficients"]),
            AffordabilityRule(**state["rule"]),
        )
