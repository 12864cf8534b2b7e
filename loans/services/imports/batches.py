"""Import batches as rows: asked to stop, and ended where their process died. Light to import, for processes that read no files."""

from __future__ import annotations

from datetime import timedelta

from django.db.models.functions import Now
from django.utils.translation import gettext as _

from loans.models import ImportBatch, RunState

MAX_ATTEMPTS = 3
LOST_SECONDS = 30


def fail_abandoned_imports() -> int:
    """Mark imports whose process died as failed; they left nothing behind. Returns how many there were.

    One whose file is still here is queued again instead, until it has been tried `MAX_ATTEMPTS` times.
    """
    dead = ImportBatch.objects.filter(state=RunState.RUNNING, lease_until__lt=Now())
    dead.filter(upload__isnull=False, attempts__lt=MAX_ATTEMPTS, cancel_requested=False).update(
        state=RunState.QUEUED, lease_until=None, share_done=0, step=_("Its worker died; it begins anew")
    )
    return dead.update(
        state=RunState.FAILED,
        finished_at=Now(),
        lease_until=None,
        error=_("The process that did this import ended; nothing was loaded. Start it again."),
    )


def cancel_import(batch: ImportBatch) -> None:
    """Ask an import to stop. A queued one stops at once, a running one within a moment; nothing of it is kept."""
    stopped = ImportBatch.objects.filter(pk=batch.pk, state=RunState.QUEUED).update(
        state=RunState.CANCELLED, finished_at=Now(), cancel_requested=True, step=_("Cancelled before it began")
    )
    if not stopped:
        ImportBatch.objects.filter(pk=batch.pk, state=RunState.RUNNING).update(cancel_requested=True)


def due_imports() -> list[int]:
    """Ids of uploaded files that wait for a worker whose hint got lost."""
    lost = ImportBatch.objects.filter(state=RunState.QUEUED, upload__isnull=False, created_at__lt=Now() - timedelta(seconds=LOST_SECONDS))
    return list(lost.order_by("pk").values_list("pk", flat=True)[:20])
