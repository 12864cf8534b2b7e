"""Telling a worker that there is work. A hint, never a promise: the rows are the promise, and the sweeper repeats the hint."""

from __future__ import annotations

import logging

from celery import current_app
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

BROKER_ERRORS = (OperationalError, RedisError, OSError)


def wake_scoring() -> bool:
    """Send a worker to the pending jobs; False where the broker is away, never an error: `transaction.on_commit` may call it."""
    return _send("loans.score_pending")


def wake_training(run_id: int) -> bool:
    """Send a training worker to this run; False where the broker is away, and then the sweeper sends it later."""
    return _send("loans.train", run_id=run_id)


def _send(name: str, **kwargs: object) -> bool:
    try:
        current_app.send_task(name, kwargs=kwargs, ignore_result=True, retry=False)
    except BROKER_ERRORS as error:
        logger.warning("Broker away, %s not sent; the sweeper will: %s", name, type(error).__name__)
        return False
    return True
