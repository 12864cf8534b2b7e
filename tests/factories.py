"""Real rows and tiny fitted models for tests."""

from __future__ import annotations

import copy
import functools
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from loans.models import CheckState, LoanApplication, ModelKind, ModelVersion, PromotedHow, PromotionCheck, ScoringJob, Status
from loans.services import registry

_numbers = itertools.count(1)
START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


def make_application(**fields: Any) -> LoanApplication:
    number = next(_numbers)
    return LoanApplication.objects.create(
        **{
            "external_reference": f"T-{number:06d}",
            "submitted_at": START + timedelta(hours=number % 2000),
            "amount": 1000 + 37 * (number % 400),
            "annual_income": 30_000 + 111 * (number % 300),
            "debt_to_income": (number % 40) / 100,
            "home_ownership": ("rent", "own", "mortgage")[number % 3],
            **fields,
        }
    )


def make_pending(count: int, **fields: Any) -> list[ScoringJob]:
    """Applications that wait for their score, in bulk."""
    rows = []
    for _ in range(count):
        number = next(_numbers)
        rows.append(
            LoanApplication(
                **{
                    "external_reference": f"T-{number:06d}",
                    "submitted_at": START + timedelta(minutes=number),
                    "amount": 1000 + 37 * (number % 400),
                    "annual_income": 30_000 + 111 * (number % 300),
                    "debt_to_income": (number % 40) / 100,
                    **fields,
                }
            )
        )
    applications = LoanApplication.objects.bulk_create(rows)
    return ScoringJob.objects.bulk_create([ScoringJob(application=application) for application in applications])


def make_outcomes(count: int, *, seed: int = 1) -> None:
    """Past loans with a known truth: the debt-to-income ratio and the income decide, the rest is chance."""
    from loans.models import LoanOutcome

    chance = np.random.default_rng(seed)
    ratio = chance.uniform(0, 0.6, count)
    income = chance.lognormal(10.8, 0.5, count)
    log_odds = -2.2 + 4.0 * (ratio - 0.3) - 1.0 * (np.log(income) - 10.8)
    default = chance.random(count) < 1 / (1 + np.exp(-log_odds))
    rows = [
        LoanApplication(
            external_reference=f"H-{seed}-{i:06d}",
            submitted_at=datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=i * 1000 / count),
            amount=int(chance.integers(1_000, 20_000)),
            annual_income=round(float(income[i]), 2),
            debt_to_income=round(float(ratio[i]), 4),
            home_ownership=str(chance.choice(["rent", "own", "mortgage"])),
            status=Status.HISTORICAL,
        )
        for i in range(count)
    ]
    applications = LoanApplication.objects.bulk_create(rows)
    LoanOutcome.objects.bulk_create(
        [LoanOutcome(application=application, state="default" if default[i] else "repaid") for i, application in enumerate(applications)]
    )


def fit_model(*, seed: int = 0) -> Any:
    """A logistic regression on 400 made-up applications, calibrated by level alone. Fitted once a process, a copy for each who asks."""
    return copy.deepcopy(_fitted(seed))


@functools.cache
def _fitted(seed: int) -> Any:
    import pandas as pd

    from mlcore.calibration import Calibrator
    from mlcore.risk import ladder
    from mlcore.risk.counterfactual import feasible_ranges
    from mlcore.risk.model import RiskModel, make_baseline
    from mlcore.schema import CORE

    schema = CORE.usable().only(["amount", "annual_income", "debt_to_income", "home_ownership"])
    chance = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "amount": chance.uniform(1_000, 20_000, 400),
            "annual_income": chance.lognormal(10.8, 0.4, 400),
            "debt_to_income": chance.uniform(0, 0.5, 400),
            "home_ownership": chance.choice(["rent", "own", "mortgage"], 400).astype(object),
        }
    )
    default = (chance.random(400) < 0.05 + 0.8 * frame["debt_to_income"]).to_numpy().astype(np.int8)
    rung = ladder.make("logistic", schema, seed=seed).fit(frame, default)
    return RiskModel(rung, Calibrator("level"), schema=schema, baseline=make_baseline(rung, frame), ranges=feasible_ranges(frame, schema))


@functools.cache
def fit_pairwise() -> Any:
    """A pairwise model with a pair on 400 made-up applications, of two small fits."""
    from unittest.mock import patch

    import pandas as pd

    from mlcore.calibration import Calibrator
    from mlcore.risk.model import RiskModel, make_baseline
    from mlcore.risk.pairwise import Pairwise
    from mlcore.schema import CORE

    schema = CORE.usable().only(["annual_income", "debt_to_income", "home_ownership"])
    chance = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "annual_income": chance.lognormal(10.8, 0.4, 400),
            "debt_to_income": chance.uniform(0, 0.5, 400),
            "home_ownership": chance.choice(["rent", "own", "mortgage"], 400).astype(object),
        }
    )
    default = (chance.random(400) < 0.05 + 0.8 * frame["debt_to_income"]).to_numpy().astype(np.int8)
    rung = Pairwise(schema)
    rung.given = {"pairs": ["debt_to_income × home_ownership"], "trees": 40, "share_of_trees": 0.5, "l1": 0.0, "l2": 10.0}
    with patch("mlcore.risk.pairwise.FITS", 2):
        rung.fit(frame, default)
    return RiskModel(rung, Calibrator("platt", a=0.9, c=-0.1), schema=schema, baseline=make_baseline(rung, frame))


def make_pairwise(**fields: Any) -> ModelVersion:
    """Stored and registered: champion where it is the first."""
    given = {"report": _REPORT, "synthetic": False, "created_by": None, **fields}
    return registry.register(kind=ModelKind.DEFAULT_RISK, model=fit_pairwise(), algorithm="pairwise", fingerprint="0" * 64, **given)


def make_champion(*, seed: int = 0) -> ModelVersion:
    """A real model, stored and registered, which serves."""
    version = registry.register(
        kind=ModelKind.DEFAULT_RISK,
        model=fit_model(seed=seed),
        algorithm="logistic",
        report=_REPORT,
        fingerprint="0" * 64,
        synthetic=False,
        created_by=None,
    )
    return version if version.is_champion else promoted(version)


def promoted(version: ModelVersion) -> ModelVersion:
    """The version serves, approved by a second person: what the gate would have found is not looked at."""
    from django.contrib.auth import get_user_model
    from django.utils import timezone

    second, _ = get_user_model().objects.get_or_create(username="second-person")
    check = PromotionCheck.objects.create(
        version=version, against=ModelVersion.objects.champion(version.kind), state=CheckState.OPEN, reason="For this test."
    )
    check.state, check.decided_by, check.decided_at = CheckState.APPROVED, second, timezone.now()
    check.save()
    return registry.promote(version, by=second, reason="For this test.", how=PromotedHow.APPROVED)


_REPORT: dict[str, Any] = {"version": 1}
