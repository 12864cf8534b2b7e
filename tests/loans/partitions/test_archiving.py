"""Old months into Parquet files and out of the database: nothing is lost on the way, and nothing goes that has to be kept."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
from datetime import timedelta

import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone

from loans.models import (
    AdverseActionNotice,
    AmountEstimate,
    AuditEvent,
    AuditSeal,
    Decision,
    FeatureSnapshot,
    LoanApplication,
    Prediction,
    ScoringJob,
    TableArchive,
    months,
)
from loans.queries import partitions as known
from loans.queries.application_page import application_page
from loans.services import archiving, audit, erasure, parquet_files
from tests.factories import make_pending
from tests.loans.partitions.conftest import OLD, note_old, score_old, seal, settle
from tests.loans.services.test_audit import tamper

pytestmark = pytest.mark.django_db


def names() -> set[str]:
    return {part.name for part in known.parts()}


def archive() -> archiving.Archived:
    seal()
    done = archiving.archive_due()
    seal()
    return done


@pytest.fixture
def old(desk):
    jobs = score_old(3)
    settle(jobs)
    return jobs


def test_a_month_goes_into_files_that_hold_all_of_it(old, settings):
    before = {row.pk: row for row in Prediction.objects.all()}
    values = {row.pk: row.values for row in FeatureSnapshot.objects.all()}
    AmountEstimate.objects.create(
        scoring_job=old[0], application=old[0].application, model_version_id=before[min(before)].model_version_id,
        low="1.10", middle="2.20", high="3.30", capped=False,
    )  # fmt: skip
    note_old(2)
    done = archive()
    assert done.kept_back == [] and Prediction.objects.count() == FeatureSnapshot.objects.count() == ScoringJob.objects.count() == 0
    assert {made.part for made in done.made} == {
        "loans_prediction_2023_03", "loans_featuresnapshot_2023_03", "loans_auditevent_2023_03", "loans_amountestimate_2023_03",
        "loans_scoringjob_2023_03",
    }  # fmt: skip
    assert not {part for part in names() if part.endswith("2023_03")}
    folder = settings.ARCHIVE_DIR
    rows = pq.read_table(folder / "prediction/loans_prediction_2023_03.parquet").to_pylist()
    assert [row["scoring_job_id"] for row in rows] == [job.pk for job in old]
    for row in rows:
        was = before[row["id"]]
        assert (row["probability"], row["log_odds"], row["shadow"], row["created_at"]) == (
            was.probability,
            was.log_odds,
            False,
            was.created_at,
        )
        assert json.loads(row["contributions"]) == was.contributions and json.loads(row["reasons"]) == was.reasons
    snapshots = pq.read_table(folder / "featuresnapshot/loans_featuresnapshot_2023_03.parquet").to_pylist()
    assert {row["scoring_job_id"]: json.loads(row["values"]) for row in snapshots} == values
    assert pq.read_table(folder / "amountestimate/loans_amountestimate_2023_03.parquet").to_pylist()[0]["middle"] == "2.20"
    assert pq.read_table(folder / "scoringjob/loans_scoringjob_2023_03.parquet").to_pylist()[0]["state"] == "done"
    manifest = json.loads((folder / "prediction/loans_prediction_2023_03.json").read_text())
    file = folder / "prediction" / manifest["file"]
    assert manifest["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest() and manifest["rows"] == 3
    assert manifest["key"] == {"least": old[0].pk, "most": old[-1].pk} and manifest["schema"]["created_at"] == "timestamp[us, tz=UTC]"
    assert oct(file.stat().st_mode)[-3:] == "600" and not list(folder.rglob("*.part"))
    call_command("partitions", "check", stdout=io.StringIO())
    assert archive().made == []


def test_nothing_is_archived_unless_the_policy_says_so_and_then_by_table(old, settings):
    settings.ARCHIVE_AFTER_MONTHS = {}
    assert archive() == archiving.Archived() and Prediction.objects.count() == 3
    settings.ARCHIVE_AFTER_MONTHS = {"snapshots": 12, "predictions": 1200}
    assert [made.part for made in archive().made] == ["loans_featuresnapshot_2023_03"]
    assert Prediction.objects.count() == ScoringJob.objects.count() == 3


def test_the_current_month_is_never_due(desk, settings):
    make_pending(1)
    settings.ARCHIVE_AFTER_MONTHS = {"jobs": 1, "events": 1, "predictions": 1, "snapshots": 1}
    audit.record("thing.done")
    assert not [made.part for made in archive().made if not made.part.endswith("2023_03")] and ScoringJob.objects.count() == 1


def test_what_has_to_be_kept_is(old, settings, django_user_model):
    tamper(f"UPDATE loans_loanapplication SET status = 'open' WHERE id = {old[0].application_id}")
    done = archive()
    assert "loans_prediction_2023_03: 1 applications are undecided." in done.kept_back
    assert any(why.startswith("loans_scoringjob_2023_03: their results are still here") for why in done.kept_back)
    tamper(f"UPDATE loans_loanapplication SET status = 'declined' WHERE id = {old[0].application_id}")
    decision = Decision.objects.create(
        application_id=old[0].application_id, outcome="decline", reason="income_insufficient", reason_text="-",
        officer=django_user_model.objects.create_superuser("officer"),
    )  # fmt: skip
    settings.RETENTION_DAYS = 30
    assert any("1 applications were decided within RETENTION_DAYS (30)" in why for why in archive().kept_back)
    settings.RETENTION_DAYS = 0
    AdverseActionNotice.objects.create(
        decision=decision, application_id=old[0].application_id, reasons=[], rule_pack="-", due_on="2026-01-01"
    )
    assert any("1 applications have a notice that has to be kept" in why for why in archive().kept_back)
    assert Prediction.objects.count() == FeatureSnapshot.objects.count() == ScoringJob.objects.count() == 3


def test_an_unfinished_job_keeps_its_month(old, settings):
    ScoringJob.objects.filter(pk=old[0].pk).update(state="pending")
    assert any(why == "loans_scoringjob_2023_03: 1 of them are unfinished." for why in archive().kept_back)
    assert ScoringJob.objects.count() == 3


@pytest.mark.parametrize("step", ["disk", "other bytes", "drop", "told"])
def test_interrupted_anywhere_nothing_is_lost_and_the_next_run_does_it(old, settings, monkeypatch, step):
    seal()

    def die(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device") if step == "disk" else KeyboardInterrupt

    with monkeypatch.context() as broken:
        if step == "disk":
            broken.setattr(os, "fsync", die)
        elif step == "other bytes":
            real = parquet_files.read
            broken.setattr(parquet_files, "read", lambda path: (rows[:-1] for rows in real(path)))
        else:
            broken.setattr(archiving, {"drop": "_drop", "told": "_say"}[step], die)
        with pytest.raises((archiving.ArchiveProblem, KeyboardInterrupt)), transaction.atomic():
            archiving.archive_due()
    assert Prediction.objects.count() == 3 and "loans_prediction_2023_03" in names() and not TableArchive.objects.exists()
    assert not list(settings.ARCHIVE_DIR.rglob("*.part"))
    assert len(archive().made) == 3 and Prediction.objects.count() == 0
    call_command("partitions", "check", stdout=io.StringIO())


def test_an_archived_application_says_so_and_its_person_can_be_erased(old, settings):
    archive()
    application = LoanApplication.objects.get(pk=old[0].application_id)
    page = application_page(application, LoanApplication.objects.all(), now=timezone.now(), personal_data=True)
    assert page.risk is None and page.no_score.title == "Its score is in the archive"
    assert erasure.erase(application.pk, by=None).pk == application.pk


def test_a_decision_whose_score_was_archived_is_still_listed(old, settings, django_user_model, client):
    score = Prediction.objects.get(scoring_job=old[0])
    officer = django_user_model.objects.create_superuser("officer")
    Decision.objects.create(
        application_id=old[0].application_id, outcome="refer", officer=officer, reason="second_opinion", reason_text="-", prediction=score
    )
    archive()
    settings.SECURE_SSL_REDIRECT = False
    client.force_login(officer)
    assert client.get("/admin/loans/decision/").status_code == 200
    assert client.get(f"/admin/loans/loanapplication/{old[0].application_id}/change/").status_code == 200
    assert client.get(f"/api/v1/applications/{old[0].application_id}/").status_code == 200


# --- the audit trail ------------------------------------------------------------------------------------------------------


@pytest.fixture
def events(desk):
    made = note_old(5)
    audit.record("thing.done", number=6)
    archive()
    return made


def verify(**options) -> str:
    out = io.StringIO()
    call_command("audit_verify", stdout=out, **options)
    return out.getvalue()


def test_the_trail_verifies_with_a_month_in_the_archive(events, settings, tmp_path):
    assert not AuditEvent.objects.filter(action="thing.done", pk__in=[event.pk for event in events]).exists()
    assert AuditSeal.objects.count() == AuditEvent.objects.count() + 5
    told = verify(save_heads=tmp_path / "heads.json")
    assert (
        f"{AuditSeal.objects.count()} audit events in 1 chains" in told and "5 of them are archived; only their seals and anchors" in told
    )
    copy = shutil.copytree(settings.ARCHIVE_DIR, tmp_path / "copy")
    assert "5 of them are archived; read in their files too" in verify(archive=copy, heads=tmp_path / "heads.json")


def rewritten(path, change):
    """The file with other rows, as somebody would write it who has nothing but the file."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(type(table).from_pylist(rows, table.schema), path)


