"""People in their roles, and rows as the services leave them."""

from __future__ import annotations

import importlib
import pkgutil
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.db import connection
from django.utils import timezone

from loans import migrations
from loans.models import Applicant, Document, LoanApplication, LoanProduct, ModelVersion, Prediction, ScoringJob, Status
from loans.services import documents

ROLES = {
    "officer": "Loan officers",
    "senior": "Senior officers",
    "investigator": "Fraud investigators",
    "owner": "Model owners",
    "owner2": "Model owners",
    "auditor": "Auditors",
    "administrator": "Administrators",
    "stranger": None,
}
REPORT: dict[str, Any] = {
    "data": {"rows": 4000, "default_rate": 0.128, "left_out": [{"name": "purpose_text", "title": "Purpose", "why": "text"}]},
    "split": {
        "how": "time",
        "in_words": "learned from before 2026-03-01, judged after",
        "train": {"rows": 3000, "defaults": 400, "default_rate": 0.133, "from": "2024-06-04", "until": "2026-02-28"},
        "test": {"rows": 1000, "defaults": 114, "default_rate": 0.114, "from": "2026-03-01", "until": "2026-08-13"},
    },
    "baselines": {"prior_auc": 0.5, "majority_accuracy": 0.886, "default_rate": 0.114, "in_words": "Giving everyone the same is .5."},
    "ladder": [
        {
            "rung": "prior",
            "title": "Prior",
            "chosen": False,
            "figures": {"auc": {"value": 0.5, "low": 0.5, "high": 0.5}},
            "fit_seconds": 0.01,
        },
        {
            "rung": "logistic",
            "title": "Logistic regression",
            "chosen": True,
            "figures": {"auc": {"value": 0.709, "low": 0.64, "high": 0.76}},
        },
    ],
    "choice": {"rung": "logistic", "title": "Logistic regression", "in_words": "the simplest within one standard error of the best"},
    "champion": {
        "rung": "logistic",
        "figures": {"auc": {"value": 0.709, "low": 0.64, "high": 0.76}, "oe": {"value": 0.9, "low": 0.7, "high": 1.1}},
    },
    "calibration": {
        "method": "platt",
        "curve": [{"rows": 100, "defaults": 9, "predicted": 0.1, "observed": 0.09, "low": 0.05, "high": 0.16}],
    },
    "distribution": {"edges": [0.0, 0.1, 0.2], "repaid": [500, 386], "defaulted": [40, 74]},
    "roc": {"false_positive_rate": [0, 0.3, 1], "true_positive_rate": [0, 0.6, 1]},
    "policy": {
        "terms": {"margin": 0.12, "loss_given_default": 0.6},
        "break_even": 0.1667,
        "current": {"cutoff": 0.1667, "approval_rate": 0.7},
    },
    "families": [{"family": "credit_score", "columns": ["credit_score"], "mean": 0.4, "share": 0.23}],
    "leakage": {"blocking": False, "findings": [{"code": "auc", "severity": "suspect", "message": "A column looks too good."}]},
    "warnings": ["Only 94 defaults among the judged loans."],
}
REASONS = [
    {
        "direction": "against",
        "code": "recent_inquiries",
        "text": "Number of recent inquiries on credit bureau report",
        "family": "inquiries",
        "column": "inquiries_6m",
        "title": "Credit inquiries in 6 months",
        "effect": 0.5,
        "probability_change": 0.05,
        "value": 4.0,
    },
    {
        "direction": "against",
        "code": "other",
        "text": "Credit score reported by the credit bureau",
        "family": "credit_score",
        "column": "credit_score",
        "title": "Credit score",
        "effect": 0.4,
        "probability_change": 0.04,
        "value": 640.0,
    },
    {
        "direction": "for",
        "code": "",
        "text": "Employment is stable",
        "family": "employment",
        "column": "employment_months",
        "title": "Time in employment",
        "effect": -0.2,
        "probability_change": -0.02,
        "value": 60.0,
    },
]


