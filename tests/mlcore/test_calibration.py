"""Calibrators find the planted map, and none of them ever changes who is riskier."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcore import calibration, metrics


def world(n, slope=1.0, shift=0.0, seed=0, mean=-1.5):
    """Log-odds z whose true default log-odds are slope · z + shift."""
    rng = np.random.default_rng(seed)
    z = mean + rng.normal(size=n)
    return z, (rng.random(n) < metrics.expit(slope * z + shift)).astype(np.int8)


@pytest.mark.parametrize("method", ["platt", "beta", "isotonic"])
def test_a_planted_distortion_is_undone(method):
    z, default = world(60_000, slope=0.6, shift=0.5)
    fitted = calibration.fit(z, default, method)
    assert fitted.method == method
    inner = (z > -3.5) & (z < 0.5)
    assert np.max(np.abs(fitted.transform(z) - (0.6 * z + 0.5))[inner]) < 0.2
    fresh_z, fresh = world(60_000, slope=0.6, shift=0.5, seed=1)
    after = metrics.expit(fitted.transform(fresh_z))
    assert metrics.observed_expected(fresh, after)["value"] == pytest.approx(1, abs=0.03)
    assert metrics.cox(fresh, after)[0] == pytest.approx(1, abs=0.06)
    assert metrics.log_loss(fresh, after) < metrics.log_loss(fresh, metrics.expit(fresh_z))


def test_level_correction_only_moves_the_level():
    z, default = world(5000, shift=0.8)
    fitted = calibration.fit(z, default, "level")
    assert fitted.shift == pytest.approx(0.8, abs=0.1)
    assert metrics.expit(fitted.transform(z)).sum() == pytest.approx(default.sum(), abs=1e-6)
    moved = calibration.fit(z, default, "platt").levelled(z, np.repeat([0, 1], [4500, 500]))
    assert metrics.expit(moved.transform(z)).sum() == pytest.approx(500, abs=1e-4)


@pytest.mark.parametrize(("events", "method"), [(5, "level"), (30, "platt"), (250, "beta"), (1500, "isotonic")])
def test_the_method_follows_the_number_of_events(events, method):
    default = np.repeat([1, 0], [events, 6000])
    assert calibration.choose(default) == method
    assert calibration.choose(1 - default) == method


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(["level", "platt", "beta", "isotonic"]), st.integers(0, 50), st.floats(0.1, 3), st.floats(-3, 3))
def test_every_map_rises_strictly_and_survives_storage(method, seed, slope, shift):
    z, default = world(1200, slope=slope, shift=shift, seed=seed)
    fitted = calibration.fit(z, default, method)
    grid = np.linspace(-25, 25, 1001)
    made = fitted.transform(grid)
    assert (np.diff(made) > 0).all() and np.isfinite(made).all() and np.abs(made).max() < 13
    again = calibration.Calibrator.from_state(fitted.to_state())
    assert again == fitted and [again.one(float(each)) for each in grid[::100]] == pytest.approx(made[::100], abs=1e-12)


def test_useless_or_constant_scores_keep_their_level_only():
    z, default = world(3000)
    assert calibration.fit(-z, default).method == "level"
    constant = calibration.fit(np.zeros(3000), default)
    assert constant.method == "level" and metrics.expit(constant.transform(np.zeros(1)))[0] == pytest.approx(default.mean())
    none = calibration.fit(z[:100], np.zeros(100))
    assert none.method == "level" and metrics.expit(none.transform(z[:100])).sum() == pytest.approx(0.5, abs=1e-6)
    assert calibration.fit(np.empty(0), np.empty(0)) == calibration.IDENTITY
    separable = calibration.fit(np.linspace(-1, 1, 200), np.repeat([0, 1], 100))
    assert np.isfinite(separable.transform(np.linspace(-1, 1, 5))).all()


def test_a_tail_where_risk_falls_again_does_not_bend_the_map_down():
    rng = np.random.default_rng(0)
    z = rng.uniform(-4, 2, 20_000)
    default = (rng.random(20_000) < metrics.expit(np.where(z < 0, z, -1.5 * z))).astype(np.int8)
    for method in ("beta", "isotonic"):
        assert (np.diff(calibration.fit(z, default, method).transform(np.linspace(-6, 6, 200))) > 0).all()


def test_bad_scores_are_refused():
    with pytest.raises(ValueError, match="finite"):
        calibration.fit(np.array([0.1, np.nan]), np.array([0, 1]))
    with pytest.raises(ValueError, match="2 scores, but 3"):
        calibration.fit(np.zeros(2), np.zeros(3))


def test_weights_count_as_rows():
    z, default = world(1500)
    weight = np.random.default_rng(0).integers(0, 3, 1500)
    repeated = np.repeat(np.arange(1500), weight)
    for method in ("level", "platt", "beta"):
        weighted = calibration.fit(z, default, method, weight=weight)
        copied = calibration.fit(z[repeated], default[repeated], method)
        assert weighted.transform(z) == pytest.approx(copied.transform(z), abs=1e-3)


def test_a_map_carried_over_to_a_refitted_rung_keeps_its_level():
    z, default = world(20_000, shift=0.7)
    fitted = calibration.fit(z, default)
    carried = fitted.carried_over(z, z + 0.7)  # the refitted rung has learned the new level by itself
    assert carried.transform(z + 0.7) == pytest.approx(fitted.transform(z), abs=1e-6)
    assert carried.one(0.3) == pytest.approx(float(carried.transform(np.array([0.3]))[0]))


def test_reliability_table():
    z, default = world(4000)
    table = calibration.reliability(default, metrics.expit(z))
    assert len(table) == 10 and sum(row["rows"] for row in table) == 4000 and sum(row["defaults"] for row in table) == default.sum()
    assert sum(row["low"] <= row["predicted"] <= row["high"] for row in table) >= 8
    assert all(one["predicted"] <= other["predicted"] for one, other in itertools.pairwise(table))
    assert calibration.calibration_error(default, metrics.expit(z)) < 0.03 < calibration.calibration_error(default, metrics.expit(z + 1))


def test_observed_expected_by_period():
    z, default = world(1000)
    starts = np.repeat(np.array(["2020-01-01", "2020-04-01", "NaT"], dtype="datetime64[D]"), [600, 300, 100])
    table = calibration.by_period(default, metrics.expit(z), starts)
    assert [(row["period"], row["rows"]) for row in table] == [("2020-01-01", 600), ("2020-04-01", 300)]
    assert table[0]["oe"]["value"] == pytest.approx(default[:600].sum() / metrics.expit(z[:600]).sum())
