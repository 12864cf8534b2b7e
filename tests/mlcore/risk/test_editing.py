"""An edited model differs in the edited cells alone, keeps its level, its sums and its declared directions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mlcore.risk.base import Dataset
from mlcore.risk.editing import Change, EditError, broken_directions, edited, effect, worst_steps
from mlcore.risk.model import RiskModel
from mlcore.risk.tables import Tables
from mlcore.schema import CORE
from tests.factories import fit_pairwise

INCOME, DEBT, HOME = 0, 1, 2


@pytest.fixture(scope="module")
def frame():
    r = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "annual_income": r.lognormal(10.8, 0.4, 900),
            "debt_to_income": np.where(r.random(900) < 0.1, np.nan, r.uniform(0, 0.5, 900)),
            "home_ownership": r.choice(["rent", "own", "mortgage"], 900).astype(object),
        }
    )


@pytest.fixture(scope="module")
def model():
    return fit_pairwise()


def place(model, name):
    return [feature.name for feature in model.rung.encoder.features].index(name)


def a_bin(model, frame, name):
    """(feature, a code that many of these applicants have, which of them have it)."""
    j = place(model, name)
    codes = model.rung.bins_.codes(model.rung.encoder.transform(frame))[:, j]
    code = int(np.bincount(codes).argmax())
    return j, code, codes == code


@pytest.mark.parametrize("keep_level", [True, False], ids=["level kept", "level moves"])
def test_only_those_in_the_cell_move_and_every_sum_holds(model, frame, keep_level):
    before = model.score(frame)
    j, code, inside = a_bin(model, frame, "home_ownership")
    value = float(model.rung.tables_.mains[j][code]) + 0.8
    made = edited(model, [Change((j,), (code,), value)], frame, None, keep_level=keep_level)
    raw = made.rung.log_odds(frame) - model.rung.log_odds(frame)
    level = made.rung.tables_.intercept - model.rung.tables_.intercept
    assert raw[inside] == pytest.approx(level + 0.8) and raw[~inside] == pytest.approx(level)
    scores = made.score(frame)
    assert np.abs(scores.baseline + scores.contributions.sum(axis=1) - scores.log_odds).max() < 1e-6
    one = made.score_one({name: None if pd.isna(value) else value for name, value in frame.iloc[0].to_dict().items()})
    assert one.log_odds == pytest.approx(scores.log_odds[0], abs=1e-9)
    if keep_level:
        assert level < -0.01 and scores.probability.mean() == pytest.approx(before.probability.mean(), abs=1e-9)
    else:
        assert level == 0 and scores.probability.mean() > before.probability.mean() + 0.01
    # The reasons' baseline moves along: against it the average applicant of the edited group is no riskier than he was.
    home = model.schema.names.index("home_ownership")
    assert made.baseline.means[home] - model.baseline.means[home] == pytest.approx(0.8 * inside.mean())
    again = model.score(frame)
    assert np.array_equal(again.log_odds, before.log_odds) and np.array_equal(again.contributions, before.contributions)


def test_a_cell_of_a_pair_reaches_those_in_both_bins(model, frame):
    (pair,) = model.rung.tables_.pairs
    codes = model.rung.bins_.codes(model.rung.encoder.transform(frame))
    missing = int(model.rung.bins_.sizes[pair[0]]) - 1  # no step: nothing that is declared of a ratio holds for a missing one
    second = int(np.bincount(codes[:, pair[1]]).argmax())
    made = edited(model, [Change(pair, (missing, second), 1.5)], frame, None, keep_level=False)
    moved = np.abs(made.rung.log_odds(frame) - model.rung.log_odds(frame)) > 1e-9
    assert np.array_equal(moved, (codes[:, pair[0]] == missing) & (codes[:, pair[1]] == second)) and moved.any()
    again = RiskModel.from_state(made.to_state())
    assert np.array_equal(again.score(frame).log_odds, made.score(frame).log_odds)


def test_a_declared_direction_is_kept_to(model, frame):
    j = place(model, "debt_to_income")
    assert CORE["debt_to_income"].direction == 1
    top = int(model.rung.bins_.sizes[j]) - 2
    with pytest.raises(EditError, match=r"declared to rise with debt to income.*would fall by up to 2\.\d+ log-odds"):
        edited(model, [Change((j,), (top,), -2.0)], frame, None, keep_level=True)
    up = float(model.rung.tables_.mains[j][top]) + 0.3
    assert edited(model, [Change((j,), (top,), up)], frame, None, keep_level=True).rung.tables_.mains[j][top] == up


def test_the_worst_step_counts_all_pairs_of_a_feature_together():
    """Rising by 1 a step alone; one pair takes up to .6 of it and the other up to .7, so that together they make it fall by .3."""
    tables = Tables([np.array([0.0, 1.0, 9.0]), np.zeros(2), np.zeros(2)], {}, 0.0)
    assert worst_steps(tables, 0, 1).tolist() == [1.0] and worst_steps(tables, 0, -1).tolist() == [-1.0]
    tables.pairs[0, 1] = np.array([[0.0, 0.6], [0.0, 0.0], [5.0, 5.0]])
    assert worst_steps(tables, 0, 1) == pytest.approx([0.4])
    tables.pairs[0, 2] = np.array([[0.0, 0.0], [-0.7, 0.0], [5.0, 5.0]])
    assert worst_steps(tables, 0, 1) == pytest.approx([-0.3])


def test_the_trained_tables_keep_to_their_directions(model):
    assert broken_directions(model.rung, model.rung.tables_) == []
    for j, direction in enumerate(model.rung.encoder.directions):
        if direction:
            assert worst_steps(model.rung.tables_, j, int(direction)).min() > -1e-9


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Change((0,), (99,), 0.1), "no cell"),
        (Change((0,), (0, 0), 0.1), "no cell"),
        (Change((0,), (-1,), 0.1), "no cell"),
        (Change((9,), (0,), 0.1), "no table"),
        (Change((0, 2), (0, 0), 0.1), "no table"),
        (Change((0,), (0,), 5.1), "between"),
        (Change((0,), (0,), float("nan")), "no value"),
    ],
    ids=["code", "one code too many", "negative", "feature", "pair", "too large", "not a number"],
)
def test_what_can_not_be_changed_is_said(model, frame, change, said):
    with pytest.raises(EditError, match=said):
        edited(model, [change], frame, None, keep_level=True)


def test_a_change_to_what_stands_there_is_none(model, frame):
    same = Change((0,), (0,), float(model.rung.tables_.mains[0][0]))
    for changes in ([], [same]):
        with pytest.raises(EditError, match="Nothing would change"):
            edited(model, changes, frame, None, keep_level=True)


def test_the_effect_counts_who_crosses_the_cut_off_and_what_it_does_to_accuracy(model, frame):
    j, code, inside = a_bin(model, frame, "home_ownership")
    made = edited(model, [Change((j,), (code,), float(model.rung.tables_.mains[j][code]) + 1.0)], frame, None, keep_level=False)
    old, new = model.probability(frame), made.probability(frame)
    default = (np.random.default_rng(0).random(len(frame)) < old).astype(np.int8)
    protected = pd.DataFrame({"sex": np.where(inside, "f", "m")})
    data = Dataset(frame, default, model.schema, protected=protected)
    cutoff = float(np.median(old))
    found = effect(model, made, judged=data, latest=(frame, None), cutoff=cutoff)
    seen, judged = found["applicants"], found["outcomes"]
    assert seen["touched"] == inside.sum() and seen["into_approval"] == 0
    assert seen["out_of_approval"] == ((old < cutoff) & (new >= cutoff)).sum() > 0
    assert seen["approved_after"] == seen["approved_before"] - seen["out_of_approval"]
    assert seen["mean_shift"] == pytest.approx((new - old).mean(), abs=1e-6) and found["level"] == 0
    assert judged["after"]["auc"] < judged["before"]["auc"] and judged["auc_change"]["value"] < 0
    assert judged["brier_change"]["low"] > 0 and judged["after"]["oe"]["value"] < judged["before"]["oe"]["value"]
    (sex,) = judged["fairness"]
    assert sex["name"] == "sex" and sex["after"]["lowest"] == "f" and sex["after"]["flagged"]
    approved = [((new < cutoff) & who).sum() / who.sum() for who in (inside, ~inside)]
    assert 0.8 > sex["after"]["ratio"] == pytest.approx(approved[0] / approved[1], abs=1e-5)
    assert effect(model, made, judged=None, latest=None, cutoff=cutoff)["outcomes"] is None
