"""What keeps the promise when wake-ups get lost: looks for due work and sends for it again, and does it itself when the broker is gone."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

from django.conf import settings
from django.db import DatabaseError, close_old_connections
from redis import Redis

from loans.models import ScoringJob
from loans.services import fraud, imports, scoring, segments, training
from loans.services.heartbeats import beat
from loans.services.wakeups import BROKER_ERRORS, wake_scoring, wake_training

logger = logging.getLogger(__name__)


@dataclass
class Sweeper:
    """One look at a time (`sweep_once`); remembers only how long the broker has been away and when to hint next.

    Hints back off from one interval up to a minute while nothing gets done, so that a stopped worker does not wake up to a flood.
    """

    broker_away_since: float | None = None
    next_hint: float = 0.0
    wait: float = 0.0
    last_due: int = 0
    next_training_hint: float = 0.0

    def sweep_once(self) -> int:
        """One look; returns how many jobs were due. Nothing that the broker does or doesn't do raises here."""
        now = time.monotonic()
        scoring.give_up_on_exhausted()
        due = ScoringJob.objects.due()[: settings.SWEEP_LONG_QUEUE].count()
        waiting = self._queue_length()
        self._note_broker(waiting, now)
        if due:
            self._see_to_scoring(due, waiting, now)
        else:
            self.wait = 0.0
        self.last_due = due
        fraud.sweep()
        imports.fail_abandoned_imports()
        segments.catch_up()
        if waiting is not None:
            for run_id in self._trainings_to_send(now):
                wake_training(run_id)
        return due

    def _see_to_scoring(self, due: int, waiting: int | None, now: float) -> None:
        if waiting is None:
            if self.broker_away_since is not None and now - self.broker_away_since >= settings.BROKER_AWAY_SECONDS:
                done = scoring.score_pending()
                logger.warning("Broker away for %.0f s: scored %d applications here.", now - self.broker_away_since, done.stored)
            return
        if waiting >= settings.SWEEP_LONG_QUEUE or now < self.next_hint:
            return
        wake_scoring()
        self.wait = (
            min(max(self.wait * 2, settings.SWEEP_INTERVAL_SECONDS), 60.0) if due >= self.last_due else settings.SWEEP_INTERVAL_SECONDS
        )
        self.next_hint = now + self.wait

    def _trainings_to_send(self, now: float) -> list[int]:
        # A training is slow to start by nature; a repeated hint finds the run taken and does nothing.
        if now < self.next_training_hint:
            return []
        self.next_training_hint = now + 15.0
        return training.orphaned_runs()

    def _note_broker(self, waiting: int | None, now: float) -> None:
        if waiting is not None:
            self.broker_away_since = None
        elif self.broker_away_since is None:
            self.broker_away_since = now
            logger.warning("Broker away; scoring here after %.0f s of that.", settings.BROKER_AWAY_SECONDS)

    def _queue_length(self) -> int | None:
        """Messages waiting in the scoring queue; None where the broker does not answer."""
        try:
            # Not through kombu: its connection retries for seconds before it admits that the broker is away.
            with Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1, retry=None) as broker:
                return broker.llen(settings.QUEUE_PREFIX + settings.SCORING_QUEUE)
        except BROKER_ERRORS:
            return None


def run(stop: threading.Event) -> None:
    """Sweep until told to stop. A database that is away is waited for: there is nothing else to do, and nothing is lost meanwhile."""
    sweeper = Sweeper()
    while not stop.is_set():
        try:
            close_old_connections()
            sweeper.sweep_once()
            beat("sweeper")
        except DatabaseError as error:
            logger.warning("Database away (%s); trying again.", type(error).__name__)
        except Exception:
            # A look that fails (a damaged artifact, a full disk) must not end the process that all others rely on.
            logger.exception("A look failed; the next one follows.")
        stop.wait(settings.SWEEP_INTERVAL_SECONDS)
