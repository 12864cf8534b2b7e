"""Requests against a server on this machine, over connections that are kept, with the time that each took."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections.abc import Callable, Mapping

Make = Callable[[int], bytes]


class Failed(RuntimeError):
    """An answer that was not the one expected."""


def closed_loop(
    port: int, path: str, make: Make, headers: Mapping[str, str], *, seconds: float, clients: int, expect: int
) -> tuple[float, list[float]]:
    """(requests a second, seconds each): every client sends its next request when it has its answer."""
    until = time.perf_counter() + seconds
    numbers, took, failures = itertools.count(), [], []

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        mine = []
        try:
            while time.perf_counter() < until and not failures:
                body = make(next(numbers))
                began = time.perf_counter()
                connection.request("POST", path, body, dict(headers))
                answer = connection.getresponse()
                said = answer.read()
                mine.append(time.perf_counter() - began)
                if answer.status != expect:
                    failures.append(f"{answer.status} {said[:300]!r}")
        except (OSError, http.client.HTTPException) as error:
            failures.append(repr(error))
        finally:
            connection.close()
            took.extend(mine)

    began = time.perf_counter()
    _run([client] * clients)
    if failures:
        raise Failed(failures[0])
    return len(took) / (time.perf_counter() - began), took


def open_loop(port: int, path: str, make: Make, headers: Mapping[str, str], *, rate: float, count: int, clients: int, expect: int) -> int:
    """Send `count` requests at `rate` a second, whatever the server does; returns how many went out more than 50 ms late."""
    start, numbers, failures, late = time.perf_counter() + 0.1, itertools.count(), [], []

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while (number := next(numbers)) < count and not failures:
            wait = start + number / rate - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            elif wait < -0.05:
                late.append(number)
            connection.request("POST", path, make(number), dict(headers))
            answer = connection.getresponse()
            answer.read()
            if answer.status != expect:
                failures.append(answer.status)
        connection.close()

    _run([client] * clients)
    if failures:
        raise Failed(str(failures[0]))
    return len(late)


def _run(work: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=each) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def at_times(port: int, path: str, make: Make, headers: Mapping[str, str], due: list[float], *, clients: int, expect: int) -> list[float]:
    """(n,) seconds from when each request was due (seconds from now, rising) to its answer, whatever the server does in the meantime.

    One that goes out late because every client still waits counts from when it was due: a slow server slows nothing down here.
    """
    start, numbers, failures, took = time.perf_counter() + 0.2, itertools.count(), [], [0.0] * len(due)

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        try:
            while (number := next(numbers)) < len(due) and not failures:
                wait = start + due[number] - time.perf_counter()
                if wait > 0:
                    time.sleep(wait)
                connection.request("POST", path, make(number), dict(headers))
                answer = connection.getresponse()
                said = answer.read()
                took[number] = time.perf_counter() - start - due[number]
                if answer.status != expect:
                    failures.append(f"{answer.status} {said[:300]!r}")
        except (OSError, http.client.HTTPException) as error:
            failures.append(repr(error))
        finally:
            connection.close()

    _run([client] * clients)
    if failures:
        raise Failed(failures[0])
    return took
