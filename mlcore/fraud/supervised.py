"""A calibrated probability of fraud, learned from investigated cases: the rungs of the risk ladder, compared on later cases.

Investigated cases are few, so the choice is among few: each rung and the mean of each pair of rungs, compared by log-loss on the latest
part of the training time (cross-fitted where there are no dates), the simplest within one standard error taken. The winner is fitted on
all cases; its calibration takes the shape from those held-out scores and the level from all cases.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from mlcore import calibration, metrics
from mlcore.calibration import Calibrator
from mlcore.progress import Progress, silent
from mlcore.risk import ladder
from mlcore.risk.base import FitError, Rung
from mlcore.risk.tuning import stratified_folds
from mlcore.schema import Schema

LEAST_FRAUDS = 200
LEAST_CLEARED = 200
RUNGS: tuple[str, ...] = ("logistic", "pairwise", "boosting")
FOLDS = 5
VALID_SHARE = 0.3
LEAST_VALID = 30
MOST_NEW = 0.5
"""Share of later cases with a value unseen before, above which a column is taken for a date in disguise."""


class TooFewCases(ValueError):
    """There are not enough investigated cases to learn from; the message says how many there are and how many it takes."""


@dataclass(frozen=True)
class FraudModel:
    """rungs: fitted on the same cases; the score is the mean of their log-odds, calibrated. report: what it was chosen by, plain JSON."""

    schema: Schema
    rungs: tuple[Rung, ...]
    calibrator: Calibrator
    report: dict[str, Any]

    @property
    def name(self) -> str:
        return "+".join(rung.name for rung in self.rungs)

    def log_odds(self, frame: pd.DataFrame, submitted_at: pd.Series | None = None) -> np.ndarray:
        """(n,) calibrated log-odds of fraud."""
        return self.calibrator.transform(np.mean([rung.log_odds(frame, submitted_at) for rung in self.rungs], axis=0))

    def probability(self, frame: pd.DataFrame, submitted_at: pd.Series | None = None) -> np.ndarray:
        return metrics.expit(self.log_odds(frame, submitted_at))

    def contributions(self, frame: pd.DataFrame, submitted_at: pd.Series | None = None) -> np.ndarray:
        """(n, columns of `schema`) log-odds before calibration, against the average training case."""
        return np.mean([rung.contributions(frame, submitted_at)[0] for rung in self.rungs], axis=0)

    def to_state(self) -> dict[str, Any]:
        return {
            "schema": self.schema.to_json(),
            "rungs": [rung.to_state() for rung in self.rungs],
            "calibrator": self.calibrator.to_state(),
            "report": self.report,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> FraudModel:
        rungs = tuple(ladder.load(each) for each in state["rungs"])
        return cls(Schema.from_json(state["schema"]), rungs, Calibrator.from_state(state["calibrator"]), state["report"])


def fit(
    frame: pd.DataFrame,
    fraud: np.ndarray,
    schema: Schema,
    *,
    submitted_at: pd.Series | None = None,
    weight: np.ndarray | None = None,
    seed: int = 0,
    rungs: tuple[str, ...] = RUNGS,
    least: tuple[int, int] = (LEAST_FRAUDS, LEAST_CLEARED),
    progress: Progress = silent,
) -> FraudModel:
    """frame: (n, columns of `schema`). fraud: (n,) 1 where confirmed, 0 where cleared. weight: (n,) how many cases each one stands for.

    Raises TooFewCases, or FitError where no column varies.
    """
    fraud = np.asarray(fraud).astype(np.int8)
    _check(fraud, least)
    weight = np.ones(len(fraud)) if weight is None else np.asarray(weight, dtype=float)
    held = _held_out(fraud, submitted_at, seed)
    schema, left_out = _without_disguised_time(frame, schema, held)
    scores: dict[str, np.ndarray] = {}
    for number, name in enumerate(rungs):
        progress(number / (len(rungs) + 1), f"Comparing: {name}")
        parts = []
        for train, valid in held:
            rung = ladder.make(name, schema, seed=seed).fit(
                _rows(frame, train), fraud[train], submitted_at=_rows(submitted_at, train), weight=weight[train]
            )
            parts.append(rung.log_odds(_rows(frame, valid), _rows(submitted_at, valid)))
        scores[name] = np.concatenate(parts)
    valid = np.concatenate([rows for _, rows in held])
    chosen, compared = _choose(scores, fraud[valid], weight[valid])
    together = np.mean([scores[name] for name in chosen], axis=0)
    calibrator = calibration.fit(together, fraud[valid], weight=weight[valid])
    progress(len(rungs) / (len(rungs) + 1), "Fitting on all cases")
    fitted = tuple(ladder.make(name, schema, seed=seed).fit(frame, fraud, submitted_at=submitted_at, weight=weight) for name in chosen)
    # The shape comes from the latest cases, the level from all: of the latest, some frauds have not been found out yet.
    fitted_scores = np.mean([rung.log_odds(frame, submitted_at) for rung in fitted], axis=0)
    shift = calibration.level_shift(calibrator.transform(fitted_scores), fraud, weight)
    calibrator = replace(calibrator, shift=calibrator.shift + shift)
    report = {
        "cases": len(fraud),
        "frauds": int(fraud.sum()),
        "chosen": list(chosen),
        "compared": compared,
        "held_out": {"cases": len(valid), "frauds": int(fraud[valid].sum()), "how": "later cases" if len(held) == 1 else f"{FOLDS} folds"},
        "calibration": calibrator.method,
        "left_out": left_out,
    }
    return FraudModel(schema, fitted, calibrator, report)


def _check(fraud: np.ndarray, least: tuple[int, int]) -> None:
    frauds, cleared = int(fraud.sum()), int(len(fraud) - fraud.sum())
    if frauds < least[0] or cleared < least[1] or frauds == 0 or cleared == 0:
        raise TooFewCases(
            f"{frauds:,} confirmed and {cleared:,} cleared cases; a model takes {max(least[0], 1)} and {max(least[1], 1)}. "
            "Until then rules and anomaly decide what is flagged."
        )


def _held_out(fraud: np.ndarray, submitted_at: pd.Series | None, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The latest cases where there are dates and enough of both kinds among them; folds otherwise."""
    if submitted_at is not None and submitted_at.notna().all():
        order = np.argsort(submitted_at.to_numpy(), kind="stable")
        cut = round(len(order) * (1 - VALID_SHARE))
        train, valid = order[:cut], order[cut:]
        if all(min(fraud[rows].sum(), len(rows) - fraud[rows].sum()) >= LEAST_VALID for rows in (train, valid)):
            return [(train, valid)]
    folds = int(min(FOLDS, fraud.sum(), len(fraud) - fraud.sum()))
    if folds < 2:
        raise FitError("One confirmed or one cleared case alone can't be learned from and judged on.")
    return stratified_folds(fraud, folds=folds, seed=seed)


