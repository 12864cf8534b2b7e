"""Telling a worker that there is work. A hint, never a promise: the rows are the promise, and the sweeper repeats the hint."""

from __future__ import annotations

import logging
import time

from celery import current_app
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

# A broker that refuses costs nothing. One that hangs costs each submission its time-out (5 s, measured), so after one such wait
# this process sends no hints for a while; the sweeper, which looks at the rows, does not depend on them.
SLOW_SECONDS = 0.5
SILENT_SECONDS = 10.0
_silent_until = 0.0

BROKER_ERRORS = (OperationalError, RedisError, OSError)


def wake_scoring() -> bool:
    """Send a worker to the pending jobs; False where the broker is away, never an error: `transaction.on_commit` may call it."""
    return _send("loans.score_pending")


def wake_training(run_id: int) -> bool:
    """Send a training worker to this run; False where the broker is away, and then the sweeper sends it later."""
    return _send("loans.train", run_id=run_id)


def wake_forecast() -> bool:
    """Have the demand forecast made; False where the broker is away, and then only the nightly one comes."""
    return _send("loans.forecast")


def _send(name: str, **kwargs: object) -> bool:
    global _silent_until
    started = time.monotonic()
    if started < _silent_until:
        return False
    try:
        current_app.send_task(name, kwargs=kwargs, ignore_result=True, retry=False)
    except BROKER_ERRORS as error:
        if time.monotonic() - started > SLOW_SECONDS:
            _silent_until = time.monotonic() + SILENT_SECONDS
        logger.warning("Broker away, %s not sent; the sweeper will: %s", name, type(error).__name__)
        return False
    return True
