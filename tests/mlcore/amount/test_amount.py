"""The range covers what it says, follows known truth, and never exceeds what is affordable."""

import json
from copy import copy

import numpy as np
import pandas as pd
import pytest

from mlcore import artifacts
from mlcore.amount import train
from mlcore.amount.affordability import AffordabilityRule, present_value
from mlcore.amount.model import AmountModel
from mlcore.amount.quantiles import fit_quantile
from mlcore.progress import Cancelled
from mlcore.risk.base import Dataset
from mlcore.schema import CORE

NAMES = ["amount", "term_months", "annual_income", "debt_to_income", "purpose"]


def world(n=4000, seed=0):
    """The carried amount is a fifth of the income, times .6 for a holiday, times lognormal noise of .3; more is asked for."""
    rng = np.random.default_rng(seed)
    income = rng.lognormal(10.8, 0.5, n)
    purpose = pd.Series(rng.choice(["home", "holiday"], n), dtype=object)
    carried = 0.2 * income * np.where(purpose == "holiday", 0.6, 1.0) * np.exp(0.3 * rng.normal(size=n))
    asked = carried * np.exp(np.abs(0.5 * rng.normal(size=n)))
    frame = pd.DataFrame({"amount": asked, "term_months": 36.0, "annual_income": income, "debt_to_income": rng.uniform(0, 0.3, n)})
    frame["purpose"] = purpose
    when = pd.Series(pd.Timestamp("2020-01-01", tz="UTC") + pd.to_timedelta(np.sort(rng.integers(0, 700, n)), unit="D"))
    default = (carried < 0.8 * asked).astype(np.int8)
    return Dataset(frame[NAMES], default, CORE.only(NAMES), when, asked), carried


@pytest.fixture(scope="module")
def result():
    data, carried = world()
    return train.train_amount(data, carried=carried)


def test_it_beats_what_was_asked_for_and_covers_what_it_says(result):
    report = result.report
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    figures = report["figures"]
    assert figures["model"]["mae"]["high"] < figures["asked_capped"]["mae"]["low"]
    assert figures["model"]["pinball"]["high"] < min(figures["asked_capped"]["pinball"]["low"], figures["portfolio"]["pinball"]["low"])
    assert report["coverage"]["value"] == pytest.approx(0.8, abs=0.05)
    assert report["split"]["how"] == "time" and report["asked_is_carried_share"] < 0.1


def test_the_quantiles_are_the_true_ones(result):
    data, _ = world(seed=5)
    found = result.model.quantiles(data.frame, data.submitted_at)
    middle = 0.2 * data.frame["annual_income"].to_numpy() * np.where(data.frame["purpose"] == "holiday", 0.6, 1.0)
    for number, z in enumerate((-1.2816, 0, 1.2816)):
        ratio = np.log(found[:, number] / (middle * np.exp(0.3 * z)))
        assert abs(np.median(ratio)) < 0.08 and np.mean(np.abs(ratio)) < 0.15
    assert (np.diff(found, axis=1) >= 0).all()


def test_the_cap_holds_and_an_unknown_income_has_none(result):
    data, _ = world(200, seed=6)
    frame = data.frame.copy()
    frame.loc[:9, "debt_to_income"] = 0.5
    frame.loc[10:19, "annual_income"] = np.nan
    suggested = result.model.suggest(frame)
    assert (suggested.high[:10] == 0).all() and suggested.capped[:10].all()
    assert np.isnan(suggested.cap[10:20]).all() and (suggested.high[10:20] > 0).all() and not suggested.capped[10:20].any()
    known = np.isfinite(suggested.cap)
    assert (suggested.high[known] <= suggested.cap[known] + 1e-9).all() and (suggested.low <= suggested.middle).all()
    unasked = frame.drop(columns="amount")
    assert np.array_equal(result.model.suggest(unasked).high, suggested.high)


def test_a_quantile_that_is_no_number_does_not_become_the_cap(result):
    data, _ = world(5, seed=6)
    damaged = copy(result.model)
    damaged.intercepts = np.full_like(damaged.intercepts, np.nan)
    suggested = damaged.suggest(data.frame)
    assert np.isnan(suggested.high).all() and not suggested.capped.any()


