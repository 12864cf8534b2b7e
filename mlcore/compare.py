"""Two models on the same applications: which is worth more where the outcome is known, and who would be decided differently."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mlcore import calibration, metrics
from mlcore.metrics import FIGURES, ProfitTerms, auc_difference, interval, replicated, rounded, wilson
from mlcore.risk.base import Scores
from mlcore.risk.fairness import characteristic, groups
from mlcore.risk.grades import LETTERS
from mlcore.risk.reasons import MOST_REASONS, Families, strongest

REPLICATES = 200
ADVICE = ("approve", "refer", "decline")
FEWEST_EVENTS = 2
"""Of each outcome: DeLong's covariance needs as many."""


@dataclass(frozen=True)
class Answers:
    """What one version says of n applications. grades: (n,) letters by its own bounds."""

    name: str
    scores: Scores
    families: Families
    grades: np.ndarray


@dataclass(frozen=True)
class Terms:
    """The policy that both are held to: default probabilities from which on it is looked at, and declined; what a loan earns and costs."""

    approve_below: float
    decline_from: float
    money: ProfitTerms

    def advice(self, probability: np.ndarray) -> np.ndarray:
        """(n,) 0 approve, 1 refer, 2 decline."""
        return (probability >= self.approve_below).astype(int) + (probability >= self.decline_from)


def compare(
    first: Answers,
    second: Answers,
    *,
    default: np.ndarray,
    terms: Terms,
    amount: np.ndarray | None = None,
    protected: pd.DataFrame | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Any]:
    """Everything that the two say of the same n applications, as plain JSON. default: (n,) 1, 0, or -1 where the outcome is not known.

    Differences are second minus first, on the same rows: AUC by DeLong, the others by one bootstrap that draws the same rows for both.
    Keys: rows, known, defaults, names, figures, calibration, swap, grades, reasons, agreement, fairness. figures and calibration are None
    where fewer than two loans of each outcome are known.
    """
    known = default >= 0
    bad = int((default == 1).sum())
    made: dict[str, Any] = {
        "rows": len(default),
        "known": int(known.sum()),
        "defaults": bad,
        "names": [first.name, second.name],
        "agreement": agreement(first.scores.probability, second.scores.probability),
        "swap": swap(first, second, default, terms),
        "grades": by_grade(first, second, default),
        "reasons": reasons(first, second),
        "figures": None,
        "calibration": None,
        "fairness": None,
    }
    if min(bad, int(known.sum()) - bad) >= FEWEST_EVENTS:
        labels = default[known].astype(np.int8)
        one, other = first.scores.probability[known], second.scores.probability[known]
        exposure = None if amount is None else amount[known]
        made["figures"] = figures(labels, one, other, amount=exposure, terms=terms.money, replicates=replicates, seed=seed)
        made["calibration"] = [calibration.reliability(labels, each) for each in (one, other)]
        if protected is not None and len(protected.columns):
            made["fairness"] = fairness(protected.loc[known].reset_index(drop=True), labels, one, other, terms.approve_below)
    return rounded(made)


def figures(
    default: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    *,
    amount: np.ndarray | None,
    terms: ProfitTerms,
    replicates: int,
    seed: int,
) -> dict[str, Any]:
    """{figure: {"first", "second", "difference", "one_sided"}}: with 95 % intervals; one_sided are the ends of the 90 % interval of the
    difference, so that either alone leaves out 5 %.
    """
    one, draws = replicated(default, first, amount=amount, terms=terms, replicates=replicates, seed=seed)
    other, redraws = replicated(default, second, amount=amount, terms=terms, replicates=replicates, seed=seed)
    made = {}
    for name in FIGURES:
        point = None if one[name] is None or other[name] is None else other[name] - one[name]
        gaps = redraws[name] - draws[name]
        tight = interval(point, gaps, 0.9)
        made[name] = {
            "first": interval(one[name], draws[name]),
            "second": interval(other[name], redraws[name]),
            "difference": interval(point, gaps),
            "one_sided": {"low": tight["low"], "high": tight["high"]},
        }
    wide, tight = auc_difference(default, second, first), auc_difference(default, second, first, level=0.9)
    made["auc"]["difference"] = {"value": wide.value, "low": wide.low, "high": wide.high}
    made["auc"]["one_sided"] = {"low": tight.low, "high": tight.high}
    made["oe"]["first"] = metrics.observed_expected(default, first)
    made["oe"]["second"] = metrics.observed_expected(default, second)
    return made


def agreement(first: np.ndarray, second: np.ndarray) -> dict[str, float | None]:
    """How alike two sets of probabilities are: rank correlation (Spearman), mean absolute difference, and the share that moved by > .05."""
    if not len(first):
        return {"rank_correlation": None, "mean_difference": None, "moved": None}
    ranks = [metrics.midranks(each) for each in (first, second)]
    spread = ranks[0].std() * ranks[1].std()
    moved = np.abs(first - second)
    together = float(np.mean((ranks[0] - ranks[0].mean()) * (ranks[1] - ranks[1].mean())) / spread) if spread > 0 else None
    return {"rank_correlation": together, "mean_difference": float(moved.mean()), "moved": float((moved > 0.05).mean())}


