"""Training chooses honestly, says so, and is the same every time."""

import json

import numpy as np
import pandas as pd
import pytest

from mlcore import metrics
from mlcore.labels import LabelPolicy, label
from mlcore.progress import Cancelled
from mlcore.risk import ladder, train
from mlcore.risk.base import Dataset
from tests.mlcore.risk_eval import world

SIMPLE = ("linear",)


@pytest.fixture(autouse=True)
def _ladder(monkeypatch):
    monkeypatch.setattr(ladder, "LADDER", world.LADDER)


def test_the_whole_way():
    data, _ = world.make_world(6000)
    labels = label(pd.Series(np.where(data.default, "default", "repaid")), submitted_at=data.submitted_at, policy=LabelPolicy())
    steps = []
    result = train.train_default_risk(data, progress=lambda share, step: steps.append((share, step)), labels=labels)
    report = result.report
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert [row["rung"] for row in report["ladder"]] == ["prior", "linear", "linear_again", "product"]
    assert report["choice"]["rung"] == "linear" and "within one standard error" in report["choice"]["in_words"]
    assert report["ladder"][0]["figures"]["auc"]["value"] == 0.5 == report["baselines"]["prior_auc"]
    assert 0.5 < report["champion"]["figures"]["auc"]["low"] < report["champion"]["figures"]["auc"]["value"] < 0.85
    assert report["baselines"]["majority_accuracy"] == pytest.approx(1 - report["split"]["test"]["default_rate"])
    assert any("unfittable" in warning.lower() and "No column varies" in warning for warning in report["warnings"])
    assert (
        report["split"]["how"] == "time" and report["split"]["train"]["until"] < report["split"]["cut"] <= report["split"]["test"]["from"]
    )
    assert report["split"]["calibration"]["until"] == report["split"]["train"]["until"]
    assert report["labels"]["counts"]["default"] == data.default.sum()
    assert {row["name"]: row["why"] for row in report["data"]["left_out"]} == {
        "note": "text",
        "recovered": "known only after the application",
        "sex": "protected characteristic",
    }
    assert [row["column"] for row in report["importance"]][0] in ("score", "score_old")
    assert len(report["families"]) == len(result.model.families.names) < len(report["importance"])  # the two scores are one family
    assert sum(report["distribution"]["repaid"]) + sum(report["distribution"]["defaulted"]) == report["split"]["test"]["rows"]
    assert sum(row["rows"] for row in report["by_quarter"]) == report["split"]["test"]["rows"]
    lift = report["lift"]
    assert sum(row["rows"] for row in lift) == report["split"]["test"]["rows"] and lift[-1]["caught"]["value"] == 1
    assert lift[0]["lift"]["value"] > 1.2 > 1 > lift[-1]["lift"]["value"]
    named = [row["named"]["value"] for row in report["families"]]
    assert 1 < sum(named) <= 4 and 0.8 < sum(row["first"]["value"] for row in report["families"]) <= 1  # the safest have no reason at all
    assert report["vintages"]["rows"] == [] and "not known" in report["vintages"]["why"]
    assert report["policy"]["curve"][-1]["approval_rate"] == 1 and report["peak_memory_mb"] > 50
    claim = report["policy"]["fewer_bad_loans"][0]
    assert claim["against"] == "prior" and claim["comparator_bad_rate"] == pytest.approx(report["split"]["test"]["default_rate"], abs=1e-5)
    assert (
        claim["approval_rate"] == report["policy"]["current"]["approval_rate"]
        and 0 < claim["reduction"]["low"] < claim["reduction"]["high"] < 1
    )
    shares = [share for share, _ in steps]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1 and len(steps) > 12
    scores = result.model.score(data.frame, data.submitted_at)
    assert set(result.model.grade(scores.probability)) == set("ABCDEFG")


def test_the_same_data_and_seed_give_the_same_model():
    data, _ = world.make_world(3000)
    first, second = (train.train_default_risk(data, seed=3, rungs=SIMPLE) for _ in range(2))
    assert np.array_equal(first.model.score(data.frame).contributions, second.model.score(data.frame).contributions)
    varying = {"seconds", "peak_memory_mb", "ladder"}
    assert {k: v for k, v in first.report.items() if k not in varying} == {k: v for k, v in second.report.items() if k not in varying}


