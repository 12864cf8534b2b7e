"""Bulk scoring by turns: a message works for a while and sends the next one, so that single scores get their turn in between."""

from __future__ import annotations

import time

from celery import shared_task

from loans.services import registry
from loans.services.bulk import run
from loans.services.wakeups import wake_bulk
from loans.tasks.processes import told_to_stop

BUDGET_SECONDS = 10.0
HUNG_SECONDS = 300


@shared_task(name="loans.bulk_score", acks_late=True, ignore_result=True, time_limit=HUNG_SECONDS)
def bulk_score(*, run_id: int) -> None:
    until = time.monotonic() + BUDGET_SECONDS
    try:
        run.work(run_id, stop=lambda: told_to_stop() or time.monotonic() >= until)
    except registry.NoChampion:
        return  # the sweeper comes back to it
    if run_id in run.unattended():
        wake_bulk(run_id)
