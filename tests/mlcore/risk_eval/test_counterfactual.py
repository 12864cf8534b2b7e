"""Proposed changes are feasible, near, and confirmed by the model."""

import numpy as np
import pandas as pd
import pytest

from mlcore import calibration, metrics
from mlcore.risk import counterfactual, model
from mlcore.schema import Column, Schema

SCHEMA = Schema(
    (
        Column("amount", "number", "Amount", "currency", changeable=True),
        Column("debt", "number", "Debt to income", direction=1, changeable=True),
        Column("savings", "number", "Savings", direction=-1, changeable=True),
        Column("age_of_history", "number", "History", direction=-1),
        Column("revolving_balance", "number", "Revolving balance", changeable=True),
        Column("revolving_utilisation", "number", "Utilisation", direction=1, changeable=True),
        Column("product", "category", "Product", changeable=True),
    )
)
WEIGHTS = {"amount": 0.1 / 1000, "debt": 2.0, "savings": -0.2 / 1000, "age_of_history": -0.01, "revolving_utilisation": 1.0}


class Truth:
    """A rung that is its own truth."""

    name = "truth"

    def log_odds(self, frame, submitted_at=None):
        contributions, intercept = self.contributions(frame)
        return contributions.sum(axis=1) + intercept

    def contributions(self, frame, submitted_at=None):
        made = np.zeros((len(frame), len(SCHEMA)))
        for number, name in enumerate(SCHEMA.names):
            if name == "product":
                made[:, number] = np.where(frame[name] == "secured", -0.4, 0.0)
            else:
                made[:, number] = np.nan_to_num(frame[name].to_numpy(dtype=float)) * WEIGHTS.get(name, 0.0)
        return made, -2.5

    def to_state(self):
        return {"rung": self.name}


def population(n=1000, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"amount": rng.uniform(1000, 20_000, n), "debt": rng.uniform(0, 0.6, n), "savings": rng.uniform(0, 5000, n)})
    frame["age_of_history"] = rng.uniform(0, 100, n)
    frame["revolving_balance"], frame["revolving_utilisation"] = rng.uniform(0, 10_000, n), rng.uniform(0, 1, n)
    frame["product"] = pd.Series(rng.choice(["plain", "secured"], n), dtype=object)
    return frame


@pytest.fixture(scope="module")
def made():
    frame = population()
    baseline = model.make_baseline(Truth(), frame)
    ranges = counterfactual.feasible_ranges(frame, SCHEMA)
    return model.RiskModel(Truth(), calibration.IDENTITY, schema=SCHEMA, baseline=baseline, ranges=ranges)


def row(**values):
    usual = {"amount": 10_000.0, "debt": 0.3, "savings": 2000.0, "age_of_history": 20.0}
    usual |= {"revolving_balance": 5000.0, "revolving_utilisation": 0.5, "product": "secured"}
    frame = pd.DataFrame([usual | values])
    frame["product"] = frame["product"].astype(object)
    return frame


def test_the_smallest_sufficient_change_is_found(made):
    here = row()
    z = Truth().log_odds(here)[0]
    cutoff = float(metrics.expit(z - 0.15))
    found = counterfactual.counterfactuals(made, here, cutoff=cutoff)
    assert found.probability == pytest.approx(float(metrics.expit(z))) and found.lowest < cutoff
    singles = {proposal.changes[0].column: proposal for proposal in found.proposals if sum(not c.follows for c in proposal.changes) == 1}
    amount = singles["amount"].changes[0]
    assert amount.old == 10_000 and 8000 <= amount.new < 8500  # 1,500 less is needed
    for proposal in found.proposals:
        changed = here.copy()
        for change in proposal.changes:
            changed[change.column] = change.new
        assert made.probability(changed)[0] == pytest.approx(proposal.probability) and proposal.probability < cutoff
    assert [proposal.distance for proposal in found.proposals] == sorted(proposal.distance for proposal in found.proposals)