def test_probabilities_are_calibrated_in_a_world_of_known_truth():
    data, truth = world.make_world(20_000)
    result = train.train_default_risk(data, rungs=SIMPLE)
    assert result.report["champion"]["figures"]["oe"]["value"] == pytest.approx(1, abs=0.06)
    fresh, truth = world.make_world(20_000, seed=8)
    found = result.model.score(fresh.frame).probability
    assert fresh.default.sum() / found.sum() == pytest.approx(1, abs=0.03)
    assert np.abs(found - truth).mean() < 0.015


def test_a_better_rung_is_worth_its_complexity():
    data, _ = world.make_world(6000, interaction=0.9)
    report = train.train_default_risk(data, rungs=("linear", "product")).report
    assert report["choice"]["rung"] == report["choice"]["best"] == "product"
    behind = {row["rung"]: row["behind_best"] for row in report["ladder"]}
    assert behind["linear"]["value"] > behind["linear"]["se"] > 0 and behind["product"]["value"] == 0
    assert report["choice"]["corrected_auc"] == pytest.approx(report["champion"]["figures"]["auc"]["value"], abs=0.02)


def test_settings_found_once_are_kept_for_the_later_fits(monkeypatch):
    fits = []

    class Tuned(world.Linear):
        def fit(self, frame, default, **_):
            fits.append(("tuned", len(frame)))
            return super().fit(frame, default)

        def again(self, frame, default, *, submitted_at=None, weight=None):
            fits.append(("again", len(frame)))
            return world.Linear.fit(Tuned(self.schema), frame, default)

    monkeypatch.setattr(ladder, "rung_class", lambda name: Tuned if name == "linear" else world.Linear)
    monkeypatch.setattr(ladder, "LADDER", {"linear": ""})
    data, _ = world.make_world(3000)
    report = train.train_default_risk(data, rungs=SIMPLE).report
    train_rows = report["split"]["train"]["rows"]
    assert [kind for kind, _ in fits] == ["tuned", "again", "again"] and [rows for _, rows in fits][1:] == [train_rows, 3000]


@pytest.mark.parametrize(("noise", "chosen"), [(0.03, "simple"), (0.8, "best")])
def test_the_simplest_within_one_standard_error_is_chosen(noise, chosen):
    rng = np.random.default_rng(0)
    z = rng.normal(size=3000)
    default = (rng.random(3000) < metrics.expit(z - 1.5)).astype(np.int8)
    rows = np.arange(3000)
    made = []
    for name, score in (("simple", z + noise * rng.normal(size=3000)), ("best", z)):
        figures = {"auc": {"value": metrics.auc(default, score), "low": None, "high": None}}
        made.append(train.assess.Assessment(name, [(rows, score, metrics.expit(score))], 0.0, figures=figures))
    made[0].figures["auc"]["value"] -= 1e-9
    choice = train.assess.choose(made, default)
    gap = choice.differences["simple"]
    assert choice.name == chosen and choice.best == "best"
    if chosen == "simple":
        assert 0 < gap["value"] <= gap["se"] and "simplest rung within one standard error" in choice.in_words


def test_noise_leaves_the_prior():
    data, _ = world.make_world(3000)
    noise = Dataset(data.frame, np.random.default_rng(5).permutation(data.default), data.schema, data.submitted_at)
    result = train.train_default_risk(noise, rungs=SIMPLE, seed=1)
    assert result.report["choice"]["rung"] == "prior" and "same probability" in result.report["choice"]["in_words"]
    assert result.model.adverse(result.model.score(noise.frame.iloc[:3])) == [[], [], []]
    assert result.report["champion"]["figures"]["slope"]["value"] is None


def test_the_level_of_the_judged_rows_is_not_peeked_at():
    data, _ = world.make_world(12_000, later_shift=1.0)
    result = train.train_default_risk(data, rungs=SIMPLE, cut=data.submitted_at.iloc[0] + pd.Timedelta(days=576))
    assert result.report["champion"]["figures"]["oe"]["value"] > 1.3
    assert any("more often than predicted" in warning for warning in result.report["warnings"])
    later = data.take((data.submitted_at - data.submitted_at.iloc[0]).dt.days.to_numpy() >= 576)
    assert later.default.sum() / result.model.score(later.frame).probability.sum() == pytest.approx(1, abs=0.05)


