"""Clients that send applications in through the API and do not give up: each sends the same request again, under the same
Idempotency-Key and with the same references, until it is told that the applications are here. What a request whose answer got lost on the
way had stored is then found again, not stored twice.
"""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple


class Accepted(NamedTuple):
    """One application that the desk has promised to score. Times by this machine's clock; tries that it took."""

    reference: str
    sent: float
    accepted: float
    tries: int


class Submitters:
    """So many threads that send in what `bodies` yields, `batch` of them in one request. `gate` says whether the next may go out yet."""

    def __init__(
        self,
        port: Callable[[], int],
        key: str,
        bodies: Iterable[dict[str, Any]],
        *,
        threads: int = 8,
        batch: int = 1,
        gate: Callable[[], bool] = lambda: True,
    ) -> None:
        self.port, self.key, self.gate, self.batch = port, key, gate, batch
        self.accepted: list[Accepted] = []
        self.answers: Counter[str] = Counter()
        self.refused: list[str] = []
        self.stop = threading.Event()
        self._bodies = iter(bodies)
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._work, name=f"client-{number}", daemon=True) for number in range(threads)]

    def __enter__(self) -> Submitters:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join(timeout=30)

    @property
    def busy(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _next(self) -> list[dict[str, Any]]:
        while not self.stop.is_set():
            with self._lock:
                if self.gate():
                    return list(itertools.islice(self._bodies, self.batch))
            time.sleep(0.02)
        return []

    def _work(self) -> None:
        caller = Caller(self.port, self.key)
        while rows := self._next():
            self._send(caller, rows)
        caller.close()

    def _send(self, caller: Caller, rows: list[dict[str, Any]]) -> None:
        path, body = ("", rows[0]) if self.batch == 1 else ("batch/", {"applications": rows})
        tries = 0
        while not self.stop.is_set():
            tries, sent = tries + 1, time.time()
            status, answer = caller.post(f"/api/v1/applications/{path}", body, key=rows[0]["external_reference"])
            self.answers[str(status or answer)] += 1
            if status in (200, 201) or (status == 409 and b"duplicate-reference" in answer):
                wrong = (
                    [row for row in json.loads(answer)["results"] if row["problem"] not in (None, "duplicate-reference")] if path else []
                )
                self.refused += [str(row)[:300] for row in wrong]
                self.accepted += [Accepted(row["external_reference"], sent, time.time(), tries) for row in rows[: len(rows) - len(wrong)]]
                return
            if 400 <= status < 500 and status not in (408, 429) and b"in-flight" not in answer:
                self.refused.append(f"{status} {answer[:300]!r}")
                return
            time.sleep(min(0.05 * 2**tries, 1.0))


class Caller:
    """One kept connection to the site, opened anew where it was cut."""

    def __init__(self, port: Callable[[], int], key: str, timeout: float = 30.0) -> None:
        self.port, self.key, self.timeout = port, key, timeout
        self._connection: http.client.HTTPConnection | None = None

    def post(self, path: str, body: dict[str, Any], *, key: str | None = None) -> tuple[int, Any]:
        return self.ask("POST", path, body, {"Idempotency-Key": key} if key else {})

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None, more: dict[str, str] | None = None) -> tuple[int, Any]:
        """(status, body), or (0, name of the error) where no answer came."""
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self.port(), timeout=self.timeout)
            headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json", **(more or {})}
            self._connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            response = self._connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return 0, type(error).__name__

    def close(self) -> None:
        if self._connection is not None:
            with suppress(OSError):
                self._connection.close()
            self._connection = None


def bodies(count: int, prefix: str = "F") -> Iterator[dict[str, Any]]:
    """So many different applications, each with its own reference."""
    for number in range(count):
        yield {
            "external_reference": f"{prefix}-{number:07d}",
            "amount": f"{1000 + 37 * (number % 400)}.00",
            "annual_income": 30_000 + 111 * (number % 300),
            "debt_to_income": (number % 40) / 100,
            "home_ownership": ("rent", "own", "mortgage")[number % 3],
            "applicant": {"name": f"Ana Example {number}", "email": f"ana{number}@example.org"},
        }
