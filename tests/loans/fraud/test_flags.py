"""What investigators make of flags: each step an event, each finding a label after its delay."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.db import DatabaseError, transaction
from django.utils import timezone

from loans.models import FraudFlag, FraudLabel, LoanApplication
from loans.queries.fraud import with_open_flag
from loans.queries.fraud_queue import in_order, next_in_queue, of_queue, pace_of
from loans.services.fraud import flags, learning
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
    assert learning.ripe_labels() == {}
    FraudLabel.objects.update(learn_from=timezone.now(), known_at=timezone.now() - timedelta(days=1))
    assert learning.ripe_labels() == {flag.application_id: (True, 1.0)}
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
    assert label.withdrawn_at is not None and learning.ripe_labels() == {}
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
    queue = in_queue_order()
    assert [each.application for each in queue] == [big, flag.application]
    assert next_in_queue(FraudFlag.objects.all(), queue[0]) == flag and next_in_queue(FraudFlag.objects.all(), flag) == queue[0]


def in_queue_order() -> list[FraudFlag]:
    return list(in_order(FraudFlag.objects.in_queue(), pace_of(FraudFlag.objects.all())))


def many_flags(alerts: int, samples: int) -> None:
    rows = LoanApplication.objects.bulk_create(
        [LoanApplication(external_reference=f"Q-{i:03d}", amount=1, status="open") for i in range(alerts + samples)]
    )
    FraudFlag.objects.bulk_create(
        [
            FraudFlag(
                application=row, kind="alert" if i < alerts else "sample", severity=2 if i < alerts else 0, score=0.1,
                expected_loss=1000 - i if i < alerts else 0.01 * i,
            )
            for i, row in enumerate(rows)
        ]
    )  # fmt: skip


def kinds(queue: list[FraudFlag]) -> str:
    return "".join("s" if flag.kind == "sample" else "a" for flag in queue)


def test_random_reviews_have_every_so_manieth_place_the_longest_waiting_first(settings, db):
    many_flags(alerts=25, samples=4)
    queue = in_queue_order()
    assert kinds(queue) == "aaaaaaaaasaaaaaaaaasaaaaaaass"
    losses = [flag.expected_loss for flag in queue if flag.kind == "alert"]
    assert losses == sorted(losses, reverse=True)
    ids = [flag.pk for flag in queue if flag.kind == "sample"]
    assert ids == sorted(ids)
    settings.FRAUD_SAMPLE_CAPACITY = 0.5
    assert kinds(in_queue_order())[:8] == "asasasas"
    settings.FRAUD_SAMPLE_CAPACITY = 0
    assert kinds(in_queue_order()) == "a" * 25 + "ssss"


@pytest.mark.parametrize("a_day", [3, 8])
def test_a_team_that_gets_through_few_a_day_reaches_the_random_reviews_all_the_same(db, investigator, a_day):
    """Each day so many new flags that the tenth place of any day's queue is never reached."""
    many_flags(alerts=60, samples=10)
    done = []
    for _ in range(40 // a_day):
        for flag in in_queue_order()[:a_day]:
            flags.clear(flag.pk, by=investigator, note="Looked at")
            done.append(flag.kind)
    assert 3 <= done.count("sample") <= 4
    assert done.index("sample") == 9


def test_a_week_without_random_reviews_is_not_made_up_for_at_once(db, investigator):
    many_flags(alerts=90, samples=10)
    for flag in [each for each in in_queue_order() if each.kind == "alert"][:40]:
        flags.clear(flag.pk, by=investigator, note="Looked at")
    assert kinds(in_queue_order())[:17] == "saaaaasaaaaaaaaas", "one to make up for, then as ever"


def test_the_inbox_filter_knows_open_alerts_only(flag, ring, investigator):
    assert with_open_flag(LoanApplication.objects.all()).get() == flag.application
    flags.clear(flag.pk, by=investigator, note="Family")
    assert not with_open_flag(LoanApplication.objects.all()).exists()
