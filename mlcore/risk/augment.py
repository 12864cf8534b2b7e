"""More defaults to learn from, made up inside a training part, and whether that helped on later loans that nothing was made up of.

Defaults are rare. A made-up one takes each number from between two real defaults that are neighbours in time, and the other columns from
one of them (Chawla et al. 2002, without the search for nearest neighbours, which means little across units and missing values). The level
of the probabilities is not touched: the calibrator is fitted on real rows that the rung has not seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from mlcore.metrics import auc_difference, rounded
from mlcore.risk import assess
from mlcore.risk.base import Dataset, Rung
from mlcore.schema import Schema

SHARE = 1.0
"""Made-up defaults for each real one."""


class Augmenting:
    """Stands in for an unfitted rung: fits it on the rows it is given and made-up defaults among them, and hands back the rung."""

    def __init__(self, make: Callable[[], Rung], schema: Schema, *, seed: int) -> None:
        self.make = make
        self.schema = schema
        self.seed = seed

    def fit(
        self, frame: pd.DataFrame, default: np.ndarray, *, submitted_at: pd.Series | None = None, weight: np.ndarray | None = None
    ) -> Rung:
        more, labels, dates, first = with_made_up(frame, default, submitted_at, self.schema, self.seed)
        # One that is made up weighs what the default weighs that it was made of.
        rung = self.make().fit(more, labels, submitted_at=dates, weight=None if weight is None else np.append(weight, weight[first]))
        rung.again = None  # a refit has to come by here too, or it would learn from the real rows alone
        return rung


def with_made_up(frame: pd.DataFrame, default: np.ndarray, submitted_at: pd.Series | None, schema: Schema, seed: int) -> tuple[Any, ...]:
    """(frame, default, dates or None) with round(SHARE · defaults) made-up defaults behind the real rows, and the rows of their models."""
    chance = np.random.default_rng(seed)
    bad = np.flatnonzero(np.asarray(default) == 1)
    if submitted_at is not None:
        bad = bad[np.argsort(submitted_at.to_numpy()[bad], kind="stable")]
    count = round(SHARE * len(bad))
    one = chance.integers(0, max(len(bad) - 1, 1), count)
    first, second = bad[one], bad[np.minimum(one + 1, len(bad) - 1)]
    weight = chance.random(count)
    made = frame.iloc[first].reset_index(drop=True)
    for column in schema:
        if column.kind == "number" and column.name in frame:
            left, right = (frame[column.name].to_numpy(dtype=float)[rows] for rows in (first, second))
            between = left + weight * (right - left)
            made[column.name] = np.where(np.isfinite(between), between, left)
    dates = None if submitted_at is None else pd.concat([submitted_at, submitted_at.iloc[first]], ignore_index=True)
    return pd.concat([frame, made], ignore_index=True), np.concatenate([default, np.ones(count, dtype=default.dtype)]), dates, first


def tried(
    chosen: assess.Assessment,
    make: Callable[[], Rung],
    data: Dataset,
    how: assess.Plan,
    measure: Callable[[assess.Assessment], None],
    *,
    seed: int,
) -> tuple[assess.Assessment | None, dict[str, Any]]:
    """The chosen rung again, with made-up defaults in every training part, judged on the same real rows; None where it did not help.

    It helps where its AUC is better by more than one standard error of the paired difference (DeLong). The dict is for the report.
    """
    trial = assess.assess(chosen.name, lambda: Augmenting(make, data.schema, seed=seed), data, how, lambda share, step: None)
    measure(trial)
    pairs = zip(trial.samples, chosen.samples, strict=True)
    found = [auc_difference(data.default[rows], z, other) for (rows, z, _), (_, other, _) in pairs]
    value, se = (float(np.mean([getattr(one, name) for one in found])) for name in ("value", "se"))
    helped = value > se > 0
    words = (
        f"With as many made-up defaults as real ones in the training part, AUC on the judged loans changed by {value:+.4f} (standard error "
        f"{se:.4f}): {'it helped, and the model in service learned with them' if helped else 'it did not help, and was not used'}."
    )
    return trial if helped else None, rounded({"tried": True, "helped": helped, "difference": value, "se": se, "in_words": words})