def test_a_changed_file_is_named(events, settings):
    path = settings.ARCHIVE_DIR / "auditevent/loans_auditevent_2023_03.parquet"
    rewritten(path, lambda rows: rows[2].update(action="thing.else"))
    verify()  # the seals alone can't show it
    with pytest.raises(CommandError, match="is not as it was written: its SHA-256 is another"):
        verify(archive=settings.ARCHIVE_DIR)
    with pytest.raises(CommandError, match="SHA-256 is another"):
        call_command("partitions", "check", stdout=io.StringIO())


@pytest.mark.parametrize(
    ("change", "event", "message"),
    [
        (lambda rows: rows[2].update(action="thing.else"), 2, "in its archive it is another"),
        (lambda rows: rows[1].update(body=rows[1]["body"].replace(".done", ".gone"), action="thing.gone"), 1, "it is another than"),
        (lambda rows: rows.pop(3), None, "seals of 5 point there"),
    ],
    ids=["column", "text", "gone"],
)  # fmt: skip
def test_whoever_rewrites_file_and_row_still_has_the_seals_against_him(events, settings, change, event, message):
    """Digests of the new file in the database's row and in the event that told of it: the chain breaks there, or the seals differ."""
    path = settings.ARCHIVE_DIR / "auditevent/loans_auditevent_2023_03.parquet"
    rewritten(path, change)
    content, count = hashlib.sha256(), 0
    for rows in parquet_files.read(path):
        content.update(parquet_files._text(rows))
        count += len(rows)
    tamper(
        f"UPDATE loans_tablearchive SET sha256 = '{hashlib.sha256(path.read_bytes()).hexdigest()}', content = '{content.hexdigest()}',"
        f" rows = {count} WHERE \"table\" = 'loans_auditevent'"
    )
    with pytest.raises(CommandError) as told:
        verify(archive=settings.ARCHIVE_DIR)
    assert message in str(told.value) and "is another than the one it tells of" in str(told.value)
    if event is not None:
        assert f"event {events[event].pk}" in str(told.value)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DELETE FROM loans_auditseal WHERE event_id = {0}", "of the chain is missing"),
        ("UPDATE loans_auditseal SET previous = sha256('x') WHERE event_id = {0}", "does not follow the seal before it"),
        ("DELETE FROM loans_tablearchive WHERE \"table\" = 'loans_auditevent'", "the event was deleted; its seal is still here"),
        ("DELETE FROM loans_auditevent WHERE id > {1}; DELETE FROM loans_auditseal WHERE event_id > {1}", "told of the archive"),
        ("UPDATE loans_tablearchive SET high = 9000000000000000; DELETE FROM loans_auditevent WHERE id = {1}", "seals of 6 point there"),
    ],
    ids=["seal gone", "seal changed", "archive forgotten", "anchor gone", "range widened"],
)  # fmt: skip
def test_what_was_done_around_the_archive_is_named(events, statement, message):
    last = AuditEvent.objects.get(action="thing.done").pk
    tamper(statement.format(events[2].pk, last))
    with pytest.raises(CommandError, match=message):
        verify()


def test_young_events_stay_as_long_as_everything_else(desk, settings):
    note_old(2)
    settings.RETENTION_DAYS = (timezone.now() - OLD + timedelta(days=60)).days
    assert any(why.startswith("loans_auditevent_2023_03: they are within RETENTION_DAYS") for why in archive().kept_back)
    assert AuditEvent.objects.filter(pk__gte=months.base(OLD), pk__lt=months.base(OLD) + months.FIRST).count() == 2


def test_the_command_lists_and_refuses(desk, settings):
    out = io.StringIO()
    call_command("partitions", stdout=out)
    assert "loans_prediction_2023_03" in out.getvalue() and "loans_auditevent_default" in out.getvalue()
    with pytest.raises(CommandError, match="1 to 120"):
        call_command("partitions", "create", ahead=0)
    out = io.StringIO()
    note_old(1)
    call_command("partitions", "archive", stdout=out)
    assert "loans_auditevent_2023_03: 1 rows in auditevent/" in out.getvalue() and "loans_prediction_2023_03" not in names()
    settings.ARCHIVE_AFTER_MONTHS = {}
    out = io.StringIO()
    call_command("partitions", "archive", stdout=out)
    assert "names no table" in out.getvalue()
