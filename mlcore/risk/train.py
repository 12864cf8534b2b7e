"""From labelled applications to a default-risk model and a report that says what it is worth."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from mlcore import quality
from mlcore.labels import Labels
from mlcore.metrics import ProfitTerms, rounded
from mlcore.preparation import strategies
from mlcore.progress import Progress, part, silent
from mlcore.risk import assess, ladder, report
from mlcore.risk.augment import Augmenting, tried
from mlcore.risk.base import Dataset, FitError
from mlcore.risk.counterfactual import feasible_ranges
from mlcore.risk.fairness import fairness_report
from mlcore.risk.grades import Grades
from mlcore.risk.model import RiskModel, make_baseline
from mlcore.risk.profit import Comparator
from mlcore.risk.reasons import Families, correlated
from mlcore.schema import Schema

FEWEST_EVENTS = 10
"""Fewer defaults, or fewer repaid loans, than this teach nothing that could be checked."""
LATEST_ROWS = 5000
"""How many of the latest applicants the importances, and at most how many the baseline, are averaged over."""


class TrainingError(ValueError):
    """These data can't train a model; the message says what is missing."""


@dataclass(frozen=True)
class TrainingResult:
    """The model for service, and its report as plain JSON (see `mlcore.risk.report.build`)."""

    model: RiskModel
    report: dict[str, Any]


def train_default_risk(
    data: Dataset,
    *,
    seed: int = 0,
    rungs: Sequence[str] | None = None,
    progress: Progress = silent,
    terms: ProfitTerms | None = None,
    cutoff: float | None = None,
    cut: pd.Timestamp | str | None = None,
    test_share: float = 0.2,
    embargo_days: int = 0,
    baseline: Literal["all", "at_cutoff"] = "all",
    labels: Labels | dict[str, Any] | None = None,
    leaks: Literal["warn", "drop"] = "warn",
    grades: Grades | None = None,
    comparators: Sequence[Comparator] = (),
    now: pd.Timestamp | None = None,
    augment: bool = False,
) -> TrainingResult:
    """Check, split, climb the ladder, choose, calibrate, fit again on everything, and report.

    data: loans with a known outcome only (`mlcore.labels`). rungs: names from `mlcore.risk.ladder`; None is all that this machine can fit,
    and the prior is always among them. terms: what a loan earns and costs. cutoff: the policy's default probability from which on an
    application is not approved; the break-even of `terms` where None. cut: the first day of the test part; by default the latest
    `test_share` of the rows. labels: for the report only. leaks: whether columns that the leakage guard is sure of are only warned of or
    also left out. grades: the bands to keep; drawn from the judged rows where None. comparators: other ways to approve these rows, beside
    which the report puts the model at equal approval.

    now: applications dated after it are a mistake. augment: whether made-up defaults are tried with the chosen rung, inside the training
    part alone; they are used only if they help on the judged loans.

    Raises TrainingError, also for data that can't be right, ladder.UnknownRung, and Cancelled from `progress`. The same data and seed give
    the same model.
    """
    started = time.perf_counter()
    terms = terms or ProfitTerms()
    cutoff = terms.break_even if cutoff is None else cutoff
    progress(0.0, "Checking the data")
    _check(data)
    names = _rungs(rungs)
    findings = quality.leakage_guard(data)
    leaking = {finding.column for finding in findings if finding.severity == "leak"} if leaks == "drop" else set()
    schema = Schema(column for column in data.schema.usable() if column.name in data.frame and column.name not in leaking)
    if not len(schema):
        raise TrainingError("No column is left to learn from: none is known at application, unprotected and not text.")
    warnings = [finding.message for finding in findings if finding.severity in ("leak", "suspect")]
    progress(0.02, "Describing the data")
    described = quality.data_quality(data, now=now)
    wrong = quality.errors(described)
    if wrong:
        raise TrainingError("These data can't be learned from. " + " ".join(wrong))
    described["preparation"] = rounded(strategies(data.frame, schema, np.asarray(data.default)))
    used = Dataset(
        data.frame[list(schema.names)],
        np.asarray(data.default, dtype=np.int8),
        schema,
        data.submitted_at,
        data.amount,
        data.protected,
        weight=data.weight,
    )
    how = assess.plan(used, test_share=test_share, cut=cut, embargo_days=embargo_days, seed=seed)
    warnings += how.warnings

    assessments = _climb(names, used, how, terms, seed, part(progress, 0.05, 0.80), warnings)
    choice = assess.choose(assessments, used.default, seed=seed)
    chosen = next(each for each in assessments if each.name == choice.name)

    def make() -> Any:
        return ladder.make(choice.name, schema, seed=seed)

    made_up = None
    if augment:
        progress(0.78, f"Trying {choice.name} with made-up defaults")
        better, made_up = tried(chosen, make, used, how, lambda each: assess.measure(each, used, terms, seed=seed), seed=seed)
        if better is not None:
            assessments[assessments.index(chosen)] = chosen = better

    progress(0.80, f"Fitting {choice.name} on all {len(used):,} loans")
    helped = made_up is not None and made_up["helped"]
    rung = assess.refit(chosen.rung, (lambda: Augmenting(make, schema, seed=seed)) if helped else make, used)
    progress(0.90, "Calibrating, and averaging the baseline of the reasons")
    model = _model(rung, chosen, used, schema, baseline, cutoff, grades)
    latest = _latest(used)
    scores = model.score(used.frame.iloc[latest], None if used.submitted_at is None else used.submitted_at.iloc[latest])

    progress(0.94, "Writing the report")
    made = report.build(
        data,
        how,
        assessments,
        choice,
        model,
        scores=scores,
        terms=terms,
        cutoff=cutoff,
        leakage=[finding.to_json() for finding in findings],
        blocking=quality.blocking(findings) and leaks == "warn",
        quality=described,
        labels=labels.report() if isinstance(labels, Labels) else labels,
        warnings=warnings + _doubts(chosen, used, how),
        seed=seed,
        comparators=comparators,
    )
    made["augmentation"] = made_up
    made["fairness"] = _fairness(data, assessments, chosen, terms, cutoff)
    made["seconds"] = rounded(time.perf_counter() - started, 2)
    made["peak_memory_mb"] = rounded(report.peak_memory_mb(), 1)
    progress(1.0, f"{report.title(choice.name)}: AUC {chosen.auc:.3f}")
    return TrainingResult(model, made)


