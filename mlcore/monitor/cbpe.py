"""How good a model must be, if its probabilities are still right: confidence-based performance estimation, before any label has come.

If a loan with the probability p defaults with the probability p, then the expected AUC, Brier score and default rate of a window follow
from the probabilities alone. So a change in who applies is seen at once. Its blind spot is concept drift: where the same applicants have
become riskier, or a column has come to mean something else, the probabilities are wrong and so is every estimate made from them. Nothing
but labels shows that; when they come, estimate and outcome are held against each other (`mlcore.monitor.performance`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlcore import metrics

BLIND_SPOT = (
    "Estimated from the model's own probabilities: it sees a change in who applies, and is blind to a change in what makes applicants "
    "default (concept drift, a new level of risk). Only outcomes show that."
)
CELLS = 4096
DRAWS = 200


@dataclass(frozen=True)
class Estimate:
    """Expected figures with the interval in which 95 % of outcomes fall if the probabilities are right. auc is None without spread."""

    auc: metrics.Figure
    brier: metrics.Figure
    rate: metrics.Figure
    oe: metrics.Figure
    rows: int
    auc_se: float = 0.0


def estimate(probability: np.ndarray, *, dispersion: float = 1.0, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """What (n,) calibrated probabilities promise. dispersion: variance of default counts over that of independent loans, at least 1.

    Rows are counted in 4,096 cells of log-odds, so that a million of them need no sort; outcomes are drawn by the cell. The least defaults
    or repayments that can be ranked at all are one each.
    """
    p = np.asarray(probability, dtype=float)
    n = len(p)
    nothing: metrics.Figure = {"value": None, "low": None, "high": None}
    if not n:
        return Estimate(nothing, nothing, nothing, nothing, 0)
    spread = p * (1 - p)
    rate, reach = float(p.mean()), 1.96 * np.sqrt(dispersion * spread.sum()) / n
    expected = float(p.sum())
    brier = float(spread.mean())
    brier_se = np.sqrt(dispersion * (spread * (1 - 2 * p) ** 2).sum()) / n
    count, bad, good, ties = _cells(p)
    auc = _weighted_auc(bad, good, ties)
    drawn = _drawn(count, bad, np.random.default_rng([seed, 29]), draws)
    inside = drawn[np.isfinite(drawn)]
    made, se = nothing, 0.0
    if auc is not None and len(inside) >= 20:
        se = float(np.sqrt(dispersion) * inside.std(ddof=1))
        made = {"value": auc, "low": max(auc - 1.96 * se, 0.0), "high": min(auc + 1.96 * se, 1.0)}
    return Estimate(
        auc=made,
        brier={"value": brier, "low": max(brier - 1.96 * brier_se, 0.0), "high": brier + 1.96 * brier_se},
        rate={"value": rate, "low": max(rate - reach, 0.0), "high": min(rate + reach, 1.0)},
        oe={"value": 1.0, "low": max(1 - reach * n / expected, 0.0), "high": 1 + reach * n / expected} if expected > 0 else nothing,
        rows=n,
        auc_se=se,
    )


def expected_auc(score: np.ndarray, probability: np.ndarray) -> float | None:
    """The AUC that (n,) scores have where the loans default with these (n,) probabilities: the truth, where it is known (simulations)."""
    order = np.argsort(score, kind="stable")
    ranked = np.asarray(score)[order]
    p = np.asarray(probability, dtype=float)[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    bad, good = (np.diff(np.cumsum(each)[ends], prepend=0.0) for each in (p, 1 - p))
    ties = np.diff(np.cumsum(p * (1 - p))[ends], prepend=0.0)
    return _weighted_auc(bad, good, ties)


def _cells(p: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """By cell of log-odds, rising: rows, Σp, Σ(1 − p), Σp(1 − p)."""
    z = metrics.logit(p)
    low, high = float(z.min()), float(z.max())
    at = np.zeros(len(p), dtype=np.int64) if high <= low else ((z - low) * ((CELLS - 1) / (high - low))).astype(np.int64)
    count = np.bincount(at, minlength=CELLS)
    used = count > 0
    bad = np.bincount(at, p, minlength=CELLS)[used]
    ties = np.bincount(at, p * (1 - p), minlength=CELLS)[used]
    return count[used], bad, count[used] - bad, ties


def _weighted_auc(bad: np.ndarray, good: np.ndarray, ties: np.ndarray) -> float | None:
    """Expected wins over expected pairs; a loan makes no pair with itself (`ties`)."""
    below = np.cumsum(good) - good
    pairs = bad.sum() * good.sum() - ties.sum()
    if pairs <= 0 or len(bad) < 2:
        return None
    return float(((bad * (below + good / 2)).sum() - ties.sum() / 2) / pairs)


def _drawn(count: np.ndarray, bad: np.ndarray, rng: np.random.Generator, draws: int) -> np.ndarray:
    """(draws,) AUCs of outcomes drawn from the probabilities."""
    rate = np.clip(bad / count, 0.0, 1.0)
    defaults = rng.binomial(count, rate, size=(draws, len(count))).astype(float)
    repaid = count - defaults
    below = np.cumsum(repaid, axis=1) - repaid
    with np.errstate(invalid="ignore", divide="ignore"):
        return (defaults * (below + repaid / 2)).sum(axis=1) / (defaults.sum(axis=1) * repaid.sum(axis=1))
