from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mlcore.risk.logistic import Ramps
from mlcore.risk.penalised import fit_logistic
from mlcore.risk.scorecard import Scorecard, monotone_cuts, pooled
from mlcore.risk.tuning import levelled_log_loss, log_loss, periods, stratified_folds, validation_folds


@pytest.fixture(scope="module")
def problem():
    r = np.random.default_rng(0)
    x = r.normal(size=(800, 6))
    y = (r.random(800) < 1 / (1 + np.exp(1.0 - x[:, 0] + 0.5 * x[:, 1]))).astype(int)
    return x, y


def test_ridge_is_scikit_learns(problem):
    x, y = problem
    intercept, b = fit_logistic(x, y, np.ones(800), l2=4.0, steps=30, tolerance=1e-12)
    theirs = LogisticRegression(C=0.25, tol=1e-10, max_iter=1000).fit(x, y)
    np.testing.assert_allclose(b, theirs.coef_[0], atol=1e-5)
    assert intercept == pytest.approx(theirs.intercept_[0], abs=1e-5)


def test_lasso_meets_its_optimality_conditions(problem):
    """Zero coefficients have a gradient within l1, the others exactly l1 (Karush–Kuhn–Tucker)."""
    x, y = problem
    intercept, b = fit_logistic(x, y, np.ones(800), l1=20.0, l2=0.0, steps=40, tolerance=1e-13)
    gradient = x.T @ (y - 1 / (1 + np.exp(-x @ b - intercept)))
    assert (b == 0).any() and (b != 0).any()
    assert (np.abs(gradient[b == 0]) <= 20.0 + 0.05).all()
    np.testing.assert_allclose(gradient[b != 0], 20.0 * np.sign(b[b != 0]), atol=0.05)


def test_signs_bind(problem):
    x, y = problem
    _, b = fit_logistic(x, y, np.ones(800), l2=1.0, sign=np.array([-1, 1, 0, 0, 0, 0]))
    assert b[0] == 0 and b[1] == 0 and b[2:].any()


def test_ramps_are_flat_beyond_the_ends_and_zero_for_missing():
    values = np.random.default_rng(0).normal(size=(500, 1))
    ramps = Ramps.fit(values)
    basis = ramps.transform(np.array([[-99.0], [99.0], [1e9], [np.nan]]))
    assert not basis[0].any()
    np.testing.assert_array_equal(basis[1], basis[2])
    np.testing.assert_array_equal(basis[3], [*[0] * (basis.shape[1] - 1), 1])


def test_pooling_adjacent_violators():
    good, bad = np.array([90, 80, 85, 60.0]), np.array([10, 20, 15, 40.0])
    assert pooled(good, bad, rising=True).tolist() == [0, 1, 1, 2]
    assert pooled(good, bad, rising=False).tolist() == [0, 0, 0, 0]


def test_scorecard_bins_are_monotone_and_wide_enough():
    r = np.random.default_rng(1)
    codes = r.integers(0, 20, 5000)
    labels = (r.random(5000) < 0.05 + 0.01 * codes).astype(int)
    cuts = monotone_cuts(codes, np.arange(19.0) + 0.5, labels, np.ones(5000), 0)
    group = np.searchsorted(cuts, codes)
    rates = np.bincount(group, labels) / np.bincount(group)
    assert len(cuts) >= 4 and (np.diff(rates) > 0).all() and np.bincount(group).min() >= 200


def test_points_add_up_to_the_score(world):
    card = Scorecard(world.schema).fit(world.frame, world.default, submitted_at=world.submitted_at)
    rows = card.points()
    log_odds = card.log_odds(world.frame.head(20), world.submitted_at.head(20))
    codes = card.bins_.codes(card.encoder.transform(world.frame.head(20), world.submitted_at.head(20)))
    by_feature: dict[str, list[float]] = {}
    for row in rows:
        by_feature.setdefault(row["feature"], []).append(row["points"])
    total = sum(np.array(by_feature[card.encoder.features[j].name])[codes[:, j]] for j in card.chosen_)
    np.testing.assert_allclose(total, card.points_of(log_odds), atol=1e-9)
    assert card.points_of(np.array([-np.log(50.0)]))[0] == pytest.approx(600)
    assert card.points_of(np.array([-np.log(100.0)]))[0] == pytest.approx(620)


def test_folds_follow_time(world):
    order = world.submitted_at
    for train, valid in validation_folds(world.default, order, folds=3):
        assert order.iloc[train].max() <= order.iloc[valid].min()
    rows = np.concatenate([valid for _, valid in stratified_folds(world.default, folds=4, seed=0)])
    assert sorted(rows) == list(range(len(world)))


def test_periods_are_ordered_and_equally_filled(world):
    codes = periods(world.submitted_at, len(world))
    assert (np.diff(codes[np.argsort(world.submitted_at.to_numpy())]) >= 0).all()
    assert np.bincount(codes.astype(int)).min() > 200
    assert periods(None, 5) is None


def test_a_wrong_level_costs_nothing_after_levelling():
    r = np.random.default_rng(0)
    z = r.normal(size=4000)
    y = (r.random(4000) < 1 / (1 + np.exp(-z))).astype(int)
    assert levelled_log_loss(y, z + 2.0) == pytest.approx(levelled_log_loss(y, z), abs=1e-9)
    assert levelled_log_loss(y, z) <= log_loss(y, z)
