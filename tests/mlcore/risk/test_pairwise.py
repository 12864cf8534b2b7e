from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from mlcore.risk.binning import Bins
from mlcore.risk.lookup import CHUNK, Lookup
from mlcore.risk.pairwise import Pairwise
from mlcore.risk.printing import bin_labels, tables_in_text
from mlcore.risk.tables import NotPairwise, Tables
from mlcore.risk.trees import boosted_nodes


@pytest.fixture(scope="module")
def boosters():
    """Three fits of at most two features a path, on codes with gaps, and all that is known about them."""
    r = np.random.default_rng(4)
    matrix = r.normal(size=(3000, 5)).round(1)
    matrix[r.random(matrix.shape) < 0.1] = np.nan
    matrix[:, 4] = 1.0  # no information, never missing here
    x = np.nan_to_num(matrix)
    z = x[:, 0] + np.where(x[:, 1] > 0, x[:, 2], -x[:, 2]) + np.isnan(matrix[:, 3])
    labels = (r.random(3000) < 1 / (1 + np.exp(-z))).astype(int)
    bins = Bins.fit(matrix, 12)
    codes = bins.codes(matrix)
    floats = bins.as_floats(codes)
    models = [
        HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=8, interaction_cst="pairwise", max_features=0.5, random_state=k).fit(
            floats, labels
        )
        for k in range(3)
    ]
    return bins, codes, floats, models


@pytest.fixture(scope="module")
def average(boosters):
    bins, _, _, models = boosters
    total = Tables.zeros(bins.sizes)
    for model in models:
        total = total.combine(1.0, Tables.from_trees(*boosted_nodes(model), bins.sizes), 1 / 3)
    return total


def test_tables_are_the_average_of_the_trees(boosters, average):
    _, codes, floats, models = boosters
    trees = np.mean([model.decision_function(floats) for model in models], axis=0)
    np.testing.assert_allclose(average.log_odds(codes), trees, atol=1e-12)
    np.testing.assert_allclose(average.purified(codes, np.ones(len(codes))).log_odds(codes), trees, atol=1e-12)


def test_tables_hold_for_rows_that_training_never_saw(boosters, average):
    """Every combination of codes, missing in columns that had no gap as well."""
    bins, _, _, models = boosters
    r = np.random.default_rng(1)
    codes = np.column_stack([r.integers(0, size, 4000) for size in bins.sizes])
    floats = bins.as_floats(codes)
    trees = np.mean([model.decision_function(floats) for model in models], axis=0)
    np.testing.assert_allclose(average.log_odds(codes), trees, atol=1e-12)


def test_purified_tables_are_centred_and_keep_only_what_two_features_say_together(boosters, average):
    _, codes, _, _ = boosters
    pure = average.purified(codes, np.ones(len(codes)))
    for j, main in enumerate(pure.mains):
        assert main[codes[:, j]].mean() == pytest.approx(0.0, abs=1e-12)
    strengths = pure.strengths(codes, np.ones(len(codes)))
    assert max(strengths, key=strengths.get) == (1, 2)
    assert pure.intercept == pytest.approx(average.log_odds(codes).mean(), abs=1e-9)


def test_purification_recovers_planted_parts():
    """Independent codes: a product of centred values is pure interaction, whatever mains are added to it."""
    codes = np.array([(a, b) for a in range(5) for b in range(4)] * 3)
    a, b = np.arange(5) - 2.0, np.arange(4) - 1.5
    mixed = Tables([np.zeros(5), np.zeros(4)], {(0, 1): np.outer(a, b) + 0.5 * a[:, None] + 0.25 * b + 3.0}, -1.0)
    pure = mixed.purified(codes, np.ones(len(codes)))
    np.testing.assert_allclose(pure.pairs[0, 1], np.outer(a, b), atol=1e-9)
    np.testing.assert_allclose(pure.mains[0], 0.5 * a, atol=1e-9)
    np.testing.assert_allclose(pure.mains[1], 0.25 * b, atol=1e-9)
    assert pure.intercept == pytest.approx(2.0)


def test_three_features_on_a_path_are_refused(boosters):
    bins, _, floats, _ = boosters
    labels = (np.nansum(floats[:, :3], axis=1) > 18).astype(int)
    model = HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(floats, labels)
    with pytest.raises(NotPairwise, match="two can be made a table"):
        Tables.from_trees(*boosted_nodes(model), bins.sizes)


