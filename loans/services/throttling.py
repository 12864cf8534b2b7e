"""Counting requests a minute, in the broker's Redis: shared by all processes of the site, and given up where it does not answer.

A count is an estimate over the last 60 seconds from two windows of a minute (the one before weighs what of it is still within), so that
nobody gets twice the limit around the turn of a minute. Where Redis is away nothing is limited: a limit protects the desk from its
clients, and a broker that is away must not close the desk to them.
"""

from __future__ import annotations

import logging
import time

from django.conf import settings
from redis import Redis

logger = logging.getLogger(__name__)

WINDOW = 60
ANSWERS_WITHIN = 0.25
SILENT_SECONDS = 10.0
_silent_until = 0.0
_clients: dict[str, Redis] = {}


def _redis() -> Redis:
    url = settings.REDIS_URL
    if url not in _clients:
        _clients[url] = Redis.from_url(url, socket_timeout=ANSWERS_WITHIN, socket_connect_timeout=ANSWERS_WITHIN, retry=None)
    return _clients[url]


def count(name: str, most: int, *, now: float | None = None) -> float | None:
    """Count one request under this name; None where it is within `most` a minute, else the seconds until it would be again."""
    global _silent_until
    if time.monotonic() < _silent_until:
        return None
    now = time.time() if now is None else now
    window, gone = int(now // WINDOW), now % WINDOW
    current, before = (f"{settings.QUEUE_PREFIX}throttle:{name}:{each}" for each in (window, window - 1))
    try:
        with _redis().pipeline(transaction=False) as pipe:
            pipe.incr(current).expire(current, 3 * WINDOW).get(before)
            here, _, last = pipe.execute()
    except Exception as error:
        # Whatever it is: a limit that can't be kept fails no request. Under a broker that hangs and comes back the client has raised
        # ValueError and AttributeError too, where one thread closed a connection that another was reading.
        _silent_until = time.monotonic() + SILENT_SECONDS
        logger.warning("Requests are not counted for %.0f s: %s", SILENT_SECONDS, type(error).__name__)
        return None
    last = int(last or 0)
    if here + last * (1 - gone / WINDOW) <= most:
        return None
    if here > most or not last:
        return WINDOW - gone
    return min(max(WINDOW * (1 - (most - here) / last) - gone, 1.0), WINDOW)
