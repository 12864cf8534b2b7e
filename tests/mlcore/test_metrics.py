"""Metrics against brute force, and intervals against repetition."""

import numpy as np
import pytest

from mlcore import metrics


def world(n=400, seed=0, noise=1.0):
    rng = np.random.default_rng(seed)
    truth = -1.0 + rng.normal(size=n)
    default = (rng.random(n) < metrics.expit(truth)).astype(np.int8)
    return default, metrics.expit(truth), np.round(truth + noise * rng.normal(size=n), 1)


def brute_auc(default, score):
    bad, good = score[default == 1], score[default == 0]
    return np.mean((bad[:, None] > good) + 0.5 * (bad[:, None] == good))


def test_auc_and_ks_equal_brute_force_with_ties():
    default, _, score = world()
    assert metrics.auc(default, score) == pytest.approx(brute_auc(default, score), abs=1e-12)
    distances = [abs(np.mean(score[default == 1] <= t) - np.mean(score[default == 0] <= t)) for t in np.unique(score)]
    assert metrics.ks(default, score) == pytest.approx(max(distances), abs=1e-12)
    assert metrics.auc(default, np.zeros(400)) == 0.5 and metrics.ks(default, np.zeros(400)) == 0


def test_one_class_gives_none_and_never_nan():
    default, probability = np.zeros(50, dtype=np.int8), np.linspace(0.01, 0.2, 50)
    figures = metrics.evaluate(default, probability)
    assert figures["auc"] == {"value": None, "low": None, "high": None}
    assert figures["slope"]["value"] is None and figures["brier"]["value"] is not None
    assert metrics.evaluate(np.empty(0), np.empty(0))["auc"]["value"] is None


def test_figures_match_their_definitions():
    default, probability, _ = world(800)
    amount = np.linspace(100, 900, 800)
    amount[3] = np.nan
    terms = metrics.ProfitTerms(margin=0.1, loss_given_default=0.5)
    figures = metrics.evaluate(default, probability, amount=amount, terms=terms)
    assert figures["brier"]["value"] == pytest.approx(metrics.brier(default, probability))
    assert figures["log_loss"]["value"] == pytest.approx(-np.mean(np.log(np.where(default == 1, probability, 1 - probability))))
    assert figures["oe"]["value"] == pytest.approx(default.sum() / probability.sum())
    exposure = np.where(np.isnan(amount), np.nanmean(amount), amount)
    approved = probability < 0.1 / 0.6
    earned = np.where(default == 1, -0.5, 0.1) * exposure
    assert figures["profit"]["value"] == pytest.approx(earned[approved].sum() / exposure.sum())
    assert figures["accuracy"]["value"] == pytest.approx(np.mean((probability >= 0.5) == default))
    for name, figure in figures.items():
        assert figure["low"] < figure["value"] < figure["high"], name


def test_cox_finds_a_planted_miscalibration():
    default, probability, _ = world(60_000, seed=3)
    squeezed = metrics.expit(0.5 * metrics.logit(probability) + 0.7)  # so that slope 2 and intercept -1.4 undo it
    slope, intercept = metrics.cox(default, squeezed)
    assert slope == pytest.approx(2.0, abs=0.06) and intercept == pytest.approx(-1.4, abs=0.06)
    assert metrics.cox(default, np.full(60_000, 0.2)) == (None, None)


def test_bootstrap_intervals_cover_the_truth():
    """Of 60 samples, the 90 % intervals of a calibrated model hold O/E = 1, slope = 1 and the true AUC in 78–99 %."""
    big_default, big_probability, _ = world(200_000, seed=99)
    truth = {"auc": metrics.auc(big_default, big_probability), "oe": 1.0, "slope": 1.0, "intercept": 0.0}
    inside = dict.fromkeys(truth, 0)
    for seed in range(60):
        default, probability, _ = world(500, seed=1000 + seed)
        figures = metrics.evaluate(default, probability, replicates=150, level=0.9, seed=seed)
        for name, value in truth.items():
            inside[name] += figures[name]["low"] <= value <= figures[name]["high"]
    assert all(47 <= hits <= 59 for hits in inside.values()), inside


