"""Tables by month: what is written finds its month, none is ever refused, and what must be unique is."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone

from loans.models import AuditEvent, FeatureSnapshot, Prediction, ScoringJob, TableArchive, months
from loans.queries import partitions as known
from loans.services import audit, decisions, health, partitions, scoring
from loans.tasks import keep_partitions
from tests.factories import make_champion, make_pending
from tests.loans.partitions.conftest import OLD, make_partitions, note_old, score_old, seal

pytestmark = pytest.mark.django_db


def where(table: str, key: str = "id") -> dict[int, str]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {key}, tableoid::regclass::text FROM {table}")
        return dict(cursor.fetchall())


def this_month(table: str) -> str:
    return f"{table}_{timezone.now():%Y_%m}"


def at_commit(do: Callable[[], object]) -> None:
    with transaction.atomic():
        do()
        seal()


def run(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def drop(name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {name}")


@pytest.mark.parametrize(
    "at", [datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC), datetime(2074, 1, 5, tzinfo=UTC)]
)
def test_ids_say_the_same_month_here_and_in_the_database(at):
    with connection.cursor() as cursor:
        cursor.execute("SELECT loandesk_month_base(%s), loandesk_month_start(loandesk_month_base(%s))", [at, at])
        base, start = cursor.fetchone()
    assert base == months.base(at) < 2**53 and start == months.start(base) == at.replace(day=1, hour=0, minute=0, second=0)


def test_rows_are_in_the_partition_of_their_month(artifacts):
    make_champion()
    job = make_pending(1)[0]
    scoring.score_pending()
    assert months.start(job.pk).strftime("%Y_%m") == f"{timezone.now():%Y_%m}"
    assert set(where("loans_prediction").values()) == {this_month("loans_prediction")}
    assert set(where("loans_featuresnapshot", "scoring_job_id").values()) == {this_month("loans_featuresnapshot")}
    event = audit.record("thing.done")
    assert where("loans_auditevent")[event.pk] == this_month("loans_auditevent")


def test_a_job_of_last_month_has_its_score_there_and_only_one(desk):
    job = score_old(1)[0]
    prediction = Prediction.objects.get(scoring_job=job)
    assert where("loans_prediction")[prediction.pk] == "loans_prediction_2023_03"
    assert months.start(prediction.pk).year == timezone.now().year, "its own id says when it was written"
    again = Prediction.objects.get(pk=prediction.pk)
    again.pk, again._state.adding = None, True
    with pytest.raises(IntegrityError, match="model_version_id"), transaction.atomic():
        again.save()
    with pytest.raises(IntegrityError, match="pkey"), transaction.atomic():
        FeatureSnapshot.objects.bulk_create([FeatureSnapshot(scoring_job=job, application_id=job.application_id, values={})])
    stray = FeatureSnapshot(scoring_job_id=months.base(OLD) + 99, application_id=job.application_id, values={})
    with pytest.raises(IntegrityError, match="loans_scoringjob"):
        at_commit(lambda: stray.save(force_insert=True))


@pytest.mark.parametrize("table", ["loans_prediction", "loans_featuresnapshot", "loans_auditevent"])
@pytest.mark.parametrize("whole", [True, False], ids=["by the table", "by the partition"])
@pytest.mark.parametrize("what", ["UPDATE {} SET {}", "DELETE FROM {}", "TRUNCATE {}"])
def test_every_partition_is_append_only(desk, table, whole, what):
    score_old(1)
    note_old(1)
    seal()
    name = table if whole else f"{table}_2023_03"
    statement = what.format(name, "application_id = 1" if table != "loans_auditevent" else "action = ''")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        run("SET LOCAL loandesk.maintenance_truncate = 'off'", statement)


def test_a_decision_rests_on_a_prediction_that_is_there(desk, django_user_model):
    job = score_old(1)[0]
    officer = django_user_model.objects.create_superuser("officer")
    made = decisions.decide(job.application_id, officer=officer, outcome="refer", reason="second_opinion", note="Look again")
    seal()
    assert made.prediction.scoring_job_id == job.pk
    with pytest.raises(IntegrityError, match="a decision rests on prediction"):
        at_commit(lambda: run("SET LOCAL loandesk.maintenance = 'on'", "DELETE FROM loans_prediction"))
    made.pk, made._state.adding, made.prediction_id = None, True, 12345
    with pytest.raises(IntegrityError, match="prediction 12345 is not there"):
        at_commit(made.save)


def test_months_are_made_ahead_once():
    kept = partitions.keep_ahead(14)
    assert len(kept.made) == 3 * (15 - 4) and kept.made[-1] in {part.name for part in known.parts()}
    assert partitions.keep_ahead(14).made == []
    assert known.outlook().ahead == {"predictions": 14, "snapshots": 14, "events": 14}


def test_a_month_that_is_missing_refuses_nothing_and_is_told(artifacts):
    for growing in known.TABLES:
        for part in known.parts(growing.table):
            if part.low and not part.is_default:
                drop(part.name)
    make_champion()
    jobs = make_pending(2)
    scoring.score_pending()
    event = audit.record("thing.done")
    seal()
    assert set(where("loans_prediction").values()) == {"loans_prediction_default"}
    found = health.database_checks()[-1]
    assert (found.name, found.state) == ("partitions", "degraded") and "predictions, snapshots, events had no partition" in found.words
    assert health.workload().months == {"predictions": -1, "snapshots": -1, "events": -1}
    out = io.StringIO()
    call_command("partitions", "create", stdout=out)
    assert f"are {this_month('loans_prediction')} now" in out.getvalue()
    assert set(where("loans_prediction").values()) == {this_month("loans_prediction")}
    assert where("loans_auditevent")[event.pk] == this_month("loans_auditevent") and audit.verify().faults == []
    assert health.database_checks()[-1].state == "ok" and known.outlook().stray == []
    assert {job.pk for job in jobs} == set(where("loans_featuresnapshot", "scoring_job_id"))
    audit.record("thing.done")
    with pytest.raises(Exception, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {this_month('loans_prediction')}")


def test_the_coming_month_alone_missing_is_told_before_it_comes():
    coming = (timezone.now().replace(day=1) + timedelta(days=32)).strftime("loans_auditevent_%Y_%m")
    drop(coming)
    check = health.database_checks()[-1]
    assert check.state == "degraded" and check.words.startswith("No partition for the coming month of events:")
    assert partitions.keep_ahead().made == [coming]


def test_strays_of_months_around_another_are_left_to_a_person():
    make_partitions(OLD)
    drop("loans_auditevent_2023_03")
    note_old(1, OLD - timedelta(days=40))
    note_old(1, OLD + timedelta(days=40))
    with connection.cursor() as cursor:
        low = months.base(OLD)
        cursor.execute("SELECT loandesk_add_partition('loans_auditevent', 'loans_auditevent_2023_03', %s, %s)", [low, low + months.FIRST])
    with pytest.raises(CommandError, match="Rows of events stay"):
        call_command("partitions", "create", stdout=io.StringIO())
    assert AuditEvent.objects.count() == 2


def test_an_event_can_not_be_dated_after_it_was_written(desk):
    with pytest.raises(IntegrityError, match="loans_auditevent_2023_03_until"), transaction.atomic():
        AuditEvent.objects.create(pk=months.base(OLD) + 1, at=timezone.now(), action="thing.done", actor_kind="system")


def test_one_unfinished_job_an_application_stays_unique_over_months(desk):
    job = make_pending(1)[0]
    with pytest.raises(IntegrityError, match="scoringjob_one_unfinished"), transaction.atomic():
        ScoringJob.objects.create(pk=months.base(OLD) + 7, application=job.application)


def test_ids_of_a_time_hold_all_that_was_written_then(desk):
    """Late scores of old jobs, and rows from before ids said their month, are never left out."""
    score_old(2)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = 'replica'")
        kept = _columns(cursor, "loans_prediction", "id", "scoring_job_id", "created_at")
        cursor.execute(
            f"INSERT INTO loans_prediction (id, scoring_job_id, created_at, {kept}) SELECT 5, 5, %s, {kept} FROM loans_prediction LIMIT 1",
            [OLD + timedelta(days=3)],
        )
        cursor.execute("SET LOCAL session_replication_role = 'origin'")
    now = timezone.now()
    for since, before in (
        (OLD, None),
        (None, OLD),
        (OLD, OLD + timedelta(days=30)),
        (now - timedelta(days=3), now),
        (now, None),
        (None, now),
    ):
        asked = {**({"created_at__gte": since} if since else {}), **({"created_at__lt": before} if before else {})}
        wanted = set(Prediction.objects.filter(**asked).values_list("pk", flat=True))
        assert set(Prediction.objects.filter(known.written(since, before), **asked).values_list("pk", flat=True)) == wanted, (since, before)
    ahead = now + timedelta(days=40)
    assert f"{months.base(ahead)}" in str(known.written(since=ahead)) and f"{months.base(now) + months.FIRST}" in str(
        known.written(before=now)
    )


def _columns(cursor: object, table: str, *without: str) -> str:
    cursor.execute("SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped", [table])
    return ", ".join(f'"{name}"' for (name,) in cursor.fetchall() if name not in without)


def test_the_nightly_task_does_all_of_it(desk, settings):
    note_old(2)
    seal()
    settings.PARTITIONS_AHEAD = 5
    keep_partitions()
    assert known.outlook().ahead == {"predictions": 5, "snapshots": 5, "events": 5}
    assert TableArchive.objects.get().part == "loans_auditevent_2023_03"
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stats WHERE tablename = 'loans_auditevent' AND inherited")
        assert cursor.fetchone()[0] > 5