def test_lookup_in_bulk_and_one_by_one_give_the_same_digits(boosters, average):
    bins, codes, _, _ = boosters
    r = np.random.default_rng(2)
    matrix = r.normal(size=(CHUNK + 300, 5))
    matrix[r.random(matrix.shape) < 0.2] = np.nan
    shares = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 1], [0.25, 0.25, 0.25, 0.25]], dtype=float)
    lookup = Lookup(bins, average.purified(codes, np.ones(len(codes))), shares)
    parts, baseline = lookup.contributions(matrix)
    total = lookup.total(parts, baseline)
    np.testing.assert_allclose(total, average.log_odds(bins.codes(matrix)), atol=1e-10)
    for k in [*range(40), CHUNK - 1, CHUNK, CHUNK + 299]:
        log_odds, one = lookup.one([None if np.isnan(value) else value for value in matrix[k].tolist()])
        assert log_odds == total[k]
        assert one == parts[k].tolist()


@pytest.fixture(scope="module")
def model(world):
    return Pairwise(world.schema, seed=1).fit(world.frame, world.default, submitted_at=world.submitted_at)


def test_one_application_scores_as_in_the_frame(model, world):
    frame = world.frame.head(80)
    parts, _ = model.contributions(frame, world.submitted_at.head(80))
    total = model.log_odds(frame, world.submitted_at.head(80))
    for k in range(80):
        row = {name: (None if pd.isna(value) else value) for name, value in frame.iloc[k].items()}
        log_odds, one = model.one(row, world.submitted_at.iloc[k].to_pydatetime())
        assert log_odds == total[k]
        assert one == parts[k].tolist()
    log_odds, one = model.one({})
    assert np.isfinite(log_odds) and len(one) == len(world.schema)


def test_the_true_contributions_are_found(model, world):
    """In the generated world a point of credit score is worth -0.02 log-odds, whoever has it."""
    parts, _ = model.contributions(world.frame, world.submitted_at)
    known = world.frame["credit_score"].notna().to_numpy()
    truth = -0.02 * (world.frame["credit_score"][known] - world.frame["credit_score"][known].mean())
    found = parts[known, world.schema.names.index("credit_score")]
    assert np.corrcoef(found, truth)[0, 1] > 0.95
    assert np.polyfit(truth, found, 1)[0] == pytest.approx(0.9, abs=0.3)


def test_it_is_small_and_prints(model):
    assert len(model.tables_.pairs) <= 20 + len(model.encoder.features)
    assert max(table.size for table in model.tables_.pairs.values()) <= 26 * 26
    text = tables_in_text(model.encoder, model.bins_, model.tables_)
    assert "credit_score" in text and "south" in text and "missing" in text
    for j, size in enumerate(model.bins_.sizes):
        assert len(bin_labels(model.encoder, model.bins_, j)) == size


@pytest.mark.parametrize("told", [False, True], ids=["noise", "told by it"])
def test_a_category_of_many_values_stays_only_where_later_rows_lose_by_its_absence(monkeypatch, told):
    from mlcore.schema import Column, Schema

    monkeypatch.setattr("mlcore.risk.pairwise.FITS", 2)
    monkeypatch.setattr("mlcore.risk.pairwise.MOST_TREES", 20)
    r = np.random.default_rng(2)
    town = r.integers(0, 40, 1200)
    frame = pd.DataFrame({"debt": r.normal(size=1200), "town": pd.Series([f"T{k:02d}" for k in town], dtype=object)})
    z = -1.0 + 0.8 * frame["debt"].to_numpy() + told * 1.5 * np.sin(town)
    default = (r.random(1200) < 1 / (1 + np.exp(-z))).astype(np.int8)
    schema = Schema([Column("debt", "number"), Column("town", "category")])
    rung = Pairwise(schema).fit(frame, default)
    assert rung.settings["left_out"] == ([] if told else ["town"])
    parts, baseline = rung.contributions(frame)
    assert (parts[:, 1] == 0).all() != told
    rows = [{"debt": -0.3, "town": "T07"}, {"debt": 0.4, "town": None}, {"debt": None, "town": "elsewhere"}]
    few = pd.DataFrame({"debt": [-0.3, 0.4, np.nan], "town": pd.Series(["T07", None, "elsewhere"], dtype=object)})
    assert [rung.one(row)[0] for row in rows] == rung.log_odds(few).tolist()
    again = rung.again(frame.iloc[:900], default[:900])
    assert again.settings["left_out"] == rung.settings["left_out"]
