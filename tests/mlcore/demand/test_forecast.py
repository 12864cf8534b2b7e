"""From history to vintage: a known truth is found, the numbers add up, and odd histories get a stated answer."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlcore.demand import ForecastSet, SeriesSet, accuracy, forecast
from mlcore.demand.calendar import holiday_names
from mlcore.demand.panel import build
from mlcore.progress import Cancelled
from tests.mlcore.demand.made import applications, counts, seasonal


def monthly(history, as_of, horizon=6, **others):
    return forecast(history, horizon=horizon, frequency="monthly", country=None, as_of=as_of, **others)


def daily(history, as_of, horizon=14, **others):
    return forecast(history, horizon=horizon, frequency="daily", country="US", as_of=as_of, **others)


def numbers(series):
    return np.array([[row.lo95, row.lo80, row.point, row.hi80, row.hi95] for row in series.rows])


def assert_sound(vintage):
    """What every vintage keeps to, whatever the data."""
    assert vintage.incoherence() == 0
    for series in vintage.series:
        assert series.rows or series.reason
        table = numbers(series).reshape(-1, 5)
        assert np.isfinite(table).all() and (table >= 0).all() and (np.diff(table, axis=1) >= 0).all()
    assert ForecastSet.from_json(json.loads(json.dumps(vintage.to_json(), allow_nan=False))) == vintage


@pytest.fixture(scope="module")
def shop():
    """2 products × 2 regions over 14 months of days: a week, holidays off, one product twice the other; and its vintage."""
    generator = np.random.default_rng(5)
    days = pd.date_range("2023-01-01", "2024-03-01", freq="D")
    week = np.array([1.2, 1.1, 1.0, 1.0, 0.9, 0.5, 0.3])[days.day_of_week]
    names, _ = holiday_names("US", np.datetime64("2023-01-01"), np.datetime64("2024-03-01"))
    closed = np.where(np.isin(days.to_numpy("datetime64[D]"), list(names)), 0.02, 1.0)
    parts = []
    for product, size in (("car", 30), ("home", 15)):
        for region, share in (("north", 0.7), ("south", 0.3)):
            parts.append(applications(generator.poisson(size * share * week * closed), start="2023-01-01", product=product, region=region))
    history = SeriesSet.from_applications(pd.concat(parts))
    return history, daily(history, "2024-02-15")


def test_a_trend_and_a_season_are_found():
    expected, came = seasonal(96)
    vintage = monthly(counts(came), "2022-01-01", horizon=12)
    points = numbers(vintage.total)[:, 2]
    assert np.abs(points / expected[84:] - 1).max() < 0.08
    test = vintage.total.backtest
    assert test.origins >= 8 and test.mase < 0.7 * test.naive_mase and test.one_minus_wape > 0.95
    assert vintage.season == 12 and vintage.total.rows[0].period == "2022-01-01"
    assert_sound(vintage)


def test_the_week_is_found_and_everything_adds_up(shop):
    _, vintage = shop
    assert {series.level for series in vintage.series} == {"total", "product", "region", "cell"} and len(vintage.series) == 9
    week = np.array([1.2, 1.1, 1.0, 1.0, 0.9, 0.5, 0.3])[pd.to_datetime([row.period for row in vintage.total.rows]).day_of_week]
    working = np.array([row.period != "2024-02-19" for row in vintage.total.rows])  # Washington's Birthday
    assert numbers(vintage.total)[working, 2] == pytest.approx(45 * week[working], rel=0.2)
    assert_sound(vintage)


def test_the_current_period_is_what_came_and_the_rest_of_it(shop):
    """Weeks of the shop on a Thursday morning: three days have come, and the first four fifths of an hour count for nothing."""
    history, _ = shop
    early, late = (forecast(history, horizon=3, frequency="weekly", country=None, as_of=at) for at in ("2024-02-12", "2024-02-15"))
    came = history.known(np.datetime64("2024-02-15"))[0]
    so_far = float(came.counts[came.period >= np.datetime64("2024-02-12").astype("datetime64[D]").astype(int)].sum())
    before, row = early.total.rows[0], late.total.rows[0]
    assert row.period == before.period == "2024-02-12"
    week = np.array([1.2, 1.1, 1.0, 1.0, 0.9, 0.5, 0.3])
    assert row.point == pytest.approx(so_far + before.point * week[3:].sum() / week.sum(), rel=0.05)
    assert so_far < row.lo95 <= row.lo80 < row.point < row.hi80 <= row.hi95
    assert row.hi80 - row.lo80 < 0.9 * (before.hi80 - before.lo80), "less is left to be uncertain of"
    assert row.baseline > so_far
    assert_sound(late)


def test_a_current_week_of_which_nothing_was_delivered_is_forecast_whole(shop):
    history, _ = shop
    cut = replace(history, **{name: getattr(history, name)[history.period < 19765] for name in ("leaf", "period", "counts", "amounts")})
    assert str(np.int64(19765).astype("datetime64[D]")) == "2024-02-12"
    whole = forecast(cut, horizon=1, frequency="weekly", country=None, as_of="2024-02-12").total.rows[0]
    assert forecast(cut, horizon=1, frequency="weekly", country=None, as_of="2024-02-15").total.rows[0] == whole


def test_holidays_are_expected_to_be_quiet(shop):
    history, _ = shop
    vintage = daily(history, "2023-12-20")
    by_day = {row.period: row.point for row in vintage.total.rows}
    assert by_day["2023-12-25"] < 0.5 * by_day["2023-12-22"]


def test_the_same_arguments_give_the_same_vintage():
    history = counts(np.random.default_rng(11).poisson(40, (10, 60)), products=[f"p{k}" for k in range(10)])
    assert monthly(history, "2020-01-01", seed=3) == monthly(history, "2020-01-01", seed=3)


def test_nothing_after_the_day_of_the_forecast_is_seen(shop):
    history, vintage = shop
    before = replace(history, **{name: getattr(history, name)[history.period < 19768] for name in ("leaf", "period", "counts", "amounts")})
    assert daily(before, "2024-02-15").series == vintage.series  # day 19,768 is 2024-02-15
    assert any("dated after" in note for note in vintage.notes)


def test_amounts_are_forecast_like_counts(shop):
    history, vintage = shop
    money = daily(history, "2024-02-15", measure="amount")
    assert_sound(money)
    assert numbers(money.total)[:, 2] == pytest.approx(1000 * numbers(vintage.total)[:, 2], rel=0.15)


def test_past_vintages_are_held_against_what_came(shop):
    history, vintage = shop
    table = {each.level: each for each in accuracy([vintage], history, "2024-03-01")}
    total = table["total"]
    assert total.values == 14 and total.origins == 1 and total.horizon is None
    assert total.wape < total.naive_wape and total.one_minus_wape > 0.75
    assert 0.5 <= table["all"].coverage80 <= 1
    assert accuracy([vintage], history, "2024-02-15") == []
    steps = accuracy([vintage], history, "2024-02-18", by_step=True, by_series=True)
    assert {each.horizon for each in steps if each.level == "total"} == {None, 1, 2, 3}


def test_seasonal_naive_where_nothing_beats_it():
    year = np.random.default_rng(6).uniform(100, 900, 12)
    vintage = monthly(counts(np.tile(year, 9)), "2023-01-01")
    assert vintage.total.method == "seasonal naive"
    assert [row.point for row in vintage.total.rows] == pytest.approx(year[:6], abs=0.01)


def test_a_young_series_takes_its_share_of_its_parent():
    generator = np.random.default_rng(7)
    old, young = generator.poisson(90, 60).astype(float), generator.poisson(10, 60).astype(float)
    young[:56] = 0
    vintage = monthly(counts([old, young], products=["old", "young"]), "2020-01-01")
    series = vintage.get("young")
    assert series.method == "share of parent" and "Only 4 months old" in series.notes[-1]
    assert numbers(series)[:, 2] == pytest.approx(10, rel=0.3)
    assert_sound(vintage)


def test_cancelling_passes_through():
    def stop(share, step):
        raise Cancelled

    with pytest.raises(Cancelled):
        monthly(counts(seasonal(60)[1]), "2020-01-01", progress=stop)


def test_five_points_give_no_forecast_but_a_reason():
    vintage = monthly(counts([5, 6, 7, 8, 9]), "2015-06-01")
    assert vintage.total.rows == () and "5 complete months" in vintage.reason
    assert_sound(vintage)


def test_no_rows_at_all():
    empty = SeriesSet.from_applications(pd.DataFrame(columns=["timestamp", "amount", "product", "region"]))
    vintage = daily(empty, "2024-01-01")
    assert "no complete period" in vintage.reason
    assert_sound(vintage)


def test_ten_applications_give_their_mean_with_an_honest_interval():
    vintage = daily(SeriesSet.from_applications(applications([1, 0, 2, 1, 1, 0, 3, 0, 1, 1])), "2024-01-11")
    assert vintage.total.method == "mean of 10 days" and "too few to compare" in vintage.total.notes[0]
    row = vintage.total.rows[0]
    assert row.point == 1 and row.lo80 == 0 and row.hi95 >= 3 and row.baseline is None


def test_a_constant_series_stays_and_says_so():
    vintage = monthly(counts(np.full(60, 50.0)), "2020-01-01")
    assert {row.point for row in vintage.total.rows} == {50}
    assert "The same value" in vintage.total.notes[0]
    assert_sound(vintage)


def test_all_zero():
    vintage = monthly(counts(np.zeros(60)), "2020-01-01")
    assert {row.point for row in vintage.total.rows} == {0} and "Nothing came" in vintage.total.notes[0]
    short = monthly(counts(np.zeros(8)), "2015-09-01")
    assert short.total.rows[0].point == 0 and short.total.rows[0].hi95 > 0  # eight zeros do not promise a ninth
    assert_sound(vintage)


def test_a_two_year_hole_cuts_the_history():
    per_day = np.random.default_rng(8).poisson(12, 400 + 730 + 200)
    per_day[400:1130] = 0
    vintage = daily(SeriesSet.from_applications(applications(per_day, start="2020-01-01")), "2023-08-23")
    assert any("2021-02-04 to 2023-02-03: a gap" in note for note in vintage.notes)
    assert any("before 2023-02-04 lies behind a hole" in note for note in vintage.notes)
    assert numbers(vintage.total)[:, 2] == pytest.approx(12, rel=0.25)


def test_dates_in_the_future_are_left_out_and_counted():
    frame = pd.concat([applications(np.full(90, 8)), applications([500], start="2031-01-01"), applications([3], start="1900-01-01")])
    vintage = daily(SeriesSet.from_applications(frame), "2024-03-31")
    assert any(note.startswith("500 applications are dated after") for note in vintage.notes)
    assert numbers(vintage.total)[:, 2] == pytest.approx(8, rel=0.05)


def test_what_was_not_delivered_is_not_zero():
    vintage = daily(SeriesSet.from_applications(applications(np.full(120, 8))), "2024-05-05")  # the last five days are missing
    assert any("not delivered" in note for note in vintage.notes)
    assert vintage.total.rows[0].point == pytest.approx(8, rel=0.05) and vintage.total.rows[0].period == "2024-05-05"
    late = daily(SeriesSet.from_applications(applications(np.full(120, 8))), "2025-05-05")
    assert "too long ago" in late.reason and late.total.rows == ()


def test_unknown_counts_are_filled_and_outliers_capped_in_words():
    values = np.random.default_rng(9).poisson(100, 80).astype(float)
    values[30], values[60] = np.nan, 900
    history = counts(values)
    panel = build(history, frequency="monthly", as_of=np.datetime64("2021-09-01"), measure="count", country=None, horizon=3)
    assert np.isnan(panel.observed[0, 30]) and 60 < panel.clean[0, 30] < 140 and panel.clean[0, 60] < 300
    vintage = monthly(history, "2021-09-01")
    assert any("2020-01: 900 is an outlier" in note for note in vintage.total.notes)


def test_the_running_month_is_no_history_but_a_lower_bound():
    frame = applications(np.append(np.full(366, 3), np.full(10, 40)), start="2023-01-01")
    vintage = monthly(SeriesSet.from_applications(frame), "2024-01-12T00:00")
    assert any("current month is not over" in note for note in vintage.notes)
    first = vintage.total.rows[0]
    assert first.period == "2024-01-01" and first.point >= 400 and first.lo95 >= 400


def test_a_vintage_later_than_all_that_is_known_has_no_accuracy_yet():
    history = counts([np.full(40, 9.0), np.append(np.full(20, 9.0), np.full(20, np.nan))], frequency="weekly", products=["a", "b"])
    vintage = forecast(history, horizon=3, frequency="weekly", country=None, as_of="2015-10-26")
    assert accuracy([vintage], history, "2016-06-01") == []


def test_few_months_have_the_last_value_as_yardstick():
    vintage = monthly(counts(np.random.default_rng(10).poisson(50, 18)), "2016-07-01", horizon=3)
    assert vintage.season == 1 and any("too few for a season" in note for note in vintage.notes)
    assert any("fewer than 19" in note for note in vintage.notes)
    assert_sound(vintage)


values = st.one_of(st.just(0.0), st.floats(0, 1e9), st.sampled_from([float("nan"), float("inf"), -3.0, 1e-9]))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(values, min_size=1, max_size=34), min_size=1, max_size=3), st.sampled_from(["daily", "monthly"]))
def test_odd_counts_never_crash(tables, frequency):
    t = max(len(row) for row in tables)
    rows = [row + [float("nan")] * (t - len(row)) for row in tables]
    history = counts(rows, start="2024-01-01", frequency=frequency, products=[f"p{k}" for k in range(len(rows))])
    after = pd.date_range("2024-01-01", periods=t + 1, freq="D" if frequency == "daily" else "MS")[-1]
    assert_sound(forecast(history, horizon=4, frequency=frequency, country="US", as_of=after))
