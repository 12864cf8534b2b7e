"""A bulk job: asked for once, cut into ranges of applications, and worked off by as many processes on as many hosts as there are.

A worker claims one chunk at a time with a lease that a thread keeps renewing, and stores it in one transaction. Killed, it loses that
transaction and nothing else: another takes the chunk when the lease has run out. A chunk that fails three times is left to ordinary
scoring, which finds out application by application which one it is. Two workers that hold the same chunk (a lease that ran out under a
process that stood still) do no harm either: the rows of the jobs are locked, and each job is stored by one of them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Sum
from django.db.models.functions import Now
from django.utils.translation import gettext

from loans.models import BulkChunk, BulkKind, BulkRun, ChunkState, RunState
from loans.models.application import TO_DECIDE
from loans.services import audit, registry, scoring
from loans.services.bulk import chunk
from loans.services.fraud import links
from loans.services.training import peak_memory_mb
from loans.services.wakeups import wake_bulk, wake_scoring
from mlcore.progress import Progress, silent

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
PLAN_LOCK = 0x10ADB01C


class BulkRefused(Exception):
    """This can't be done with this bulk job; the message says why."""


@dataclass(frozen=True)
class Claimed:
    pk: int
    run_id: int
    first: int
    end: int
    attempt: int


def start(kind: str, *, by: object | None, wake: bool = True) -> BulkRun:
    """Queue a bulk job and wake workers (not where the caller works itself). Raises BulkRefused where one of its kind is under way."""
    if kind not in BulkKind.values:
        raise BulkRefused(
            gettext("%(kind)s is no bulk job; there are: %(values)s.") % {"kind": f"{kind!r}", "values": ", ".join(BulkKind.values)}
        )
    try:
        with transaction.atomic():
            run = BulkRun.objects.create(kind=kind, started_by=by)
            audit.record("bulk_job.started", actor=by, subject=run, kind=kind)
            if wake:
                transaction.on_commit(lambda: wake_workers(run.pk))
    except IntegrityError as error:
        raise BulkRefused(gettext("One of this kind is under way; pause or cancel it first.")) from error
    return run


def wake_workers(run_id: int) -> None:
    for _ in range(settings.BULK_WORKERS):
        wake_bulk(run_id)


def active(kind: str) -> BulkRun | None:
    return BulkRun.objects.filter(kind=kind, state__in=(RunState.QUEUED, RunState.RUNNING)).first()


def pause(run: BulkRun, *, by: object | None) -> None:
    """What workers have in hands is finished. Raises BulkRefused where the job is over."""
    _step(run, "paused", by, paused=True)


def resume(run: BulkRun, *, by: object | None) -> None:
    _step(run, "resumed", by, paused=False)
    wake_workers(run.pk)


def cancel(run: BulkRun, *, by: object | None) -> None:
    """What is scored stays scored; the rest waits for ordinary scoring, or keeps the score that it has."""
    _step(run, "cancelled", by, cancel_requested=True)
    _end_if_over(run.pk)


@transaction.atomic
def _step(run: BulkRun, done: str, by: object | None, **changes: Any) -> None:
    if not BulkRun.objects.filter(pk=run.pk, state__in=(RunState.QUEUED, RunState.RUNNING)).update(**changes):
        raise BulkRefused(gettext("It is over already."))
    audit.record(f"bulk_job.{done}", actor=by, subject=run)


def work(run_id: int, *, stop: Callable[[], bool] = lambda: False, progress: Progress = silent) -> int:
    """Take chunk after chunk until none is left to take, or `stop` says so; returns how many applications were stored here.

    Any number of processes may do this for the same job. Raises NoChampion where no model serves.
    """
    registry.champion()
    if not _planned(run_id, progress):
        return 0
    stored = 0
    with _Lease() as lease:
        while not stop():
            claimed = _claim(run_id)
            if claimed is None:
                break
            with lease.holding(claimed):
                stored += _do(claimed)
            _tell(run_id, progress)
    _end_if_over(run_id)
    return stored


# --- cutting --------------------------------------------------------------------------------------------------------------

# Cut at every n-th id of what is to be done, so that each chunk has as much to do however the ids are strewn.
_CUT = """
    WITH wanted AS (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM ({source}) due(id)),
         cuts AS (SELECT place / %(size)s AS number, min(id) AS first, count(*) AS rows FROM wanted GROUP BY 1)
    INSERT INTO loans_bulkchunk (run_id, first, "end", rows, state, attempts, claimed_by, stored, error)
    SELECT %(run)s, first, coalesce(lead(first) OVER (ORDER BY number), (SELECT max(id) + 1 FROM wanted)), rows, 'waiting', 0, '', 0, ''
    FROM cuts
"""
_SOURCES = {
    BulkKind.PENDING: "SELECT application_id FROM loans_scoringjob WHERE state = 'pending' AND attempts = 0",
    BulkKind.RESCORE: "SELECT id FROM loans_loanapplication WHERE status = ANY(%(statuses)s)",
}