def _check(data: Dataset) -> None:
    n, bad = len(data), int(np.sum(data.default == 1))
    if n and not np.isin(data.default, (0, 1)).all():
        raise TrainingError("Labels are 0 or 1; leave out loans whose outcome is not known yet.")
    if min(bad, n - bad) < FEWEST_EVENTS:
        raise TrainingError(
            f"{n:,} loans with a known outcome, {bad:,} of them defaults: a model needs at least {FEWEST_EVENTS} defaults and "
            f"{FEWEST_EVENTS} repaid loans."
        )
    if len(data.frame) != n or (data.submitted_at is not None and len(data.submitted_at) != n):
        raise TrainingError("Frame, labels and dates differ in length.")


def _rungs(names: Sequence[str] | None) -> list[str]:
    if names is None:
        return list(ladder.available())
    for name in names:
        ladder.rung_class(name)
    wanted = {*names, "prior"}
    return [name for name in ladder.LADDER if name in wanted]


def _climb(
    names: list[str], data: Dataset, how: assess.Plan, terms: ProfitTerms, seed: int, progress: Progress, warnings: list[str]
) -> list[assess.Assessment]:
    made = []
    if _spread():
        from joblib import Parallel, delayed

        jobs = (delayed(_assess)(name, data, how, terms, seed) for name in names)
        assessed = Parallel(return_as="generator")(jobs)
    else:
        steps = [part(progress, number / len(names), (number + 1) / len(names)) for number in range(len(names))]
        assessed = (_assess(name, data, how, terms, seed, step) for name, step in zip(names, steps, strict=True))
    for number, (name, each) in enumerate(zip(names, assessed, strict=True), start=1):
        if isinstance(each, FitError):
            # One rung that can't cope with these data is a line in the report, not the end of the training.
            warnings.append(f"{report.title(name)} could not be fitted: {each}")
        else:
            progress(number / len(names), f"Measured {name}")
            made.append(each)
    if not made:
        raise TrainingError("No rung could be fitted. " + " ".join(warnings))
    return made


