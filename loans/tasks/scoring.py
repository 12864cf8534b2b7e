"""Scoring by wake-up: the message carries nothing, the rows say what is due."""

from __future__ import annotations

import time

from celery import shared_task

from loans.services import scoring
from loans.services.wakeups import wake_scoring
from loans.tasks.processes import told_to_stop

BUDGET_SECONDS = 10.0
# Far above budget and lease together: only a score that never comes back takes so long, and its process is then killed and replaced.
HUNG_SECONDS = 60


@shared_task(name="loans.score_pending", acks_late=True, ignore_result=True, time_limit=HUNG_SECONDS)
def score_pending() -> int:
    """Score until nothing is due, the time is up, or the worker is told to stop; then a new wake-up carries on, here or elsewhere."""
    until = time.monotonic() + BUDGET_SECONDS
    stored = 0
    while True:
        done = scoring.score_pending(stop=told_to_stop)
        stored += done.stored
        if told_to_stop() or time.monotonic() >= until:
            wake_scoring()
            return stored
        if not done.claimed:
            return stored
