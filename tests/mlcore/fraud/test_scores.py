"""Anomaly, the supervised model and the merged score: known truth, plain data, and a stated fallback where there is too little."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcore import artifacts, metrics
from mlcore.fraud import evaluate, supervised
from mlcore.fraud.anomaly import Anomaly, TooLittle
from mlcore.fraud.forest import Forest
from mlcore.fraud.merge import BASE_RATE, FLOOR, Thresholds, merge
from mlcore.fraud.model import FraudDetector
from mlcore.fraud.rules import SEVERITIES, Rule, parse, trace
from mlcore.fraud.sampling import is_sampled
from mlcore.risk.base import FitError
from mlcore.schema import Column, Schema

SCHEMA = Schema([Column("a", "number"), Column("b", "number"), Column("kind", "category"), Column("flat", "number")])


def usual(n: int = 600, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    kinds = rng.choice(["x", "y", "z"], n, p=[0.6, 0.39, 0.01]).astype(object)
    return pd.DataFrame({"a": rng.normal(size=n), "b": rng.exponential(size=n), "kind": kinds, "flat": np.ones(n)})


def test_what_lies_far_out_is_unusual_and_named():
    model = Anomaly.fit(usual(), SCHEMA)
    odd = model.score(
        pd.DataFrame({"a": [9.0, 0.0], "b": [0.7, 0.7], "kind": ["x", "x"], "flat": [1.0, 1.0]}, dtype=object).astype(
            {"a": float, "b": float}
        )
    )
    assert odd.unusual[0] > 0.95 > 0.7 > odd.unusual[1]
    assert odd.strongest(0)[0] == "a" and odd.strongest(1) == []
    assert "flat" not in odd.names


def test_a_category_never_seen_and_missing_values_are_scored():
    model = Anomaly.fit(usual(), SCHEMA)
    frame = pd.DataFrame({"a": [np.nan, 0.0], "b": [np.nan, 0.7], "kind": [None, "new"], "flat": [np.nan, 1.0]})
    odd = model.score(frame)
    assert np.isfinite(odd.unusual).all() and (odd.reasons[0] == 0).all() and odd.strongest(1) == ["kind"]
    assert len(model.score(frame.iloc[:0]).unusual) == 0


@pytest.mark.parametrize("frame", [usual(10), pd.DataFrame({"a": np.ones(300), "b": np.nan, "kind": "x", "flat": 1.0})])
def test_too_few_or_all_alike_is_said_and_not_scored(frame):
    with pytest.raises(TooLittle):
        Anomaly.fit(frame, SCHEMA)


def test_the_forest_is_scikit_learns_to_the_last_digit():
    from sklearn.ensemble import IsolationForest

    matrix = np.random.default_rng(0).normal(size=(300, 3))
    theirs = IsolationForest(n_estimators=100, max_samples=256, random_state=3).fit(matrix)
    np.testing.assert_allclose(Forest.fit(matrix, seed=3).score(matrix), -theirs.score_samples(matrix), atol=1e-12)


def test_anomaly_is_plain_data(tmp_path):
    model = Anomaly.fit(usual(), SCHEMA)
    stored = artifacts.save({"anomaly": model.to_state()}, tmp_path, kind="fraud", name="m", key=b"k" * 32)
    again = Anomaly.from_state(artifacts.load(stored.path, key=b"k" * 32)[0]["anomaly"])
    frame = usual(50, seed=5)
    np.testing.assert_array_equal(model.score(frame).unusual, again.score(frame).unusual)


def cases(n: int = 1500, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray, pd.Series]:
    frame = usual(n, seed)
    chance = metrics.expit(-2 + 1.5 * frame["a"].to_numpy() + (frame["kind"] == "y").to_numpy())
    fraud = (np.random.default_rng(seed + 1).random(n) < chance).astype(np.int8)
    return frame, fraud, pd.Series(pd.date_range("2025-01-01", periods=n, freq="h", tz="UTC"))


def test_supervised_finds_what_was_planted_calibrated_and_as_plain_data(tmp_path):
    frame, fraud, at = cases()
    model = supervised.fit(frame, fraud, SCHEMA, submitted_at=at, rungs=("logistic",))
    later, later_fraud, _ = cases(seed=7)
    probability = model.probability(later)
    assert metrics.auc(later_fraud, probability) > 0.8
    assert 0.8 < later_fraud.sum() / probability.sum() < 1.25
    assert model.report["held_out"]["how"] == "later cases"
    assert SCHEMA.names[int(np.argmax(model.contributions(later)[np.argmax(probability)]))] == "a"
    stored = artifacts.save({"model": model.to_state()}, tmp_path, kind="fraud", name="m", key=b"k" * 32)
    again = supervised.FraudModel.from_state(artifacts.load(stored.path, key=b"k" * 32)[0]["model"])
    np.testing.assert_array_equal(again.probability(later), probability)


def test_a_date_in_disguise_is_not_learned_from():
    """Weeks and a running number separate the findings perfectly, and say nothing of the next week's."""
    frame, fraud, at = cases()
    dated = Schema([*SCHEMA, Column("week", "category"), Column("running", "number")])
    frame = frame.assign(week=at.dt.strftime("%Y-%W").astype(object), running=np.arange(len(frame), dtype=float))
    model = supervised.fit(frame, fraud, dated, submitted_at=at, rungs=("logistic",))
    assert set(model.report["left_out"]) == {"running", "week"} and "tells when" in model.report["left_out"]["week"]
    assert model.schema.names == SCHEMA.names
    assert model.contributions(frame.iloc[:3]).shape == (3, len(SCHEMA.names))
    detector = FraudDetector(Anomaly.fit(frame, dated), model)
    (judged,) = detector.judge(frame.iloc[:1])
    assert detector.schema.names == dated.names and {name for name, _ in judged.drivers} <= set(SCHEMA.names)


