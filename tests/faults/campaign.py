"""The long version: a stream of applications through the API, and fault after fault while it flows."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, cycle
from typing import Any

import psycopg

from tests.faults.books import one_number
from tests.faults.client import Accepted, Caller, Submitters, bodies
from tests.faults.desk import FaultDesk

# How often each fault comes in a campaign of 200
WEIGHTS = {
    "kill worker": 24,
    "kill worker child": 24,
    "kill web child": 20,
    "kill web": 16,
    "kill sweeper": 16,
    "restart database": 16,
    "broker down": 14,
    "broker emptied": 14,
    "broker hung": 12,
    "broker out of memory": 12,
    "kill scheduler": 8,
    "freeze worker": 8,
    "poison application": 6,
    "roll worker": 6,
    "reload web": 4,
}
# From when to when each lasts, in seconds
LASTS = {"broker down": (0.5, 5.0), "broker hung": (1.0, 7.0), "broker out of memory": (1.0, 7.0), "freeze worker": (16.0, 20.0)}
SHOW_EVERY = 10.0
# A tenth comes one by one, as from a form; the rest in batches, as from another system: half in those that the site scores as it stores
# them, half in small ones, which are left to the workers.
SENT_ALONE = 0.1
BATCH, SMALL_BATCH = 50, 15
# Applications a second, at most: faster, the faults of a campaign of 200 come quicker than a process needs to start on two cores.
RATE = 120


@dataclass
class Struck:
    """One fault: what, from when to when, and how long the longest wait was that it caused."""

    fault: str
    began: float
    ended: float
    recovery: float = 0.0


class Campaign:
    """`run` sends in `total` applications and does `faults` faults, evenly spread over them; then the books are the caller's to read."""

    def __init__(self, desk: FaultDesk, key: str, officer_key: str, *, total: int, faults: int, say: Callable[[str], None]) -> None:
        self.desk, self.total, self.say = desk, total, say
        self.plan = _plan(desk.chance, faults)
        self.struck: list[Struck] = []
        self.poisons = 0
        self.restarts: dict[str, int] = {}
        self.officer = Officer(desk, officer_key)
        alone = round(total * SENT_ALONE)
        small = (total - alone) // 2
        self.clients = (
            Submitters(lambda: desk.port, key, bodies(alone, "A"), threads=4, gate=lambda: self._may_send(1)),
            Submitters(lambda: desk.port, key, bodies(small, "S"), threads=2, batch=SMALL_BATCH, gate=lambda: self._may_send(SMALL_BATCH)),
            Submitters(
                lambda: desk.port, key, bodies(total - alone - small, "B"), threads=2, batch=BATCH, gate=lambda: self._may_send(BATCH)
            ),
        )
        self._sent = 0
        self._began = time.monotonic()
        self._poison_caller = Caller(lambda: desk.port, key)
        self._background: list[threading.Thread] = []

    def _may_send(self, count: int) -> bool:
        """Neither all sent before the faults are done, nor the other way round."""
        allowed = (len(self.struck) + 2) * self.total / max(len(self.plan), 1)
        if self._sent >= allowed and len(self.struck) < len(self.plan):
            return False
        if self._sent >= RATE * (time.monotonic() - self._began):
            return False
        self._sent += count
        return True

    @property
    def accepted(self) -> list[Accepted]:
        return [each for client in self.clients for each in client.accepted]

    @property
    def count(self) -> int:
        return sum(len(client.accepted) for client in self.clients)

    @property
    def refused(self) -> list[str]:
        return [each for client in self.clients for each in client.refused]

    @property
    def answers(self) -> Counter[str]:
        return sum((client.answers for client in self.clients), Counter())

    def run(self) -> None:
        began = shown = time.monotonic()
        with self.clients[0], self.clients[1], self.clients[2], self.officer:
            todo = list(self.plan)
            while any(client.busy for client in self.clients) or todo:
                self._look_after()
                due = (len(self.plan) - len(todo) + 0.5) * self.total / len(self.plan)
                if todo and self.count >= min(due, self.total * 0.999):
                    self._strike(todo.pop(0))
                if time.monotonic() - shown > SHOW_EVERY:
                    shown = time.monotonic()
                    self._show(shown - began)
                time.sleep(0.1)
            for thread in self._background:
                while thread.is_alive():
                    self._look_after()
                    thread.join(0.2)

    def wait_for_quiet(self, seconds: float) -> None:
        """Keep the processes alive until nothing is pending, at most so long: the caller looks at the books."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.desk.unfinished() != 0:
            self._look_after()
            time.sleep(0.2)

    def _look_after(self) -> None:
        for name in self.desk.keep_alive():
            self.restarts[name] = self.restarts.get(name, 0) + 1

    def _strike(self, fault: str) -> None:
        began = time.time()
        low, high = LASTS.get(fault, (0.0, 0.0))
        seconds = self.desk.chance.uniform(low, high)
        if fault == "poison application":
            self._poison()
        elif fault == "freeze worker":
            thread = threading.Thread(target=self.desk.do, args=(fault,), kwargs={"seconds": seconds}, daemon=True)
            thread.start()
            self._background.append(thread)
            self.struck.append(Struck(fault, began, began + seconds))
            return
        else:
            self.desk.do(fault, seconds=seconds)
        self.struck.append(Struck(fault, began, time.time()))

    def _poison(self) -> None:
        self.poisons += 1
        body = next(iter(bodies(1))) | {"external_reference": f"POISON-{self.poisons:03d}"}
        while self._poison_caller.post("/api/v1/applications/", body)[0] not in (201, 409):
            time.sleep(0.2)

    def _show(self, elapsed: float) -> None:
        waiting = self.desk.unfinished()
        last = f"; last: {self.struck[-1].fault}" if self.struck else ""
        queue = "?" if waiting is None else f"{waiting:,}"
        received = f"{self.count:>7,} of {self.total:,} in, {queue} waiting"
        self.say(f"{elapsed:5.0f} s  {received}, {len(self.struck)} of {len(self.plan)} faults{last}")

    # --- afterwards -----------------------------------------------------------------------------------------------------
    def missing(self) -> int:
        """Applications that a client was told are here, and are not."""
        with psycopg.connect(self.desk.database.url) as connection:
            here = {row[0] for row in connection.execute("SELECT external_reference FROM loans_loanapplication")}
        return sum(each.reference not in here for each in self.accepted)

    def measure_recovery(self) -> list[Struck]:
        """A fault's recovery: the longest that any application had to wait for its score, or the site's clients for an answer, from the
        fault's begin on. Poisoned applications are the fault, and not counted; what shared a batch with one is.
        """
        with psycopg.connect(self.desk.database.url) as connection:
            jobs = connection.execute(
                "SELECT extract(epoch FROM job.created_at)::float8, extract(epoch FROM job.finished_at)::float8 FROM loans_scoringjob job"
                " JOIN loans_loanapplication app ON app.id = job.application_id WHERE app.external_reference NOT LIKE 'POISON%'"
            ).fetchall()
        accepted = sorted(self.accepted, key=lambda each: each.sent)
        for each in self.struck:
            waits = [finished - max(created, each.began) for created, finished in jobs if created <= each.ended and finished > each.began]
            each.recovery = max([*waits, _silence(accepted, each.began)], default=0.0)
        return self.struck


def _silence(accepted: list[Accepted], since: float) -> float:
    """Seconds until the first answer to something that was sent after `since`; 0 where nothing was sent any more."""
    later = [each.accepted - since for each in accepted if each.sent >= since]
    return min(later, default=0.0)


def _plan(chance: random.Random, faults: int) -> list[str]:
    """Each fault as often as its weight says, in an order of chance; a short campaign has each of the frequent ones first."""
    whole = list(chain.from_iterable([fault] * weight for fault, weight in WEIGHTS.items()))
    if faults >= len(whole):
        planned = [fault for fault, _ in zip(cycle(whole), range(faults), strict=False)]
    else:
        by_weight = sorted(WEIGHTS, key=WEIGHTS.__getitem__, reverse=True)
        planned = [fault for fault, _ in zip(cycle(by_weight), range(faults), strict=False)]
    chance.shuffle(planned)
    return planned


class Officer:
    """Tries to approve whatever came in last, scored or not: those without a score must be refused."""

    def __init__(self, desk: FaultDesk, key: str) -> None:
        self.desk = desk
        self.approved = self.refused = 0
        self._caller = Caller(lambda: desk.port, key)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="officer", daemon=True)

    def __enter__(self) -> Officer:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    def _work(self) -> None:
        for number in self._numbers():
            status, _ = self._caller.post(f"/api/v1/applications/{number}/decision/", {"outcome": "approve", "reason": APPROVAL_REASON})
            self.approved += status == 201
            self.refused += status == 409

    def _numbers(self) -> Iterator[int]:
        while not self._stop.wait(0.5):
            latest = one_number(self.desk.database.url, "SELECT max(id) FROM loans_loanapplication")
            if latest:
                yield max(1, latest - random.choice((0, 1, 20, 500)))


APPROVAL_REASON = "meets_policy"


def shown(rows: list[Struck]) -> list[tuple[Any, ...]]:
    """Rows of the table: fault, how often, median and longest recovery in seconds."""
    table = []
    for fault in sorted({row.fault for row in rows}):
        values = sorted(row.recovery for row in rows if row.fault == fault)
        table.append((fault, len(values), round(values[len(values) // 2], 2), round(values[-1], 2)))
    return table
