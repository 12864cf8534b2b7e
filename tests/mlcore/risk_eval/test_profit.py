"""Policy curves are plain arithmetic; "fewer bad loans" is at equal approval, and its interval covers."""

import numpy as np
import pytest

from mlcore.metrics import ProfitTerms, expit
from mlcore.risk import profit

TERMS = ProfitTerms(margin=0.1, loss_given_default=0.5)


def world(n=2000, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n) - 1.5
    return (rng.random(n) < expit(z)).astype(np.int8), expit(z), z


def test_at_cutoff_by_hand():
    default, probability = np.array([0, 1, 0, 1]), np.array([0.1, 0.2, 0.3, 0.9])
    made = profit.at_cutoff(default, probability, 0.3, amount=np.array([100.0, 200.0, 300.0, 400.0]), terms=TERMS)
    assert (made["approved"], made["approval_rate"], made["bad_rate"]) == (2, 0.5, 0.5)
    assert made["realised_profit"] == pytest.approx(100 * 0.1 - 200 * 0.5) and made["realised_loss"] == pytest.approx(100)
    assert made["expected_loss"] == pytest.approx(0.5 * (0.1 * 100 + 0.2 * 200))
    assert made["expected_profit"] == pytest.approx(0.1 * (0.9 * 100 + 0.8 * 200) - made["expected_loss"])
    assert made["profit_share"] == pytest.approx(-90 / 1000)
    nobody = profit.at_cutoff(default, probability, 0.0, terms=TERMS)
    assert nobody["approved"] == 0 and nobody["bad_rate"] is None and nobody["realised_profit"] == 0


def test_the_curve_rises_from_nobody_to_everybody():
    default, probability, _ = world()
    curve = profit.policy_curve(default, probability, terms=TERMS)
    rates = [row["approval_rate"] for row in curve]
    assert rates[0] == 0 and rates[-1] == 1 and rates == sorted(rates) and len(curve) <= 61
    # Of calibrated probabilities the best cut-off is near the break-even.
    big_default, big_probability, _ = world(100_000, seed=2)
    assert profit.best_cutoff(profit.policy_curve(big_default, big_probability, terms=TERMS)) == pytest.approx(TERMS.break_even, abs=0.05)
    assert profit.policy_curve(np.empty(0), np.empty(0)) == [] and profit.best_cutoff([]) is None


def test_ties_are_shared_at_the_margin():
    default = np.array([1, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    made = profit.fewer_bad_loans(default, np.zeros(10), np.zeros(10), approval_rate=0.3, replicates=40)
    assert made["bad_rate"] == pytest.approx(0.7) and made["reduction"]["value"] == pytest.approx(0)


def test_fewer_bad_loans_at_equal_approval():
    default, probability, z = world(5000)
    noisy = z + np.random.default_rng(1).normal(size=5000)
    made = profit.fewer_bad_loans(default, probability, noisy, approval_rate=0.5)
    approved = np.argsort(probability)[:2500]
    assert made["bad_rate"] == pytest.approx(default[approved].mean())
    assert 0 < made["reduction"]["low"] < made["reduction"]["value"] < made["reduction"]["high"] < 1


def test_the_interval_covers_the_true_reduction():
    def both(n, seed):
        default, probability, z = world(n, seed)
        return default, probability, z + np.random.default_rng(seed + 7).normal(size=n)

    truth = profit.fewer_bad_loans(*both(300_000, 1), approval_rate=0.4, replicates=1)["reduction"]["value"]
    inside = 0
    for seed in range(40):
        found = profit.fewer_bad_loans(*both(800, 100 + seed), approval_rate=0.4, replicates=120)["reduction"]
        inside += found["low"] <= truth <= found["high"]
    assert inside >= 34


def test_another_way_to_approve_is_held_against_at_its_own_share():
    """A rule that rules out half at random, against probabilities that are true; one that rules out nobody says so."""
    from types import SimpleNamespace

    from mlcore.risk import report

    rng = np.random.default_rng(4)
    probability = rng.uniform(0.02, 0.5, 4000)
    default = (rng.random(4000) < probability).astype(np.int8)
    rows = np.arange(1000, 4000)
    chosen = SimpleNamespace(samples=[(rows, None, probability[rows])])
    out = rng.random(4000) < 0.5
    half = profit.Comparator("rules", "the rules", out.astype(float), ~out, "A note.")
    none = profit.Comparator("none", "no rule", np.zeros(4000), np.ones(4000, dtype=bool))
    found, silent = report.against(SimpleNamespace(default=default), chosen, [half, none])
    assert found["approval_rate"] == pytest.approx((~out[rows]).mean()) and found["note"] == "A note."
    assert found["comparator_bad_rate"] == pytest.approx(default[rows][~out[rows]].mean())
    best = rows[np.argsort(probability[rows])][: int((~out[rows]).sum())]
    assert found["bad_rate"] == pytest.approx(default[best].mean(), abs=0.001) and found["reduction"]["low"] > 0.3
    assert "all of the judged loans" in silent["why"] and "reduction" not in silent
