"""The guard finds planted leaks of every shape, and lets honest columns pass."""

import json

import numpy as np
import pandas as pd
import pytest

from mlcore import quality
from mlcore.risk.base import Dataset
from mlcore.schema import Column, Schema


def world(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    default = (rng.random(n) < 0.2).astype(np.int8)
    frame = pd.DataFrame({"honest": rng.normal(size=n) + 0.5 * default, "noise": rng.normal(size=n)})
    frame["zip"] = pd.Series(rng.integers(0, 900, n).astype(str), dtype=object)
    schema = Schema([Column("honest", "number"), Column("noise", "number"), Column("zip", "category")])
    return frame, default, schema, rng


def findings(frame, default, schema):
    return {finding.column: finding for finding in quality.leakage_guard(Dataset(frame, default, schema))}


def test_honest_columns_pass_even_with_hundreds_of_values():
    frame, default, schema, _ = world()
    assert findings(frame, default, schema) == {}


@pytest.mark.parametrize(
    ("code", "kind", "make"),
    [
        ("single_feature_auc", "number", lambda d, rng: d * 3.0 + rng.normal(size=len(d))),
        (
            "single_feature_auc",
            "number",
            lambda d, rng: np.where(d == 1, 0.0, rng.choice([-1.0, 1.0], len(d))) + 0.1 * rng.normal(size=len(d)),
        ),
        ("single_feature_auc", "category", lambda d, rng: np.where(rng.random(len(d)) < 0.95, d, 1 - d).astype(str)),
        ("single_feature_auc", "boolean", lambda d, rng: np.where(rng.random(len(d)) < 0.97, d, 1 - d).astype(float)),
        ("information_value", "number", lambda d, rng: d * 1.0 + rng.normal(size=len(d))),
        ("missing_for_one_class", "number", lambda d, rng: np.where(d == 1, 1.0, np.nan)),
        ("missing_for_one_class", "number", lambda d, rng: np.where((d == 0) & (rng.random(len(d)) < 0.4), np.nan, 1.0)),
        ("missing_for_one_class", "date", lambda d, rng: pd.Series(np.where(d == 1, "2020-01-05", None)).astype("datetime64[ns, UTC]")),
    ],
)
def test_planted_leaks(code, kind, make):
    frame, default, schema, rng = world()
    values = make(default, rng)
    frame["leak"] = pd.Series(values, dtype=object) if kind == "category" else values
    found = findings(frame, default, schema.with_columns([Column("leak", kind, "Leak")]))
    assert set(found) == {"leak"} and found["leak"].code == code and "Leak" in found["leak"].message
    assert found["leak"].severity == ("suspect" if code == "information_value" else "leak")
    assert quality.blocking(found.values()) == (code != "information_value")


def test_later_knowledge_is_named_and_protected_or_text_columns_are_not_looked_at():
    frame, default, schema, _ = world()
    frame["paid"], frame["sex"], frame["note"] = default * 1.0, default.astype(str), default.astype(str)
    extra = [Column("paid", "number", known_at_application=False), Column("sex", "category", protected=True), Column("note", "text")]
    found = findings(frame, default, schema.with_columns(extra))
    assert {name: finding.code for name, finding in found.items()} == {"paid": "not_known_at_application"}
    assert not quality.blocking(found.values())


def test_few_events_prove_nothing():
    frame, _, schema, _ = world(60)
    default = np.repeat([1, 0], [5, 55])
    frame["leak"] = default * 1.0
    assert findings(frame, default, schema.with_columns([Column("leak", "number")])) == {}


def test_single_auc_and_information_value_against_their_definitions():
    default = np.repeat([1, 0, 1, 0], [300, 100, 100, 1500])
    bins = np.repeat([1, 2], [400, 1600])
    bad, good = np.array([300.5, 100.5]) / 401, np.array([100.5, 1500.5]) / 1601
    assert quality.information_value(bins, default) == pytest.approx(((bad - good) * np.log(bad / good)).sum() - (1 / 401 + 1 / 1601))
    expected = (300 * 1500 + 0.5 * (300 * 100 + 100 * 1500)) / (400 * 1600)
    assert quality.single_auc(bins, default) == pytest.approx(expected, abs=0.01)
    rng = np.random.default_rng(0)
    assert quality.information_value(rng.integers(0, 300, 3000), rng.random(3000) < 0.2) < 0.15


def test_data_quality_report():
    rng = np.random.default_rng(0)
    n = 1000
    when = pd.Series(pd.to_datetime(["2020-01-15"] * 400 + ["2020-02-10"] * 300 + ["2020-05-02"] * 299 + [None], utc=True))
    frame = pd.DataFrame(
        {
            "debt_to_income": np.where(np.arange(n) < 10, 35.0, 0.3),
            "amount": rng.lognormal(9, 1, n),
            "constant": 1.0,
            "empty": np.nan,
            "half": np.where(np.arange(n) < 700, np.nan, rng.normal(size=n)),
            "key": pd.Series([f"id{number}" for number in range(n)], dtype=object),
            "since": when,
        }
    )
    schema = Schema([Column(name, "number") for name in ("debt_to_income", "amount", "constant", "empty", "half")])
    schema = schema.with_columns([Column("key", "category"), Column("since", "date")])
    frame.iloc[500:540] = frame.iloc[499:500].to_numpy()
    for name in ("debt_to_income", "amount", "constant", "empty", "half"):
        frame[name] = frame[name].astype(float)
    report = quality.data_quality(Dataset(frame, (rng.random(n) < 0.6).astype(np.int8), schema, when))
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    codes = {(finding["code"], finding["column"]) for finding in report["findings"]}
    assert codes == {
        ("label_balance", None),
        ("duplicates", None),
        ("range", "debt_to_income"),
        ("constant", "constant"),
        ("empty", "empty"),
        ("mostly_missing", "half"),
        ("identifier", "key"),
        ("undated", None),
        ("time_gap", None),
    }
    assert report["months_without_applications"] == ["2020-03", "2020-04"] and report["duplicates"] == 40


def described(n=400, **columns):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"amount": rng.lognormal(9, 1, n), "debt_to_income": rng.uniform(0, 0.6, n), **columns})
    schema = Schema([Column(name, "number") for name in frame])
    when = pd.Series(pd.Timestamp("2025-01-01", tz="UTC") + pd.to_timedelta(np.arange(n), unit="D"))
    return Dataset(frame, (rng.random(n) < 0.2).astype(np.int8), schema, when)


