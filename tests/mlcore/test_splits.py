"""Splits follow time by whole periods, and never mix the sides."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcore import splits


def dates(n, start="2020-01-01", days=700, seed=0):
    rng = np.random.default_rng(seed)
    return pd.Series(pd.Timestamp(start, tz="UTC") + pd.to_timedelta(rng.uniform(0, days, n), unit="D"))


def outcomes(n, rate=0.2, seed=1):
    return (np.random.default_rng(seed).random(n) < rate).astype(np.int8)


def test_out_of_time_cuts_at_a_month_and_keeps_order():
    when, default = dates(3000), outcomes(3000)
    split = splits.out_of_time(when, default, test_share=0.25)
    assert split.how == "time" and split.period == "month" and split.cut.day == 1
    assert when.iloc[split.train].max() < split.cut <= when.iloc[split.test].min()
    assert len(split.train) + len(split.test) == 3000 and split.left_out == 0
    assert abs(len(split.test) / 3000 - 0.25) < 0.05


def test_all_rows_of_a_period_stay_together():
    when = pd.Series(pd.to_datetime(["2020-01-01"] * 50 + ["2020-02-01"] * 30 + ["2020-03-01"] * 60, utc=True))
    split = splits.out_of_time(when, np.tile([0, 1], 70), test_share=0.2)
    assert split.cut == pd.Timestamp("2020-03-01", tz="UTC") and len(split.test) == 60


def test_short_histories_are_cut_by_week_or_day():
    when, default = dates(2000, days=20), outcomes(2000)
    split = splits.out_of_time(when, default, test_share=0.2)
    assert split.period in ("week", "day") and abs(len(split.test) / 2000 - 0.2) < 0.08


def test_embargo_and_missing_dates_are_left_out():
    when, default = dates(3000), outcomes(3000)
    when.iloc[:7] = pd.NaT
    split = splits.out_of_time(when, default, cut="2021-06-01", embargo_days=90)
    assert when.iloc[split.train].max() < pd.Timestamp("2021-06-01", tz="UTC") - pd.Timedelta(days=90)
    assert split.left_out == 3000 - len(split.train) - len(split.test) > 7
    described = split.describe(default, when)
    assert described["cut"] == "2021-06-01" <= described["test"]["from"] and described["train"]["defaults"] == int(
        default[split.train].sum()
    )


def test_each_side_needs_both_outcomes():
    when = dates(1000)
    with pytest.raises(splits.SplitError, match="both sides"):
        splits.out_of_time(when, np.zeros(1000, dtype=np.int8))
    late = (when >= pd.Timestamp("2021-08-01", tz="UTC")).to_numpy().astype(np.int8)
    with pytest.raises(splits.SplitError):
        splits.out_of_time(when, late, cut="2021-01-01")
    with pytest.raises(splits.SplitError):
        splits.out_of_time(pd.Series(pd.to_datetime(["2020-01-01"] * 100, utc=True)), np.tile([0, 1], 50))


def test_period_starts():
    when = splits.as_utc(pd.Series(["2021-05-19T23:30:00-02:00", None]))
    expected = {"day": "2021-05-20", "week": "2021-05-17", "month": "2021-05-01", "quarter": "2021-04-01"}
    for period, start in expected.items():
        made = splits.period_starts(when, period)
        assert str(made[0]) == start and np.isnat(made[1])


def test_expanding_window_learns_only_from_the_past():
    when, default = dates(4000), outcomes(4000)
    folds = splits.expanding_window(when, default, folds=4)
    assert len(folds) == 4
    for train, test in folds:
        assert when.iloc[train].max() < when.iloc[test].min()
    assert all(len(later[0]) > len(earlier[0]) for earlier, later in itertools.pairwise(folds))
    tested = np.concatenate([test for _, test in folds])
    assert len(np.unique(tested)) == len(tested) and when.iloc[tested].max() == when.max()
    with pytest.raises(splits.SplitError):
        splits.expanding_window(pd.Series(pd.to_datetime(["2020-01-01"] * 100, utc=True)), outcomes(100))


@given(st.integers(20, 200), st.integers(2, 5), st.integers(0, 10))
def test_repeated_stratified_is_a_balanced_partition(n, folds, seed):
    default = np.zeros(n, dtype=np.int8)
    default[: n // 3] = 1
    made = splits.repeated_stratified(default, folds=folds, repeats=2, seed=seed)
    assert len(made) == 2 * folds
    for repeat in (made[:folds], made[folds:]):
        assert sorted(np.concatenate([test for _, test in repeat])) == list(range(n))
        defaults = [default[test].sum() for _, test in repeat]
        sizes = [len(test) for _, test in repeat]
        assert max(defaults) - min(defaults) <= 1 and max(sizes) - min(sizes) <= 1
    assert all(not set(train) & set(test) for train, test in made)
    again = splits.repeated_stratified(default, folds=folds, repeats=2, seed=seed)
    assert all(np.array_equal(one[1], other[1]) for one, other in zip(made, again, strict=True))


def test_stratified_holdout():
    default = outcomes(1000)
    split = splits.stratified_holdout(default, test_share=0.2)
    assert split.how == "stratified" and len(split.test) == pytest.approx(200, abs=1)
    assert default[split.test].mean() == pytest.approx(default.mean(), abs=0.01)
    with pytest.raises(splits.SplitError):
        splits.repeated_stratified(np.array([0, 0, 1]))
