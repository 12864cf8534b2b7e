"""A running import, or its undo, tells where it is on its row, and hears there that it should stop."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, connection
from django.db.models.functions import Now

from loans.models import RunState
from loans.models.job import LongRun
from mlcore.progress import Cancelled, Progress, silent

logger = logging.getLogger(__name__)

LEASE_SECONDS = 120
REPORT_SECONDS = 0.5


def lease_end() -> Any:
    """By the database's clock: this machine's may be wrong."""
    return Now() + timedelta(seconds=LEASE_SECONDS)


class Watch:
    """A `Progress` that passes on what it hears, and a thread that writes it to the run's row and listens for a cancel.

    A thread, because an INSERT of a million rows comes up for air only when it is done, and the lease must not run out meanwhile.
    """

    def __init__(self, run: LongRun, progress: Progress = silent) -> None:
        self._run, self._progress = run, progress
        self._now = (run.share_done, run.step)
        self._cancelled, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._report, name=f"{run._meta.model_name}-{run.pk}", daemon=True)

    def __call__(self, share: float, step: str) -> None:
        if self._cancelled.is_set():
            raise Cancelled
        self._now = (share, step)
        self._progress(share, step)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the reports, so that this thread may write the row itself; raises nothing."""
        self._stop.set()
        self._thread.join(timeout=10)

    def _report(self) -> None:
        rows = type(self._run)._default_manager
        ours = rows.filter(pk=self._run.pk, state=RunState.RUNNING, attempts=self._run.attempts)
        try:
            while not self._stop.wait(REPORT_SECONDS):
                try:
                    share, step = self._now
                    ours.update(share_done=min(max(share, 0.0), 1.0), step=step[:200], lease_until=lease_end())
                    if ours.filter(cancel_requested=True).exists():
                        self._cancelled.set()
                except DatabaseError as error:
                    logger.warning("%s: progress not written (%s)", self._run, type(error).__name__)
                    connection.close()
        finally:
            connection.close()
