"""From applications and findings to a fraud model and its report: what each part is worth on findings that it had not seen.

The report never mixes up the two things that a fraud figure can mean. All that is known are findings on applications that somebody looked
at, nearly all because they were flagged: figures on them say how well the flagged are sorted, not how many frauds nobody looked at.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mlcore import metrics
from mlcore.fraud import evaluate, supervised
from mlcore.fraud.anomaly import LEAST_ROWS, Anomaly, TooLittle
from mlcore.fraud.merge import merge
from mlcore.fraud.model import FraudDetector
from mlcore.fraud.rules import Trace
from mlcore.metrics import rounded
from mlcore.progress import Progress, part, silent
from mlcore.risk import report as risk_report
from mlcore.risk.base import FitError
from mlcore.risk.tuning import stratified_folds
from mlcore.schema import Schema

JUDGED_SHARE = 0.3
LEAST_JUDGED = 10
"""Frauds and cleared cases on either side of a split by time; with fewer, findings are judged in turn (folds)."""
FOLDS = 3
TITLES = {
    "rules": "Rules alone",
    "anomaly": "Anomaly alone",
    "weights": "Rules and anomaly, by stated weights",
    "supervised": "Learned from findings, alone",
    "merged": "All together, as it serves",
}


class NothingToLearn(ValueError):
    """There is too little to fit anything on; the message says what there is."""


@dataclass(frozen=True)
class Material:
    """What there is to learn from, n applications.

    frame: (n, columns of `schema`). usual: (n,) bool, what "usual" is learned from. fraud: (n,) 1 confirmed, 0 cleared, NaN where nobody
    found anything out. weight: (n,) how many each finding stands for. amount: (n,). traces: of each application with a finding, by row,
    what the rules in force make of it.
    """

    frame: pd.DataFrame
    schema: Schema
    submitted_at: pd.Series
    usual: np.ndarray
    fraud: np.ndarray
    weight: np.ndarray
    amount: np.ndarray
    traces: dict[int, Sequence[Trace]]

    def part(self, rows: np.ndarray) -> tuple[pd.DataFrame, pd.Series]:
        return self.frame.iloc[rows].reset_index(drop=True), self.submitted_at.iloc[rows].reset_index(drop=True)


@dataclass(frozen=True)
class FraudResult:
    model: FraudDetector
    report: dict[str, Any]


def train_fraud(
    material: Material,
    *,
    capacity: int,
    seed: int = 0,
    rungs: tuple[str, ...] = supervised.RUNGS,
    least: tuple[int, int] = (supervised.LEAST_FRAUDS, supervised.LEAST_CLEARED),
    progress: Progress = silent,
) -> FraudResult:
    """Fit what can be fitted; what can't is left out and the report's warnings say why. capacity: applications looked at a day.

    Raises NothingToLearn where neither part can be fitted, and Cancelled from `progress`.
    """
    started = time.perf_counter()
    warnings: list[str] = []
    known = np.flatnonzero(np.isfinite(material.fraud))
    fraud = material.fraud[known].astype(np.int8)
    usual = np.flatnonzero(material.usual)
    progress(0.0, "Learning what is usual")
    anomaly, why = _anomaly(material, usual, seed)
    warnings += why
    progress(0.15, "Learning from findings")
    model = None
    try:
        model = _supervised(material, known, seed, rungs, least, part(progress, 0.15, 0.5))
    except (supervised.TooFewCases, FitError) as error:
        warnings.append(str(error))
    if model is not None and model.report["left_out"]:
        columns = ", ".join(material.schema[name].title for name in model.report["left_out"])
        warnings.append(f"Not learned from, because later cases have values that no earlier one had: {columns}.")
    if anomaly is None and model is None:
        raise NothingToLearn(" ".join(warnings))
    progress(0.5, "Judging on findings that were not learned from")
    judged = _judged(material, known, fraud, model is not None, rungs, capacity, seed, part(progress, 0.5, 0.97))
    detector = FraudDetector(anomaly, model)
    report = rounded(
        {
            "version": 1,
            "kind": "fraud",
            "seed": seed,
            "data": {"rows": len(usual), "findings": len(known), "columns": _columns(material.schema, detector)},
            "choice": {"title": _title(model)},
            "labels": {
                "confirmed": int(fraud.sum()),
                "cleared": int(len(fraud) - fraud.sum()),
                "sampled": int((material.weight[known] > 1).sum()),
                "least": list(least),
            },
            "anomaly": None if anomaly is None else {"rows": anomaly.rows, "columns": len(anomaly.tails.names)},
            "supervised": None if model is None else model.report,
            "judged": judged,
            "warnings": warnings,
            "in_words": _in_words(anomaly, model, judged, fraud),
            "seconds": time.perf_counter() - started,
        }
    )
    progress(1.0, "The fraud model is ready")
    return FraudResult(detector, report)


def _anomaly(material: Material, rows: np.ndarray, seed: int) -> tuple[Anomaly | None, list[str]]:
    try:
        return Anomaly.fit(material.part(rows)[0], material.schema, seed=seed), []
    except TooLittle as error:
        return None, [str(error)]


def _supervised(
    material: Material, rows: np.ndarray, seed: int, rungs: tuple[str, ...], least: tuple[int, int], progress: Progress
) -> supervised.FraudModel:
    frame, at = material.part(rows)
    return supervised.fit(
        frame, material.fraud[rows].astype(np.int8), material.schema, submitted_at=at, weight=material.weight[rows], seed=seed,
        rungs=rungs, least=least, progress=progress,
    )  # fmt: skip


def _judged(
    material: Material,
    known: np.ndarray,
    fraud: np.ndarray,
    learned: bool,
    rungs: tuple[str, ...],
    capacity: int,
    seed: int,
    progress: Progress,
) -> dict[str, Any] | None:
    """Every part on findings that it was not fitted on; None where there are too few of a kind to say anything."""
    if min(fraud.sum(), len(fraud) - fraud.sum()) < LEAST_JUDGED:
        return None
    pairs, how = _split(material, known, fraud, learned, seed)
    scores: dict[str, list[np.ndarray]] = {}
    for number, (train, test) in enumerate(pairs):
        progress(number / len(pairs), "Judging on findings that were not learned from")
        try:
            one = _scores(material, known[train], known[test], how, learned, rungs, seed)
        except FitError:
            return None
        for name, score in one.items():
            scores.setdefault(name, []).append(score)
    tested = np.concatenate([test for _, test in pairs])
    found, rows = fraud[tested], known[tested]
    together = {name: np.concatenate(values) for name, values in scores.items() if len(values) == len(pairs)}
    made: dict[str, Any] = {
        "how": how,
        "test": _side(material, rows),
        "train": None if how != "time" else _side(material, known[pairs[0][0]]),
        "figures": {name: _figures(found, score) | {"title": TITLES[name]} for name, score in together.items()},
        "at_capacity": _at_capacity(material, rows, found, together, capacity),
    }
    if "merged" in together:
        made["gain"] = vars(metrics.auc_difference(found, together["merged"], together["weights"]))
        made["probability"] = _of_probability(found, together["supervised"], material.weight[rows], seed)
    return made


def _split(
    material: Material, known: np.ndarray, fraud: np.ndarray, learned: bool, seed: int
) -> tuple[list[tuple[np.ndarray, np.ndarray]], str]:
    """[(learned from, judged on)], positions among the findings: the latest part, or folds. All at once where nothing is learned."""
    everything = np.arange(len(known))
    if not learned:
        return [(everything[:0], everything)], "all"
    order = np.argsort(material.submitted_at.iloc[known].to_numpy(), kind="stable")
    cut = round(len(order) * (1 - JUDGED_SHARE))
    train, test = order[:cut], order[cut:]
    if all(min(fraud[rows].sum(), len(rows) - fraud[rows].sum()) >= LEAST_JUDGED for rows in (train, test)):
        return [(train, test)], "time"
    return stratified_folds(fraud, folds=FOLDS, seed=seed), "folds"


def _scores(
    material: Material, train: np.ndarray, test: np.ndarray, how: str, learned: bool, rungs: tuple[str, ...], seed: int
) -> dict[str, np.ndarray]:
    """{part: (rows of test,) its score}, each part fitted without those rows, and what is usual without what came after them."""
    frame, at = material.part(test)
    usual = np.setdiff1d(np.flatnonzero(material.usual), test)
    if how == "time":
        earlier = usual[(material.submitted_at.iloc[usual] < at.min()).to_numpy()]
        usual = earlier if len(earlier) >= LEAST_ROWS else usual
    anomaly, _ = _anomaly(material, usual, seed)
    unusual = anomaly.score(frame).unusual if anomaly else np.full(len(test), np.nan)
    odd = [None if np.isnan(value) else float(value) for value in unusual]
    traces = [material.traces.get(int(row), ()) for row in test]
    made = {"rules": np.array([merge(each).score for each in traces])}
    if anomaly is not None:
        made["anomaly"] = unusual
    made["weights"] = np.array([merge(each, unusual=value).score for each, value in zip(traces, odd, strict=True)])
    if learned:
        model = _supervised(material, train, seed, rungs, (1, 1), silent)
        probability = model.probability(frame, at)
        made["supervised"] = probability
        made["merged"] = np.array(
            [merge(each, unusual=value, probability=float(p)).score for each, value, p in zip(traces, odd, probability, strict=True)]
        )
    return made


def _side(material: Material, rows: np.ndarray) -> dict[str, Any]:
    at, fraud = material.submitted_at.iloc[rows], material.fraud[rows]
    return {
        "cases": len(rows),
        "frauds": int(fraud.sum()),
        "from": f"{at.min():%Y-%m-%d}",
        "until": f"{at.max():%Y-%m-%d}",
    }


def _figures(fraud: np.ndarray, score: np.ndarray) -> dict[str, Any]:
    value, covariance = metrics.delong(fraud, score)
    reach = 1.96 * float(np.sqrt(max(covariance[0, 0], 0.0)))
    area = float(value[0])
    return {
        "auc": {"value": area, "low": max(area - reach, 0.0), "high": min(area + reach, 1.0)},
        "recall_at_5fpr": evaluate.recall_interval(fraud, score),
    }


def _at_capacity(
    material: Material, rows: np.ndarray, fraud: np.ndarray, scores: dict[str, np.ndarray], capacity: int
) -> dict[str, Any] | None:
    """What so many looked at a day would have found, by each part's order; None where nobody had to choose: fewer came than that."""
    day = material.submitted_at.iloc[rows].dt.floor("D").to_numpy()
    found = {
        name: evaluate.at_capacity(fraud, score, day, capacity=capacity, amount=material.amount[rows]) for name, score in scores.items()
    }
    looked = max(each["looked_at"] for each in found.values())
    return None if looked >= 0.9 * len(rows) else {"capacity": capacity, "rate": float(fraud.mean()), "parts": found}


