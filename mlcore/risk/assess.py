"""How a rung fares on rows that it has not seen, and which rung to take.

Where rows follow time (or are many), a rung is assessed on one later part: it is fitted on the earlier rows of the training part,
calibrated on the latest ones, fitted again on the whole training part, and judged on the test part through that calibrator. The calibrator
never sees a row that its scores were fitted on, and the judged rung loses no training row to it. Few rows without dates are assessed by
repeated cross-validation, each fold calibrated on the scores of the other folds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlcore import calibration, splits
from mlcore.calibration import Calibrator
from mlcore.metrics import Figure, ProfitTerms, _Ranked, auc_difference, evaluate, expit, logit, resamples
from mlcore.progress import Progress
from mlcore.risk.base import TITLES, Dataset, Rung
from mlcore.risk.tuning import weights_or_ones

FEW_ROWS = 3000
"""Below this many rows without dates, one random split would decide by luck: repeated cross-validation instead."""
CALIBRATION_SHARE = 0.2
FOLDS, REPEATS = 5, 2

MakeRung = Callable[[], Rung]


@dataclass(frozen=True)
class Plan:
    """Which rows judge. outer: (train, test) pairs; one, or folds × repeats. inner: the calibration part of the single training part."""

    outer: list[tuple[np.ndarray, np.ndarray]]
    split: splits.Split | None
    inner: splits.Split | None
    repeats: int
    warnings: tuple[str, ...] = ()

    @property
    def how(self) -> str:
        return "cross-validation" if self.split is None else self.split.how

    @property
    def test_rows(self) -> np.ndarray:
        """Positions of all judged rows, each once."""
        return np.unique(np.concatenate([test for _, test in self.outer]))

    def in_words(self) -> str:
        if self.split is None:
            return f"Repeated stratified cross-validation ({FOLDS} folds, {self.repeats} times), since the loans have no dates and are few."
        if self.split.how == "time":
            return f"Learned from applications before {self.split.cut.date()}, judged on those from that day on."
        return "One random split with equal default rates, since the loans have no dates that would order them."


@dataclass
class Assessment:
    """A rung's predictions for the judged rows. samples: one (rows, uncalibrated log-odds, probability) for each repeat."""

    name: str
    samples: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
    fit_seconds: float
    settings: dict[str, Any] = field(default_factory=dict)
    calibration_method: str = "level"
    figures: dict[str, Figure] = field(default_factory=dict)
    rung: Rung | None = None  # the judged one, where there is one only

    @property
    def auc(self) -> float:
        value = self.figures["auc"]["value"]
        return 0.5 if value is None else value