def _planned(run_id: int, progress: Progress) -> bool:
    """Whether the job has its chunks and is running; the first worker sees to it, and the others wait for him."""
    while links.link_waiting() == links.BATCH:
        progress(0.0, gettext("Linking identifiers"))
    with transaction.atomic(), connection.cursor() as cursor:
        run = BulkRun.objects.select_for_update().get(pk=run_id)
        if run.state != RunState.QUEUED:
            return run.state == RunState.RUNNING
        if run.cancel_requested:
            return False
        source = _SOURCES[BulkKind(run.kind)]
        parameters = {"size": settings.BULK_CHUNK_ROWS, "run": run_id, "statuses": list(TO_DECIDE)}
        cursor.execute(_CUT.format(source=source), parameters)
        rows = BulkChunk.objects.filter(run=run_id).aggregate(rows=Sum("rows"))["rows"] or 0
        BulkRun.objects.filter(pk=run_id).update(
            state=RunState.RUNNING, started_at=Now(), rows=rows, step=gettext("%(rows)s applications to score") % {"rows": f"{rows:,}"}
        )
    return True


# --- chunks ---------------------------------------------------------------------------------------------------------------

_CLAIM = """
    WITH due AS MATERIALIZED (
        SELECT chunk.id FROM loans_bulkchunk chunk JOIN loans_bulkrun run ON run.id = chunk.run_id
        WHERE run.id = %(run)s AND run.state = 'running' AND NOT run.paused AND NOT run.cancel_requested AND chunk.attempts < %(most)s
          AND (chunk.state = 'waiting' OR (chunk.state = 'running' AND chunk.lease_until < clock_timestamp()))
        ORDER BY chunk.first LIMIT 1 FOR UPDATE OF chunk SKIP LOCKED)
    UPDATE loans_bulkchunk chunk SET state = 'running', attempts = attempts + 1, claimed_by = %(worker)s, error = '',
           lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
    FROM due WHERE chunk.id = due.id RETURNING chunk.id, chunk.run_id, chunk.first, chunk."end", chunk.attempts
"""


def _claim(run_id: int) -> Claimed | None:
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, {"run": run_id, "most": MAX_ATTEMPTS, "worker": scoring.worker_name(), "lease": settings.BULK_LEASE_SECONDS})
        row = cursor.fetchone()
    return None if row is None else Claimed(*row)


def _ours(claimed: Claimed) -> Any:
    return BulkChunk.objects.filter(pk=claimed.pk, state=ChunkState.RUNNING, attempts=claimed.attempt)


def _do(claimed: Claimed) -> int:
    try:
        with transaction.atomic():
            if BulkRun.objects.filter(pk=claimed.run_id, kind=BulkKind.RESCORE).exists():
                _promise(claimed)
            stored = chunk.score_range(claimed.first, claimed.end)
            # In the transaction of the scores: a chunk is done if and only if they are there.
            _ours(claimed).update(state=ChunkState.DONE, stored=stored, finished_at=Now(), lease_until=None)
    except Exception as error:
        if connection.connection is None or connection.connection.closed:
            connection.close()  # the server went away; the next statement connects anew
        # The text may hold a value of somebody's; its class does not.
        logger.warning("Chunk %d of bulk job %d failed: %s", claimed.pk, claimed.run_id, type(error).__name__)
        again = claimed.attempt < MAX_ATTEMPTS
        _ours(claimed).update(
            state=ChunkState.WAITING if again else ChunkState.RUNNING, error=type(error).__name__, lease_until=None if again else Now()
        )
        return 0
    return stored


