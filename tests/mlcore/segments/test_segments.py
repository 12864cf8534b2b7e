"""Known truth: groups that are there are found, named and kept; none are found where there are none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mlcore.progress import Cancelled
from mlcore.schema import Column, Schema
from mlcore.segments import cluster, naming
from mlcore.segments.choose import Effort
from mlcore.segments.match import match
from mlcore.segments.model import NOBODY, SegmentModel
from mlcore.segments.null import Nulls
from mlcore.segments.prepare import MISSING, OTHER, Preparation
from mlcore.segments.train import train_segments

EFFORT = Effort(rows=400, bootstraps=5, nulls=3, restarts=2, most=5)
CENTRES = np.array([[4.0, 0, 0], [0, 4.0, 0], [0, 0, 4.0]])


def three(rows: int = 500, seed: int = 0) -> tuple[pd.DataFrame, Schema, np.ndarray]:
    """Three round groups in three numbers, a category that leans with them, one of noise; default and sex go along with the group."""
    chance = np.random.default_rng(seed)
    group = chance.integers(0, 3, rows)
    points = CENTRES[group] + chance.normal(size=(rows, 3))
    letters = np.array(["a", "b", "c"], dtype=object)
    frame = pd.DataFrame(
        {
            "income": 40_000 + 5_000 * points[:, 0],
            "debt": points[:, 1],
            "age_of_file": points[:, 2],
            "job": np.where(chance.random(rows) < 0.8, letters[group], letters[chance.integers(0, 3, rows)]),
            "noise": chance.normal(size=rows),
            "sex": letters[group],
            "collected_later": group * 100.0,
        }
    )
    schema = Schema(
        (
            Column("income", "number", "Annual income", unit="currency"),
            Column("debt", "number", "Debt"),
            Column("age_of_file", "number", "Length of history", unit="months"),
            Column("job", "category", "Occupation"),
            Column("noise", "number"),
            Column("sex", "category", protected=True),
            Column("collected_later", "number", known_at_application=False),
        )
    )
    return frame, schema, group


@pytest.fixture(scope="module")
def trained():
    frame, schema, group = three(600)
    at = pd.Series(pd.date_range("2024-01-01", periods=600, freq="12h", tz="UTC"))
    default = (np.random.default_rng(5).random(600) < np.array([0.02, 0.2, 0.6])[group]).astype(float)
    default[-20:] = np.nan
    result = train_segments(frame, schema, submitted_at=at, default=default, amount=np.full(600, 1000.0), effort=EFFORT)
    return result, frame, schema, group, at, default


def test_three_groups_are_found_named_and_judged_on_later_applications(trained):
    result, frame, schema, group, at, default = trained
    report = result.report
    assert report["k"] == 3 and report["min_jaccard"] >= 0.75 and report["null_gap"] > 0.02
    keys, distance = result.model.assign(frame, at)
    assert sum(np.bincount(group[keys == key]).max() for key in np.unique(keys)) / len(group) > 0.95
    assert 0.9 < np.median(distance) < 1.1
    key_of = {int(np.bincount(group[keys == segment.key]).argmax()): segment for segment in result.model.segments}
    assert "annual income" in key_of[0].name.lower() and "high" in key_of[0].name.lower()
    assert "long length of history" in key_of[2].name.lower()
    assert report["split"]["how"] == "time" and report["split"]["later"] >= 100
    rates = {
        key: side["default_rate"] for key, side in zip(report["segments"], report["later"]["groups"], strict=False) for key in [key["key"]]
    }
    assert rates[key_of[0].key]["value"] < rates[key_of[1].key]["value"] < rates[key_of[2].key]["value"]
    assert all(rate["low"] <= rate["value"] <= rate["high"] for rate in rates.values())
    assert report["later"]["apart"]["p"] < 0.001
    values = [side["value_share"] for side in report["later"]["groups"]]
    assert max(values) > 0 > min(values)
    assert len(report["map"]["points"]) == 400 and all(len(point) == 3 for point in report["map"]["points"])
    assert all(abs(sum(period["shares"]) - 1) < 1e-4 for period in report["share_over_time"])


def test_outcome_protected_and_later_columns_are_never_inputs(trained):
    result, frame, schema, group, at, default = trained
    assert {"sex", "collected_later"}.isdisjoint(result.report["inputs"])
    again = train_segments(frame, schema, submitted_at=at, default=1 - default, effort=EFFORT)
    assert again.model.assign(frame, at)[0].tolist() == result.model.assign(frame, at)[0].tolist()


def test_one_correlated_crowd_has_no_groups():
    chance = np.random.default_rng(3)
    common = chance.normal(size=500)
    frame = pd.DataFrame({f"x{j}": common + chance.normal(size=500) for j in range(4)} | {"skewed": np.exp(chance.normal(size=500))})
    frame["kind"] = np.where(chance.random(500) < 0.6, "a", "b").astype(object)
    schema = Schema(Column(name, "category" if name == "kind" else "number") for name in frame)
    result = train_segments(frame, schema, effort=EFFORT)
    assert result.report["k"] == 0 and result.report["in_words"].startswith("No groups")
    keys, distance = result.model.assign(frame)
    assert (keys == NOBODY).all() and np.isnan(distance).all()
    assert SegmentModel.from_state(result.model.to_state()).name == "none"


def test_a_refit_keeps_the_keys_of_the_groups_that_stay(trained):
    result, frame, schema, group, at, _ = trained
    again = train_segments(frame, schema, submitted_at=at, previous=result.model, seed=9, effort=EFFORT)
    old, new = result.model.assign(frame, at)[0], again.model.assign(frame, at)[0]
    assert (old == new).mean() > 0.95
    assert again.report["movement"]["stayed"] > 0.95 and again.model.next_key == result.model.next_key


def test_matching_is_one_to_one_and_a_split_group_gets_a_new_key():
    old = np.repeat([7, 9], 100)
    new = np.concatenate([np.zeros(100), np.ones(60), np.full(40, 2)]).astype(int)
    kept, moved = match(old, new, [7, 9], 3)
    assert kept == [7, 9, None]
    assert moved["stayed"] == pytest.approx(0.8) and moved["counts"] == [[100, 0, 0], [0, 60, 40]]


def test_the_model_survives_storing_and_gives_the_same_segments(trained, tmp_path):
    from mlcore import artifacts

    result, frame, _, _, at, _ = trained
    artifacts.save(result.model.to_state(), tmp_path, kind="segments", name="s", key=b"k" * 32)
    state, _ = artifacts.load(tmp_path / "s.model", key=b"k" * 32)
    loaded = SegmentModel.from_state(state)
    for one, other in zip(result.model.assign(frame, at), loaded.assign(frame, at), strict=True):
        np.testing.assert_allclose(one, other)
    assert loaded.assign(frame.iloc[:3].drop(columns=["income", "job"]))[1].shape == (3,)


def test_training_can_be_cancelled_and_is_the_same_for_the_same_seed():
    frame, schema, _ = three(250)
    seen = []

    def stop(share, step):
        seen.append(share)
        if share > 0.3:
            raise Cancelled

    with pytest.raises(Cancelled):
        train_segments(frame, schema, effort=EFFORT, progress=stop)
    assert seen == sorted(seen)
    small = Effort(rows=200, bootstraps=2, nulls=2, restarts=1, most=3)
    one, other = (train_segments(frame, schema, effort=small).report for _ in range(2))
    assert {**one, "seconds": 0} == {**other, "seconds": 0}


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pd.DataFrame({"a": np.arange(10.0), "b": list("xyxyxyxyxy")}), "too few"),
        (pd.DataFrame({"a": np.ones(300), "b": ["x"] * 300}), "columns 0 can be used"),
        (pd.DataFrame({"a": np.full(300, np.nan), "b": pd.Series([None] * 300, dtype=object)}), "columns 0 can be used"),
        (pd.DataFrame({"a": np.arange(300.0), "b": [f"street {i}" for i in range(300)]}), "columns 1 can be used"),
        (pd.DataFrame({"a": np.arange(300) % 2.0, "b": ["x", "y"] * 150}), "nearly all applications are the same"),
        (pd.DataFrame({"a": pd.Series([], dtype=float), "b": pd.Series([], dtype=object)}), "too few"),
    ],
)
def test_bad_input_gives_no_groups_and_says_why(frame, words):
    schema = Schema((Column("a", "number"), Column("b", "category")))
    result = train_segments(frame, schema, effort=EFFORT)
    assert result.report["k"] == 0 and words in result.report["in_words"] and result.report["warnings"]
    assert (result.model.assign(frame)[0] == NOBODY).all()


def test_preparation_weighs_a_category_like_a_number_and_a_family_like_one_column():
    chance = np.random.default_rng(1)
    rows = 2_000
    frame = pd.DataFrame(
        {
            "number": chance.lognormal(10, 1, rows),
            "twin_1": chance.normal(size=rows),
            "twin_2": chance.normal(size=rows),
            "few": chance.choice(np.array(["a", "b", "c", "d", "e", "f"], dtype=object), rows),
            "holes": np.where(chance.random(rows) < 0.4, np.nan, chance.normal(size=rows)),
            "town": [f"t{i}" if i > 1200 else "big" for i in chance.integers(0, 2000, rows)],
        }
    )
    frame.loc[0, "number"] = 1e15
    schema = Schema(
        Column(name, "category" if name in ("few", "town") else "number", family="twins" if name.startswith("twin") else "")
        for name in frame
    )
    preparation = Preparation.fit(frame, schema)
    matrix = preparation.transform(frame)
    weights = {block.name: matrix[:, part].var(axis=0).sum() for block, part in zip(preparation.blocks, preparation.slices, strict=True)}
    assert 0.8 < weights["number"] < 1.2 and 0.8 < weights["few"] < 1.2 and 0.6 < weights["holes"] < 1.2
    assert 0.8 < weights["twin_1"] + weights["twin_2"] < 1.2
    town = next(block for block in preparation.blocks if block.name == "town")
    assert town.levels == ["big", OTHER]
    assert np.isfinite(preparation.transform(frame.iloc[:5].drop(columns=["few"]))).all()
    unknown = pd.DataFrame({"few": pd.Series(["never seen"], dtype=object), "number": [np.inf]})
    assert np.isfinite(preparation.transform(unknown)).all()
    assert Preparation.from_state(preparation.to_state()).transform(frame).tolist() == matrix.tolist()


def test_the_cloud_keeps_values_and_correlations_and_the_shuffle_only_values():
    frame, schema, _ = three(1_500)
    schema = schema.usable()
    preparation = Preparation.fit(frame, schema)
    matrix = preparation.transform(frame)
    nulls = Nulls(matrix, preparation.slices)
    wanted = np.corrcoef(matrix[:, :3], rowvar=False)
    for made, near in ((nulls.cloud(0), wanted), (nulls.permuted(0), np.eye(3))):
        np.testing.assert_allclose(np.sort(made[:, :3], axis=0), np.sort(matrix[:, :3], axis=0))
        np.testing.assert_allclose(np.corrcoef(made[:, :3], rowvar=False), near, atol=0.1)


def test_mixture_and_kmeans_agree_on_round_groups():
    chance = np.random.default_rng(2)
    points = np.concatenate([chance.normal(size=(100, 3)), chance.normal(size=(100, 3)) + 6])
    for method in cluster.METHODS:
        found = cluster.fit(points, 2, method=method)
        labels = found.labels(points)
        assert len(set(labels[:100])) == len(set(labels[100:])) == 1
        assert cluster.bic(points, found) < cluster.bic(points, cluster.fit(points, 4, method=method))
    assert cluster.jaccards(labels, 1 - labels, 2).tolist() == [1.0, 1.0]


def test_names_are_distinct_and_say_what_is_not_given():
    frame, schema, group = three(300)
    frame["debt"] = np.where(group == 0, np.nan, frame["debt"])
    frame["job"] = pd.Series([None if g == 1 else value for g, value in zip(group, frame["job"], strict=True)], dtype=object)
    preparation = Preparation.fit(frame, schema)
    found = naming.differences(frame, preparation, group, 3)
    said = naming.names(found)
    assert len(set(said)) == 3 and any("not given" in name for name in said)
    assert naming.names([[], []]) == ["Like most applicants", "Like most applicants (2)"]
    assert MISSING in next(block for block in preparation.blocks if block.name == "job").levels
