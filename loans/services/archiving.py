"""Months of the growing tables into Parquet files, and out of the database, where the policy (ARCHIVE_AFTER_MONTHS) says so.

One transaction a part: its rows are written to a file below ARCHIVE_DIR that is read back and compared, the partition is detached and
dropped (or the rows are deleted), and a `TableArchive` with an audit event says so. Nobody writes to the part meanwhile. Whatever dies in
between, the rows are still in the database, and the next run writes the file anew; a file is in place, and on the disk, before they go.
"""

# ruff: noqa: S608 - the names in these statements are the catalogue's or our own

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.db import connection, transaction

from loans.models import Status, TableArchive, months
from loans.models.application import UNDECIDED
from loans.queries.partitions import TABLES, Part, parts
from loans.services import audit
from loans.services.parquet_files import ArchiveProblem, Written, check_file, write
from loans.services.partitions import alone, patiently

logger = logging.getLogger(__name__)

# What hangs on a job and goes with it, in an order in which nothing still points at what goes.
WITH_JOBS = (("loans_amountestimate", "scoring_job_id"), ("loans_segmentassignment", "scoring_job_id"), ("loans_scoringjob", "id"))


@dataclass
class Archived:
    """made: what went into files. kept_back: what would be due, and why it stays."""

    made: list[TableArchive] = field(default_factory=list)
    kept_back: list[str] = field(default_factory=list)


def archive_due() -> Archived:
    """Everything that the policy wants out of the database; nothing without one. Does nothing where another process is at it.

    Raises ArchiveProblem where a file can't be written, or reads back as anything else than what went in.
    """
    done = Archived()
    if not any(settings.ARCHIVE_AFTER_MONTHS.values()):
        return done
    with alone() as mine:
        if not mine:
            return done
        for growing in TABLES:
            found = [part for part in parts(growing.table) if not part.is_default]
            for part in found:
                over = _over(part, found)
                if over is not None and _is_due(growing.name, over):
                    _one(done, part.name, lambda part=part, over=over: _archive_part(part, months.start(over)))
        for low, over in _job_months():
            if _is_due("jobs", over):
                _one(done, _job_part("loans_scoringjob", low), lambda low=low: _archive_jobs(low))
    return done


class _KeptBack(Exception):
    """It stays for now; the message says why."""


def _one(done: Archived, name: str, archive: object) -> None:
    try:
        done.made += archive()
    except _KeptBack as why:
        done.kept_back.append(f"{name}: {why}")


def _over(part: Part, found: list[Part]) -> int | None:
    """The base of the month by which all of a partition was written. What is older than ids that say their month was written by the end of
    the first month that has a partition, since both began with the same migration; None where that can't be told any more.
    """
    if part.high > months.FIRST:
        return part.high
    return min((other.low + months.FIRST for other in found if other.low), default=None)


def _is_due(name: str, high: int) -> bool:
    """Whether the months below `high` have been over for as many whole months as the policy wants."""
    after = settings.ARCHIVE_AFTER_MONTHS.get(name, 0)
    with connection.cursor() as cursor:
        cursor.execute("SELECT loandesk_month_base(now())")
        return bool(after) and high + after * months.FIRST <= cursor.fetchone()[0]


def _job_months() -> list[tuple[int, int]]:
    """(from which id, base of the month by which all were written) of each month that there are jobs of."""
    found = []
    with connection.cursor() as cursor:
        cursor.execute("SELECT loandesk_month_base(max(created_at)) FROM loans_scoringjob WHERE id < %s", [months.FIRST])
        last = cursor.fetchone()[0]
        if last is not None:
            found.append((0, last + months.FIRST))
        low = months.FIRST
        while True:
            cursor.execute("SELECT min(id) FROM loans_scoringjob WHERE id >= %s", [low])
            first = cursor.fetchone()[0]
            if first is None:
                return found
            low = first // months.FIRST * months.FIRST + months.FIRST
            found.append((low - months.FIRST, low))


def _job_part(table: str, low: int) -> str:
    return f"{table}_{months.start(low):%Y_%m}" if low else f"{table}_before"


# --- what has to be kept --------------------------------------------------------------------------------------------------

_KEPT = """
    SELECT count(*) FILTER (WHERE app.status = ANY(%(open)s)),
           count(*) FILTER (WHERE coalesce((SELECT max(created_at) FROM loans_decision WHERE application_id = app.id), app.submitted_at)
                                  > clock_timestamp() - make_interval(days => %(days)s)),
           count(*) FILTER (WHERE EXISTS (SELECT FROM loans_adverseactionnotice notice WHERE notice.application_id = app.id
                                          AND (notice.keep_until IS NULL OR notice.keep_until >= current_date)))
    FROM loans_loanapplication app WHERE app.id IN (SELECT application_id FROM {source})
"""


