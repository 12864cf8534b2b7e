"""A weighted sample against all loans of a world whose truth is known: the same model but for chance, and without the weights another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mlcore import sampling
from mlcore.metrics import auc, expit
from mlcore.risk import ladder
from mlcore.risk.base import Dataset
from mlcore.risk.train import train_default_risk

from .risk.conftest import make_world


@pytest.fixture(scope="module")
def loans() -> Dataset:
    made = make_world(12_000, seed=3)
    return replace(made, schema=made.schema.only(["amount", "annual_income", "credit_score", "branch"]), frame=made.frame)


@pytest.fixture(scope="module")
def sample(loans) -> sampling.Sample:
    return sampling.stratified(loans.default, loans.submitted_at, np.arange(len(loans)) % 2, most=5_000)


def drawn(loans: Dataset, sample: sampling.Sample) -> Dataset:
    return replace(loans.take(sample.rows), weight=sample.weight)


def test_the_weights_add_up_to_all_loans_by_month_and_outcome(loans, sample):
    assert abs(len(sample.rows) - 5_000) < 150 and (np.diff(sample.rows) > 0).all()
    part = drawn(loans, sample)
    early = (part.submitted_at < sample.cut).to_numpy()
    month = loans.submitted_at.dt.strftime("%Y-%m")
    before = (loans.submitted_at < sample.cut).to_numpy()
    for outcome in (0, 1):
        whole = month[before & (loans.default == outcome)].value_counts()
        mine = early & (part.default == outcome)
        made = pd.Series(part.weight[mine]).groupby(month.to_numpy()[sample.rows][mine]).sum()
        np.testing.assert_allclose(made.sort_index(), whole.sort_index(), rtol=1e-9)
    assert part.default[early].mean() > 1.2 * loans.default[before].mean(), "defaults were kept before others"
    late = part.weight[~early]
    assert late.max() == late.min() and late.sum() == (~before).sum()
    assert part.default_rate == pytest.approx(loans.default.mean(), abs=0.02)


def test_defaults_are_all_kept_while_there_is_room(loans):
    rare = np.where(np.arange(len(loans)) % 10 == 0, loans.default, 0)
    made = sampling.stratified(rare, loans.submitted_at, np.zeros(len(rare), dtype=int), most=4_000)
    before = (loans.submitted_at < made.cut).to_numpy()
    assert rare[made.rows][before[made.rows]].sum() == rare[before].sum()


def test_few_defaults_to_judge_by_are_not_made_fewer(loans):
    few = np.where(np.arange(len(loans)) % 40 == 0, loans.default, 0)
    made = sampling.stratified(few, loans.submitted_at, np.zeros(len(few), dtype=int), most=3_000)
    late = (loans.submitted_at >= made.cut).to_numpy()
    assert set(np.flatnonzero(late)) <= set(made.rows)


def test_what_can_not_weigh_is_drawn_evenly_and_loans_of_one_day_too(loans):
    made = sampling.proportional(loans.default, loans.submitted_at, most=3_000)
    assert made.weight is None and loans.default[made.rows].mean() == pytest.approx(loans.default.mean(), abs=0.005)
    same = pd.Series(np.repeat(loans.submitted_at.iloc[0], len(loans)))
    again = sampling.stratified(loans.default, same, np.zeros(len(loans), dtype=int), most=3_000)
    assert again.weight is None and again.cut is None and abs(len(again.rows) - 3_000) <= 2
    assert "equal chances" in again.report(loans.default[again.rows])["in_words"]


SLOW = (pytest.param(name, marks=pytest.mark.slow) for name in ("tree", "forest", "boosting", "pairwise"))


@pytest.mark.parametrize("name", ["prior", "logistic", "scorecard", *SLOW])
def test_the_weighted_sample_gives_the_model_of_all_loans_and_the_unweighted_does_not(loans, sample, name):
    part = drawn(loans, sample)
    later = make_world(20_000, seed=4)
    found = {}
    for how, data in {"all": loans, "weighted": part, "unweighted": replace(part, weight=None)}.items():
        data = data.take((data.submitted_at < sample.cut).to_numpy())
        rung = ladder.make(name, data.schema, seed=0)
        rung.fit(data.frame, data.default, submitted_at=data.submitted_at, weight=data.weight)
        z = rung.log_odds(later.frame, later.submitted_at)
        found[how] = later.default.sum() / expit(z).sum(), auc(later.default, z)
    (oe, rank), weighted, unweighted = found["all"], found["weighted"], found["unweighted"]
    assert weighted[0] == pytest.approx(oe, abs=0.06), found
    assert unweighted[0] < oe - 0.1, "too many of its loans were defaults"
    assert weighted[1] == pytest.approx(rank, abs=0.015), found


def test_a_training_judges_calibrates_and_reports_by_the_sample(loans, sample):
    part = drawn(loans, sample)
    whole, weighted, plain = (
        train_default_risk(data, rungs=["logistic"], cut=sample.cut, seed=0) for data in (loans, part, replace(part, weight=None))
    )
    ranks, oe = (
        {name: each.report["champion"]["figures"][figure] for name, each in (("all", whole), ("sample", weighted))}
        for figure in ("auc", "oe")
    )
    assert ranks["sample"]["low"] < ranks["all"]["value"] < ranks["sample"]["high"]
    assert oe["sample"]["low"] < oe["all"]["value"] < oe["sample"]["high"]
    assert plain.report["champion"]["figures"]["oe"]["value"] < oe["all"]["value"] - 0.1
    rates = [each.report["data"]["default_rate"] for each in (whole, weighted, plain)]
    assert rates[1] == pytest.approx(rates[0], abs=0.02) and rates[2] > 1.15 * rates[0]
    assert weighted.model.baseline.rows and abs(weighted.model.baseline.log_odds - whole.model.baseline.log_odds) < 0.25
