"""Each process tells the database that it lives; readiness and the home page read it."""

from __future__ import annotations

import logging
import threading

from django.conf import settings
from django.db import DatabaseError, connection

from loans.models import Heartbeat
from loans.services.scoring import worker_name

logger = logging.getLogger(__name__)

_UPSERT = """
    INSERT INTO loans_heartbeat (role, process, at) VALUES (%s, %s, clock_timestamp())
    ON CONFLICT (process) DO UPDATE SET role = EXCLUDED.role, at = EXCLUDED.at
"""


def beat(role: str) -> None:
    """Write one heartbeat of this process, and forget processes that have been silent for a day."""
    with connection.cursor() as cursor:
        cursor.execute(_UPSERT, [role, worker_name()])
        cursor.execute("DELETE FROM loans_heartbeat WHERE at < clock_timestamp() - interval '1 day'")


def leave() -> None:
    """This process ends on purpose."""
    Heartbeat.objects.filter(process=worker_name()).delete()


def keep_beating(role: str) -> threading.Event:
    """Beat in a thread until the returned event is set. For processes that have a loop of their own (Celery's workers and beat)."""
    stop = threading.Event()

    def loop() -> None:
        try:
            while not stop.is_set():
                try:
                    beat(role)
                except DatabaseError as error:
                    logger.warning("Heartbeat not written: %s", type(error).__name__)
                    connection.close()
                stop.wait(settings.HEARTBEAT_SECONDS)
            leave()
        except DatabaseError:
            pass  # ending anyway
        finally:
            connection.close()

    threading.Thread(target=loop, name="heartbeat", daemon=True).start()
    return stop
