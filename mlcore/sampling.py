"""Which loans to learn from where there are more than a machine should hold: rare ones kept, the many thinned, each with its weight.

Loans before the cut are learned from. Their defaults are kept up to a share of the room; what is repaid is thinned within each month and
product. A row's weight is the inverse of its chance to be drawn (Horvitz & Thompson 1952), so that every month's defaults and repaid loans
add up to what they were. Loans from the cut on judge, and are drawn with equal chances: their figures need no weights, and none of the
methods that compute them has to know of the sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mlcore.splits import SplitError, as_utc, out_of_time, period_starts

EVENT_SHARE = 1 / 3
"""Of the rows to learn from, at most so many are defaults: more of them teach little more, and crowd the others out."""
FEWEST_TO_JUDGE = 200
"""Defaults among the judged rows: where a sample would hold fewer, all judged rows are kept."""


@dataclass(frozen=True)
class Sample:
    """rows: (m,) rising positions. weight: (m,) loans that each stands for, or None where all stand for the same. cut: the first moment
    of the judged part, None where no date splits the loans. of, of_defaults: all loans, and how many of them defaulted.
    """

    rows: np.ndarray
    weight: np.ndarray | None
    cut: pd.Timestamp | None
    of: int
    of_defaults: int

    def report(self, default: np.ndarray) -> dict[str, Any]:
        """Plain JSON for the training's report. default: (m,) outcomes of the drawn rows."""
        n, bad = len(self.rows), int(np.sum(default))
        words = f"Learned from {n:,} of {self.of:,} loans with a known outcome, {bad:,} of their {self.of_defaults:,} defaults among them"
        if self.weight is None:
            words += ", drawn month by month with equal chances."
        else:
            words += (
                f". Before {self.cut.date()} defaults were kept first and repaid loans drawn by month and product, each weighted by the "
                "loans that it stands for; from that day on all had equal chances, so the figures are of an unweighted sample."
            )
        return {"rows": n, "defaults": bad, "of": self.of, "of_defaults": self.of_defaults, "weighted": self.weight is not None} | {
            "in_words": words
        }


def stratified(
    default: np.ndarray, submitted_at: pd.Series, group: np.ndarray, *, most: int, test_share: float = 0.2, seed: int = 0
) -> Sample:
    """At most about `most` of (n,) loans, to learn from with weights and to judge without.

    default: 0 or 1. group: (n,) whole numbers, say the product. Loans that no date splits are drawn as by `proportional`.
    """
    try:
        split = out_of_time(submitted_at, default, test_share=test_share)
    except SplitError:
        return proportional(default, submitted_at, most=most, seed=seed)
    chance = np.random.default_rng(seed)
    learned, judged = split.train, split.test
    room = round(most * len(judged) / max(len(learned) + len(judged), 1))
    kept = np.sort(chance.choice(judged, min(room, len(judged)), replace=False))
    if min(default[kept].sum(), len(kept) - default[kept].sum()) < min(FEWEST_TO_JUDGE, default[judged].sum()):
        kept = judged
    month = _months(submitted_at)[learned]
    rows, weights = [kept], [np.full(len(kept), len(judged) / max(len(kept), 1))]
    bad = default[learned] == 1
    room = max(most - len(kept), most // 2)
    room_bad = min(int(bad.sum()), int(EVENT_SHARE * room))
    for wanted, these in ((room_bad, bad), (room - room_bad, ~bad)):
        drawn, weight = _drawn(np.column_stack([month, group[learned]])[these], wanted, chance)
        rows.append(learned[these][drawn])
        weights.append(weight)
    order = np.argsort(rows := np.concatenate(rows), kind="stable")
    return Sample(rows[order], np.concatenate(weights)[order], split.cut, len(default), int(np.sum(default)))


def proportional(default: np.ndarray, submitted_at: pd.Series, *, most: int, seed: int = 0) -> Sample:
    """At most about `most` of (n,) loans with equal chances, month by month and outcome by outcome: for what can't weigh its rows."""
    rows, _ = _drawn(np.column_stack([_months(submitted_at), default]), most, np.random.default_rng(seed))
    return Sample(np.sort(rows), None, None, len(default), int(np.sum(default)))


def _months(submitted_at: pd.Series) -> np.ndarray:
    """(n,) whole numbers that rise with the month; one of their own for what has no date."""
    return period_starts(as_utc(submitted_at), "month").astype("datetime64[M]").astype(np.int64)


def _drawn(strata: np.ndarray, wanted: int, chance: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(m,) positions drawn evenly from the strata (rows of (n, k) whole numbers), at least one from each, and what each stands for."""
    if len(strata) <= wanted:
        return np.arange(len(strata)), np.ones(len(strata))
    _, codes, sizes = np.unique(strata, axis=0, return_inverse=True, return_counts=True)
    take = np.maximum(np.floor(sizes * wanted / len(strata) + chance.random()), 1).astype(np.int64)
    # In random order within each stratum, the first so many of it.
    order = np.lexsort((chance.random(len(codes)), codes.ravel()))
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    place = np.arange(len(order)) - np.repeat(starts, sizes)
    kept = np.sort(order[place < np.repeat(np.minimum(take, sizes), sizes)])
    return kept, (sizes / np.minimum(take, sizes))[codes.ravel()[kept]]
