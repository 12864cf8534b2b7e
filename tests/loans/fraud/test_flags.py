"""What investigators make of flags: each step an event, each finding a label after its delay."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.db import DatabaseError, transaction
from django.utils import timezone

from loans.models import FraudFlag, FraudLabel
from loans.queries.fraud import next_in_queue, of_queue, with_open_flag
from loans.services.fraud import flags, links, model
from tests.loans.fraud.conftest import apply, assess, values

pytestmark = pytest.mark.django_db


@pytest.fixture
def investigator() -> User:
    user = User.objects.create_user("inga", is_staff=True)
    user.groups.add(Group.objects.get(name="Fraud investigators"))
    return user


@pytest.fixture
def flag(ring) -> FraudFlag:
    return FraudFlag.objects.get()


def test_a_confirmed_flag_is_known_to_the_next_application_and_a_label_after_its_delay(flag, investigator, settings):
    settings.FRAUD_LABEL_DELAY_DAYS = 30
    flags.confirm(flag.pk, by=investigator, note="Pay slip forged")
    label = FraudLabel.objects.get()
    assert label.fraud and not label.sampled and label.learn_from - label.known_at == timedelta(days=30)
    assert model._labels() == {}
    FraudLabel.objects.update(learn_from=timezone.now(), known_at=timezone.now() - timedelta(days=1))
    assert model._labels() == {flag.application_id: (True, 1.0)}
    later = apply(0, name="Cid", phone="555-0100")
    later.submitted_at = timezone.now()
    later.save()
    assess(later)
    assert values(later)["direct_frauds"] == 1
    raised = FraudFlag.objects.get(application=later)
    assert raised.get_severity_display() == "Critical"
    # The earlier ones were assessed when it was not known, and stay so.
    assess(flag.application)
    assert values(flag.application)["direct_frauds"] == 0


def test_taking_a_finding_back_ends_it_and_keeps_that_it_was(flag, investigator):
    flags.confirm(flag.pk, by=investigator, note="Forged")
    with pytest.raises(flags.FlagRefused, match="taken back"):
        flags.reopen(flag.pk, by=investigator)
    flags.reopen(flag.pk, by=investigator, note="It was the son")
    label = FraudLabel.objects.get()
    assert label.withdrawn_at is not None and model._labels() == {}
    flags.clear(flag.pk, by=investigator, note="Family")
    assert FraudLabel.objects.filter(withdrawn_at__isnull=True).get().fraud is False
    assert [event.action for event in flag.events.all()] == ["raised", "confirmed", "reopened", "cleared"]


def test_a_finding_needs_words_and_is_made_once(flag, investigator):
    with pytest.raises(flags.FlagRefused) as refusal:
        flags.confirm(flag.pk, by=investigator, note=" ")
    assert refusal.value.field == "note"
    flags.clear(flag.pk, by=investigator, note="Family")
    with pytest.raises(flags.FlagRefused, match="somebody was faster"):
        flags.confirm(flag.pk, by=investigator, note="Fraud")


def test_what_was_disposed_of_is_not_raised_again(flag, investigator):
    flags.clear(flag.pk, by=investigator, note="Family")
    assess(flag.application)
    flag.refresh_from_db()
    assert flag.state == "cleared" and FraudFlag.objects.count() == 1


def test_a_snoozed_flag_sleeps_and_comes_back(flag, investigator):
    with pytest.raises(flags.FlagRefused, match="90 days"):
        flags.snooze(flag.pk, by=investigator, until=timezone.now() + timedelta(days=200))
    flags.snooze(flag.pk, by=investigator, until=timezone.now() + timedelta(days=1))
    everything = FraudFlag.objects.all()
    assert not everything.in_queue().exists() and of_queue(everything, "snoozed", investigator).exists()
    FraudFlag.objects.update(snoozed_until=timezone.now() - timedelta(seconds=1))
    assert everything.in_queue().get() == flag


def test_only_investigators_are_assigned(flag, investigator):
    flags.assign(flag.pk, by=investigator, to=investigator)
    assert of_queue(FraudFlag.objects.all(), "mine", investigator).get() == flag
    with pytest.raises(flags.FlagRefused, match="does not investigate"):
        flags.assign(flag.pk, by=investigator, to=User.objects.create_user("other"))
    flags.assign(flag.pk, by=investigator, to=None)
    assert not of_queue(FraudFlag.objects.all(), "mine", investigator).exists()


def test_events_are_append_only(flag):
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        flag.events.update(action="forged")


def test_the_queue_goes_by_expected_loss(flag, starter):
    big = apply(2000, name="Cid", phone="555-0100", device="d1")
    big.amount = 90_000
    big.save()
    assess(big)
    queue = list(FraudFlag.objects.in_queue().queue_order())
    assert [each.application for each in queue] == [big, flag.application]
    assert next_in_queue(FraudFlag.objects.all(), queue[0]) == flag and next_in_queue(FraudFlag.objects.all(), flag) == queue[0]


def test_the_inbox_filter_knows_open_alerts_only(flag, ring, investigator):
    from loans.models import LoanApplication

    assert with_open_flag(LoanApplication.objects.all()).get() == flag.application
    flags.clear(flag.pk, by=investigator, note="Family")
    assert not with_open_flag(LoanApplication.objects.all()).exists()


def test_training_says_what_it_lacks_and_serves_what_it_can(ring, artifacts):
    with pytest.raises(model.NothingToLearn, match="2 applications are too few.*0 confirmed and 0 cleared"):
        model.train()


def test_an_anomaly_model_serves_in_assessments(ring, artifacts, device):
    from tests.factories import make_pending

    make_pending(250, status="open")
    while links.link_waiting():
        pass
    version = model.train()
    assert version.serving and "supervised" not in version.report and version.report["warnings"]
    assess(ring[1])
    row = ring[1].fraud_assessment
    row.refresh_from_db()
    assert row.model == version and 0 <= row.unusual <= 1 and row.probability is None and not row.calibrated
