from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from mlcore.risk.shap import Ensemble
from mlcore.risk.trees import boosted_nodes


@pytest.fixture(scope="module")
def fitted():
    r = np.random.default_rng(0)
    matrix = r.normal(size=(700, 4))
    matrix[r.random(matrix.shape) < 0.15] = np.nan
    z = np.where(np.nan_to_num(matrix[:, 0]) > 0, 1.0, -1.0) * np.nan_to_num(matrix[:, 1], nan=1.0) + np.isnan(matrix[:, 2])
    labels = (r.random(700) < 1 / (1 + np.exp(-z))).astype(int)
    model = HistGradientBoostingClassifier(max_iter=15, max_leaf_nodes=8, random_state=0, early_stopping=False).fit(matrix, labels)
    return model, matrix


def expectation(tree, row, known, at=0):
    """The path-dependent value of a coalition, straight from its definition."""
    node = tree[at]
    if node.is_leaf:
        return node.value
    if node.feature in known:
        value = row[node.feature]
        left = node.missing_left if np.isnan(value) else value <= node.threshold
        return expectation(tree, row, known, node.left if left else node.right)
    parts = [(tree[child].count / node.count) * expectation(tree, row, known, child) for child in (node.left, node.right)]
    return sum(parts)


def brute_force(trees, row):
    features = range(len(row))
    values = np.zeros(len(row))
    for i in features:
        others = [j for j in features if j != i]
        for size in range(len(others) + 1):
            weight = factorial(size) * factorial(len(row) - 1 - size) / factorial(len(row))
            for subset in combinations(others, size):
                for tree in trees:
                    values[i] += weight * (expectation(tree, row, {*subset, i}) - expectation(tree, row, set(subset)))
    return values


def test_the_leaves_are_the_trees(fitted):
    model, matrix = fitted
    ensemble = Ensemble.from_trees(*boosted_nodes(model), 4)
    np.testing.assert_allclose(ensemble.log_odds(matrix), model.decision_function(matrix), atol=1e-12)


def test_values_are_shapleys_by_definition(fitted):
    model, matrix = fitted
    trees, intercept = boosted_nodes(model)
    parts, _ = Ensemble.from_trees(trees, intercept, 4).contributions(matrix[:4])
    for k in range(4):
        np.testing.assert_allclose(parts[k], brute_force(trees, matrix[k]), atol=1e-12)


def test_many_rows_and_few_rows_take_different_ways_to_the_same_values(fitted):
    model, matrix = fitted
    ensemble = Ensemble.from_trees(*boosted_nodes(model), 4)
    many, baseline = ensemble.contributions(matrix)
    few, _ = ensemble.contributions(matrix[:50])
    np.testing.assert_allclose(many[:50], few, atol=1e-12)
    np.testing.assert_allclose(baseline + many.sum(axis=1), ensemble.log_odds(matrix), atol=1e-10)
    assert baseline == pytest.approx(ensemble.log_odds(matrix).mean(), abs=1e-9)


def test_a_frozen_feature_keeps_its_value_and_gets_no_contribution(fitted):
    model, matrix = fitted
    ensemble = Ensemble.from_trees(*boosted_nodes(model), 3, frozen={3: 0.4})
    fixed = matrix.copy()
    fixed[:, 3] = 0.4
    np.testing.assert_allclose(ensemble.log_odds(matrix), model.decision_function(fixed), atol=1e-12)