def _of_probability(fraud: np.ndarray, probability: np.ndarray, weight: np.ndarray, seed: int) -> dict[str, Any]:
    """Is the probability one? Each finding counts as many times as it stands for. Beside one rate for all."""
    inside = np.clip(probability, metrics.SMALLEST, 1 - metrics.SMALLEST)
    losses = -(fraud * np.log(inside) + (1 - fraud) * np.log1p(-inside))
    rate = float(np.average(fraud, weights=weight))
    prior = -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate)) if 0 < rate < 1 else 0.0
    drawn = [
        (counts * weight) @ fraud / np.maximum((counts * weight) @ probability, metrics.SMALLEST)
        for counts in metrics.resamples(len(fraud), 200, seed)
    ]
    ratio = float(weight @ fraud / max(float(weight @ probability), metrics.SMALLEST))
    return {
        "oe": metrics.interval(ratio, np.concatenate(drawn)),
        "log_loss": float(np.average(losses, weights=weight)),
        "prior_log_loss": prior,
    }


def _columns(schema: Schema, detector: FraudDetector) -> list[dict[str, str]]:
    used = set(detector.anomaly.tails.names if detector.anomaly else ())
    used |= set(detector.supervised.schema.names if detector.supervised else ())
    return [{"name": column.name, "title": column.title} for column in schema if column.name in used]


def _title(model: supervised.FraudModel | None) -> str:
    if model is None:
        return "Anomaly alone"
    return "Anomaly and " + " with ".join(risk_report.title(rung.name).lower() for rung in model.rungs)


def _in_words(anomaly: Anomaly | None, model: supervised.FraudModel | None, judged: dict[str, Any] | None, fraud: np.ndarray) -> str:
    confirmed, cleared = int(fraud.sum()), int(len(fraud) - fraud.sum())
    parts = []
    if anomaly is not None:
        parts.append(f"It knows what is usual from {anomaly.rows:,} applications.")
    if model is None:
        parts.append("It has learned nothing of fraud yet, so scores are a ranking by stated weights.")
    else:
        parts.append(f"It learned from {confirmed:,} confirmed and {cleared:,} cleared findings.")
    if judged is not None:
        name = "merged" if "merged" in judged["figures"] else "weights"
        area = judged["figures"][name]["auc"]["value"]
        parts.append(f"Of a fraud and a cleared case it ranks the fraud higher {round(100 * area)} times in 100; chance would be 50.")
    return " ".join(parts)
