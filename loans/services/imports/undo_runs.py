"""Undoing a large import in the background: the row is the promise, a worker does it in one transaction, a dead one leaves nothing."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from loans.models import ImportBatch, ImportUndo, RunState
from loans.models.job import ACTIVE_RUN
from loans.services import audit
from loans.services.imports.batches import LOST_SECONDS, MAX_ATTEMPTS
from loans.services.imports.undo import NotUndoable, undo, undoing
from loans.services.imports.watch import Watch, lease_end
from loans.services.wakeups import wake_import_undo
from mlcore.progress import Cancelled

logger = logging.getLogger(__name__)


class _TakenOver(Exception):
    """This undo was taken for dead, or cancelled, before it was written down."""


def start(batch: ImportBatch, *, by: Any) -> ImportUndo:
    """Queue it and wake a worker; the one that is under way where there is one. Raises NotUndoable where it would be refused anyway."""
    refusal = undoing(batch).refusal
    if refusal:
        raise NotUndoable(refusal)
    try:
        with transaction.atomic():
            run = ImportUndo.objects.create(batch=batch, started_by=by)
            audit.record("import.undo_started", actor=by, subject=batch)
            transaction.on_commit(lambda: wake_import_undo(run.pk))
    except IntegrityError:  # of two clicks the second; or the first's worker was quicker than this line
        run = ImportUndo.objects.filter(batch=batch).first()
        if run is None:
            raise
    return run


def cancel(run: ImportUndo) -> None:
    """A queued one stops at once, a running one after its statement; all stays as it was. Once it is written down it is too late."""
    stopped = ImportUndo.objects.filter(pk=run.pk, state=RunState.QUEUED).update(
        state=RunState.CANCELLED, finished_at=Now(), cancel_requested=True, step=_("Cancelled before it began")
    )
    if not stopped:
        ImportUndo.objects.filter(pk=run.pk, state=RunState.RUNNING).update(cancel_requested=True)


def run(run_id: int) -> ImportUndo | None:
    """Do a queued undo, or one whose worker died; None where it is somebody else's or over. Its end, good or bad, is on the row."""
    claimed = _claimable().filter(pk=run_id, attempts__lt=MAX_ATTEMPTS)
    if not claimed.update(
        state=RunState.RUNNING, started_at=Now(), lease_until=lease_end(), attempts=F("attempts") + 1, share_done=0, step=_("Begins")
    ):
        return None
    work = ImportUndo.objects.select_related("batch", "started_by").get(pk=run_id)
    try:
        with Watch(work) as watch:

            def finish() -> None:
                watch.stop()  # from here on this transaction holds the row
                if (
                    not _ours(work)
                    .filter(cancel_requested=False)
                    .update(state=RunState.DONE, share_done=1.0, step=_("Done"), finished_at=timezone.now(), lease_until=None)
                ):
                    raise _TakenOver

            undo(work.batch, by=work.started_by, progress=watch, finish=finish)
    except (Cancelled, _TakenOver):
        _end(work, RunState.CANCELLED, step=_("Cancelled; nothing was taken out"))
    except NotUndoable as refusal:
        _end(work, RunState.FAILED, error=str(refusal))
    except Exception as error:
        logger.exception("%s failed", work)
        _end(work, RunState.FAILED, error=_("%(error)s; see the worker's log") % {"error": type(error).__name__})
    work.refresh_from_db()
    return work


def _claimable() -> Any:
    return ImportUndo.objects.filter(Q(state=RunState.QUEUED) | Q(state=RunState.RUNNING, lease_until__lt=Now()))


def _ours(work: ImportUndo) -> Any:
    return ImportUndo.objects.filter(pk=work.pk, state=RunState.RUNNING, attempts=work.attempts)


def _end(work: ImportUndo, state: str, **told: str) -> None:
    """Where even this can't be written, the lease runs out and the sweeper sends it again."""
    try:
        _ours(work).update(state=state, finished_at=Now(), lease_until=None, **told)
    except DatabaseError:
        logger.exception("%s: its end could not be noted", work)
        connection.close_if_unusable_or_obsolete()


def due() -> list[int]:
    """Undos whose hint or whose worker got lost. One that was tried too often is ended here, one whose cancellation nobody heard too."""
    dead = ImportUndo.objects.filter(state=RunState.RUNNING, lease_until__lt=Now())
    dead.filter(cancel_requested=True).update(
        state=RunState.CANCELLED, finished_at=Now(), lease_until=None, step=_("Cancelled; nothing was taken out")
    )
    dead.filter(attempts__gte=MAX_ATTEMPTS).update(
        state=RunState.FAILED,
        finished_at=Now(),
        lease_until=None,
        error=_("The process that did it ended, %(times)d times; nothing was taken out.") % {"times": MAX_ATTEMPTS},
    )
    lost = Q(state=RunState.QUEUED, created_at__lt=Now() - timedelta(seconds=LOST_SECONDS)) | Q(
        state=RunState.RUNNING, lease_until__lt=Now()
    )
    return list(ImportUndo.objects.filter(lost).order_by("pk").values_list("pk", flat=True)[:20])


def of(batch: ImportBatch) -> ImportUndo | None:
    """The undo that the batch's page tells of: the one under way, or the last, where it did not get through."""
    last = ImportUndo.objects.filter(batch=batch).first()
    return last if last is not None and (last.state in ACTIVE_RUN or batch.undone_at is None) else None