def _refuse_if_kept(source: str) -> None:
    """Raise _KeptBack while an application of these rows is undecided, was decided within RETENTION_DAYS, or has a notice to be kept."""
    with connection.cursor() as cursor:
        cursor.execute(_KEPT.format(source=source), {"open": [*UNDECIDED, Status.OFFERED], "days": settings.RETENTION_DAYS})
        undecided, recent, notices = cursor.fetchone()
    for number, why in (
        (undecided, "applications are undecided"),
        (recent, f"applications were decided within RETENTION_DAYS ({settings.RETENTION_DAYS})"),
        (notices, "applications have a notice that has to be kept"),
    ):
        if number:
            raise _KeptBack(f"{number:,} {why}.")


# --- partitions -----------------------------------------------------------------------------------------------------------


def _archive_part(part: Part, over: datetime) -> list[TableArchive]:
    table = part.growing.table
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '30s'")
            cursor.execute(f"LOCK TABLE {part.name} IN SHARE MODE")  # readers go on; who writes to so old a month waits
            cursor.execute("SET LOCAL lock_timeout = 0")
        if part.growing.name == "events":
            _refuse_young_events(over)
        else:
            _refuse_if_kept(part.name)
        if _is_empty(part.name):
            patiently(lambda: _drop(table, part.name))
            return []
        extra = audit.EXPORTED if part.growing.name == "events" else {}
        written = write(part.name, part.name, folder=_folder(table), key=part.growing.key, extra=extra)
        patiently(lambda: _drop(table, part.name))
        return [_say(table, part.name, part.low, part.high, written)]


def _folder(table: str) -> str:
    return table.removeprefix("loans_")


def _is_empty(source: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT NOT EXISTS (SELECT FROM {source})")
        return cursor.fetchone()[0]


def _refuse_young_events(end: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT now() - make_interval(days => %s) < %s", [settings.RETENTION_DAYS, end])
        if cursor.fetchone()[0]:
            raise _KeptBack(f"they are within RETENTION_DAYS ({settings.RETENTION_DAYS}).")


def _drop(table: str, part: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} DETACH PARTITION {part}")
        cursor.execute(f"DROP TABLE {part}")


# --- jobs -----------------------------------------------------------------------------------------------------------------


def _archive_jobs(low: int) -> list[TableArchive]:
    """The jobs of a month with what hangs on them. Their table is not divided: rows are deleted, once their results are gone."""
    high, made = low + months.FIRST, []
    with transaction.atomic(), connection.cursor() as cursor:
        for table in ("loans_prediction", "loans_featuresnapshot"):
            cursor.execute(f"SELECT EXISTS (SELECT FROM {table} WHERE scoring_job_id >= %s AND scoring_job_id < %s)", [low, high])
            if cursor.fetchone()[0]:
                raise _KeptBack("their results are still here: predictions and snapshots go first.")
        # Nobody claims, scores or gives up one of them from here on.
        cursor.execute(
            "SELECT count(*) FILTER (WHERE state IN ('pending', 'running')) FROM (SELECT state FROM loans_scoringjob"
            " WHERE id >= %s AND id < %s FOR UPDATE) job",
            [low, high],
        )
        unfinished = cursor.fetchone()[0]
        if unfinished:
            raise _KeptBack(f"{unfinished:,} of them are unfinished.")
        _refuse_if_kept(f"loans_scoringjob WHERE id >= {low} AND id < {high}")
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table, key in WITH_JOBS:
            name, source = _job_part(table, low), f"{table} WHERE {key} >= {low} AND {key} < {high}"
            if _is_empty(source):
                continue
            written = write(name, source, folder=_folder(table), key=key)
            cursor.execute("SET LOCAL loandesk.maintenance = 'on'")
            cursor.execute(f"DELETE FROM {source}")
            gone = cursor.rowcount
            cursor.execute("SET LOCAL loandesk.maintenance = 'off'")
            if gone != written.rows:
                raise ArchiveProblem(f"{name} changed while it was written; nothing was taken out.")
            made.append(_say(table, name, low, high, written))
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    return made


def _say(table: str, part: str, low: int, high: int, written: Written) -> TableArchive:
    event = audit.record("table.archived", part=part, rows=written.rows, sha256=written.sha256, content=written.content)
    logger.info("Archived %s: %d rows", part, written.rows)
    return TableArchive.objects.create(
        table=table, part=part, low=low, high=high, rows=written.rows, file=written.file, sha256=written.sha256, content=written.content,
        event_id=event.pk,
    )  # fmt: skip


def check(archive: TableArchive, folder: Path | None = None) -> None:
    """Read an archive's file, in ARCHIVE_DIR or a copy of that, against what the database says of it. Raises ArchiveProblem."""
    check_file((folder or settings.ARCHIVE_DIR) / archive.file, rows=archive.rows, sha256=archive.sha256, content=archive.content)
