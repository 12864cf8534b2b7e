"""A desk with two years of loans that a model learned from, and three quarters after them, the last of which are drifted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from loans.models import LoanApplication, LoanOutcome, ModelKind, Status
from loans.services import registry
from tests.factories import fit_model

START = datetime(2024, 1, 1, tzinfo=UTC)
LEARNED = datetime(2025, 12, 31, 12, tzinfo=UTC)
NOW = datetime(2026, 10, 5, 6, tzinfo=UTC)


def make_history(count=2000, *, days=1003, drift_from=None, unit_from=None, seed=3, default=None):
    """Applications over `days`; the debt ratio moves from day `drift_from` on, incomes come in cents from day `unit_from` on."""
    chance = np.random.default_rng(seed)
    day = np.sort(chance.integers(0, days, count))
    ratio = chance.uniform(0, 0.5, count)
    if drift_from is not None:
        ratio = np.where(day >= drift_from, ratio * 0.5 + 0.3, ratio)
    income = np.round(chance.lognormal(10.8, 0.4, count), 2)
    if unit_from is not None:
        income = np.where(day >= unit_from, income * 100, income)
    bad = chance.random(count) < (0.05 + 0.8 * ratio if default is None else default)
    rows = [
        LoanApplication(
            external_reference=f"M-{seed}-{i:06d}",
            submitted_at=START + timedelta(days=int(day[i]), minutes=i % 1000),
            amount=int(chance.integers(1_000, 20_000)),
            annual_income=float(income[i]),
            debt_to_income=round(float(ratio[i]), 4),
            home_ownership=str(chance.choice(["rent", "own", "mortgage"])),
            status=Status.HISTORICAL,
        )
        for i in range(count)
    ]
    made = LoanApplication.objects.bulk_create(rows)
    LoanOutcome.objects.bulk_create(
        [LoanOutcome(application=application, state="default" if bad[i] else "repaid") for i, application in enumerate(made)]
    )
    return made


@pytest.fixture(scope="session")
def fitted():
    return fit_model(seed=5)


@pytest.fixture
def champion(db, artifacts, fitted):
    return registry.register(
        kind=ModelKind.DEFAULT_RISK,
        model=fitted,
        algorithm="logistic",
        report={"version": 1, "data": {"rows": 1400}, "learned_from": {"first": START.isoformat(), "until": LEARNED.isoformat()}},
        fingerprint="0" * 64,
        synthetic=False,
        created_by=None,
    )
