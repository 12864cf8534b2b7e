from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from mlcore.risk.base import FitError
from mlcore.risk.binning import Bins, quantile_cuts, readable_between
from mlcore.risk.categories import CategoryEncoder
from mlcore.risk.derived import Derived, derive
from mlcore.risk.features import Encoder, check_labels
from mlcore.schema import CORE, Column, Schema


def fitted(world, **options):
    encoder = Encoder(world.schema, **options)
    return encoder, encoder.fit_transform(world.frame, world.default, world.submitted_at)


def test_only_usable_columns_are_read(world):
    encoder, _ = fitted(world)
    sources = {name for feature in encoder.features for name in feature.sources}
    assert not sources & {"note", "age", "collections_cost"}
    assert {"amount", "branch", "returning", "first_contact"} <= sources


def test_training_and_scoring_give_the_same_features_except_cross_fitted_ones(world):
    encoder, matrix = fitted(world)
    again = encoder.transform(world.frame, world.submitted_at)
    crossed = [feature.name == "region" for feature in encoder.features]
    np.testing.assert_array_equal(matrix[:, ~np.array(crossed)], again[:, ~np.array(crossed)])
    assert not np.array_equal(matrix[:, crossed], again[:, crossed])


def test_a_rows_own_outcome_never_enters_its_encoding(world):
    """With 60 random regions the in-sample rate would tell the outcome; the cross-fitted one can't."""
    encoder, matrix = fitted(world)
    j = [feature.name for feature in encoder.features].index("region")
    in_sample = encoder.transform(world.frame, world.submitted_at)[:, j]
    assert np.corrcoef(in_sample, world.default)[0, 1] > 0.1
    assert np.corrcoef(matrix[:, j], world.default)[0, 1] < 0.06


def test_one_row_has_the_digits_of_the_frame(world):
    encoder, _ = fitted(world)
    matrix = encoder.transform(world.frame, world.submitted_at)
    for k in range(60):
        row = {name: (None if pd.isna(value) else value) for name, value in world.frame.iloc[k].items()}
        one = encoder.one(row, world.submitted_at.iloc[k].to_pydatetime())
        np.testing.assert_array_equal(np.array([np.nan if v is None else v for v in one]), matrix[k])


def test_state_round_trip(world):
    encoder, _ = fitted(world)
    again = Encoder.from_state(encoder.to_state())
    assert again.features == encoder.features
    np.testing.assert_array_equal(again.transform(world.frame, world.submitted_at), encoder.transform(world.frame, world.submitted_at))


def test_shares_sum_to_one_and_go_to_the_sources(world):
    encoder, _ = fitted(world)
    shares = encoder.shares()
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    j = [feature.name for feature in encoder.features].index("amount per income")
    assert set(np.flatnonzero(shares[j])) == {world.schema.names.index(name) for name in ("amount", "annual_income")}


def test_dates_are_whole_days_before_the_application():
    schema = Schema([Column("since", "date"), Column("amount", "number")])
    frame = pd.DataFrame({"since": pd.to_datetime(["2024-01-01", "2024-01-30", None], utc=True), "amount": [1.0, 2.0, 3.0]})
    submitted = pd.Series(pd.to_datetime(["2024-01-31 23:00", "2024-01-31 01:00", "2024-02-01 00:00"], utc=True))
    matrix = Encoder(schema).fit_transform(frame, np.array([0, 1, 0]), submitted)
    np.testing.assert_array_equal(matrix[:, 0], [30, 1, np.nan])


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"amount": [np.nan] * 4, "purpose": pd.Series([None] * 4, dtype=object)}),
        pd.DataFrame({"amount": [5.0] * 4, "purpose": pd.Series(["car"] * 4, dtype=object)}),
    ],
)
def test_columns_that_say_nothing_are_an_error(frame):
    with pytest.raises(FitError, match="No usable column varies"):
        Encoder(CORE.only(frame.columns)).fit_transform(frame, np.array([0, 1, 0, 1]))


def test_a_constant_with_gaps_says_something():
    frame = pd.DataFrame({"amount": [5.0, np.nan, 5.0, np.nan]})
    assert Encoder(CORE.only(["amount"])).fit_transform(frame, np.array([0, 1, 0, 1])).shape == (4, 1)


def test_scoring_survives_unseen_missing_and_infinite_values(world):
    encoder, _ = fitted(world)
    frame = world.frame.head(3).copy()
    frame["branch"] = pd.Series(["moon", None, "south"], dtype=object)
    frame["amount"] = [np.inf, -np.inf, np.nan]
    matrix = encoder.transform(frame.drop(columns=["credit_score", "region"]), None)
    names = [feature.name for feature in encoder.features]
    assert np.isnan(matrix[:, names.index("amount")]).all()
    assert np.isnan(matrix[:, names.index("credit_score")]).all()
    branch = matrix[:, names.index("branch")]
    assert branch[0] == pytest.approx(encoder.encoders["branch"].prior_) and np.isnan(branch[1])


