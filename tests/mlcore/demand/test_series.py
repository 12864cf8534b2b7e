"""Rows become series, and what is wrong with rows is said."""

import numpy as np
import pandas as pd
import pytest

from mlcore.demand import CalendarError, SeriesError, SeriesSet, actuals, forecast
from mlcore.demand.calendar import coarser, holiday_names, period_of, start_of
from tests.mlcore.demand.made import applications, counts


def test_periods_and_their_first_days():
    days = np.array(["1969-12-29", "1970-01-04", "1970-01-05", "2024-02-29"], dtype="datetime64[D]")
    assert period_of(days, "weekly").tolist() == [0, 0, 1, 2826]
    assert str(start_of(2826, "weekly")) == "2024-02-26"
    assert [str(day) for day in start_of(period_of(days, "monthly"), "monthly")] == ["1969-12-01", "1970-01-01", "1970-01-01", "2024-02-01"]


def test_weeks_do_not_become_months():
    with pytest.raises(CalendarError, match="weekly history"):
        coarser(np.array([1]), "weekly", "monthly")


def test_an_unknown_frequency_measure_or_horizon_is_refused():
    history = counts(np.full(40, 9.0))
    with pytest.raises(CalendarError, match="hourly"):
        forecast(history, horizon=1, frequency="hourly", country=None, as_of="2018-01-01")
    with pytest.raises(SeriesError, match="counts only"):
        forecast(history, horizon=1, frequency="monthly", country=None, as_of="2018-01-01", measure="amount")
    with pytest.raises(ValueError, match="at least 1"):
        forecast(history, horizon=0, frequency="monthly", country=None, as_of="2018-01-01")


def test_holidays_of_a_country_and_of_none():
    names, note = holiday_names("US", np.datetime64("2024-07-01"), np.datetime64("2024-07-31"))
    assert names == {np.datetime64("2024-07-04"): "Independence Day"} and not note
    assert "no holiday calendar" in holiday_names("XX", np.datetime64("2024-07-01"), np.datetime64("2024-07-31"))[1]


def test_applications_are_summed_by_day_product_and_region():
    rows = [
        ("2024-03-01T10:00Z", 100, "car", "north"),
        ("2024-03-01T23:30Z", 200, "car", "north"),
        ("2024-03-02T10:00Z", 50, "home", None),
    ]
    series = SeriesSet.from_applications(rows)
    assert len(series) == 2 and series.counts.tolist() == [2, 1] and series.amounts.tolist() == [300, 50]
    assert set(series.regions) == {"north", "(unknown)"}
    paris = SeriesSet.from_applications(rows, timezone="Europe/Paris")  # half past eleven at night is the next day there
    assert paris.counts.tolist() == [1, 1, 1]


def test_bad_dates_and_amounts_are_left_out_and_noted():
    rows = [("2024-03-01", 100, "car", "n"), ("never", 100, "car", "n"), (None, 1, "car", "n"), ("2024-03-01", float("nan"), "car", "n")]
    series = SeriesSet.from_applications([*rows, ("2024-03-01", -5, "car", "n")])
    assert series.counts.tolist() == [3] and series.amounts.tolist() == [100]
    assert any("2 of 5 rows have no readable date" in note for note in series.notes)
    assert any("2 applications have no valid amount" in note for note in series.notes)


def test_small_regions_are_folded_beyond_the_limit():
    frame = pd.concat([applications([20 - k], region=f"r{k:02d}") for k in range(12)])
    series = SeriesSet.from_applications(frame, max_leaves=5)
    assert set(series.regions) == {"r00", "r01", "r02", "r03", "(other)"} and series.counts.sum() == frame.shape[0]
    assert "taken together" in series.notes[0]


def test_missing_columns_are_named():
    with pytest.raises(SeriesError, match="region"):
        SeriesSet.from_applications(pd.DataFrame({"timestamp": [], "amount": [], "product": []}))


def test_what_came_is_told_by_series_and_period():
    frame = pd.concat([applications([2] * 70, product="car"), applications([1] * 70, product="home")])
    came = actuals(SeriesSet.from_applications(frame), frequency="monthly", as_of="2024-03-05")
    assert came[None, None] == {"2024-01-01": 93, "2024-02-01": 87} and came["home", None]["2024-02-01"] == 29