def ensure_roles() -> None:
    """The migrations' groups, made anew where a test that commits has flushed them away."""
    if Group.objects.filter(name="Loan officers").exists():
        return
    editor = type("Editor", (), {"connection": connection})
    for module in sorted(info.name for info in pkgutil.iter_modules(migrations.__path__)):
        made = importlib.import_module(f"loans.migrations.{module}")
        for name in ("make_roles", "grant", "begin"):
            if hasattr(made, name):
                getattr(made, name)(apps, editor)


def make_user(name: str, group: str | None = None, **fields: Any) -> User:
    user = User.objects.create_user(name, is_staff=True, first_name=name.capitalize(), **fields)
    if group:
        ensure_roles()
        user.groups.add(Group.objects.get(name=group))
    return user


def make_version(version: int = 1, state: str = "champion", **fields: Any) -> ModelVersion:
    return ModelVersion.objects.create(
        **{
            "kind": "default_risk",
            "version": version,
            "state": state,
            "algorithm": "logistic",
            "artifact": f"v{version}",
            "sha256": "0" * 64,
            "report": REPORT,
            **fields,
        }
    )


_last = 0


def make_application(**fields: Any) -> LoanApplication:
    global _last
    _last += 1
    person = fields.pop("name", f"Ann Example {_last}")
    applicant = Applicant.objects.create(name=person, email=f"a{_last}@example.org", phone=f"+1 555 010 {_last:04d}")
    return LoanApplication.objects.create(
        **{
            "external_reference": f"AD-{_last:05d}",
            "submitted_at": timezone.now() - timedelta(days=2),
            "amount": 12_000,
            "term_months": 36,
            "purpose": "debt_consolidation",
            "annual_income": 54_000,
            "debt_to_income": 0.2,
            "inquiries_6m": 4,
            "status": Status.RECEIVED,
            "applicant": applicant,
            **fields,
        }
    )


def score(
    application: LoanApplication, version: ModelVersion, probability: float = 0.25, *, advice: str = "decline", grade: str = "E"
) -> Prediction:
    """As the scoring service leaves it: prediction, finished job, and the copy on the application."""
    job = ScoringJob.objects.create(application=application, state="done", attempts=1, finished_at=timezone.now())
    prediction = Prediction.objects.create(
        application=application,
        scoring_job=job,
        model_version=version,
        probability=probability,
        log_odds=-1.1,
        baseline=-2.2,
        grade=grade,
        points=512,
        contributions={"inquiries_6m": 0.5, "credit_score": 0.4, "employment_months": -0.2, "amount": 0.4},
        reasons=REASONS,
        advice=advice,
    )
    application.status, application.default_probability, application.grade = Status.OPEN, probability, grade
    application.save(update_fields=["status", "default_probability", "grade"])
    return prediction


PDF = b"%PDF-1.7\n1 0 obj << >> endobj\n%%EOF\n"


def make_document(application: LoanApplication, by: User, content: bytes = PDF, **given: str) -> Document:
    """As the service leaves it; the test needs the fixture `uploads`."""
    return documents.add(application, content, **{"name": "payslip.pdf", "kind": "income", "by": by, **given})


@pytest.fixture
def uploads(settings, tmp_path):
    settings.UPLOADS_DIR = tmp_path / "uploads"
    return settings.UPLOADS_DIR


class People(dict):
    """Role → user, made when first asked for: most tests need one or two of the eight."""

    def __missing__(self, role: str) -> User:
        self[role] = make_user(role, ROLES[role])
        return self[role]


@pytest.fixture
def people(db) -> dict[str, User]:
    return People()


@pytest.fixture
def version(db) -> ModelVersion:
    return make_version()


@pytest.fixture
def product(db) -> LoanProduct:
    return LoanProduct.objects.create(code="personal", name="Personal loan")


@pytest.fixture
def application(version, product) -> LoanApplication:
    """Open, scored and to be decided."""
    made = make_application(name="Ann Jensen", product=product, credit_score=640, employment_months=60)
    score(made, version)
    return made


@pytest.fixture
def as_(client, people):
    """`as_("officer")` is a client that is signed in."""

    def sign_in(role: str):
        client.force_login(people[role])
        return client

    return sign_in
