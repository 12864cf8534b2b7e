"""Imports that were uploaded: the batch's row keeps the promise, the message is a hint."""

from __future__ import annotations

from celery import shared_task

from loans.services import imports
from loans.services.imports import undo_runs


@shared_task(name="loans.import_file", acks_late=False, ignore_result=True)
def import_file(*, batch_id: int) -> None:
    imports.run_upload(batch_id)


@shared_task(name="loans.undo_import", acks_late=False, ignore_result=True)
def undo_import(*, run_id: int) -> None:
    undo_runs.run(run_id)
