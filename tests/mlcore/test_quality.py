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
