"""A desk with three plain groups of applicants, segmented."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from loans.models import LoanApplication, LoanOutcome, ModelKind, Status
from loans.services import registry, segments, training
from mlcore.segments.choose import Effort

ROWS = 450
CENTRES = ((30_000, 0.45, 620), (60_000, 0.10, 640), (45_000, 0.25, 800))


def make_groups(count: int = ROWS, *, status: str = Status.HISTORICAL, seed: int = 1, prefix: str = "G") -> list[LoanApplication]:
    """Applicants of three kinds; of each kind another share defaulted. The first half of the year is known, the rest not yet."""
    chance = np.random.default_rng(seed)
    kind = chance.integers(0, 3, count)
    rows = []
    for i in range(count):
        income, ratio, score = CENTRES[kind[i]]
        rows.append(
            LoanApplication(
                external_reference=f"{prefix}-{seed}-{i:05d}",
                submitted_at=datetime(2025, 1, 1, tzinfo=UTC) + timedelta(hours=6 * i),
                amount=int(chance.integers(1_000, 20_000)),
                annual_income=int(income + chance.normal(0, 3_000)),
                debt_to_income=round(float(np.clip(ratio + chance.normal(0, 0.03), 0, 2)), 4),
                credit_score=int(score + chance.normal(0, 15)),
                employment_months=int(chance.integers(0, 200)),
                home_ownership=str(chance.choice(["rent", "own", "mortgage"])),
                status=status,
            )
        )
    made = LoanApplication.objects.bulk_create(rows)
    if status == Status.HISTORICAL:
        default = chance.random(count) < np.array([0.5, 0.2, 0.05])[kind]
        LoanOutcome.objects.bulk_create(
            [LoanOutcome(application=row, state="default" if default[i] else "repaid") for i, row in enumerate(made)]
        )
    return made


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(segments, "EFFORT", Effort(rows=300, bootstraps=4, nulls=4, restarts=3, most=4))
    monkeypatch.setattr(segments, "_up_to_date", None)


def train(seed: int = 0):
    run = training.start_training("segments", by=None, seed=seed, wake=False)
    done = training.run_training(run.pk)
    assert done.state == "done", done.error
    return done.model_version


_fitted: list = []


@pytest.fixture
def segmented(artifacts, db):
    """The serving version; fitted once for all tests, on the same applicants."""
    make_groups()
    if not _fitted:
        version = train()
        _fitted.extend([registry.champion(ModelKind.SEGMENTS).model, version.report])
        return version
    model, report = _fitted
    return registry.register(
        kind=ModelKind.SEGMENTS, model=model, algorithm=model.name, report=report, fingerprint="0" * 64, synthetic=False, created_by=None
    )