def test_the_standard_error_of_a_weighted_mean():
    values = np.random.default_rng(1).normal(size=400)
    assert supervised._standard_error(values, np.ones(400)) == pytest.approx(values.std(ddof=1) / 20)
    weight = np.where(np.arange(400) < 8, 50.0, 1.0)
    drawn = [np.average(np.random.default_rng([2, k]).normal(size=400), weights=weight) for k in range(400)]
    assert supervised._standard_error(np.random.default_rng(3).normal(size=400), weight) == pytest.approx(np.std(drawn), rel=0.6)
    assert np.std(drawn) > 2 / 20, "eight cases that stand for fifty each leave less sure than four hundred that stand for themselves"


def test_too_few_cases_or_one_kind_only_is_said():
    frame, fraud, at = cases(300)
    with pytest.raises(supervised.TooFewCases, match="a model takes 200 and 200"):
        supervised.fit(frame, fraud, SCHEMA, submitted_at=at)
    with pytest.raises(supervised.TooFewCases, match="0 confirmed"):
        supervised.fit(frame, np.zeros(300), SCHEMA, least=(0, 0))
    with pytest.raises(FitError):
        supervised.fit(frame.assign(a=1.0, b=1.0, kind="x"), fraud, SCHEMA, least=(1, 1), rungs=("logistic",))


def rule(severity: str, family: str = "", *, hit: bool = True):
    made = Rule(
        f"r_{severity}_{family}", 1, f"A {severity} rule", severity, parse([{"feature": "x", "operator": "at_least", "value": 1}]), family
    )
    return trace(made, {"x": 1 if hit else 0})


def test_without_any_evidence_nothing_is_flagged():
    verdict = merge([rule("critical", hit=False)])
    assert not verdict.flagged and verdict.score == pytest.approx(BASE_RATE) and verdict.evidence == []


def test_the_gravest_rule_sets_the_severity_and_one_story_counts_once():
    one, both = merge([rule("high", "f")]), merge([rule("high", "f"), rule("medium", "f")])
    assert one.score == both.score and len(both.evidence) == 2 and both.severity == "high"
    assert merge([rule("high", "f"), rule("medium", "g")]).score > one.score
    assert not merge([rule("low")]).flagged and merge([rule("low")]).score > BASE_RATE


def test_a_supervised_probability_takes_the_place_of_the_weights_but_not_of_facts():
    verdict = merge([rule("high")], probability=0.03, drivers=[("phone_24h", 1.2)])
    assert verdict.calibrated and verdict.score == 0.03 and verdict.flagged
    assert merge([rule("critical")], probability=0.03).score == FLOOR
    assert merge([], probability=0.6).severity == "high" and merge([], probability=0.1).severity == ""
    assert "applications with this phone number in the 24 hours before" in verdict.in_words


