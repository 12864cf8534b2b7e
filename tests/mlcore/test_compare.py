"""Two models on the same rows, and whether the second may take over."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mlcore.compare import Answers, Terms, compare, fairness
from mlcore.gate import Limits, judge
from mlcore.metrics import ProfitTerms, auc, expit
from mlcore.risk.base import Scores
from mlcore.risk.grades import Grades
from mlcore.risk.reasons import Families

TERMS = Terms(0.15, 0.30, ProfitTerms())
N = 4000


def answers(name, contributions, baseline=-2.0, families=("a", "b", "c", "d", "e")):
    log_odds = baseline + contributions.sum(axis=1)
    scores = Scores(expit(log_odds), log_odds, contributions, ("a", "b", "c", "d", "e"), baseline)
    return Answers(name, scores, Families(dict(zip(scores.features, families, strict=True))), Grades().of(scores.probability))


@pytest.fixture(scope="module")
def world():
    """(contributions of the truth, outcomes): a tells most, e nothing."""
    rng = np.random.default_rng(4)
    truth = rng.normal(size=(N, 5)) * np.array([1.0, 0.7, 0.5, 0.3, 0.0])
    default = (rng.random(N) < expit(-2.0 + truth.sum(axis=1))).astype(np.int8)
    return truth, default


def statuses(found, limits=None):
    return {one.code: one.status for one in judge(found, limits or Limits())}


def test_a_model_beside_itself_differs_in_nothing_and_passes(world):
    truth, default = world
    found = compare(answers("v1", truth), answers("v2", truth), default=default, terms=TERMS)
    assert found["figures"]["auc"]["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert found["figures"]["brier"]["one_sided"] == {"low": 0.0, "high": 0.0}
    assert found["swap"]["different"] == 0 and found["reasons"]["overlap"] == 1.0 and found["agreement"]["rank_correlation"] == 1.0
    assert statuses(found) == {
        "rows": "passed",
        "auc": "passed",
        "brier": "passed",
        "oe": "passed",
        "fairness": "look",
        "reasons": "passed",
    }


def test_the_figures_are_those_of_each_alone(world):
    truth, default = world
    weaker = truth * np.array([1, 1, 0, 0, 0])
    found = compare(answers("v1", truth), answers("v2", weaker), default=default, terms=TERMS)
    one, other = (auc(default, each.sum(axis=1)) for each in (truth, weaker))
    assert found["figures"]["auc"]["first"]["value"] == pytest.approx(one, abs=1e-6)
    assert found["figures"]["auc"]["difference"]["value"] == pytest.approx(other - one, abs=1e-6)
    low, high = (found["figures"]["auc"]["difference"][end] for end in ("low", "high"))
    assert low < other - one < high < 0


def test_a_model_that_ranks_worse_is_found(world):
    truth, default = world
    found = compare(answers("v1", truth), answers("v2", truth * np.array([1, 1, 0, 0, 0])), default=default, terms=TERMS)
    assert statuses(found)["auc"] == "failed"


def test_a_level_that_is_wrong_is_found_by_brier_and_by_observed_over_expected(world):
    truth, default = world
    found = compare(answers("v1", truth), answers("v2", truth, baseline=-1.2), default=default, terms=TERMS)
    made = statuses(found)
    assert (made["auc"], made["brier"], made["oe"]) == ("passed", "failed", "failed")


def test_other_reasons_for_the_same_score_are_found(world):
    truth, default = world
    rng = np.random.default_rng(1)
    other = rng.normal(size=truth.shape)
    other += ((truth.sum(axis=1) - other.sum(axis=1)) / 5)[:, None]
    found = compare(answers("v1", truth), answers("v2", other), default=default, terms=TERMS)
    assert statuses(found, Limits(reasons_agreement=0.75))["reasons"] == "failed" and statuses(found)["auc"] == "passed"


def test_a_merged_family_is_the_same_reason(world):
    truth, default = world
    merged = answers("v2", truth, families=("a", "a", "c", "d", "e"))
    found = compare(answers("v1", truth), merged, default=default, terms=TERMS)
    assert found["reasons"]["overlap"] > 0.8
    apart = compare(answers("v1", truth), answers("v2", truth[:, [4, 3, 2, 1, 0]]), default=default, terms=TERMS)
    assert apart["reasons"]["overlap"] < found["reasons"]["overlap"]


def test_too_few_later_loans_stop_before_any_other_question(world):
    truth, default = world
    unknown = np.where(np.arange(N) < 300, default, -1)
    found = compare(answers("v1", truth), answers("v2", truth), default=unknown, terms=TERMS)
    (only,) = judge(found, Limits())
    assert only.status == "failed" and "300 later loans" in only.in_words
    none = compare(answers("v1", truth), answers("v2", truth), default=np.full(N, -1), terms=TERMS)
    assert none["figures"] is None and judge(none, Limits())[0].status == "failed"


def test_the_swap_set_counts_everybody_once_and_knows_who_fared_how(world):
    truth, default = world
    rng = np.random.default_rng(2)
    known = np.where(rng.random(N) < 0.5, default, -1)
    one, other = answers("v1", truth), answers("v2", truth + rng.normal(scale=0.3, size=truth.shape))
    found = compare(one, other, default=known, terms=TERMS)
    assert sum(cell["rows"] for cell in found["swap"]["cells"]) == N
    moved = (one.scores.probability < 0.15) & (other.scores.probability >= 0.15)
    out = found["swap"]["swapped_out"]
    assert out["rows"] == moved.sum() and out["defaults"] == (moved & (known == 1)).sum()
    assert out["low"] < out["bad_rate"] < out["high"]
    assert sum(row["rows"] for row in found["grades"]) == N
    assert all(row["same"] + row["better"] + row["worse"] == row["rows"] for row in found["grades"])


def test_a_group_that_falls_below_four_fifths_stops_the_promotion(world):
    truth, default = world
    rng = np.random.default_rng(3)
    group = rng.choice(["f", "m"], N)
    unfair = truth.copy()
    unfair[:, 4] += np.where(group == "f", 0.9, -0.3)
    found = compare(answers("v1", truth), answers("v2", unfair), default=default, terms=TERMS, protected=pd.DataFrame({"sex": group}))
    limits = Limits(auc_margin=1, brier_margin=1)
    assert statuses(found, limits)["fairness"] == "failed"
    turned = compare(answers("v1", unfair), answers("v2", unfair), default=default, terms=TERMS, protected=pd.DataFrame({"sex": group}))
    assert statuses(turned, limits)["fairness"] == "look"
    assert (
        fairness(pd.DataFrame({"sex": group}), default, np.full(N, 0.1), np.full(N, 0.1), 0.15)[0]["second"]["adverse_impact_ratio"] == 1.0
    )