def test_without_dates_few_rows_are_cross_validated():
    data, _ = world.make_world(900, dates=False)
    report = train.train_default_risk(data, rungs=SIMPLE).report
    assert report["split"]["how"] == "cross-validation" and report["split"]["folds"] == 5 and report["split"]["repeats"] == 2
    assert report["split"]["test"]["rows"] == 900 and report["by_quarter"] == []
    assert report["champion"]["figures"]["auc"]["value"] > 0.65
    json.dumps(report, allow_nan=False)


def test_without_dates_many_rows_are_split_once():
    data, _ = world.make_world(4000, dates=False)
    report = train.train_default_risk(data, rungs=SIMPLE).report
    assert report["split"]["how"] == "stratified" and report["split"]["test"]["rows"] == pytest.approx(800, abs=2)


def test_one_date_only_is_said_and_split_at_random():
    data, _ = world.make_world(4000)
    same_day = Dataset(data.frame, data.default, data.schema, pd.Series([data.submitted_at.iloc[0]] * 4000))
    report = train.train_default_risk(same_day, rungs=SIMPLE).report
    assert report["split"]["how"] == "stratified" and any("may flatter" in warning for warning in report["warnings"])


def test_a_planted_leak_is_found_and_can_be_left_out():
    data, _ = world.make_world(3000)
    frame = data.frame.assign(collected=np.where(data.default == 1, 5.0, 1.0) + np.random.default_rng(0).normal(size=3000))
    schema = data.schema.with_columns([world.Column("collected", "number", "Collected")])
    leaking = Dataset(frame, data.default, schema, data.submitted_at)
    warned = train.train_default_risk(leaking, rungs=SIMPLE)
    assert warned.report["leakage"]["blocking"] and warned.report["leakage"]["findings"][0]["column"] == "collected"
    assert any("Collected" in warning for warning in warned.report["warnings"])
    dropped = train.train_default_risk(leaking, rungs=SIMPLE, leaks="drop")
    assert "collected" not in dropped.model.schema and not dropped.report["leakage"]["blocking"]
    assert {"name": "collected", "title": "Collected", "why": "suspected of knowing the outcome"} in dropped.report["data"]["left_out"]
    assert dropped.report["champion"]["figures"]["auc"]["value"] < 0.85 < warned.report["champion"]["figures"]["auc"]["value"]


def test_what_can_not_be_trained_on_is_said():
    data, _ = world.make_world(500)
    with pytest.raises(train.TrainingError, match="500 loans with a known outcome, 0 of them defaults"):
        train.train_default_risk(Dataset(data.frame, np.zeros(500, dtype=np.int8), data.schema))
    with pytest.raises(train.TrainingError, match="0 or 1"):
        train.train_default_risk(Dataset(data.frame, np.where(data.default == 1, 1, -1), data.schema))
    with pytest.raises(train.TrainingError, match="No column is left"):
        train.train_default_risk(Dataset(data.frame[["note", "sex"]], data.default, data.schema.only(["note", "sex"])))
    with pytest.raises(train.TrainingError, match="differ in length"):
        train.train_default_risk(Dataset(data.frame.iloc[:5], data.default, data.schema))
    with pytest.raises(ladder.UnknownRung):
        train.train_default_risk(data, rungs=("wishful",))
    with pytest.raises(train.TrainingError, match="No column varies"):
        train._climb(["unfittable"], data, train.assess.plan(data), metrics.ProfitTerms(), 0, lambda *_: None, [])


@pytest.mark.parametrize("after", [0.0, 0.3, 0.85])
def test_cancelled_passes_through(after):
    data, _ = world.make_world(1500)

    def stop(share, step):
        if share >= after:
            raise Cancelled

    with pytest.raises(Cancelled):
        train.train_default_risk(data, rungs=SIMPLE, progress=stop)


def test_kept_grades_and_the_baseline_at_the_cutoff():
    from mlcore.risk.grades import Grades

    data, _ = world.make_world(3000)
    kept = Grades((0.01, 0.02, 0.03, 0.04, 0.05, 0.06))
    result = train.train_default_risk(data, rungs=SIMPLE, grades=kept, baseline="at_cutoff", cutoff=0.25)
    assert result.model.grades == kept and result.model.baseline.kind == "at_cutoff" and result.model.baseline.cutoff == 0.25
    assert result.report["policy"]["current"]["cutoff"] == 0.25 and result.report["production"]["baseline"]["kind"] == "at_cutoff"
