from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.utils import timezone

from loans.models import Applicant, AttributeDefinition, LoanApplication, LoanProduct, ProtectedAttributes, ScoringJob
from loans.models.crypto import UnreadablePersonalData, blind_index
from loans.services import intake, wakeups

pytestmark = pytest.mark.django_db
FIELDS = {"amount": Decimal("5000"), "annual_income": Decimal("40000")}


def test_application_and_job_are_written_together_and_a_worker_is_told(django_capture_on_commit_callbacks, monkeypatch):
    sent = []
    monkeypatch.setattr(wakeups, "hints_waiting", lambda: 0)  # other tests leave theirs in the broker
    monkeypatch.setattr(wakeups.current_app, "send_task", lambda name, **more: sent.append(name))
    with django_capture_on_commit_callbacks(execute=True):
        received = intake.submit(FIELDS, submitted_by=None)
        assert sent == []
    assert sent == ["loans.score_pending"]
    assert received.job.application == received.application
    assert received.application.external_reference.startswith("LD-")


def test_a_broker_that_is_away_does_not_fail_the_submission(django_capture_on_commit_callbacks, monkeypatch):
    def refuse(name, **more):
        raise wakeups.OperationalError("connection refused")

    monkeypatch.setattr(wakeups.current_app, "send_task", refuse)
    with django_capture_on_commit_callbacks(execute=True):
        intake.submit(FIELDS, submitted_by=None)
    assert ScoringJob.objects.get().state == "pending"


def test_the_same_reference_twice_is_refused_and_leaves_one(db):
    intake.submit({**FIELDS, "external_reference": "A-1", "applicant": {"name": "Ann"}}, submitted_by=None)
    with pytest.raises(intake.DuplicateReference):
        intake.submit({**FIELDS, "external_reference": "A-1", "applicant": {"name": "Ann"}}, submitted_by=None)
    assert (LoanApplication.objects.count(), Applicant.objects.count(), ScoringJob.objects.count()) == (1, 1, 1)


def test_attributes_are_parsed_and_protected_ones_kept_apart():
    AttributeDefinition.objects.create(name="savings", kind="number")
    AttributeDefinition.objects.create(name="sex", kind="category", protected=True)
    received = intake.submit({**FIELDS, "attributes": {"savings": "1200.5", "sex": "f"}}, submitted_by=None)
    assert received.application.attributes == {"savings": 1200.5}
    assert ProtectedAttributes.objects.get(application=received.application).values == {"sex": "f"}


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"attributes": {"nobody_declared": 1}}, "attributes.nobody_declared"),
        ({"attributes": {"savings": "much"}}, "attributes.savings"),
        ({"attributes": {"savings": float("nan")}}, "attributes.savings"),
        ({"product": "gold"}, "product"),
        ({"product": "small"}, "amount"),
        ({"submitted_at": timezone.now() + timedelta(days=3)}, "submitted_at"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_stored(fields, where):
    AttributeDefinition.objects.create(name="savings", kind="number")
    LoanProduct.objects.create(code="small", name="Small", maximum_amount=100)
    with pytest.raises(intake.InvalidApplication) as caught:
        intake.submit({**FIELDS, "applicant": {"name": "Ann"}, **fields}, submitted_by=None)
    assert where in caught.value.errors
    assert not LoanApplication.objects.exists()
    assert not Applicant.objects.exists()


def test_personal_data_are_unreadable_in_the_database_and_searchable_all_the_same(settings):
    Applicant.objects.create(name="Zoë Müller", email="Zoe@Example.com", phone="+1 (555) 010-0199", birth_date="1980-02-03")
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM loans_applicant")
        row = cursor.fetchone()
    stored = " ".join(bytes(value).decode("utf-8", "replace") if isinstance(value, memoryview) else str(value) for value in row)
    # long enough not to turn up by chance among some hundred letters of ciphertext
    for secret in ("Zoë", "üller", "Example", "example", "010-0199", "5550100199", "1980-02"):
        assert secret not in stored
    assert Applicant.objects.get().name == "Zoë Müller"
    for text in ("zoe muller", "ZOE@example.com", "15550100199", "555-010-0199"):
        assert Applicant.objects.matching(text).count() == 1, text
    # A word of the name finds it, a part of a word does not.
    assert Applicant.objects.matching("zoe").count() == 1 and Applicant.objects.matching("zo").count() == 0
    assert blind_index("email", "x@example.com") != blind_index("name", "x@example.com")


def test_an_old_key_still_opens_and_a_lost_one_says_so(settings):
    applicant = Applicant.objects.create(name="Ann")
    old = settings.PII_KEYS
    settings.PII_KEYS = [b"n" * 32, *old]
    applicant.refresh_from_db()
    assert applicant.name == "Ann"
    settings.PII_KEYS = [b"n" * 32]
    with pytest.raises(UnreadablePersonalData, match="PII_KEYS"):
        applicant.refresh_from_db()


def test_a_value_moved_to_another_column_does_not_open():
    Applicant.objects.create(name="Ann")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE loans_applicant SET email = name")
    with pytest.raises(UnreadablePersonalData, match="moved"):
        Applicant.objects.get()
