"""Scoring by wake-up: the message carries nothing, the rows say what is due."""

from __future__ import annotations

import time

from celery import shared_task

from loans.services import scoring
from loans.services.wakeups import wake_scoring

# Shorter than the soft shutdown, so that a worker told to stop finishes what it has and leaves the rest to the others.
BUDGET_SECONDS = 10.0


@shared_task(name="loans.score_pending", acks_late=True, ignore_result=True)
def score_pending() -> int:
    """Score until nothing is due or the time is up; then a new wake-up carries on."""
    until = time.monotonic() + BUDGET_SECONDS
    stored = 0
    while True:
        done = scoring.score_pending()
        stored += done.stored
        if not done.claimed:
            return stored
        if time.monotonic() >= until:
            wake_scoring()
            return stored