@pytest.mark.parametrize(("labels", "message"), [([], "no training rows"), ([0, 0], "the outcome 0"), ([0, 2], "0 .repaid. or 1")])
def test_labels_that_teach_nothing(labels, message):
    with pytest.raises(FitError, match=message):
        check_labels(np.array(labels))


def test_coded_values_shrink_to_their_prefix():
    r = np.random.default_rng(0)
    values = np.array([f"{a}{b:04d}" for a, b in zip(r.choice(["11", "99"], 3000), r.integers(0, 300, 3000), strict=True)], dtype=object)
    default = (r.random(3000) < np.where([v.startswith("99") for v in values], 0.4, 0.1)).astype(int)
    encoder = CategoryEncoder().fit(values, default)
    assert encoder.prefixes_ == (2, 3)
    unseen = encoder.transform(np.array(["999999", "119999", "zz", None], dtype=object))[:, 0]
    assert unseen[0] > unseen[2] > unseen[1] and np.isnan(unseen[3])


def test_derived_directions_follow_their_sources_and_contradictions_are_left_out():
    schema = CORE.only(["amount", "annual_income", "term_months"])
    by_name = {formula.name: formula for formula in derive(schema)}
    assert by_name["amount per income"].direction == 1
    assert by_name["amount per month"].direction == 0
    clash = {formula.name for formula in derive(schema.with_directions({"amount": 1, "annual_income": 1}))}
    assert "amount per income" not in clash and "amount per month" in clash


def test_derived_numbers():
    ratio = Derived("r", "ratio", ("a", "b"))
    np.testing.assert_array_equal(ratio.of_arrays([np.array([1.0, 1.0, np.nan]), np.array([4.0, 0.0, 1.0])]), [0.25, np.nan, np.nan])
    assert ratio.of_floats([1.0, 4.0]) == 0.25 and ratio.of_floats([1.0, 0.0]) is None and ratio.of_floats([None, 1.0]) is None
    assert Derived("m", "most", ("a", "b", "c")).of_floats([3.0, 9.0, 1.0]) == 9.0
    assert Derived("c", "change", ("a", "b", "c", "d")).of_floats([4.0, 2.0, 1.0, 1.0]) == 2.0


def test_running_numbers_are_a_series():
    schema = Schema([Column(f"bill_{k}", "number", unit="currency") for k in (1, 2, 3)] + [Column("amount", "number")])
    names = {formula.name for formula in derive(schema)}
    assert {"bill mean", "bill highest", "bill change", "bill_1 per amount"} <= names


@pytest.mark.parametrize(("low", "high", "cut"), [(1.0, 2.0, 1.0), (18.34, 18.61, 18.5), (99.9, 300.0, 200.0), (-3.0, 5.0, 1.0)])
def test_cuts_are_readable(low, high, cut):
    assert readable_between(low, high) == cut


def test_codes_scalar_and_array_agree():
    values = np.array([[-5.0], [0.0], [1.0], [1.5], [np.nan], [9e9]])
    bins = Bins.fit(values, 4)
    codes = bins.codes(values)[:, 0].tolist()
    assert codes == [bins.code(0, None if np.isnan(v) else v) for v in values[:, 0]]
    assert codes[4] == len(bins.cuts[0]) + 1
    assert np.isnan(bins.as_floats(bins.codes(values))[4, 0])


def test_quantile_cuts_hold_equal_shares():
    cuts = quantile_cuts(np.random.default_rng(0).lognormal(size=4000), 10)
    shares = np.diff(np.searchsorted(np.sort(np.random.default_rng(0).lognormal(size=4000)), cuts)) / 4000
    assert len(cuts) == 9 and shares.min() > 0.09 and shares.max() < 0.11


def test_later_dates_measured_with_naive_moments():
    schema = Schema([Column("since", "date"), Column("amount", "number")])
    frame = pd.DataFrame({"since": pd.to_datetime(["2024-01-01", "2024-01-30"], utc=True), "amount": [1.0, 2.0]})
    encoder = Encoder(schema)
    encoder.fit_transform(frame, np.array([0, 1]), None)
    assert encoder.one({"since": datetime(2024, 1, 2, tzinfo=UTC), "amount": 1})[0] == 28.0


def test_copies_of_an_application_share_their_fold(world):
    from mlcore.risk.categories import FOLDS
    from mlcore.risk.features import _folds

    world = world.take(np.arange(400))
    rows = np.random.default_rng(0).integers(0, 400, 500)
    twice = world.take(rows)
    folds = _folds(twice.frame, twice.submitted_at, 0)
    assert len(np.unique(folds)) == FOLDS
    assert all(len(np.unique(folds[rows == row])) == 1 for row in np.unique(rows))
    # Where rows differ in next to nothing, a value's own rows would all be held out together: folds go by position.
    alike = _folds(twice.frame[["branch"]], None, 0)
    assert len(np.unique(alike[(twice.frame["branch"] == "south").to_numpy()])) == FOLDS
