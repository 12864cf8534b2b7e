"""What a fraud score is worth to those who have to work through it.

`fraud` is (n,) of 0/1, `score` (n,) any number that rises with suspicion. A figure that does not exist is None.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mlcore.metrics import auc, wilson


def recall_at(fraud: np.ndarray, score: np.ndarray, false_positives: float = 0.05) -> float | None:
    """The share of frauds above the score that at most this share of honest applications exceeds. Ties with that score are not counted."""
    fraud = np.asarray(fraud).astype(bool)
    honest = np.sort(np.asarray(score, dtype=float)[~fraud])
    if not fraud.any() or not len(honest):
        return None
    allowed = int(np.floor(false_positives * len(honest)))
    limit = honest[len(honest) - 1 - allowed]
    return float(np.mean(np.asarray(score)[fraud] > limit))


def at_capacity(
    fraud: np.ndarray, score: np.ndarray, day: np.ndarray, *, capacity: int, amount: np.ndarray | None = None
) -> dict[str, Any]:
    """What is found when each day's `capacity` most suspicious applications are looked at, as they came in that day.

    day: (n,) anything that sorts. amount: (n,) currency. Returns looked_at, found, precision with Wilson's interval, recall,
    value_caught and value_at_stake (amounts of found and of all frauds) and value_share.
    """
    fraud = np.asarray(fraud).astype(bool)
    order = np.lexsort((-np.asarray(score, dtype=float), day))
    days = np.asarray(day)[order]
    place = np.arange(len(days)) - np.searchsorted(days, days)
    looked = np.zeros(len(fraud), dtype=bool)
    looked[order[place < capacity]] = True
    found = int((looked & fraud).sum())
    low, high = wilson(found, int(looked.sum()))
    made: dict[str, Any] = {
        "capacity": capacity,
        "looked_at": int(looked.sum()),
        "found": found,
        "precision": found / int(looked.sum()) if looked.any() else None,
        "precision_low": low,
        "precision_high": high,
        "recall": found / int(fraud.sum()) if fraud.any() else None,
    }
    if amount is not None:
        at_stake, caught = float(np.sum(amount[fraud])), float(np.sum(amount[fraud & looked]))
        made |= {"value_caught": caught, "value_at_stake": at_stake, "value_share": caught / at_stake if at_stake else None}
    return made


def recall_interval(
    fraud: np.ndarray, score: np.ndarray, false_positives: float = 0.05, replicates: int = 200, seed: int = 0
) -> dict[str, Any]:
    """`recall_at` with its bootstrap percentile interval."""
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(replicates):
        rows = rng.integers(0, len(fraud), len(fraud))
        value = recall_at(fraud[rows], score[rows], false_positives)
        if value is not None:
            drawn.append(value)
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) >= 20 else (None, None)
    return {"value": recall_at(fraud, score, false_positives), "low": low, "high": high}


def rings_caught(ring: np.ndarray, at: np.ndarray, flagged: np.ndarray, *, before: int = 3) -> dict[str, Any]:
    """How many planted rings had a flagged loan before their `before`-th loan, and how many flags were right.

    ring: (n,) ring number, -1 for honest. at: (n,) times. flagged: (n,) bool.
    """
    order = np.lexsort((at, ring))
    number = ring[order]
    place = np.arange(len(number)) - np.searchsorted(number, number)
    early = (number >= 0) & (place < before - 1) & flagged[order]
    sizes = np.bincount(number[number >= 0]) if (number >= 0).any() else np.empty(0)
    rings = int((sizes >= before).sum())
    caught = len(np.intersect1d(np.unique(number[early]), np.flatnonzero(sizes >= before)))
    right, total = int((flagged & (ring >= 0)).sum()), int(flagged.sum())
    return {
        "rings": rings,
        "rings_caught": caught,
        "ring_recall": caught / rings if rings else None,
        "flags": total,
        "precision": right / total if total else None,
        "loan_recall": right / int((ring >= 0).sum()) if (ring >= 0).any() else None,
    }


def overview(fraud: np.ndarray, score: np.ndarray) -> dict[str, Any]:
    return {"auc": auc(fraud, score), "recall_at_5fpr": recall_at(fraud, score), "rate": float(np.mean(fraud)) if len(fraud) else None}
