"""What keeps the promise when wake-ups get lost: looks for due work and sends for it again, and does it itself when the broker is gone."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from django.conf import settings
from django.db import DatabaseError, close_old_connections
from django.db.models import Max

from loans.models import Prediction, ScoringJob
from loans.services import documents, fraud, idempotency, imports, inbox_runs, scoring, segments, shadow, training
from loans.services.apart import run_apart
from loans.services.bulk import run as bulk
from loans.services.heartbeats import beat
from loans.services.imports import undo_runs
from loans.services.wakeups import BROKER_ERRORS, hints_waiting, wake_import, wake_import_undo, wake_inbox_run, wake_scoring, wake_training

logger = logging.getLogger(__name__)

# One look scores here for at most so long: the heartbeat and the other duties wait behind it.
HERE_SECONDS = 5.0


@dataclass
class Sweeper:
    """One look at a time (`sweep_once`); remembers only since when nothing gets scored and when to hint next.

    Hints back off from one interval up to a minute while nothing gets done, so that a stopped worker does not wake up to a flood. Whatever
    the reason why due work is left lying (a broker that is away, hangs or is full, no worker, one that no longer hears the broker), after
    BROKER_AWAY_SECONDS without one new score the sweeper scores itself, until somebody else does again.
    """

    stop: Callable[[], bool] = lambda: False
    apart: bool = False
    broker_away: bool = False
    scores_here: bool = False
    idle_since: float | None = None
    newest: int | None = None
    next_hint: float = 0.0
    wait: float = 0.0
    last_due: int = 0
    next_training_hint: float = 0.0
    next_bulk_hint: float = 0.0
    next_import_hint: float = 0.0

    def sweep_once(self) -> int:
        """One look; returns how many jobs were due. Nothing that the broker does or doesn't do raises here."""
        now = time.monotonic()
        scoring.release_of_the_dead()
        scoring.give_up_on_exhausted()
        due = ScoringJob.objects.due()[: settings.SWEEP_LONG_QUEUE].count()
        waiting = self._queue_length()
        self._note_broker(waiting)
        self._note_scores(now if due else None)
        if due:
            self._see_to_scoring(due, waiting, now)
        else:
            self.wait = 0.0
        self.last_due = due
        fraud.sweep()
        imports.fail_abandoned_imports()
        imports.forget_old_uploads()
        documents.drop_strays()
        segments.catch_up()
        shadow.catch_up()
        idempotency.forget_old()
        if waiting is not None:
            for run_id in self._trainings_to_send(now):
                wake_training(run_id)
            self._see_to_bulk(now)
            for run_id in inbox_runs.due():
                wake_inbox_run(run_id)
            for batch_id in self._imports_to_send(now):
                wake_import(batch_id)
            for run_id in undo_runs.due():
                wake_import_undo(run_id)
        return due

    def _see_to_scoring(self, due: int, waiting: int | None, now: float) -> None:
        if waiting is not None and waiting < settings.SWEEP_LONG_QUEUE and now >= self.next_hint:
            wake_scoring()
            self.wait = (
                min(max(self.wait * 2, settings.SWEEP_INTERVAL_SECONDS), 60.0) if due >= self.last_due else settings.SWEEP_INTERVAL_SECONDS
            )
            self.next_hint = now + self.wait
        if self.scores_here or now - self.idle_since >= settings.BROKER_AWAY_SECONDS:
            self._score_here()

    def _score_here(self) -> None:
        if not self.scores_here:
            logger.warning("Nothing was scored for %.0f s though work is due: scoring here.", settings.BROKER_AWAY_SECONDS)
        self.scores_here = True
        if self.apart:
            # An application that kills or holds up whoever scores it gets a child: this process is the one that all others rely on.
            _load_libraries()
            run_apart(self._score_rounds, seconds=HERE_SECONDS + settings.SCORING_LEASE_SECONDS, stop=self.stop)
        else:
            self._score_rounds()
        self.newest = _newest_score()

    def _score_rounds(self) -> None:
        until = time.monotonic() + HERE_SECONDS
        while time.monotonic() < until and scoring.score_pending(stop=self.stop).claimed:
            pass

    def _note_scores(self, due_at: float | None) -> None:
        """due_at: now, where work is due. A score that was not made here tells that a worker is back."""
        newest = _newest_score()
        if newest != self.newest:
            self.newest, self.idle_since, self.scores_here = newest, None, False
        if due_at is None:
            self.idle_since = None
        elif self.idle_since is None:
            self.idle_since = due_at

    def _see_to_bulk(self, now: float) -> None:
        # Workers keep themselves going; this is for what a dead one left, and for a job whose messages were lost.
        if now >= self.next_bulk_hint:
            self.next_bulk_hint = now + settings.BULK_LEASE_SECONDS
            for run_id in bulk.unattended():
                bulk.wake_workers(run_id)

    def _trainings_to_send(self, now: float) -> list[int]:
        # A training is slow to start by nature; a repeated hint finds the run taken and does nothing.
        if now < self.next_training_hint:
            return []
        self.next_training_hint = now + 15.0
        return training.orphaned_runs()

    def _note_broker(self, waiting: int | None) -> None:
        if waiting is None and not self.broker_away:
            logger.warning("Broker away; scoring here as soon as nothing was scored for %.0f s.", settings.BROKER_AWAY_SECONDS)
        self.broker_away = waiting is None

    def _imports_to_send(self, now: float) -> list[int]:
        # They share their worker with trainings and may wait behind one: hints that nobody hears need not pile up.
        if now < self.next_import_hint:
            return []
        self.next_import_hint = now + 60.0
        return imports.due_imports()

    def _queue_length(self) -> int | None:
        """Messages waiting in the scoring queue; None where the broker does not answer."""
        try:
            return hints_waiting()
        except BROKER_ERRORS:
            return None


def _load_libraries() -> None:
    """Before the fork, so that not every child spends a second on it. The model itself is loaded there: it may start threads."""
    for name in ("pandas", "mlcore.risk.model"):
        import_module(name)


def _newest_score() -> int | None:
    return Prediction.objects.aggregate(newest=Max("pk"))["newest"]


def run(stop: threading.Event) -> None:
    """Sweep until told to stop. A database that is away is waited for: there is nothing else to do, and nothing is lost meanwhile."""
    sweeper = Sweeper(stop=stop.is_set, apart=True)
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
