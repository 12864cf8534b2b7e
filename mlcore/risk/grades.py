"""A default probability as a letter and as points, the two forms in which people read it."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any

import numpy as np

LETTERS = "ABCDEFG"
SHARES = (0.10, 0.30, 0.50, 0.70, 0.85, 0.95)
"""The shares of applicants below each bound when bounds are drawn from a portfolio: a few in A and G, most in between."""


@dataclass(frozen=True)
class Grades:
    """Bands of default probability: below `bounds[0]` is A, from `bounds[i]` on is the next letter. Held in the model, so that a letter
    keeps its meaning as long as the model does.
    """

    bounds: tuple[float, ...] = (0.02, 0.04, 0.07, 0.12, 0.20, 0.35)

    def __post_init__(self) -> None:
        if len(self.bounds) != len(LETTERS) - 1:
            raise ValueError(f"Grades A–G need {len(LETTERS) - 1} bounds, not {len(self.bounds)}.")
        if not all(0 < low < high < 1 for low, high in zip(self.bounds[:-1], self.bounds[1:], strict=True)):
            raise ValueError("The bounds of grades rise strictly and lie between 0 and 1.")

    def of(self, probability: np.ndarray) -> np.ndarray:
        """(n,) letters of (n,) probabilities."""
        return np.array(list(LETTERS))[np.searchsorted(self.bounds, probability, side="right")]

    def one(self, probability: float) -> str:
        """`of` a single probability."""
        return LETTERS[bisect_right(self.bounds, probability)]

    def describe(self) -> list[dict[str, Any]]:
        edges = (0.0, *self.bounds, 1.0)
        return [{"grade": letter, "from": edges[number], "to": edges[number + 1]} for number, letter in enumerate(LETTERS)]

    @classmethod
    def from_probabilities(cls, probability: np.ndarray) -> Grades:
        """Bands whose bounds lie at `SHARES` of these applicants, rounded to two figures, kept apart by at least 5 %."""
        if len(probability) == 0:
            return cls()
        bounds: list[float] = []
        for quantile in np.quantile(probability, SHARES):
            value = _two_figures(min(max(float(quantile), 0.001), 0.7))
            if bounds and value < bounds[-1] * 1.05:
                value = max(_two_figures(bounds[-1] * 1.1), bounds[-1] * 1.05)
            bounds.append(value)
        return cls(tuple(bounds)) if bounds[-1] < 1 else cls()


@dataclass(frozen=True)
class PointScale:
    """Points of a scorecard: `points` at odds of `odds` good to one bad, `double` more for twice the odds. More points, less risk."""

    points: float = 600.0
    odds: float = 50.0
    double: float = 20.0
    factor: float = field(init=False)

    def __post_init__(self) -> None:
        if self.odds <= 0 or self.double <= 0:
            raise ValueError("Odds and points to double the odds are positive.")
        object.__setattr__(self, "factor", self.double / math.log(2))

    def of(self, log_odds: np.ndarray) -> np.ndarray:
        """(n,) points of (n,) log-odds of default."""
        return self.points - self.factor * (np.asarray(log_odds) + math.log(self.odds))

    def one(self, log_odds: float) -> float:
        """`of` a single application."""
        return self.points - self.factor * (log_odds + math.log(self.odds))

    def to_state(self) -> dict[str, float]:
        return {"points": self.points, "odds": self.odds, "double": self.double}


def _two_figures(value: float) -> float:
    digits = 1 - math.floor(math.log10(value))
    return round(value, digits)