def test_words_say_what_is_unusual():
    verdict = merge([], unusual=0.999, odd=["annual_income"], labels={"annual_income": "Annual income"})
    assert verdict.severity == "low" and "one application in 1,000" in verdict.in_words and "annual income" in verdict.in_words
    assert merge([], unusual=0.5).evidence == []


@given(
    st.lists(st.tuples(st.sampled_from(SEVERITIES), st.sampled_from("abc"), st.booleans()), max_size=8),
    st.none() | st.floats(0, 1),
    st.none() | st.floats(0, 1),
)
def test_a_verdict_is_always_one(rows, unusual, probability):
    verdict = merge([rule(severity, family, hit=hit) for severity, family, hit in rows], unusual=unusual, probability=probability)
    assert 0 <= verdict.score <= 1 and verdict.severity in ("", *SEVERITIES)
    more = merge([rule(s, f, hit=h) for s, f, h in rows] + [rule("critical", "z")], unusual=unusual, probability=probability)
    assert more.score >= verdict.score and more.severity == "critical"
    assert merge([], thresholds=Thresholds()).severity == ""


def test_a_sample_is_its_share_the_same_each_time_and_not_to_be_guessed():
    drawn = [is_sampled(f"LD-{i}", 0.015, b"key") for i in range(20_000)]
    assert 0.011 < np.mean(drawn) < 0.019
    assert drawn[:200] == [is_sampled(f"LD-{i}", 0.015, b"key") for i in range(200)]
    assert drawn != [is_sampled(f"LD-{i}", 0.015, b"another") for i in range(20_000)]
    assert is_sampled("a", 1.0, b"k") and not is_sampled("a", 0.0, b"k")


def test_recall_at_a_share_of_false_positives():
    fraud, score = np.array([0] * 100 + [1] * 4), np.array([*range(100), 98, 99, 94.5, 10])
    assert evaluate.recall_at(fraud, score, 0.05) == 0.75
    assert evaluate.recall_at(np.zeros(3), np.arange(3)) is None and evaluate.recall_at(np.ones(3), np.arange(3)) is None
    assert evaluate.recall_at(fraud, np.zeros(104)) == 0, "a constant score catches nobody"


def test_capacity_counts_by_day_and_by_value():
    made = evaluate.at_capacity(
        np.array([1, 0, 1, 0]), np.array([0.9, 0.1, 0.2, 0.8]), np.array([1, 1, 2, 2]), capacity=1, amount=np.array([100.0, 1, 300, 1])
    )
    assert (made["looked_at"], made["found"], made["precision"], made["recall"], made["value_share"]) == (2, 1, 0.5, 0.5, 0.25)
    assert evaluate.at_capacity(np.zeros(0), np.zeros(0), np.zeros(0), capacity=1)["precision"] is None


def test_rings_count_as_caught_before_their_third_loan():
    ring, at = np.array([0, 0, 0, 1, 1, 1, -1]), np.arange(7)
    made = evaluate.rings_caught(ring, at, np.array([0, 1, 0, 0, 0, 1, 1], dtype=bool))
    assert (made["rings"], made["rings_caught"], made["precision"]) == (2, 1, pytest.approx(2 / 3))


def test_planted_rings_are_found_before_their_third_loan():
    from benchmarks.fraud import identifiers, starter_rules
    from mlcore.fraud.links import link_features, microseconds
    from mlcore.fraud.velocity import Identifiers
    from mlcore.synth import World, generate

    world = generate(World(seed=11, applications=4000, ring_share=0.02))
    at = microseconds(world.submitted_at)
    frame = link_features(at, Identifiers.from_columns(identifiers(world))).frame
    pack = [rule for rule in starter_rules() if rule.severity == "high"]
    hits = np.array([any(trace(rule, row).outcome == "hit" for rule in pack) for row in frame.to_dict("records")])
    made = evaluate.rings_caught(world.fraud_ring, at, hits)
    assert made["precision"] >= 0.9 and made["ring_recall"] >= 0.9