def test_one_newton_step_is_near_the_full_refit():
    default, probability, _ = world(1500, seed=5)
    counts = next(metrics.resamples(1500, 5, 0))
    slope, intercept = metrics.cox(default, probability)
    steps = metrics._cox_step(default.astype(float), metrics.logit(probability), slope, intercept, counts)
    for number in range(5):
        rows = np.repeat(np.arange(1500), counts[number].astype(int))
        refit = metrics.cox(default[rows], probability[rows])
        assert steps[0][number] == pytest.approx(refit[0], abs=0.03) and steps[1][number] == pytest.approx(refit[1], abs=0.03)


def test_observed_expected_interval():
    assert metrics.observed_expected(np.zeros(100), np.full(100, 0.03)) == {"value": 0.0, "low": 0.0, "high": pytest.approx(1.0)}
    rng = np.random.default_rng(0)
    probability = rng.uniform(0.05, 0.3, 800)
    figures = [metrics.observed_expected(rng.random(800) < probability, probability) for _ in range(400)]
    assert 0.92 <= np.mean([figure["low"] <= 1 <= figure["high"] for figure in figures]) <= 0.99


def test_delong_equals_brute_force():
    default, probability, score = world(150, seed=2)
    values, covariance = metrics.delong(default, probability, score)
    assert values == pytest.approx([brute_auc(default, probability), brute_auc(default, score)])
    placed = []
    for each in (probability, score):
        over = (each[default == 1][:, None] > each[default == 0]) + 0.5 * (each[default == 1][:, None] == each[default == 0])
        placed.append((over.mean(axis=1), over.mean(axis=0)))
    expected = np.cov([p[0] for p in placed]) / default.sum() + np.cov([p[1] for p in placed]) / (default == 0).sum()
    assert covariance == pytest.approx(expected)
    difference = metrics.auc_difference(default, probability, score)
    assert difference.value == pytest.approx(values[0] - values[1]) and difference.low < difference.value < difference.high


def test_delong_p_values_are_uniform_for_equal_scores():
    p = []
    for seed in range(200):
        rng = np.random.default_rng(10_000 + seed)
        default, _, _ = world(300, seed=seed)
        first, second = default + rng.normal(size=(2, 300))
        p.append(metrics.auc_difference(default, first, second).p)
    assert np.mean(np.array(p) < 0.1) == pytest.approx(0.1, abs=0.06) and np.mean(p) == pytest.approx(0.5, abs=0.08)
    same = metrics.auc_difference(default, first, first)
    assert same.value == 0 and same.p == 1


def test_roc_points_enclose_the_auc():
    default, probability, _ = world(2000)
    points = metrics.roc_points(default, probability, at_most=100)
    x, y = np.array(points["false_positive_rate"]), np.array(points["true_positive_rate"])
    assert len(x) <= 100 and (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(y, x) == pytest.approx(metrics.auc(default, probability), abs=0.005)
    assert metrics.roc_points(default, np.zeros(2000)) == {"false_positive_rate": [0.0, 1.0], "true_positive_rate": [0.0, 1.0]}


def test_wilson_and_rounding():
    assert metrics.wilson(0, 10) == (pytest.approx(0, abs=1e-12), pytest.approx(0.2775, abs=1e-3))
    assert metrics.wilson(0, 0) == (None, None)
    assert metrics.rounded({"a": [np.float64("nan"), np.int64(2), (float("inf"), 1.23456789)], "b": np.array([0.5])}) == {
        "a": [None, 2, [None, 1.234568]],
        "b": [0.5],
    }


def test_evaluating_ten_thousand_rows_is_quick():
    import time

    default, probability, _ = world(10_000)
    started = time.perf_counter()
    metrics.evaluate(default, probability)
    assert time.perf_counter() - started < 3
