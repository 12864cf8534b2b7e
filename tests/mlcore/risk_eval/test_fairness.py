"""A planted disparity is found with its size; none is invented; a fairer alternative is proposed only within the stated profit."""

import json

import numpy as np
import pandas as pd
import pytest

from mlcore.metrics import ProfitTerms, expit
from mlcore.risk import fairness

TERMS = ProfitTerms(margin=0.1, loss_given_default=0.5)


def world(n=6000, seed=0, bias=0.0):
    """Equal true risk in both groups; `bias` log-odds are added to the predictions for group b."""
    rng = np.random.default_rng(seed)
    group = np.where(rng.random(n) < 0.4, "b", "a").astype(object)
    z = rng.normal(size=n) - 2
    default = (rng.random(n) < expit(z)).astype(np.int8)
    return group, default, expit(z + bias * (group == "b")), expit(z)


def test_a_planted_disparity_is_found_with_its_size():
    group, default, probability, fair = world(bias=1.2)
    made = fairness.characteristic(group, default, probability, cutoff=0.2)
    rates = {name: (probability[group == name] < 0.2).mean() for name in "ab"}
    assert made["reference"] == "a" and made["lowest"] == "b" and made["significant"]
    assert made["adverse_impact_ratio"] == pytest.approx(rates["b"] / rates["a"])
    repaid = default == 0
    gap = (probability[repaid & (group == "a")] < 0.2).mean() - (probability[repaid & (group == "b")] < 0.2).mean()
    assert made["equal_opportunity_gap"] == pytest.approx(gap)
    rows = {row["group"]: row for row in made["groups"]}
    assert (
        rows["b"]["oe"]["high"] < 1 < rows["a"]["oe"]["high"]
        and rows["b"]["ratio_low"] < made["adverse_impact_ratio"] < rows["b"]["ratio_high"]
    )


def test_none_is_invented():
    flagged = 0
    for seed in range(60):
        group, default, probability, _ = world(400, seed=seed)
        flagged += fairness.characteristic(group, default, probability, cutoff=0.12)["significant"]
    assert flagged <= 3


def test_small_and_unknown_groups_are_counted_but_not_compared():
    group, default, probability, _ = world(500)
    group[:20] = "tiny"
    group[20:200] = fairness.UNKNOWN
    made = fairness.characteristic(group, default, probability, cutoff=0.2)
    rows = {row["group"]: row for row in made["groups"]}
    assert rows["tiny"]["rows"] == 20 and rows["tiny"]["approval_rate"] is None
    assert rows[fairness.UNKNOWN]["approval_rate"] is not None and rows[fairness.UNKNOWN]["adverse_impact_ratio"] is None
    alone = fairness.characteristic(np.full(500, "a", dtype=object), default, probability, cutoff=0.2)
    assert alone["adverse_impact_ratio"] is None and alone["reference"] is None


def test_ages_and_numbers_become_bands():
    ages = fairness.groups(pd.Series([20.0, 25, 61, 62, 80, np.nan, 33]))
    assert ages.tolist() == [
        "below 25",
        "25 to below 40",
        "40 to below 62",
        "62 and above",
        "62 and above",
        fairness.UNKNOWN,
        "25 to below 40",
    ]
    assert len(set(fairness.groups(pd.Series(np.arange(1000.0, 1300))))) == 3
    assert fairness.groups(pd.Series(["f", None, "m"], dtype=object)).tolist() == ["f", fairness.UNKNOWN, "m"]
    many = fairness.groups(pd.Series([f"c{number % 40}" for number in range(4000)]))
    assert len(set(many)) == fairness.MOST_GROUPS and "others" in many


def test_a_fairer_alternative_is_found_within_the_profit():
    group, default, biased, fair = world(8000, bias=1.2)
    made = fairness.fairness_report(
        pd.DataFrame({"sex": group}), default, biased, cutoff=0.167, terms=TERMS, alternatives={"fair": fair, "champion": biased}
    )
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert made["flagged"] == ["sex"] and "below four fifths" in made["in_words"]
    found = made["alternatives"]["found"]
    assert found["rung"] == "fair" and found["adverse_impact_ratio"] > 0.9
    floor = made["alternatives"]["chosen"]["realised_profit"] * 0.98
    assert found["realised_profit"] >= floor and all(half > 0.85 for half in made["alternatives"]["halves"])


def test_an_alternative_that_costs_too_much_is_not_proposed():
    group, default, biased, _ = world(8000, bias=1.2)
    worthless = np.random.default_rng(99).random(8000)  # fair, since it knows nothing
    made = fairness.search({"sex": group}, default, {"m": biased, "dice": worthless}, chosen="m", cutoff=0.167, terms=TERMS)
    assert made["found"] is None or made["found"]["rung"] == "m"


def test_p_values_are_corrected_for_the_number_of_groups():
    rows = [{"p": 0.01}, {"p": 0.04}, {"p": None}, {"p": 0.03}]
    fairness._holm(rows)
    assert [row["p"] for row in rows] == [0.03, pytest.approx(0.06), None, 0.06]


def test_nothing_to_compare():
    _, default, probability, _ = world(200)
    made = fairness.fairness_report(pd.DataFrame({"sex": [None] * 200}), default, probability, cutoff=0.2)
    assert made["alternatives"] is None and "nothing can be compared" in made["in_words"]
