"""Each injected change does what it says and nothing else."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from mlcore import metrics
from mlcore.synth import FEATURES, Drift, Oracle, World, WorldError, generate

AT = date(2024, 7, 1)
WORLD = World(seed=21, applications=16_000, ring_share=0)


@pytest.fixture(scope="module")
def usual():
    return generate(WORLD, identities=False)


def with_drift(**what):
    made = generate(WORLD.but(drifts=(Drift(at=AT, **what),)), identities=False)
    return made, (made.submitted_at >= str(AT)).to_numpy()


def same_before(made, usual, after):
    assert made.frame[~after].equals(usual.frame[~after])
    assert (made.true_default_probability[~after] == usual.true_default_probability[~after]).all()


def test_level_shift_multiplies_the_default_rate(usual):
    made, after = with_drift(kind="level", size=1.25)
    same_before(made, usual, after)
    assert made.frame.equals(usual.frame)  # nobody looks different
    ratio = made.true_default_probability[after].mean() / usual.true_default_probability[after].mean()
    assert ratio == pytest.approx(1.25, abs=0.01)
    observed, expected = made.default[after].mean(), usual.true_default_probability[after].mean()
    assert observed / expected == pytest.approx(1.25, abs=0.12)
    assert np.abs(metrics.logit(made.true_default_probability) - made.true_log_odds).max() < 1e-9


def test_covariate_shift_moves_columns_but_not_what_they_mean(usual):
    made, after = with_drift(kind="covariate", columns=("revolving_utilisation", "inquiries_6m"), size=0.8)
    same_before(made, usual, after)
    moved = made.frame["revolving_utilisation"][after].mean() - usual.frame["revolving_utilisation"][after].mean()
    assert moved / usual.frame["revolving_utilisation"].std() > 0.5
    assert made.frame["amount"].equals(usual.frame["amount"])
    truth = Oracle(WORLD).probability(made.frame)
    assert np.abs(truth - made.true_default_probability).max() < 1e-9
    assert truth[after].mean() > usual.true_default_probability[after].mean() + 0.01


def test_concept_drift_changes_what_a_column_means_at_the_same_rate(usual):
    made, after = with_drift(kind="concept", columns=("credit_score",), size=-1.0)
    same_before(made, usual, after)
    assert made.frame.equals(usual.frame)
    at = FEATURES.index("credit_score")
    assert np.allclose(made.true_contributions[after, at], -usual.true_contributions[after, at])
    assert made.true_default_probability[after].mean() == pytest.approx(usual.true_default_probability[after].mean(), rel=0.05)
    old = usual.true_log_odds[after]
    assert metrics.auc(made.default[after], old) < metrics.auc(usual.default[after], old) - 0.05


def test_a_column_goes_empty_and_the_applicants_stay(usual):
    made, after = with_drift(kind="empty", columns=("credit_score", "purpose"), size=0.95)
    same_before(made, usual, after)
    for name in ("credit_score", "purpose"):
        assert made.frame[name][after].isna().mean() == pytest.approx(0.95, abs=0.02)
        assert made.frame[name].dtype == usual.frame[name].dtype
    assert {type(value) for value in made.frame["purpose"]} == {str, type(None)}
    assert (made.default == usual.default).all()


def test_a_unit_changes_and_the_applicants_stay(usual):
    made, after = with_drift(kind="unit", columns=("annual_income",), size=100)
    same_before(made, usual, after)
    assert np.allclose(made.frame["annual_income"][after], 100 * usual.frame["annual_income"][after], equal_nan=True)
    assert (made.true_default_probability == usual.true_default_probability).all()


def test_people_and_rings_stay_who_they_were():
    world = World(seed=2, applications=3_000)
    usual = generate(world)
    every = tuple(Drift(kind, AT, columns, size) for kind, columns, size in (
        ("covariate", ("annual_income", "delinquencies_24m"), -0.5), ("level", (), 1.5), ("empty", ("region",), 0.5),
    ))  # fmt: skip
    made = generate(world.but(drifts=every))
    assert made.applicant.equals(usual.applicant) and (made.fraud_ring == usual.fraud_ring).all()
    assert made.submitted_at.equals(usual.submitted_at)
    same_before(made, usual, (made.submitted_at >= str(AT)).to_numpy())


def test_a_ramp_comes_gradually(usual):
    made, _ = with_drift(kind="level", size=2.0, ramp_days=300)
    ratio = made.true_default_probability / usual.true_default_probability
    early = ((made.submitted_at >= "2024-07-01") & (made.submitted_at < "2024-08-01")).to_numpy()
    late = (made.submitted_at >= "2025-06-01").to_numpy()
    assert 1.0 < ratio[early].mean() < 1.15
    assert made.true_default_probability[late].mean() / usual.true_default_probability[late].mean() == pytest.approx(2.0, abs=0.03)


def test_drifts_add_up(usual):
    both = generate(WORLD.but(drifts=(Drift("level", AT, size=1.25), Drift("covariate", AT, ("inquiries_6m",), 0.5))), identities=False)
    after = (both.submitted_at >= str(AT)).to_numpy()
    assert both.true_default_probability[after].mean() > 1.25 * usual.true_default_probability[after].mean()


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "level", "columns": ("amount",)},
        {"kind": "covariate"},
        {"kind": "covariate", "columns": ("region",)},
        {"kind": "unit", "columns": ("region",), "size": 100},
        {"kind": "concept", "columns": ("no_such",)},
        {"kind": "empty", "columns": ("region",), "size": 1.5},
        {"kind": "level", "size": 0},
        {"kind": "flood"},
        {"kind": "level", "size": float("nan")},
    ],
)
def test_impossible_drifts_are_refused(wrong):
    with pytest.raises(WorldError):
        Drift(at=AT, **wrong)
