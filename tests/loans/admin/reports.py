"""A training's report with everything in it."""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from tests.loans.admin.conftest import REPORT


@lru_cache
def full_report() -> dict[str, Any]:
    """Made by the code that a training uses, so that a change of its layout shows here. Group “b” defaults more often."""
    from mlcore.calibration import by_period
    from mlcore.metrics import ProfitTerms, rounded
    from mlcore.risk import curves
    from mlcore.risk.fairness import fairness_report
    from mlcore.risk.profit import fewer_bad_loans
    from mlcore.risk.report import policy as policy_report

    chance = np.random.default_rng(1)
    group = chance.choice(["a", "b"], 900, p=[0.6, 0.4])
    probability = np.clip(np.where(group == "b", 0.25, 0.08) + chance.normal(0, 0.05, 900), 0.01, 0.9)
    default = (chance.random(900) < probability).astype(np.int8)
    amount = chance.uniform(1_000, 20_000, 900)
    cutoff, terms = ProfitTerms().break_even, ProfitTerms()
    claim = fewer_bad_loans(default, probability, chance.random(900), approval_rate=0.6, replicates=50)
    protected = pd.DataFrame({"race": group, "rare": np.where(np.arange(900) < 5, "x", "y")})
    starts = np.repeat(np.array(["2026-01-01", "2026-04-01", "2026-07-01"], dtype="datetime64[D]"), 300)
    other = {"tree": 1 - probability}
    began = np.sort(chance.integers(0, 90, 900)).astype("timedelta64[D]") + np.datetime64("2025-01-01", "ns")
    late = began + chance.integers(5, 360, 900).astype("timedelta64[D]")
    defaulted = np.where(default == 1, late, np.datetime64("NaT", "ns"))
    made = copy.deepcopy(REPORT) | rounded(
        {
            "fairness": fairness_report(protected, default, probability, cutoff=cutoff, amount=amount, alternatives=other),
            "policy": policy_report(default, probability, amount, terms, cutoff)
            | {"fewer_bad_loans": [{"against": "prior", "title": "Prior (everyone the same)"} | claim]},
            "by_quarter": by_period(default, probability, starts),
            "lift": curves.lift(default, probability),
            "vintages": curves.vintages(default, probability, began, defaulted, window_months=12),
        }
    )
    made["labels"] = {
        "in_words": "Default within 24 months.",
        "counts": {"default": 120, "repaid": 780, "immature": 44, "rejected": 3, "embargo": 0, "unknown": 2},
        "warnings": ["State a default window."],
    }
    made["without_outcome"] = {"declined": 17, "undecided": 5}
    made["families"][0] |= {"named": {"value": 0.62, "low": 0.6, "high": 0.64}, "first": {"value": 0.2, "low": 0.18, "high": 0.22}}
    made["data"]["columns"] = [{"name": "credit_score", "title": "Credit score"}]
    return made