def swap(first: Answers, second: Answers, default: np.ndarray, terms: Terms) -> dict[str, Any]:
    """Who would be decided differently under the policy: the nine cells of advice by the one and by the other, and the two swap sets."""
    one, other = terms.advice(first.scores.probability), terms.advice(second.scores.probability)
    cells = [
        {"first": ADVICE[i], "second": ADVICE[j]} | _outcomes((one == i) & (other == j), default)
        for i in range(len(ADVICE))
        for j in range(len(ADVICE))
        if terms.approve_below < terms.decline_from or 1 not in (i, j)
    ]
    approved, approves = one == 0, other == 0
    return {
        "cells": cells,
        "different": int((one != other).sum()),
        "swapped_in": _outcomes(~approved & approves, default),
        "swapped_out": _outcomes(approved & ~approves, default),
        "approval_rate": [float(each.mean()) if len(each) else None for each in (approved, approves)],
        "bad_rate": [_outcomes(each, default)["bad_rate"] for each in (approved, approves)],
        "approve_below": terms.approve_below,
        "decline_from": terms.decline_from,
    }


def by_grade(first: Answers, second: Answers, default: np.ndarray) -> list[dict[str, Any]]:
    """Of each grade that the first gives: where the second puts them, and how they fared."""
    rows = []
    for letter in LETTERS:
        mine = first.grades == letter
        if not mine.any() and not (second.grades == letter).any():
            continue
        place = np.searchsorted(LETTERS_ARRAY, second.grades[mine])
        here = LETTERS.index(letter)
        rows.append(
            {"grade": letter, "second": int((second.grades == letter).sum())}
            | _outcomes(mine, default)
            | {"same": int((place == here).sum()), "better": int((place < here).sum()), "worse": int((place > here).sum())}
        )
    return rows


LETTERS_ARRAY = np.array(list(LETTERS))


def reasons(first: Answers, second: Answers) -> dict[str, Any]:
    """How far the four main adverse reasons agree. A reason of the one is found in the other where the two families share a column."""
    ours, _ = strongest(first.scores, first.families)
    theirs, _ = strongest(second.scores, second.families)
    alike = _alike(first.families, second.families)
    given = (ours >= 0).sum(axis=1)
    kept = np.zeros(len(ours), dtype=int)
    for place in range(ours.shape[1]):
        found = np.zeros(len(ours), dtype=bool)
        for other in range(theirs.shape[1]):
            both = (ours[:, place] >= 0) & (theirs[:, other] >= 0)
            found[both] |= alike[ours[both, place], theirs[both, other]]
        kept += found
    asked = given > 0
    lead = asked & (theirs[:, 0] >= 0)
    same_first = alike[ours[lead, 0], theirs[lead, 0]] if lead.any() else np.empty(0)
    shares = kept[asked] / given[asked]
    return {
        "rows": int(asked.sum()),
        "overlap": float(shares.mean()) if len(shares) else None,
        "first_same": float(same_first.mean()) if len(same_first) else None,
        "kept": [int((kept[asked] == number).sum()) for number in range(MOST_REASONS + 1)],
        "families": _family_rows(first.families, ours, second.families, theirs),
    }


def _alike(first: Families, second: Families) -> np.ndarray:
    """(families of the first, of the second) bool: they share a column."""
    columns = [[{families.columns[number] for number in inside} for inside in families.inside] for families in (first, second)]
    return np.array([[bool(one & other) for other in columns[1]] for one in columns[0]], dtype=bool).reshape(
        len(columns[0]), len(columns[1])
    )


def _family_rows(first: Families, ours: np.ndarray, second: Families, theirs: np.ndarray) -> list[dict[str, Any]]:
    """How often each family is among the four, by the one and by the other."""
    n = max(len(ours), 1)
    share: dict[str, list[float]] = {}
    for side, (families, chosen) in enumerate(((first, ours), (second, theirs))):
        for number, name in enumerate(families.names):
            share.setdefault(name, [0.0, 0.0])[side] = float((chosen == number).any(axis=1).sum()) / n
    rows = [{"family": name, "first": values[0], "second": values[1]} for name, values in share.items() if max(values) > 0]
    return sorted(rows, key=lambda row: -max(row["first"], row["second"]))


def fairness(protected: pd.DataFrame, default: np.ndarray, first: np.ndarray, second: np.ndarray, cutoff: float) -> list[dict[str, Any]]:
    """By protected characteristic, both models' lowest adverse impact ratio and widest equal-opportunity gap at the same cut-off."""
    rows = []
    for name in protected.columns:
        group = groups(protected[name])
        found = [characteristic(group, default, each, cutoff=cutoff) for each in (first, second)]
        rows.append(
            {
                "name": str(name),
                "first": _of(found[0]),
                "second": _of(found[1]),
            }
        )
    return rows


def _of(found: dict[str, Any]) -> dict[str, Any]:
    return {name: found.get(name) for name in ("adverse_impact_ratio", "significant", "equal_opportunity_gap", "reference", "lowest")}


def _outcomes(mine: np.ndarray, default: np.ndarray) -> dict[str, Any]:
    """Applications, how many of them have a known outcome, defaults, and the default rate with Wilson's interval."""
    known, bad = int((mine & (default >= 0)).sum()), int((mine & (default == 1)).sum())
    low, high = wilson(bad, known)
    return {
        "rows": int(mine.sum()),
        "known": known,
        "defaults": bad,
        "bad_rate": bad / known if known else None,
        "low": low,
        "high": high,
    }
