"""Work in a child, for a process that must not die of it or wait for it for ever."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable

from django.db import connections

logger = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 0.05


def run_apart(work: Callable[[], object], *, seconds: float, stop: Callable[[], bool] = lambda: False) -> bool:
    """Do `work` in a forked child and wait for it; True where it came to its end.

    A child that takes longer than `seconds` is killed. Where `stop` says so, it gets SIGTERM, and the handler that this process has for
    that. Raises nothing for what becomes of the child. Threads do not live on in it, and locks that they hold stay shut there: `work` must
    not need anything that another thread of this process uses.
    """
    connections.close_all()  # one connection in two processes is neither's
    child = os.fork()
    if child == 0:
        _be_the_child(work)
    until = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > until:
            logger.error("Process %d did not come back within %.0f s and is killed.", child, seconds)
            os.kill(child, signal.SIGKILL)
            until = float("inf")
        elif stop():
            os.kill(child, signal.SIGTERM)  # at each look: a child that has only just begun loses what comes in that moment
        time.sleep(LOOK_EVERY_SECONDS)
    if os.WIFSIGNALED(status):
        logger.error("Process %d was ended by signal %d.", child, os.WTERMSIG(status))
    return status == 0


def _be_the_child(work: Callable[[], object]) -> None:
    code = 1
    try:
        work()
        code = 0
    except Exception:
        logger.exception("Process %d failed.", os.getpid())
    finally:
        os._exit(code)  # without the parent's exit handlers
