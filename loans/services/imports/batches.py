"""Import batches as rows: asked to stop, and ended where their process died. Light to import, for processes that read no files."""

from __future__ import annotations

from django.db.models.functions import Now

from loans.models import ImportBatch, RunState


def fail_abandoned_imports() -> int:
    """Mark imports whose process died as failed; they left nothing behind. Returns how many there were."""
    return ImportBatch.objects.filter(state=RunState.RUNNING, lease_until__lt=Now()).update(
        state=RunState.FAILED,
        finished_at=Now(),
        lease_until=None,
        error="The process that did this import ended; nothing was loaded. Start it again.",
    )


def cancel_import(batch: ImportBatch) -> None:
    """Ask an import to stop. A queued one stops at once, a running one within a moment; nothing of it is kept."""
    stopped = ImportBatch.objects.filter(pk=batch.pk, state=RunState.QUEUED).update(
        state=RunState.CANCELLED, finished_at=Now(), cancel_requested=True, step="Cancelled before it began"
    )
    if not stopped:
        ImportBatch.objects.filter(pk=batch.pk, state=RunState.RUNNING).update(cancel_requested=True)
