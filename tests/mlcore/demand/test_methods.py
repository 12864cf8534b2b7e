"""Each part of the method against a truth that can be written down."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcore.demand.calendar import FREQUENCIES
from mlcore.demand.clean import cap_outliers, empty_runs, fill, forget_unborn
from mlcore.demand.intervals import intervals
from mlcore.demand.reconcile import reconcile, reported
from mlcore.demand.season import indices
from mlcore.demand.smoothing import SIMPLE, family, seasonal_naive, smooth

MONTHLY, DAILY = FREQUENCIES["monthly"], FREQUENCIES["daily"]
PARTS = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1], *np.eye(4).tolist()], dtype=bool)


def test_seasonal_naive_repeats_the_last_season():
    assert seasonal_naive(np.arange(10.0)[None], 4, 6).tolist() == [[6, 7, 8, 9, 6, 7]]
    assert seasonal_naive(np.arange(3.0)[None], 4, 2).tolist() == [[2, 2]]


def test_indices_find_the_week_and_shrink_noise_away():
    week = np.array([1.3, 1.2, 1.1, 1.0, 1.0, 0.9, 0.5])
    at = np.arange(140)
    generator = np.random.default_rng(0)
    clear = 100 * week[at % 7] * (1 + 0.002 * at)
    noise = 100 + 5 * generator.normal(size=(1, 140))
    assert indices(clear[None], DAILY)[0] == pytest.approx(week, abs=0.01)
    assert np.abs(indices(noise, DAILY) - 1).max() < 0.03


def test_smoothing_of_a_level_and_a_line():
    level, trend, chosen = smooth(np.full((1, 60), 7.0), SIMPLE, 0.99)
    assert level[0] == 7 and trend[0] == 0
    line = np.arange(60.0)[None] + 50
    found = family(line, MONTHLY, 3)
    assert found["theta"][0] == pytest.approx([110, 110.5, 111], abs=1.0) and found["theta"][0, 2] > found["theta"][0, 0]


def test_smoothing_skips_what_is_missing():
    values = np.array([[np.nan, np.nan, 5.0, np.nan, 5.0, 5.0, np.nan]])
    assert smooth(values, SIMPLE, 0.99)[0] == pytest.approx([5.0])


def test_outliers_are_capped_and_new_levels_are_not():
    generator = np.random.default_rng(1)
    values = generator.poisson(100, size=(1, 200)).astype(float)
    values[0, 120] = 900
    values[0, 160:] += 200
    capped = cap_outliers(values, DAILY, floor=0.5)
    assert capped[0, 120] < 250 and (capped != values).sum() <= 5
    assert (capped[0, 164:] == values[0, 164:]).all()


def test_outliers_are_judged_by_the_past_only():
    values = np.random.default_rng(2).poisson(50, size=(3, 150)).astype(float)
    values[:, 100] = 1000
    whole = cap_outliers(values, DAILY, floor=0.5)
    for until in (90, 101, 120):
        assert (cap_outliers(values[:, :until], DAILY, floor=0.5) == whole[:, :until]).all()


def test_a_closure_is_not_chance_and_a_quiet_sunday_is():
    open_days = np.where(np.arange(100) % 7 == 3, 0.0, 20.0)
    assert empty_runs(open_days, DAILY, 10.0) == []
    open_days[50:60] = 0
    assert empty_runs(open_days, DAILY, 10.0) == [(50, 60)]


def test_leading_zeros_are_before_birth_unless_the_series_is_rare():
    young, rare = np.zeros(100), np.zeros(100)
    young[80:], rare[[60, 90]] = 5, 1
    values, first = forget_unborn(np.stack([young, rare]))
    assert first.tolist() == [80, 0] and np.isnan(values[0, :80]).all() and not np.isnan(values[1]).any()


def test_gaps_are_filled_from_the_same_weekdays():
    values = np.tile(np.arange(7.0), 6)[None].copy()
    values[0, 30:33] = np.nan
    assert fill(values, DAILY)[0, 30:33].tolist() == [2, 3, 4]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=7, max_size=7), st.lists(st.floats(1e-6, 1e6), min_size=7, max_size=7))
def test_reconciled_forecasts_add_up_and_are_not_negative(points, variance):
    result = reconcile(np.array(points)[:, None], PARTS, np.array(variance))
    assert (result >= 0).all()
    assert result[:, 0] == pytest.approx(PARTS.astype(float) @ result[3:, 0], rel=1e-9, abs=1e-9)
    whole = reported(result[3:], PARTS)
    assert (whole == PARTS.astype(int) @ whole[3:]).all()


def test_coherent_forecasts_stay_and_sure_ones_move_least():
    bottom = np.array([10.0, 20.0, 30.0, 40.0])
    coherent = PARTS.astype(float) @ bottom
    assert reconcile(coherent[:, None], PARTS, np.ones(7))[:, 0] == pytest.approx(coherent)
    off = coherent.copy()
    off[0] = 120
    sure = reconcile(off[:, None], PARTS, np.array([1e-9, *np.ones(6)]))[:, 0]
    unsure = reconcile(off[:, None], PARTS, np.array([1e9, *np.ones(6)]))[:, 0]
    assert sure[0] == pytest.approx(120, abs=1e-3) and unsure[0] == pytest.approx(100, abs=1e-3)


def test_thousands_of_small_parts_do_not_vanish_from_the_total():
    leaves = np.full((1000, 1), 0.004)
    parts = np.concatenate([np.ones((1, 1000), dtype=bool), np.eye(1000, dtype=bool)])
    assert reported(leaves, parts)[0, 0] == 400


@pytest.mark.parametrize("many", [1, 12])
def test_intervals_cover_what_they_say_on_exchangeable_errors(many):
    """Seeded: 150 sets of 24 origins, errors growing with the horizon."""
    inside = []
    generator = np.random.default_rng(3)
    spread = np.sqrt(np.arange(1, 5))
    for _ in range(150 if many == 1 else 40):
        points = np.full((25, many, 4), 500.0)
        actual = points + 20 * spread * generator.normal(size=points.shape)
        low80, high80, low95, high95 = intervals(
            points[:-1], actual[:-1], points[-1], np.zeros(many, int), np.zeros((many, 4)), np.arange(24)
        )
        inside.append([((low80 <= actual[-1]) & (actual[-1] <= high80)).mean(), ((low95 <= actual[-1]) & (actual[-1] <= high95)).mean()])
    at80, at95 = np.mean(inside, axis=0)
    assert 0.75 <= at80 <= 0.85 and 0.91 <= at95 <= 0.985


def test_intervals_are_never_below_zero_and_hold_the_wider_inside():
    generator = np.random.default_rng(4)
    points = generator.uniform(0, 3, size=(20, 5, 3))
    bounds = intervals(points, generator.poisson(points).astype(float), points[-1], np.zeros(5, int), np.zeros((5, 3)), np.arange(20))
    low80, high80, low95, high95 = bounds
    assert (bounds >= 0).all() and (low95 <= low80).all() and (high80 <= high95).all()
