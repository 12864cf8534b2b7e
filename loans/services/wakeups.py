"""Telling a worker that there is work. A hint, never a promise: the rows are the promise, and the sweeper repeats the hint."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable

from celery import current_app
from django.conf import settings
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from loans.services import request_id

logger = logging.getLogger(__name__)

# A broker that refuses costs nothing. One that hangs costs each submission its time-out (5 s, measured), so after one such wait
# this process sends no hints for a while; the sweeper, which looks at the rows, does not depend on them.
SLOW_SECONDS = 0.5
SILENT_SECONDS = 10.0
_silent_until = 0.0

BROKER_ERRORS = (OperationalError, RedisError, OSError)


def wake_scoring() -> bool:
    """Send a worker to the pending jobs; False where the broker is away, never an error: `transaction.on_commit` may call it.

    Nothing is sent while an earlier hint still waits: whoever takes that one up looks at the rows afterwards, and finds ours with them.
    """
    return _reached("loans.score_pending", _hint_scoring)


def _hint_scoring() -> None:
    if not hints_waiting():
        current_app.send_task("loans.score_pending", ignore_result=True, retry=False, headers=_headers())


def hints_waiting() -> int:
    """Messages in the scoring queue that no worker has taken yet. Raises BROKER_ERRORS where the broker does not answer."""
    # Not through kombu: its connection retries for seconds before it admits that the broker is away.
    return _broker(settings.REDIS_URL).llen(settings.QUEUE_PREFIX + settings.SCORING_QUEUE)


@functools.cache
def _broker(url: str) -> Redis:
    return Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1, retry=None)


def wake_training(run_id: int) -> bool:
    """Send a training worker to this run; False where the broker is away, and then the sweeper sends it later."""
    return _send("loans.train", run_id=run_id)


def wake_bulk(run_id: int) -> bool:
    """Have one more worker take part in this bulk job; False where the broker is away, and then the sweeper asks later."""
    return _send("loans.bulk_score", run_id=run_id)


def wake_inbox_run(run_id: int) -> bool:
    """Send a worker to this inbox run; False where the broker is away, and then the sweeper sends it later."""
    return _send("loans.inbox_run", run_id=run_id)


def wake_import(batch_id: int) -> bool:
    """Send a worker to this import; False where the broker is away, and then the sweeper sends it later."""
    return _send("loans.import_file", batch_id=batch_id)


def wake_import_undo(run_id: int) -> bool:
    """Send a worker to this undo; False where the broker is away, and then the sweeper sends it later."""
    return _send("loans.undo_import", run_id=run_id)


def wake_forecast() -> bool:
    """Have the demand forecast made; False where the broker is away, and then only the nightly one comes."""
    return _send("loans.forecast")


def wake_monitoring() -> bool:
    """Have the serving models monitored; False where the broker is away, and then only the nightly look comes."""
    return _send("loans.monitor")


def _send(name: str, **kwargs: object) -> bool:
    return _reached(name, lambda: current_app.send_task(name, kwargs=kwargs, ignore_result=True, retry=False, headers=_headers()))


def _headers() -> dict[str, str] | None:
    """The worker logs under the id of the request that woke it."""
    return {"request_id": request_id.known()} if request_id.known() else None


def _reached(name: str, tell: Callable[[], object]) -> bool:
    global _silent_until
    started = time.monotonic()
    if started < _silent_until:
        return False
    try:
        tell()
    except BROKER_ERRORS as error:
        if time.monotonic() - started > SLOW_SECONDS:
            _silent_until = time.monotonic() + SILENT_SECONDS
        logger.warning("Broker away, %s not sent; the sweeper will: %s", name, type(error).__name__)
        return False
    return True
