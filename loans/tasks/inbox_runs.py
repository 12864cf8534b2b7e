"""Inbox runs: the row keeps the promise, the message is a hint."""

from __future__ import annotations

from celery import shared_task

from loans.services import inbox_runs


@shared_task(name="loans.inbox_run", ignore_result=True)
def run_inbox_run(*, run_id: int) -> None:
    inbox_runs.run(run_id)