def _spread() -> bool:
    """Whether joblib's jobs run elsewhere (`mlcore.cluster.spread`); then no progress can come from inside a fit."""
    from joblib.parallel import get_active_backend

    return get_active_backend()[1] not in (None, 1)  # None where nothing is configured: in turn


def _assess(
    name: str, data: Dataset, how: assess.Plan, terms: ProfitTerms, seed: int, progress: Progress = silent
) -> assess.Assessment | FitError:
    try:
        made = assess.assess(name, lambda: ladder.make(name, data.schema, seed=seed), data, how, progress)
    except FitError as error:
        return error
    progress(1.0, f"Measuring {name}")
    assess.measure(made, data, terms, seed=seed)
    return made


def _model(
    rung: Any, chosen: assess.Assessment, data: Dataset, schema: Schema, baseline: str, cutoff: float, grades: Grades | None
) -> RiskModel:
    calibrator = assess.production_calibrator(chosen, rung, data)
    rows, probability = assess.averaged(chosen)
    over = _evenly(data, 4 * LATEST_ROWS) if baseline == "all" else rows
    frame, dates = data.frame.iloc[over], None if data.submitted_at is None else data.submitted_at.iloc[over]
    at = {"probability": probability, "cutoff": cutoff} if baseline == "at_cutoff" else {}
    return RiskModel(
        rung,
        calibrator,
        schema=schema,
        baseline=make_baseline(rung, frame, dates, **at),
        families=Families.of_schema(schema, correlated(data.frame, schema)),
        grades=grades or Grades.from_probabilities(probability),
        ranges=feasible_ranges(data.frame, schema),
    )


def _fairness(
    data: Dataset, assessments: list[assess.Assessment], chosen: assess.Assessment, terms: ProfitTerms, cutoff: float
) -> dict[str, Any] | None:
    """Of the judged rows, with all rungs as candidates for a less discriminatory one. None where no protected characteristic is given."""
    if data.protected is None or not len(data.protected.columns):
        return None
    rows, probability = assess.averaged(chosen)
    return fairness_report(
        data.protected.iloc[rows],
        data.default[rows],
        probability,
        cutoff=cutoff,
        amount=None if data.amount is None else data.amount[rows],
        terms=terms,
        alternatives={each.name: assess.averaged(each)[1] for each in assessments if each.name != "prior"},
        chosen=chosen.name,
    )


def _latest(data: Dataset) -> np.ndarray:
    if data.submitted_at is None:
        return _thin(np.arange(len(data)), LATEST_ROWS)
    order = np.argsort(data.submitted_at.to_numpy(), kind="stable")
    return np.sort(order[-LATEST_ROWS:])


def _thin(rows: np.ndarray, most: int) -> np.ndarray:
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(int)]


def _evenly(data: Dataset, most: int) -> np.ndarray:
    """At most so many rows that stand for all loans alike: in even steps of the weight, where there is one."""
    if data.weight is None:
        return _thin(np.arange(len(data)), most)
    upto = np.cumsum(data.weight)
    return np.searchsorted(upto, (np.arange(min(most, len(data))) + 0.5) / min(most, len(data)) * upto[-1])


def _doubts(chosen: assess.Assessment, data: Dataset, how: assess.Plan) -> list[str]:
    """What a reader of the figures should hold against them."""
    made = []
    defaults = int(data.default[how.test_rows].sum())
    if defaults < 100:
        made.append(f"Only {defaults} defaults among the judged loans: read the intervals, not the figures.")
    oe = chosen.figures["oe"]
    if oe["low"] is not None and not oe["low"] <= 1 <= oe["high"]:
        more = "more" if oe["value"] > 1 else "fewer"
        figures = f"O/E {oe['value']:.2f}, {oe['low']:.2f}–{oe['high']:.2f}"
        made.append(
            f"The judged loans defaulted {more} often than predicted ({figures}): the level moved between learning and judging. "
            "The model in service is calibrated on the later level."
        )
    slope = chosen.figures["slope"]
    if slope["high"] is not None and slope["high"] < 0.9:
        made.append(f"Calibration slope {slope['value']:.2f}: the probabilities of the judged loans were too extreme.")
    return made
