"""What a cut-off on the default probability would earn, lose and approve, and what a model is worth beside another at equal approval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mlcore.metrics import ProfitTerms, filled_amount, interval, resamples, wilson

__all__ = ["Comparator", "ProfitTerms", "at_cutoff", "best_cutoff", "fewer_bad_loans", "policy_curve"]

CURVE_POINTS = 60
REPLICATES = 200


@dataclass(frozen=True)
class Comparator:
    """Another way to approve, to hold a model against. score: (n,) for all rows of the data, the least is approved first. approved: (n,)
    bool, whom it approves; only the share of these counts. note: what a reader has to know of it, a sentence or nothing.
    """

    name: str
    title: str
    score: np.ndarray
    approved: np.ndarray
    note: str = ""


def at_cutoff(
    default: np.ndarray, probability: np.ndarray, cutoff: float, *, amount: np.ndarray | None = None, terms: ProfitTerms | None = None
) -> dict[str, Any]:
    """Approving everyone below `cutoff`: rows, approval rate, bad rate with Wilson's interval, and money.

    expected_*: from the probabilities, as a lender sees it beforehand. realised_profit: from the outcomes. Money is in the unit of `amount`
    (loans of 1 where that is None); `profit_share` is the realised profit as a share of all that was applied for.
    """
    terms = terms or ProfitTerms()
    exposure = filled_amount(amount, len(default))
    approved = probability < cutoff
    rows, bad = int(approved.sum()), float(default[approved].sum())
    low, high = wilson(bad, rows)
    p, lent = probability[approved], exposure[approved]
    realised = np.where(default[approved] == 1, -terms.loss_given_default, terms.margin) * lent
    return {
        "cutoff": float(cutoff),
        "approved": rows,
        "approval_rate": rows / len(default) if len(default) else None,
        "bad_rate": bad / rows if rows else None,
        "bad_rate_low": low,
        "bad_rate_high": high,
        "expected_bad_rate": float(p.mean()) if rows else None,
        "expected_profit": float(((1 - p) * terms.margin * lent - p * terms.loss_given_default * lent).sum()),
        "expected_loss": float((p * terms.loss_given_default * lent).sum()),
        "realised_profit": float(realised.sum()),
        "realised_loss": float((default[approved] * terms.loss_given_default * lent).sum()),
        "profit_share": float(realised.sum() / exposure.sum()) if exposure.sum() > 0 else None,
    }


def policy_curve(
    default: np.ndarray,
    probability: np.ndarray,
    *,
    amount: np.ndarray | None = None,
    terms: ProfitTerms | None = None,
    points: int = CURVE_POINTS,
) -> list[dict[str, Any]]:
    """`at_cutoff` at the cut-offs that approve 0–100 % of these applicants in equal steps."""
    if not len(probability):
        return []
    inner = np.quantile(probability, np.linspace(0, 1, points)[1:])
    # Just above the quantile, so that the applicant who stands at it is approved, and the last cut-off approves everyone.
    cutoffs = np.unique(np.concatenate([[0.0], np.minimum(np.nextafter(inner, 2.0), 1.0)]))
    return [at_cutoff(default, probability, float(cutoff), amount=amount, terms=terms) for cutoff in cutoffs]


def best_cutoff(curve: list[dict[str, Any]], key: str = "realised_profit") -> float | None:
    """The cut-off of a policy curve that earns most."""
    return max(curve, key=lambda row: row[key])["cutoff"] if curve else None


def fewer_bad_loans(
    default: np.ndarray,
    score: np.ndarray,
    comparator: np.ndarray,
    *,
    approval_rate: float,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Any]:
    """How many fewer of the approved default than under the comparator, both approving the same share of the same applicants.

    score, comparator: (n,) numbers that rise with risk. Returns the two bad rates and `reduction` = 1 − bad rate / comparator's bad rate
    with its bootstrap interval; each replicate approves its own share anew. Ties at the margin count by share, so that no order of rows
    matters.
    """
    default = np.asarray(default, dtype=float)
    ones = np.ones((1, len(default)))
    rates = [_bad_rate(default, each, approval_rate) for each in (score, comparator)]
    mine, theirs = (float(rate(ones)[0]) for rate in rates)
    drawn: list[np.ndarray] = []
    for counts in resamples(len(default), replicates, seed):
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn.append(1 - rates[0](counts) / rates[1](counts))
    reduction = interval(1 - mine / theirs if theirs > 0 else None, np.concatenate(drawn))
    return {"approval_rate": approval_rate, "bad_rate": mine, "comparator_bad_rate": theirs, "reduction": reduction}


def _bad_rate(default: np.ndarray, score: np.ndarray, approval_rate: float):
    """A function of (b, n) row weights: the bad rate (b,) among the lowest-scored `approval_rate` of the weight."""
    _, group = np.unique(score, return_inverse=True)
    order = np.argsort(group, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(group[order]) > 0, True))

    def rate(counts: np.ndarray) -> np.ndarray:
        ordered = counts[:, order]
        size = np.cumsum(ordered, axis=1)[:, ends]
        bad = np.cumsum(ordered * default[order], axis=1)[:, ends]
        wanted = approval_rate * size[:, -1]
        made = np.empty(len(counts))
        for row in range(len(counts)):
            made[row] = (
                np.interp(wanted[row], np.append(0.0, size[row]), np.append(0.0, bad[row])) / wanted[row] if wanted[row] > 0 else np.nan
            )
        return made

    return rate