def spoiled(kind):
    data = described()
    if kind == "unit":
        data.frame["debt_to_income"] *= 100
    elif kind == "repeated":
        data = data.take(np.repeat(np.arange(40), 10))
    elif kind == "kind":
        data.frame["amount"] = data.frame["amount"].astype(str)
    elif kind == "turned":
        data.default[:] = 1
        data.default[:12] = 0
    return data


@pytest.mark.parametrize(
    ("kind", "code"), [("unit", "range"), ("repeated", "duplicates"), ("kind", "schema"), ("turned", "label_balance"), ("future", "future")]
)
def test_what_can_not_be_right_stops_a_training_with_a_clear_text(kind, code):
    from mlcore.risk.train import TrainingError, train_default_risk

    data = spoiled(kind)
    now = pd.Timestamp("2025-06-01" if kind == "future" else "2027-01-01", tz="UTC")
    report = quality.data_quality(data, now=now)
    assert report["findings"][0]["code"] == code and report["findings"][0]["severity"] == "error"
    if kind != "kind":
        with pytest.raises(TrainingError) as refusal:
            train_default_risk(data, rungs=["prior"], now=now)
        assert "can't be learned from" in str(refusal.value) and quality.errors(report)[0] in str(refusal.value)


def test_sound_data_stop_nothing():
    assert quality.errors(quality.data_quality(described(), now=pd.Timestamp("2027-01-01", tz="UTC"))) == []


def test_each_column_says_what_was_done_with_missing_and_extreme_values():
    from mlcore.preparation import strategies

    data = described(2000, gap=np.nan)
    tells = data.default == 1
    tells[: len(tells) // 2] = False
    data.frame["gap"] = np.where(tells, np.nan, 1.0 + np.arange(2000) % 7)
    data.frame.loc[3, "amount"] = np.inf
    found = {row["name"]: row for row in strategies(data.frame, data.schema, data.default)}
    assert found["gap"]["missing_rows"] == tells.sum() and found["gap"]["missing_rate"] == 1.0 and found["gap"]["informative"]
    assert found["amount"]["missing_rows"] == 1 and "1 infinite" in found["amount"]["imputation"] and not found["amount"]["informative"]
    assert found["amount"]["outlier_rows"] == 40 and found["debt_to_income"]["imputation"] == "nothing was missing"