@pytest.mark.parametrize("seed", range(6))
def test_immutables_directions_and_ranges_are_respected(made, seed):
    frame = population(40, seed=seed + 10)
    ranges = made.ranges
    for number in range(0, 40, 8):
        here = frame.iloc[[number]].reset_index(drop=True)
        before = made.probability(here)[0]
        found = counterfactual.counterfactuals(made, here, cutoff=float(before) * 0.8)
        for proposal in found.proposals:
            own = [change for change in proposal.changes if change.follows is None]
            assert 1 <= len(own) <= 3 and proposal.probability < before * 0.8
            for change in own:
                assert SCHEMA[change.column].changeable
                if isinstance(change.new, float):
                    assert ranges[change.column][0] - 1e-9 <= change.new <= ranges[change.column][-1] + 1e-9
                if SCHEMA[change.column].direction == 1 or change.column in counterfactual.LOWER_ONLY:
                    assert change.new < change.old
                if SCHEMA[change.column].direction == -1:
                    assert change.new > change.old


def test_several_changes_where_one_does_not_suffice(made):
    here = row(debt=0.5, product="secured")
    z = Truth().log_odds(here)[0]
    found = counterfactual.counterfactuals(made, here, cutoff=float(metrics.expit(z - 1.6)))
    assert found.proposals and all(sum(not c.follows for c in proposal.changes) >= 2 for proposal in found.proposals)


def test_linked_columns_move_together(made):
    here = row(debt=0.0, amount=1000.0, savings=5000.0)
    found = counterfactual.counterfactuals(made, here, cutoff=float(made.probability(here)[0]) * 0.85)
    paid = next(proposal for proposal in found.proposals if proposal.changes[0].column == "revolving_balance")
    balance, utilisation = paid.changes
    assert utilisation.follows == "revolving_balance" and utilisation.new == pytest.approx(0.5 * balance.new / 5000)


def test_nothing_to_do_and_nothing_that_helps(made):
    fine = counterfactual.counterfactuals(made, row(), cutoff=0.99)
    assert fine.proposals == () and "as it stands" in fine.in_words()
    hopeless = counterfactual.counterfactuals(made, row(), cutoff=0.001)
    assert hopeless.proposals == () and "No feasible change" in hopeless.in_words() and hopeless.lowest < hopeless.probability
    missing = row(amount=np.nan, debt=np.nan, savings=np.nan, revolving_balance=np.nan, revolving_utilisation=np.nan)
    found = counterfactual.counterfactuals(made, missing, cutoff=float(made.probability(missing)[0]) * 0.9)
    assert all(change.column == "product" for proposal in found.proposals for change in proposal.changes)
    with pytest.raises(ValueError, match="One application"):
        counterfactual.counterfactuals(made, population(2), cutoff=0.1)


def test_candidates_go_only_where_they_may():
    known = list(np.linspace(0.0, 100.0, 21))

    def tried(name, value, **declared):
        return counterfactual._candidates(Column(name, "number", changeable=True, **declared), value, known, 10)

    assert max(tried("x", 50.0, direction=1)) < 50 < min(tried("x", 50.0, direction=-1))
    assert min(tried("x", 50.0)) < 50 < max(tried("x", 50.0))
    assert max(tried("amount", 50.0)) < 50 and tried("amount", -5.0) == []
    assert tried("x", 120.0, direction=-1) == [] and tried("x", None) == []


def test_what_is_not_changeable_stays_even_where_a_range_is_known(made):
    ranges = {"age_of_history": list(np.linspace(0.0, 100.0, 21))}
    found = counterfactual.counterfactuals(made, row(), cutoff=float(made.probability(row())[0]) * 0.95, ranges=ranges)
    assert found.proposals == () and found.tried == 0


def test_ranges_hold_only_what_is_changeable_and_common():
    frame = population()
    frame.loc[:4, "product"] = "rare"
    ranges = counterfactual.feasible_ranges(frame, SCHEMA)
    assert "age_of_history" not in ranges and set(ranges["product"]) == {"plain", "secured"}
    assert len(ranges["amount"]) == 21 and ranges["amount"] == sorted(ranges["amount"])