def plan(data: Dataset, *, test_share: float = 0.2, cut: Any = None, embargo_days: int = 0, seed: int = 0) -> Plan:
    """How this data set is split. Raises SplitError where a stated `cut` leaves a side without both outcomes."""
    default, warnings = data.default, []
    if data.submitted_at is not None:
        try:
            outer = splits.out_of_time(data.submitted_at, default, test_share=test_share, cut=cut, embargo_days=embargo_days)
        except splits.SplitError as error:
            if cut is not None:
                raise
            warnings.append(f"No split by time was possible ({error}) The figures come from a random split, and may flatter.")
        else:
            return Plan([(outer.train, outer.test)], outer, _inner(data.take(outer.train), seed), 1, tuple(warnings))
    if len(data) < FEW_ROWS:
        smallest = int(min(default.sum(), len(default) - default.sum()))
        folds = splits.repeated_stratified(default, folds=min(FOLDS, max(2, smallest // 2)), repeats=REPEATS, seed=seed)
        return Plan(folds, None, None, REPEATS, tuple(warnings))
    outer = splits.stratified_holdout(default, test_share=test_share, seed=seed)
    undated = Dataset(data.frame, default, data.schema)
    return Plan([(outer.train, outer.test)], outer, _inner(undated.take(outer.train), seed), 1, tuple(warnings))


def _inner(train: Dataset, seed: int) -> splits.Split:
    """The latest part of the training part, on which the rungs are calibrated."""
    if train.submitted_at is not None:
        try:
            return splits.out_of_time(train.submitted_at, train.default, test_share=CALIBRATION_SHARE)
        except splits.SplitError:
            pass
    return splits.stratified_holdout(train.default, test_share=CALIBRATION_SHARE, seed=seed)


def assess(name: str, make: MakeRung, data: Dataset, how: Plan, progress: Progress) -> Assessment:
    """Fit, calibrate and judge one rung after the plan. Whatever the rung raises passes through."""
    started = time.perf_counter()
    if how.inner is not None:
        made = _hold_out(name, make, data, how, progress)
    else:
        made = _cross_validate(name, make, data, how, progress)
    made.fit_seconds = time.perf_counter() - started
    return made


def _fit(make: MakeRung, data: Dataset) -> Rung:
    return make().fit(data.frame, data.default, submitted_at=data.submitted_at, weight=data.weight)


def refit(rung: Rung | None, make: MakeRung, data: Dataset) -> Rung:
    """The same rung on more rows: with the settings that `rung` found by validation, where it can (`again`), or else searched anew.

    again(frame, default, *, submitted_at=None, weight=None) returns another fitted rung and leaves the first as it is.
    """
    again = getattr(rung, "again", None)
    if again is None:
        return _fit(make, data)
    return again(data.frame, data.default, submitted_at=data.submitted_at, weight=data.weight)


def _hold_out(name: str, make: MakeRung, data: Dataset, how: Plan, progress: Progress) -> Assessment:
    train, test = data.take(how.outer[0][0]), data.take(how.outer[0][1])
    earlier, latest = train.take(how.inner.train), train.take(how.inner.test)
    progress(0.0, f"Fitting {name} on {len(earlier):,} loans to calibrate it on {len(latest):,}")
    first = _fit(make, earlier)
    unseen = first.log_odds(latest.frame, latest.submitted_at)
    progress(0.45, f"Fitting {name} on {len(train):,} loans")
    rung = refit(first, make, train)
    progress(0.95, f"Judging {name} on {len(test):,} loans")
    weight = None if latest.weight is None else weights_or_ones(latest.weight, len(latest))
    calibrator = calibration.fit(unseen, latest.default, weight=weight)
    calibrator = calibrator.carried_over(unseen, rung.log_odds(latest.frame, latest.submitted_at), weight)
    z = rung.log_odds(test.frame, test.submitted_at)
    sample = (how.outer[0][1], z, expit(calibrator.transform(z)))
    return Assessment(name, [sample], 0.0, dict(getattr(rung, "settings", {})), calibrator.method, rung=rung)


def _cross_validate(name: str, make: MakeRung, data: Dataset, how: Plan, progress: Progress) -> Assessment:
    folds = len(how.outer) // how.repeats
    samples, method, settings = [], "level", {}
    for repeat in range(how.repeats):
        z, fold_of = np.empty(len(data)), np.empty(len(data), dtype=int)
        for number, (fit_rows, test_rows) in enumerate(how.outer[repeat * folds : (repeat + 1) * folds]):
            progress((repeat * folds + number) / len(how.outer), f"Fitting {name}, fold {repeat * folds + number + 1} of {len(how.outer)}")
            rung = _fit(make, data.take(fit_rows))
            held = data.take(test_rows)
            z[test_rows], fold_of[test_rows] = rung.log_odds(held.frame, held.submitted_at), number
            settings = dict(getattr(rung, "settings", {}))
        probability = np.empty(len(data))
        for number in range(folds):
            mine = fold_of == number
            calibrator = calibration.fit(z[~mine], data.default[~mine])
            probability[mine], method = expit(calibrator.transform(z[mine])), calibrator.method
        samples.append((np.arange(len(data)), z, probability))
    return Assessment(name, samples, 0.0, settings, method)


def measure(assessment: Assessment, data: Dataset, terms: ProfitTerms, *, seed: int = 0, replicates: int | None = None) -> None:
    """Fill in the figures; over repeats they are averaged, intervals included."""
    each = []
    for rows, _, probability in assessment.samples:
        amount = None if data.amount is None else data.amount[rows]
        each.append(evaluate(data.default[rows], probability, amount=amount, terms=terms, seed=seed, replicates=replicates))
    assessment.figures = {
        name: {end: _mean([figures[name][end] for figures in each]) for end in ("value", "low", "high")} for name in each[0]
    }


def _mean(values: list[float | None]) -> float | None:
    return None if any(value is None for value in values) else float(np.mean(values))


@dataclass(frozen=True)
class Choice:
    """The rung to take. differences: {rung: {"value", "se", "p"}}, best AUC minus its AUC. corrected_auc: see `choose`."""

    name: str
    best: str
    differences: dict[str, dict[str, float]]
    corrected_auc: float | None
    in_words: str


def choose(assessments: list[Assessment], default: np.ndarray, *, seed: int = 0, replicates: int = 100) -> Choice:
    """The first, that is the simplest, rung whose AUC is within one standard error of the best's.

    The standard error is DeLong's of the difference on the same rows, which is smaller and fairer than that of either AUC. Choosing by the
    same rows that report the AUC flatters it a little: `corrected_auc` repeats the choice on bootstrap samples and averages the chosen
    rung's AUC on the rows left out (Tsamardinos et al. 2018), so it is what the procedure as a whole is worth.
    """
    best = max(assessments, key=lambda assessment: assessment.auc)
    differences = {each.name: _difference(best, each, default) for each in assessments}
    chosen = next(each for each in assessments if differences[each.name]["value"] <= differences[each.name]["se"])
    others = [each.name for each in assessments if differences[each.name]["value"] <= differences[each.name]["se"] and each is not chosen]
    corrected = _corrected_auc(assessments, default, [differences[each.name]["se"] for each in assessments], seed, replicates)
    return Choice(chosen.name, best.name, differences, corrected, _why(chosen, best, differences, others, assessments))


def _difference(best: Assessment, other: Assessment, default: np.ndarray) -> dict[str, float]:
    if best is other:
        return {"value": 0.0, "se": 0.0, "p": 1.0}
    found = [auc_difference(default[rows], best_z, other.samples[number][1]) for number, (rows, best_z, _) in enumerate(best.samples)]
    return {name: float(np.mean([getattr(one, name) for one in found])) for name in ("value", "se", "p")}


def _corrected_auc(assessments: list[Assessment], default: np.ndarray, se: list[float], seed: int, replicates: int) -> float | None:
    rows = assessments[0].samples[0][0]
    if len(rows) < 50:
        return None
    ranked = [_Ranked(default[rows], each.samples[0][1]) for each in assessments]
    held_out: list[float] = []
    wanted = int(np.clip(20_000_000 // len(rows), 20, replicates))
    for counts in resamples(len(rows), wanted, seed + 1):
        inside = np.stack([each.auc(counts) for each in ranked])
        outside = np.stack([each.auc((counts == 0).astype(float)) for each in ranked])
        near = inside >= inside.max(axis=0) - np.array(se)[:, None]
        held_out += outside[near.argmax(axis=0), np.arange(inside.shape[1])].tolist()
    finite = [value for value in held_out if np.isfinite(value)]
    return float(np.mean(finite)) if finite else None


def _why(
    chosen: Assessment, best: Assessment, differences: dict[str, dict[str, float]], others: list[str], assessments: list[Assessment]
) -> str:
    if len(assessments) == 1:
        return f"Only {_title(chosen.name)} was fitted; its AUC is {chosen.auc:.3f}."
    if chosen.name == "prior":
        return (
            "No rung ranks the applicants reliably better than giving everyone the same probability: "
            f"the best, {_title(best.name)}, reaches an AUC of {best.auc:.3f}, which is within one standard error of .5."
        )
    if chosen is best:
        words = f"{_title(chosen.name)} has the highest AUC, {chosen.auc:.3f}, and no simpler rung comes within one standard error of it."
        return words + (f" Equally good, but less simple: {', '.join(map(_title, others))}." if others else "")
    gap = differences[chosen.name]
    words = (
        f"{_title(best.name)} has the highest AUC, {best.auc:.3f}. {_title(chosen.name)} is the simplest rung within one standard error "
        f"of it: its AUC of {chosen.auc:.3f} is {gap['value']:.4f} lower, and the standard error of that difference is {gap['se']:.4f}."
    )
    others = [_title(name) for name in others if name != best.name]
    return words + (f" Also within it, but less simple: {', '.join(others)}." if others else "")


def _title(rung: str) -> str:
    return TITLES.get(rung, rung)


def production_calibrator(assessment: Assessment, rung: Rung, data: Dataset) -> Calibrator:
    """The calibrator of the model that goes into service: fitted on the chosen rung's scores of the judged rows, the latest that are known.

    These were scored by a rung that had not seen them, so nothing is calibrated on its own training rows; then it is carried over to
    `rung`, the same one fitted on all rows.
    """
    rows, unseen, _ = assessment.samples[0]
    judged = data.take(rows)
    return calibration.fit(unseen, judged.default).carried_over(unseen, rung.log_odds(judged.frame, judged.submitted_at))


def averaged(assessment: Assessment) -> tuple[np.ndarray, np.ndarray]:
    """(rows, probability): each judged row once, its calibrated log-odds averaged over the repeats."""
    rows = assessment.samples[0][0]
    return rows, expit(np.mean([logit(probability) for _, _, probability in assessment.samples], axis=0))
