from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.utils import timezone

from loans.models import AuditEvent, ScoringJob, ScoringState, Status, months
from loans.queries.partitions import TABLES
from loans.services import scoring
from tests.factories import make_application, make_champion

OLD = datetime(2023, 3, 10, tzinfo=UTC)


def seal() -> None:
    """What a commit would do: partitions with checks that are still to come can't be taken away."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")


def make_partitions(at: datetime) -> None:
    with connection.cursor() as cursor:
        for growing in TABLES:
            low = months.base(at)
            cursor.execute(
                "SELECT loandesk_add_partition(%s, %s, %s, %s)", [growing.table, f"{growing.table}_{at:%Y_%m}", low, low + months.FIRST]
            )


def score_old(count: int = 3, at: datetime = OLD) -> list[ScoringJob]:
    """Applications of a past month that were scored and then decided before Loandesk."""
    jobs = []
    for number in range(1, count + 1):
        application = make_application(submitted_at=at)
        jobs.append(ScoringJob.objects.create(pk=months.base(at) + number, application=application, created_at=at))
        assert scoring.score_now(jobs[-1].pk)
    return jobs


def settle(jobs: list[ScoringJob]) -> None:
    for job in jobs:
        type(job.application).objects.filter(pk=job.application_id).update(status=Status.WITHDRAWN)


def note_old(count: int = 5, at: datetime = OLD) -> list[AuditEvent]:
    made = [
        AuditEvent.objects.create(
            pk=months.base(at) + number, at=at + timedelta(seconds=number), action="thing.done", actor_kind="system",
            facts={"number": number, "text": "ü \" \\", "share": 0.1},
        )
        for number in range(count)
    ]  # fmt: skip
    seal()
    return made


@pytest.fixture
def desk(db, artifacts, settings, tmp_path):
    settings.ARCHIVE_DIR = tmp_path / "archive"
    settings.ARCHIVE_AFTER_MONTHS = {"predictions": 12, "snapshots": 12, "jobs": 12, "events": 12}
    make_champion()
    make_partitions(OLD)
    return settings


__all__ = ["OLD", "ScoringState", "make_partitions", "note_old", "score_old", "seal", "settle", "timezone"]
