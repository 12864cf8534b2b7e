"""The made-up world against what it says of itself: risk, arrivals and outcomes."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from mlcore import metrics
from mlcore.schema import CORE
from mlcore.synth import (
    BLOCK,
    FEATURES,
    LATENTS,
    NO_EFFECT,
    Oracle,
    World,
    WorldError,
    blocks,
    days_of,
    expected_counts,
    generate,
    holidays,
)
from mlcore.synth import latent_correlation as true_correlation
from mlcore.synth.features import draw_latents

WORLD = World(seed=11, applications=20_000)


@pytest.fixture(scope="module")
def made():
    return generate(WORLD)


@pytest.fixture(scope="module")
def honest(made):
    return made.fraud_ring < 0


def test_frame_is_what_the_schema_promises(made):
    assert tuple(made.frame.columns) == WORLD.schema.names
    assert len(made) == len(made.frame) == len(made.submitted_at) == len(made.applicant) == len(made.default) == 20_000
    for column in WORLD.schema:
        values = made.frame[column.name]
        if column.kind in ("number", "boolean"):
            assert values.dtype == np.float64
            assert np.isfinite(values.dropna()).all()
        else:
            assert values.dtype == object
            assert {type(value) for value in values} <= {str, type(None)}
    assert made.frame["amount"].notna().all()
    assert str(made.submitted_at.dtype) == "datetime64[ns, UTC]"
    assert made.submitted_at.is_monotonic_increasing
    assert made.submitted_at.min().date() >= WORLD.start
    assert made.submitted_at.max().date() < WORLD.end == date(2026, 1, 1)


def test_contributions_add_up_to_the_log_odds(made):
    total = made.baseline + made.true_contributions.sum(axis=1) + made.true_hidden
    assert np.abs(metrics.logit(made.true_default_probability) - total).max() < 1e-9
    assert made.true_contributions.shape == (20_000, len(FEATURES))
    assert made.features == WORLD.schema.usable().names


def test_true_probability_is_calibrated(made, honest):
    p, y = made.true_default_probability, made.default
    assert abs(p[honest].mean() - WORLD.default_rate) < 0.005
    for rows in (honest, p < np.quantile(p, 0.5), p > np.quantile(p, 0.9)):
        noise = np.sqrt((p[rows] * (1 - p[rows])).sum()) / rows.sum()
        assert abs(y[rows].mean() - p[rows].mean()) < 4 * noise


def test_no_model_can_do_better_than_the_truth(made, honest):
    best = metrics.auc(made.default[honest], made.true_default_probability[honest])
    assert 0.74 < best < 0.80
    assert metrics.auc(made.default[honest], made.frame["credit_score"][honest].fillna(690).to_numpy() * -1) < best - 0.05


def test_every_declared_direction_is_true_everywhere(made):
    oracle = Oracle(WORLD)
    frame = made.frame.iloc[:2_000]
    before = oracle.log_odds(frame)
    for name, direction in made.true_directions.items():
        if not direction:
            continue
        for step in (0.1, 0.5):
            changed = frame.copy()
            changed[name] = 1.0 - frame[name] if name == "existing_customer" else frame[name] * (1 + step) + step
            rising = changed[name] > frame[name]
            moved = (oracle.log_odds(changed) - before) * direction
            assert (moved[rising] >= -1e-12).all(), name
            assert (moved[rising] > 0).any(), name
    declared = {column.name: column.direction for column in CORE if column.direction}
    assert declared.items() <= made.true_directions.items()


def test_a_regression_recovers_the_directions():
    """From outcomes alone, each column beside the others: what is planted can be found."""
    from sklearn.linear_model import LogisticRegression

    made = generate(World(seed=8, applications=30_000, ring_share=0, signal=1.2), identities=False)
    directed = [name for name, direction in made.true_directions.items() if direction]
    names = [*directed, *NO_EFFECT]
    values = made.frame[names].to_numpy(dtype=float)
    missing = np.isnan(values)
    skewed = ("amount", "annual_income", "savings_balance", "revolving_balance", "credit_history_months")
    values = np.where(np.isin(names, skewed), np.log1p(values), values)
    values = (values - np.nanmean(values, axis=0)) / np.nanstd(values, axis=0)
    gone = missing[:, missing.any(axis=0)]
    levels = pd.get_dummies(made.frame[["product", "employment_status", "home_ownership", "channel"]]).to_numpy(dtype=float)
    inputs = np.hstack([np.where(missing, 0.0, values), gone[:, np.unique(gone, axis=1, return_index=True)[1]], levels])
    found = LogisticRegression(tol=1e-3).fit(inputs, made.default).coef_[0][: len(names)]
    for name, weight in zip(directed, found, strict=False):
        assert weight * made.true_directions[name] > 0.02, name
    assert np.abs(found[len(directed) :]).max() < 0.1


def test_columns_without_effect_have_none_and_the_interaction_is_one(made):
    for name in NO_EFFECT:
        assert not made.true_contributions[:, FEATURES.index(name)].any()
    oracle = Oracle(WORLD)
    frame = pd.concat([made.frame.iloc[[0]]] * 4, ignore_index=True)
    frame["debt_to_income"] = [0.1, 0.5, 0.1, 0.5]
    frame["revolving_utilisation"] = [0.1, 0.1, 0.9, 0.9]
    low, debt, cards, both = oracle.log_odds(frame)
    assert both - low > (debt - low) + (cards - low) + 0.2


def test_the_oracle_says_of_a_frame_what_the_world_was_made_from(made, honest):
    contributions, baseline = Oracle(WORLD).contributions(made.frame)
    assert baseline == made.baseline
    assert np.abs(contributions - made.true_contributions).max() < 1e-9
    assert np.abs(Oracle(WORLD).probability(made.frame)[honest] - made.true_default_probability[honest]).max() < 1e-9
    assert np.abs(made.true_contributions[honest].mean(axis=0)).max() < 0.03  # centred on the average applicant


def test_missing_values_are_information(made, honest):
    for name in ("annual_income", "credit_score", "employment_months"):
        gone = made.frame[name].isna().to_numpy() & honest
        assert 0.01 < gone.mean() < 0.4
        assert made.default[gone].mean() > made.default[honest & ~gone].mean() + 0.02
    assert (made.frame["debt_to_income"].isna() == made.frame["annual_income"].isna()).all()
    recent = made.frame["delinquencies_24m"] > 0
    assert (made.frame.loc[recent, "months_since_delinquency"] <= 24).all()


def test_columns_hang_together_as_told():
    latents = draw_latents(np.random.default_rng(1), 40_000)
    assert np.abs(np.corrcoef(latents) - true_correlation()).max() < 0.03
    assert np.abs(latents.mean(axis=1)).max() < 0.03
    assert len(LATENTS) == len(latents)


def test_protected_characteristics_do_not_act(made, honest):
    """What they are correlated with acts (history with age), they do not: given the truth, groups default as it says."""
    for name in ("age_band", "sex"):
        for _, rows in made.protected[honest].groupby(name).groups.items():
            p, y = made.true_default_probability[rows], made.default[rows]
            assert abs(y.sum() - p.sum()) < 4 * np.sqrt((p * (1 - p)).sum())
    women = (made.protected["sex"] == "female").to_numpy() & honest
    men = ~women & honest
    assert abs(made.true_default_probability[women].mean() - made.true_default_probability[men].mean()) < 0.006
    gap = generate(WORLD.but(proxy=0.8), identities=False)
    women, men = ((gap.protected["sex"] == sex).to_numpy() for sex in ("female", "male"))
    assert gap.frame.loc[women, "annual_income"].median() < 0.75 * gap.frame.loc[men, "annual_income"].median()
    assert gap.true_default_probability[women].mean() > gap.true_default_probability[men].mean() + 0.01


def test_outcomes_ripen(made):
    bad = made.default == 1
    day = made.submitted_at.dt.tz_localize(None).to_numpy().astype("datetime64[D]")
    assert np.isnat(made.defaulted_on[~bad]).all()
    assert (made.defaulted_on[bad] > day[bad]).all()
    assert (made.defaulted_on[bad] <= made.window_closed_on[bad]).all()
    assert set(made.months_to_default[bad]) == set(range(1, 13))
    assert (made.months_to_default[~bad] == -1).all()
    assert (made.loss[bad] > 0).all() and (made.loss[bad] <= made.frame["amount"][bad]).all() and np.isnan(made.loss[~bad]).all()
    fraud = bad & (made.fraud_ring >= 0)
    assert made.months_to_default[fraud].max() <= 3 < np.median(made.months_to_default[bad & ~fraud])
    half = made.outcome("2024-07-01")
    ripe = day < np.datetime64("2023-06-30")
    assert (half[ripe] != "immature").all()
    assert (half[day >= np.datetime64("2023-07-03")] == "immature").all()
    assert (half[ripe] == np.where(bad[ripe], "default", "repaid")).all()


def test_a_dataset_holds_only_ripe_loans(made):
    data = made.dataset(as_of="2025-01-01")
    assert len(data) == (made.outcome("2025-01-01") != "immature").sum() < len(made)
    assert data.submitted_at.max() < pd.Timestamp("2024-01-03", tz="UTC")
    assert data.schema == WORLD.schema and len(made.dataset()) == len(made)


def test_arrivals_follow_the_calendar(made):
    expected = expected_counts(WORLD)
    days = days_of(WORLD)
    assert expected.sum() == pytest.approx(20_000)
    day = made.submitted_at.dt.tz_localize(None).to_numpy().astype("datetime64[D]")
    counts = np.bincount((day - days[0]).astype(int), minlength=len(days))
    weekday = pd.DatetimeIndex(days).day_of_week
    assert counts[weekday == 0].mean() > 1.3 * counts[weekday == 6].mean()
    closed = np.isin(days, holidays(WORLD.start, WORLD.end))
    assert closed.sum() == 24  # eight a year
    assert counts[closed].mean() < 0.6 * counts[~closed].mean()
    yearly = [counts[pd.DatetimeIndex(days).year == year].sum() for year in (2023, 2024, 2025)]
    assert yearly[2] / yearly[0] == pytest.approx(1.1**2, abs=0.08)
    home = made.frame["product"] == "home_improvement"
    month = made.submitted_at.dt.month
    assert (home & month.between(4, 6)).sum() > 1.4 * (home & month.isin([10, 11, 12])).sum()
    # Counts by day scatter around what is expected as told: Poisson, and a little more.
    spread = ((counts - expected.sum(axis=(1, 2))) ** 2).mean() / expected.sum(axis=(1, 2)).mean()
    assert 1.0 < spread < 1.8


def test_a_world_without_seasons_is_flat():
    flat = expected_counts(World(seasonality=0, growth=0))
    assert np.ptp(flat.sum(axis=(1, 2))) < 1e-9
    made = generate(World(seed=2, applications_per_day=4, months=12), identities=False)
    assert abs(len(made) - 4 * 365) < 5 * np.sqrt(4 * 365) + 100


def test_the_same_world_comes_out_the_same(made):
    again = generate(WORLD)
    pd.testing.assert_frame_equal(made.frame, again.frame)
    pd.testing.assert_frame_equal(made.applicant, again.applicant)
    assert (made.default == again.default).all()
    other = generate(WORLD.but(seed=12))
    assert not made.frame.equals(other.frame)
    assert not set(made.applicant["email"].dropna()) & set(other.applicant["email"].dropna())


def test_blocks_are_the_whole_in_pieces():
    world = World(seed=5, applications=BLOCK + 1_000)
    pieces = list(blocks(world, identities=False))
    assert [len(piece) for piece in pieces] == [BLOCK, 1_000]
    whole = generate(world, identities=False)
    assert (np.concatenate([piece.number for piece in pieces]) == whole.number).all()
    assert whole.submitted_at.is_monotonic_increasing
    last = whole.take(slice(BLOCK, None))
    pd.testing.assert_frame_equal(last.frame, pieces[1].frame)
    assert (last.true_contributions == pieces[1].true_contributions).all()


@pytest.mark.parametrize("applications", [0, 1, 10])
def test_tiny_worlds_exist(applications):
    made = generate(World(applications=applications))
    assert len(made) == applications and len(made.applicant.columns) == 8


def test_a_planted_leak_is_one():
    made = generate(WORLD.but(leak=True, applications=3_000), identities=False)
    assert metrics.auc(made.default, made.frame["collection_calls"].to_numpy()) > 0.95
    assert "collection_calls" in made.schema.usable()


@pytest.mark.parametrize(
    "wrong", [{"default_rate": 0}, {"months": 0}, {"ring_share": 0.9}, {"ring_sizes": (1, 3)}, {"applications": -1}, {"seasonality": 9}]
)
def test_impossible_worlds_are_refused(wrong):
    with pytest.raises(WorldError):
        World(**wrong)
