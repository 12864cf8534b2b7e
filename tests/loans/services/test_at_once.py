"""An application that is scored within its request: the same row for row as by a worker, and received whatever becomes of its score."""

from __future__ import annotations

import os
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from loans.models import (
    AttributeDefinition,
    FeatureSnapshot,
    FraudAssessment,
    KnockOutRule,
    LoanApplication,
    LoanProduct,
    Policy,
    Prediction,
    ProtectedAttributes,
    ScoringJob,
)
from loans.services import at_once, fraud, intake, scoring, suspects
from tests.factories import make_champion

pytestmark = pytest.mark.django_db

FIELDS = {
    "amount": Decimal("5000.10"),
    "annual_income": Decimal("41000.55"),
    "debt_to_income": 0.1 + 0.2,
    "home_ownership": "rent",
    "purpose": "car",
    "product": "loan",
    "applicant": {"name": "Ann Jensen", "email": "ann@example.com"},
    "attributes": {"savings": 12.5, "sex": "f"},
}


@pytest.fixture
def desk(artifacts):
    LoanProduct.objects.create(code="loan", name="Loan")
    AttributeDefinition.objects.create(name="savings", kind="number")
    AttributeDefinition.objects.create(name="sex", kind="category", protected=True)
    Policy.objects.create(approve_below=0.1, decline_from=0.2, reason="First")
    KnockOutRule.objects.create(name="Little", field="amount", operator="below", value="6000", reason="income_insufficient")
    make_champion()
    return User.objects.create_user("shop")


@pytest.mark.parametrize("change", [{}, {"annual_income": None}, {"home_ownership": ""}, {"debt_to_income": None}], ids=str)
def test_it_is_what_a_worker_would_have_stored_to_the_last_digit(desk, change):
    fields = FIELDS | change
    here = at_once.submit(fields, submitted_by=desk)
    job = intake.submit(fields, submitted_by=desk).job
    assert scoring.score_now(job.pk)
    mine, theirs = here.prediction, Prediction.objects.get(scoring_job=job)
    mine.refresh_from_db()
    for name in ("probability", "log_odds", "baseline", "grade", "points", "contributions", "reasons", "advice", "knock_outs", "policy_id"):
        assert getattr(mine, name) == getattr(theirs, name), name
    snapshots = [FeatureSnapshot.objects.get(scoring_job=each).values for each in (here.job, job)]
    assert snapshots[0] == snapshots[1]
    rows = [LoanApplication.objects.get(pk=each.application_id) for each in (here.job, job)]
    for name in ("status", "grade", "default_probability", "amount", "attributes", "purpose", "product_id", "submitted_by_id"):
        assert getattr(rows[0], name) == getattr(rows[1], name), name
    assert rows[0].applicant.name == rows[1].applicant.name == "Ann Jensen"
    assert ProtectedAttributes.objects.get(application=rows[0]).values == {"sex": "f"}
    stored = ScoringJob.objects.get(pk=here.job.pk)
    assert (stored.state, stored.attempts) == ("done", 1) and stored.finished_at is not None


def test_without_a_model_it_waits_like_any_other(db):
    received = at_once.submit({"amount": Decimal(5000)}, submitted_by=User.objects.create_user("shop"))
    assert received.prediction is None and ScoringJob.objects.get().state == "pending"


@pytest.mark.parametrize("failure", [ValueError("x"), "nan"], ids=["raises", "not-finite"])
def test_where_scoring_fails_it_is_received_all_the_same(desk, monkeypatch, failure):
    from mlcore.risk.model import OneScore, RiskModel

    def fails(self, row, submitted_at=None):
        if failure == "nan":
            return OneScore(float("nan"), 0.0, [0.0] * len(self.schema), 0.0)
        raise failure

    monkeypatch.setattr(RiskModel, "score_one", fails)
    received = at_once.submit(FIELDS, submitted_by=desk)
    assert received.prediction is None and not Prediction.objects.exists()
    assert (received.job.state, LoanApplication.objects.get().status) == ("pending", "received")


def test_a_change_of_policy_rule_or_product_holds_from_the_next_one_on(desk):
    first = at_once.submit(FIELDS, submitted_by=desk).prediction
    assert first.advice == "decline" and first.knock_outs
    KnockOutRule.objects.update(active=False)
    Policy.objects.create(approve_below=0.98, decline_from=0.99, reason="Second", effective_from=timezone.now())
    assert at_once.submit(FIELDS, submitted_by=desk).prediction.advice == "approve"
    LoanProduct.objects.update(active=False)
    with pytest.raises(intake.InvalidApplication):
        at_once.submit(FIELDS, submitted_by=desk)
    LoanProduct.objects.update(active=True)
    version = make_champion(seed=1)
    assert at_once.submit(FIELDS, submitted_by=desk).prediction.model_version_id == version.pk


def test_fraud_is_assessed_at_the_sweeper_s_next_look(desk):
    received = at_once.submit(FIELDS, submitted_by=desk)
    fraud.sweep()
    assert FraudAssessment.objects.get(pk=received.application.pk).state == "assessed"


@pytest.fixture
def site():
    """This process as the site's third, with nothing noted before or after."""
    suspects.begin(3)
    yield
    suspects._place = None
    suspects._shared[:] = bytes(len(suspects._shared))


def test_what_took_a_process_of_the_site_down_waits_like_any_other_the_next_time(desk, site, monkeypatch):
    monkeypatch.setattr(at_once, "_scored_and_stored", lambda ready, now, assess: os._exit(9))
    at_once.in_force()  # what the child sends over this connection is prepared on it already
    child = os.fork()
    if child == 0:
        at_once.submit(FIELDS, submitted_by=desk)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    monkeypatch.undo()
    assert suspects.died(3) == 1 and suspects.died(3) == 0
    again = at_once.submit(FIELDS, submitted_by=desk)
    assert (again.prediction, again.job.state) == (None, "pending")
    assert at_once.submit(FIELDS | {"amount": Decimal(5001)}, submitted_by=desk).prediction is not None


def test_what_was_scored_or_refused_leaves_no_note(desk, site):
    at_once.submit(FIELDS, submitted_by=desk)
    with pytest.raises(intake.InvalidApplication):
        at_once.submit(FIELDS | {"product": "none"}, submitted_by=desk)
    assert suspects.died(3) == 0


def test_more_suspects_than_are_remembered_forget_the_oldest(site):
    for number in range(suspects.REMEMBERED + 1):
        with suspects.noted(suspects.digest_of(number)):
            suspects.died(3)
    assert not suspects.suspected(suspects.digest_of(0))
    assert suspects.suspected(suspects.digest_of(1)) and suspects.suspected(suspects.digest_of(suspects.REMEMBERED))
