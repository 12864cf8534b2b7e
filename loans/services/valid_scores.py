"""What a model's answer has to be before it is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlcore.risk.base import Scores

ADDITIVITY = 1e-6


class InvalidScore(Exception):
    """A model's answer that must not be stored: not finite, out of range, or with contributions that don't add up to it."""


def check(scores: Scores) -> None:
    """Raises InvalidScore unless every probability is one, and every score is its baseline plus its contributions to 1e-6."""
    import numpy as np

    if not (np.isfinite(scores.probability).all() and np.isfinite(scores.log_odds).all() and np.isfinite(scores.contributions).all()):
        raise InvalidScore("The model answered with a number that is not finite.")
    if ((scores.probability < 0) | (scores.probability > 1)).any():
        raise InvalidScore("The model answered with a probability outside 0 to 1.")
    gap = np.abs(scores.baseline + scores.contributions.sum(axis=1) - scores.log_odds).max(initial=0.0)
    if not gap <= ADDITIVITY:
        raise InvalidScore(f"Contributions miss the score by {gap:.2g}; at most {ADDITIVITY:g} is allowed.")
