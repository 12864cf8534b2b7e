"""What was being scored within a request when its process died, an application or a batch: sent again, it is left to the workers.

A worker's attempts are counted in the database. A request that takes its process down has stored nothing yet, and its sender sends it
again: it would kill one process of the site after the other, for ever. So a thread notes in memory that all processes of the site share
what it is scoring; gunicorn's parent, which outlives them, reads the notes of one that died. What stands there is taken in with a pending
job the next time, and five workers' attempts later it is a person's. An innocent one that was beside it is scored a moment later.

Digests under a key of this start only; nothing of an application can be read from them. Imported by config/gunicorn.py before it forks, so
that `kill -HUP` keeps this module as it is until gunicorn itself is started anew.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIZE = 16
PROCESSES, THREADS = 64, 64
REMEMBERED = 1_024
_EMPTY = bytes(SIZE)
_LIST = PROCESSES * THREADS * SIZE
_shared = mmap.mmap(-1, _LIST + REMEMBERED * SIZE)
_key = os.urandom(32)
_place: int | None = None
_free = list(range(THREADS))
_lock = threading.Lock()
_written = 0


def begin(number: int) -> None:
    """This process is the site's `number`-th, and notes what it scores from now on."""
    global _place
    _place = number % PROCESSES
    _clear(_place)


def died(number: int) -> int:
    """In the parent: that process is gone. Remember what it was scoring; returns how many applications that was."""
    global _written
    found = [digest for digest in map(_read, _slots(number % PROCESSES)) if digest != _EMPTY]
    for digest in found:
        at = _LIST + _written % REMEMBERED * SIZE
        _shared[at : at + SIZE] = digest
        _written += 1
    _clear(number % PROCESSES)
    return len(found)


def digest_of(fields: object) -> bytes:
    """What the same request has again when it is sent again."""
    return hashlib.blake2b(repr(fields).encode(errors="surrogatepass"), digest_size=SIZE, key=_key).digest()


def suspected(digest: bytes) -> bool:
    listed = _shared[_LIST:]
    at = listed.find(digest)
    while at % SIZE and at >= 0:
        at = listed.find(digest, at + 1)
    return at >= 0


@contextmanager
def noted(digest: bytes) -> Iterator[None]:
    """For as long as it is scored here. Without a parent that looks (`begin` was not called), and beyond THREADS at once, it is not."""
    with _lock:
        slot = _free.pop() if _place is not None and _free else None
    if slot is None:
        yield
        return
    at = (_place * THREADS + slot) * SIZE
    _shared[at : at + SIZE] = digest
    try:
        yield
    finally:
        _shared[at : at + SIZE] = _EMPTY
        with _lock:
            _free.append(slot)


def _slots(place: int) -> range:
    return range(place * THREADS * SIZE, (place + 1) * THREADS * SIZE, SIZE)


def _read(at: int) -> bytes:
    return _shared[at : at + SIZE]


def _clear(place: int) -> None:
    slots = _slots(place)
    _shared[slots.start : slots.stop] = bytes(len(slots) * SIZE)