def test_a_cap_that_past_loans_went_beyond_costs_no_coverage():
    """Debts that leave half of them no room for what they carried: the quantiles hold what they say, the capped range can't."""
    data, carried = world(3000, seed=8)
    half = np.arange(3000) % 2 == 0
    owed = np.where(half, 0.4, data.frame["debt_to_income"])
    tight = Dataset(data.frame.assign(debt_to_income=owed), data.default, data.schema, data.submitted_at, data.amount)
    report = train.train_amount(tight, carried=carried).report
    assert report["above_cap_share"] > 0.4 and report["coverage_capped"]["value"] < 0.55
    assert report["coverage"]["value"] == pytest.approx(0.8, abs=0.05)
    assert "Before the cap" in report["in_words"] and "would not have allowed" in report["in_words"]


def test_affordability_by_hand():
    rule = AffordabilityRule(most_debt_to_income=0.4, annual_rate=0.12, term_months=24)
    frame = pd.DataFrame(
        {"annual_income": [60_000.0, 60_000.0, np.nan], "debt_to_income": [0.1, np.nan, 0.1], "term_months": [36.0, np.nan, 36]}
    )
    factor = lambda months: sum(1.01**-month for month in range(1, months + 1))  # noqa: E731
    assert rule.cap(frame)[:2] == pytest.approx([5000 * 0.3 * factor(36), 5000 * 0.4 * factor(24)]) and np.isnan(rule.cap(frame)[2])
    assert present_value(0.0, np.array([24.0])) == 24
    with pytest.raises(ValueError, match="affordability"):
        AffordabilityRule(most_debt_to_income=0)


def test_stored_and_loaded_it_says_the_same(result, tmp_path):
    stored = artifacts.save(result.model.to_state(), tmp_path, kind="loan_amount", name="a1", key=b"k" * 32)
    again = AmountModel.from_state(artifacts.load(stored.path, key=b"k" * 32)[0])
    data, _ = world(50, seed=2)
    assert np.array_equal(again.quantiles(data.frame), result.model.quantiles(data.frame)) and again.rule == result.model.rule
    with pytest.raises(ValueError, match="version"):
        AmountModel.from_state({"version": 2})


def test_each_quantile_is_moved_to_the_level_of_the_latest_loans():
    data, carried = world(2000)
    grown = carried * np.where(np.arange(2000) >= 1600, 1.5, 1.0)
    schema = CORE.only(["annual_income", "purpose"])
    rule = AffordabilityRule()
    plain = train._quantile_models(data, grown, schema, rule, 0, lambda *_: None).quantiles(data.frame)
    moved = train._fit(data, grown, schema, rule, 0, lambda *_: None).quantiles(data.frame)
    assert np.median(moved[:, 1] / plain[:, 1]) == pytest.approx(1.5, abs=0.1)


def test_when_everything_asked_for_was_carried_the_report_says_so():
    data, carried = world(800)
    same = Dataset(data.frame.assign(amount=carried), np.zeros(800, dtype=np.int8), data.schema, None, carried)
    report = train.train_amount(same).report
    assert report["asked_is_carried_share"] == 1 and "by construction" in report["in_words"] and report["split"]["how"] == "stratified"


def test_what_can_not_be_trained_on_is_said_and_cancelled_passes():
    data, carried = world(300)
    with pytest.raises(train.AmountTrainingError, match="0 loans"):
        train.train_amount(Dataset(data.frame, np.ones(300, dtype=np.int8), data.schema, None, data.amount))
    with pytest.raises(train.AmountTrainingError, match="asked for"):
        train.train_amount(Dataset(data.frame, data.default, data.schema))

    def stop(share, step):
        raise Cancelled

    with pytest.raises(Cancelled):
        train.train_amount(data, carried=carried, progress=stop)


def test_quantile_regression_reaches_the_exact_optimum():
    """Against the linear programme that defines it."""
    from scipy.optimize import linprog

    rng = np.random.default_rng(0)
    x = rng.random((150, 3))
    y = 8 + x @ [1.0, -0.5, 0.0] + rng.gumbel(size=150) * 0.4
    for level in (0.1, 0.5, 0.9):
        intercept, coefficients = fit_quantile(x, y, level, ridge=1e-6, steps=5000, tolerance=1e-8)
        design = np.column_stack([np.ones(150), x])
        exact = linprog(
            np.concatenate([np.zeros(4), np.full(150, level), np.full(150, 1 - level)]),
            A_eq=np.column_stack([design, np.eye(150), -np.eye(150)]),
            b_eq=y,
            bounds=[(None, None)] * 4 + [(0, None)] * 300,
        )
        assert train.pinball(y, intercept + x @ coefficients, level).sum() == pytest.approx(exact.fun, rel=2e-3)


def test_pinball():
    assert train.pinball(np.array([10.0, 10.0]), np.array([8.0, 12.0]), 0.9).tolist() == pytest.approx([1.8, 0.2])