def _promise(claimed: Claimed) -> None:
    """A job for each open application of the range that has none waiting."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO loans_scoringjob (application_id, state, attempts, created_at, due_at, claimed_by, error)"
            " SELECT id, 'pending', 0, clock_timestamp(), clock_timestamp(), '', '' FROM loans_loanapplication"
            " WHERE id >= %s AND id < %s AND status = ANY(%s) ORDER BY id"
            " ON CONFLICT (application_id) WHERE state IN ('pending', 'running') DO NOTHING",
            [claimed.first, claimed.end, list(TO_DECIDE)],
        )


def _leave_exhausted(run_id: int) -> None:
    """Chunks that failed, or killed their worker, too often go to ordinary scoring."""
    with transaction.atomic():
        tired = list(
            BulkChunk.objects.select_for_update(skip_locked=True).filter(
                run=run_id, state=ChunkState.RUNNING, attempts__gte=MAX_ATTEMPTS, lease_until__lt=Now()
            )
        )
        for each in tired:
            if BulkRun.objects.filter(pk=run_id, kind=BulkKind.RESCORE).exists():
                _promise(Claimed(each.pk, run_id, each.first, each.end, each.attempts))
            BulkChunk.objects.filter(pk=each.pk).update(state=ChunkState.LEFT, finished_at=Now(), lease_until=None)
    if tired:
        logger.error("Bulk job %d left %d chunks to ordinary scoring after %d attempts.", run_id, len(tired), MAX_ATTEMPTS)
        wake_scoring()


def _tell(run_id: int, progress: Progress) -> None:
    found = BulkChunk.objects.filter(run=run_id, state__in=(ChunkState.DONE, ChunkState.LEFT)).aggregate(
        rows=Sum("rows"), stored=Sum("stored")
    )
    done, stored = found["rows"] or 0, found["stored"] or 0
    run = BulkRun.objects.get(pk=run_id)
    share, step = (
        done / max(run.rows or 1, 1),
        gettext("%(stored)s of %(what)s applications scored") % {"stored": f"{stored:,}", "what": f"{run.rows or 0:,}"},
    )
    BulkRun.objects.filter(pk=run_id, state=RunState.RUNNING).update(
        share_done=min(share, 1.0), stored=stored, step=step, peak_memory_mb=max(run.peak_memory_mb or 0.0, peak_memory_mb())
    )
    progress(min(share, 1.0), step)


def _end_if_over(run_id: int) -> None:
    """Close the job once nothing of it is open. Whoever comes first does it."""
    _leave_exhausted(run_id)
    run = BulkRun.objects.get(pk=run_id)
    if not run.is_active or (run.state == RunState.QUEUED and not run.cancel_requested):
        return
    chunks = BulkChunk.objects.filter(run=run_id)
    open_states = (ChunkState.RUNNING,) if run.cancel_requested else (ChunkState.WAITING, ChunkState.RUNNING)
    if chunks.filter(state__in=open_states).exists():
        return
    stored, left = chunks.aggregate(stored=Sum("stored"))["stored"] or 0, chunks.filter(state=ChunkState.LEFT).count()
    state = RunState.CANCELLED if run.cancel_requested else RunState.DONE
    said = f"{stored:,} applications scored" + (gettext("; %(left)s chunks left to ordinary scoring") % {"left": left} if left else "")
    BulkRun.objects.filter(pk=run_id, state=run.state).update(
        state=state, finished_at=Now(), stored=stored, step=said, **({} if run.cancel_requested else {"share_done": 1.0})
    )


def unattended() -> list[int]:
    """Jobs with something that a worker could take now: for the sweeper, which wakes workers again."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT run.id FROM loans_bulkrun run WHERE run.state IN ('queued', 'running') AND NOT run.paused AND (run.state = 'queued'"
            " OR EXISTS (SELECT FROM loans_bulkchunk chunk WHERE chunk.run_id = run.id AND (chunk.state = 'waiting'"
            " OR (chunk.state = 'running' AND chunk.lease_until < clock_timestamp()))) OR NOT EXISTS (SELECT FROM loans_bulkchunk chunk"
            " WHERE chunk.run_id = run.id AND chunk.state IN ('waiting', 'running')) OR run.cancel_requested) ORDER BY run.id"
        )
        return [row[0] for row in cursor.fetchall()]


class _Lease:
    """A thread that renews the lease of the chunk in hands; it dies with the process, and that is the point."""

    def __init__(self) -> None:
        self._held: Claimed | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="bulk-lease", daemon=True)

    def __enter__(self) -> _Lease:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._thread.join(timeout=5)

    @contextmanager
    def holding(self, claimed: Claimed) -> Iterator[None]:
        self._held = claimed
        try:
            yield
        finally:
            self._held = None

    def _renew(self) -> None:
        try:
            while not self._over.wait(settings.BULK_LEASE_SECONDS / 4):
                held = self._held
                if held is None:
                    continue
                try:
                    with transaction.atomic(), connection.cursor() as cursor:
                        # Where the worker just finishes it, its row is locked and needs no lease any more.
                        cursor.execute("SET LOCAL lock_timeout = '1s'")
                        cursor.execute(
                            "UPDATE loans_bulkchunk SET lease_until = clock_timestamp() + make_interval(secs => %s)"
                            " WHERE id = %s AND state = 'running' AND attempts = %s",
                            [settings.BULK_LEASE_SECONDS, held.pk, held.attempt],
                        )
                except Exception as error:
                    logger.warning("Chunk %d: lease not renewed (%s), trying again", held.pk, type(error).__name__)
                    connection.close()
        finally:
            connection.close()
