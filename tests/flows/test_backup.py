"""Back-up and restore: what was there comes back, and what would not open afterwards is refused before."""

from __future__ import annotations

import io
import os
import re
import shutil
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connections

from loans.models import Applicant, AuditEvent, LoanApplication, Prediction
from loans.queries.partitions import outlook
from loans.services import at_once, audit, backup, partitions
from tests.factories import make_application, make_champion

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def desk(artifacts, settings, tmp_path):
    settings.UPLOADS_DIR = tmp_path / "uploads"
    settings.UPLOADS_DIR.mkdir()
    (settings.UPLOADS_DIR / "loans.csv").write_text("amount\n1\n")
    settings.ARCHIVE_DIR = tmp_path / "archive"
    settings.ARCHIVE_DIR.mkdir()
    (settings.ARCHIVE_DIR / "then.parquet").write_text("then")
    make_champion()
    made = at_once.submit({"amount": Decimal(5000), "applicant": {"name": "Ann Jensen"}}, submitted_by=User.objects.create_user("shop"))
    audit.record("thing.done")
    return made


def test_what_was_there_comes_back(desk, settings, tmp_path):
    folder = tmp_path / "backup"
    call_command("backup", folder, stdout=io.StringIO())
    assert b"Ann Jensen" not in (folder / "database.dump").read_bytes()
    later = make_application()
    assert partitions.keep_ahead(6).made, "months that the back-up does not know"
    (settings.ARCHIVE_DIR / "then.parquet").unlink()
    (settings.ARCHIVE_DIR / "later.parquet").write_text("later")
    shutil.rmtree(settings.ARTIFACTS_DIR)
    shutil.rmtree(settings.UPLOADS_DIR)
    with pytest.raises(CommandError, match="--overwrite"):
        call_command("restore", folder)
    out = io.StringIO()
    call_command("restore", folder, overwrite=True, stdout=out)
    assert "audit trail and models are as they were" in out.getvalue()
    assert not LoanApplication.objects.filter(pk=later.pk).exists() and Applicant.objects.get().name == "Ann Jensen"
    assert Prediction.objects.get(pk=desk.prediction.pk).contributions == desk.prediction.contributions
    assert (settings.UPLOADS_DIR / "loans.csv").read_text() == "amount\n1\n"
    assert {file.name for file in settings.ARCHIVE_DIR.iterdir()} == {"then.parquet", "later.parquet"}, (
        "of the archive nothing is taken away"
    )
    assert min(outlook().ahead.values()) == 3 and partitions.keep_ahead(3).made == []
    audit.record("thing.done")
    assert audit.verify().faults == [] and AuditEvent.objects.filter(action="thing.done").count() == 2
    with pytest.raises(CommandError, match="is there already"):
        call_command("backup", folder)


def test_what_would_not_open_afterwards_is_refused_before(desk, settings, tmp_path):
    folder = tmp_path / "backup"
    backup.make(folder)
    keys = settings.PII_KEYS
    settings.PII_KEYS = [os.urandom(32)]
    with pytest.raises(backup.BackupProblem, match="PII_KEYS here lacks"):
        backup.restore(folder, overwrite=True)
    settings.PII_KEYS = [os.urandom(32), *keys]
    backup.check(folder)
    blind, settings.BLIND_INDEX_KEY = settings.BLIND_INDEX_KEY, os.urandom(32)
    with pytest.raises(backup.BackupProblem, match="BLIND_INDEX_KEY"):
        backup.check(folder)
    settings.BLIND_INDEX_KEY = blind
    with (folder / "database.dump").open("ab") as file:
        file.write(b"x")
    with pytest.raises(backup.BackupProblem, match="Not as they were written: database.dump"):
        backup.restore(folder, overwrite=True)
    with pytest.raises(backup.BackupProblem, match="is not a back-up"):
        backup.check(tmp_path)


@pytest.mark.parametrize("what", ["cut off", "refused"])
def test_a_restore_that_fails_on_its_way_leaves_everything_as_it_was(desk, tmp_path, monkeypatch, what):
    folder = tmp_path / "backup"
    backup.make(folder)
    later = make_application()
    dump = folder / backup.DUMP
    if what == "cut off":
        dump.write_bytes(dump.read_bytes()[:-200])
    else:
        monkeypatch.setattr(backup, "_HELD", re.compile("(?!)"))  # nothing is taken away beforehand: the first table is there already
    connections.close_all()
    with pytest.raises(backup.BackupProblem, match="is as it was"):
        backup._replace(dump)
    assert LoanApplication.objects.filter(pk=later.pk).exists() and Prediction.objects.filter(pk=desk.prediction.pk).exists()
    assert audit.verify().faults == []