def _without_disguised_time(
    frame: pd.DataFrame, schema: Schema, held: list[tuple[np.ndarray, np.ndarray]]
) -> tuple[Schema, dict[str, str]]:
    """Without columns whose later values hardly ever occurred earlier (a month, a running number): they tell when, not who.

    The comparison on later cases can't judge them, for there they are unknown; the fit on all cases would learn them all the same, and take
    a good month for innocence.
    """
    if len(held) > 1:
        return schema, {}
    train, valid = held[0]
    left_out = {}
    for column in schema:
        if column.kind == "boolean" or column.name not in frame:
            continue
        then, now = frame[column.name].iloc[train].dropna(), frame[column.name].iloc[valid].dropna()
        if column.kind in ("category", "text"):
            new = ~now.astype(str).isin(set(then.astype(str)))
        else:
            new = (now < then.min()) | (now > then.max())
        if len(then) and len(now) and new.mean() > MOST_NEW:
            left_out[column.name] = f"{new.mean():.0%} of the later cases have a value that no earlier one had: it tells when, not who"
    return schema.only([name for name in schema.names if name not in left_out]), left_out


def _choose(scores: dict[str, np.ndarray], fraud: np.ndarray, weight: np.ndarray) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """The rungs whose mean score is best by log-loss, or fewer that are within a standard error of it."""
    names = list(scores)
    candidates: list[tuple[str, ...]] = [(name,) for name in names] + list(combinations(names, 2))
    losses = []
    for candidate in candidates:
        score = np.mean([scores[name] for name in candidate], axis=0)
        z = score + calibration.level_shift(score, fraud, weight)
        losses.append(np.logaddexp(0.0, z) - fraud * z)
    means = np.array([np.average(loss, weights=weight) for loss in losses])
    best = int(means.argmin())
    chosen = best
    for number in range(best):
        if means[number] - means[best] <= _standard_error(losses[number] - losses[best], weight):
            chosen = number
            break
    compared = [
        {
            "rungs": list(candidate),
            "log_loss": float(mean),
            "auc": metrics.auc(fraud, np.mean([scores[name] for name in candidate], axis=0)),
        }
        for candidate, mean in zip(candidates, means, strict=True)
    ]
    return candidates[chosen], compared


def _standard_error(values: np.ndarray, weight: np.ndarray) -> float:
    """Of their weighted mean: one case that stands for seventy makes it less sure, not more."""
    away = weight * (values - np.average(values, weights=weight))
    n = len(values)
    return float(np.sqrt(n / (n - 1) * (away**2).sum()) / weight.sum())


def _rows(values: Any, rows: np.ndarray) -> Any:
    return None if values is None else values.iloc[rows].reset_index(drop=True)
