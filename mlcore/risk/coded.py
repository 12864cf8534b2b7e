"""What the tree rungs share: quantile codes in, an ensemble of leaves kept, TreeSHAP out.

scikit-learn's own binning takes seconds on weighted rows, and its forests and XGBoost cast inputs to float32: on small codes all are quick
and exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mlcore.risk.binning import Bins
from mlcore.risk.encoded import EncodedRung
from mlcore.risk.shap import Ensemble
from mlcore.risk.tuning import with_period


class CodedTrees(EncodedRung):
    """A rung whose fitted form is `bins_` and `ensemble_`. A subclass says `_grow`."""

    most_bins = 32

    def _fit(self, matrix: np.ndarray, labels: np.ndarray, submitted_at: pd.Series | None, weight: np.ndarray) -> None:
        self.bins_ = Bins.fit(matrix, self.most_bins)
        self.features_ = matrix.shape[1]
        coded, frozen = with_period(self._coded(matrix), submitted_at)
        self.ensemble_ = self._grow(coded, frozen, labels, submitted_at, weight)

    def _grow(
        self, coded: np.ndarray, frozen: dict[int, float], labels: np.ndarray, submitted_at: pd.Series | None, weight: np.ndarray
    ) -> Ensemble:
        """Choose settings and fit. coded: (n, features) float64 codes, NaN where missing; the period comes last where `frozen` names it."""
        raise NotImplementedError

    def _directions(self, coded: np.ndarray) -> np.ndarray:
        """Monotone directions of the coded matrix's columns; the period has none."""
        return np.append(self.encoder.directions, np.zeros(coded.shape[1] - self.features_, dtype=int))

    def _coded(self, matrix: np.ndarray) -> np.ndarray:
        return self.bins_.as_floats(self.bins_.codes(matrix))

    def _log_odds(self, matrix: np.ndarray) -> np.ndarray:
        return self.ensemble_.log_odds(self._coded(matrix))

    def _parts(self, matrix: np.ndarray) -> tuple[np.ndarray, float]:
        return self.ensemble_.contributions(self._coded(matrix))

    def _state(self) -> dict[str, Any]:
        return {"cuts": list(self.bins_.cuts), "ensemble": self.ensemble_.to_state()}

    def _restore(self, state: dict[str, Any]) -> None:
        self.bins_ = Bins(state["cuts"])
        self.ensemble_ = Ensemble.from_state(state["ensemble"])
