"""The audit trail: sealed by the database, refused to be changed, and told on where it was all the same."""

from __future__ import annotations

import io
import threading

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.db.utils import InternalError, OperationalError

from loans.models import ApiKey, AuditEvent, AuditSeal
from loans.services import audit, request_id
from tests.factories import make_application

REFUSED = (IntegrityError, InternalError, OperationalError)


def seal() -> None:
    """What a commit would do."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")


def tamper(statement: str) -> None:
    """As somebody would who has the database's own powers."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL session_replication_role = 'replica'; {statement}; SET LOCAL session_replication_role = 'origin'")


@pytest.fixture
def events(db):
    user = User.objects.create_user("ann")
    made = [audit.record("thing.done", actor=user, number=number, text='ü – \\ " ☃') for number in range(5)]
    seal()
    return made


def test_an_event_says_who_did_what_to_which_object_in_which_request(db):
    user = User.objects.create_user("ann")
    key, _ = ApiKey.issue(user=user, name="Shop")
    application = make_application()
    token = request_id.current.set("trace-1")
    try:
        by_key = audit.record("thing.done", actor=key, subject=application, amount="5.00")
    finally:
        request_id.current.reset(token)
    by_system = audit.record("thing.done")
    assert (by_key.actor_kind, by_key.actor_id, by_key.user_id) == ("key", key.pk, user.pk)
    assert by_key.actor_name.startswith("Shop (ld_") and by_key.request_id == "trace-1" and by_key.facts == {"amount": "5.00"}
    assert list(AuditEvent.objects.about(application)) == [by_key]
    assert (by_system.actor_kind, by_system.actor_id, by_system.request_id) == ("system", None, "")


def test_events_are_sealed_in_order_when_the_transaction_ends(events):
    seals = list(AuditSeal.objects.order_by("position"))
    assert [each.event_id for each in seals] == [each.pk for each in events]
    assert bytes(seals[1].previous) == bytes(seals[0].digest) and len({each.chain for each in seals}) == 1
    verified = audit.verify()
    assert verified.faults == [] and verified.events == 5


@pytest.mark.parametrize("statement", ["UPDATE {} SET {} = {}", "DELETE FROM {}"], ids=["update", "delete"])
@pytest.mark.parametrize("table", ["loans_auditevent", "loans_auditseal"])
def test_the_database_refuses_to_change_or_delete(events, table, statement):
    column = "action" if table == "loans_auditevent" else "digest"
    with pytest.raises(REFUSED, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement.format(table, column, column))


@pytest.mark.parametrize(
    ("statement", "row", "message"),
    [
        ("UPDATE loans_auditevent SET facts = '{{\"number\": 9}}' WHERE id = {0}", 2, "changed after it was sealed"),
        ("UPDATE loans_auditevent SET actor_name = 'bob' WHERE id = {0}", 2, "changed after it was sealed"),
        ("UPDATE loans_auditevent SET at = at - interval '1 microsecond' WHERE id = {0}", 2, "changed after it was sealed"),
        ("DELETE FROM loans_auditevent WHERE id = {0}", 2, "its seal is still here"),
        ("DELETE FROM loans_auditevent WHERE id = {0}; DELETE FROM loans_auditseal WHERE event_id = {0}", 3, "deleted with its seal"),
        ("DELETE FROM loans_auditseal WHERE event_id = (SELECT max(event_id) FROM loans_auditseal)", 4, "has no seal"),
        ("UPDATE loans_auditseal SET digest = sha256('x') WHERE event_id = {0}", 2, "changed after it was sealed"),
    ],
    ids=["facts", "actor", "time", "event-gone", "both-gone", "seal-gone", "digest"],
)
def test_what_was_changed_around_the_guards_is_named(events, statement, row, message):
    tamper(statement.format(events[2].pk))
    with pytest.raises(CommandError, match=message) as told:
        call_command("audit_verify", stdout=io.StringIO())
    assert f"First bad row: event {events[row].pk}" in str(told.value).split("\n")[0]
    assert told.value.returncode == 1


def test_a_cut_off_end_shows_against_the_ends_that_were_kept(events, tmp_path):
    kept = tmp_path / "heads.json"
    call_command("audit_verify", save_heads=kept, stdout=io.StringIO())
    tamper(f"DELETE FROM loans_auditevent WHERE id = {events[4].pk}; DELETE FROM loans_auditseal WHERE event_id = {events[4].pk}")
    call_command("audit_verify", stdout=io.StringIO())  # the chain alone can't show it
    with pytest.raises(CommandError, match="cut off"):
        call_command("audit_verify", heads=kept, stdout=io.StringIO())


def test_heads_that_are_none_are_refused(db, tmp_path):
    (tmp_path / "heads.json").write_text('{"1": "x"}')
    with pytest.raises(CommandError) as told:
        call_command("audit_verify", heads=tmp_path / "heads.json")
    assert told.value.returncode == 2


@pytest.mark.django_db(transaction=True)
def test_threads_at_once_neither_wait_for_ever_nor_break_a_chain():
    def work(number: int) -> None:
        try:
            for turn in range(10):
                with transaction.atomic():
                    audit.record("thing.done", thread=number, turn=turn)
                    audit.record("thing.ended", thread=number, turn=turn)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    verified = audit.verify()
    assert verified.faults == [] and verified.events == 120
