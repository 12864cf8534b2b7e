"""Loandesk as a network of queues, simulated with SimPy: web processes with their threads, workers with their batches, a database, and the
processors that they share or have to themselves.

Service times are measured (`benchmarks.capacity`); nothing here is fitted to the loads that the simulation is compared with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import simpy

QUANTUM = 0.002
"""Seconds for which a processor (and a Python process's lock) is had at a time."""
BATCH = 500
"""Applications that a worker claims at most."""


@dataclass(frozen=True)
class Service:
    """Seconds of one application. client, web, database: of the processors, from the request to its answer. waiting: (m,) of single
    requests, for disk and network. batch, score, score_database: of the processors, of a worker for a batch, and for each application in
    it. wake: until a worker hears of it. spread: (m,) times the processors' time of single requests.
    """

    client: float
    web: float
    database: float
    waiting: tuple[float, ...]
    batch: float
    score: float
    score_database: float
    wake: float
    spread: tuple[float, ...] = (1.0,)

    @property
    def processors(self) -> float:
        """Seconds of the processors for one application, a worker's fixed cost left out: it is shared by more the more there are."""
        return self.client + self.web + self.database + self.score + self.score_database


@dataclass(frozen=True)
class Hosts:
    """Processors of each tier. shared: all tiers on one machine of `web` processors, the client among them."""

    web: int
    database: int
    worker: int
    processes: int
    threads: int
    workers: int
    shared: bool = False


@dataclass
class Run:
    """answered, scored: seconds from when an application was due to its answer and to its score. busy: {tier: share of its processors}."""

    answered: list[float] = field(default_factory=list)
    scored: list[float] = field(default_factory=list)
    busy: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


def simulate(service: Service, due: list[float], hosts: Hosts, *, seed: int = 0) -> Run:
    """Applications that come at the times `due` (seconds, rising), until the last is scored."""
    return _Desk(service, hosts, seed).run(due)


class _Desk:
    def __init__(self, service: Service, hosts: Hosts, seed: int) -> None:
        self.service, self.hosts = service, hosts
        self.chance = np.random.default_rng(seed)
        self.env = simpy.Environment()
        self.processors = {"web": simpy.Resource(self.env, hosts.web)}
        for tier, count in (("database", hosts.database), ("worker", hosts.worker)):
            self.processors[tier] = self.processors["web"] if hosts.shared else simpy.Resource(self.env, count)
        self.spent = dict.fromkeys(self.processors, 0.0)
        self.locks = [simpy.Resource(self.env, 1) for _ in range(hosts.processes)]
        self.threads = simpy.Resource(self.env, hosts.processes * hosts.threads)
        self.sender = simpy.Resource(self.env, 1)
        self.pending: list[float] = []
        self.told = self.env.event()
        self.made = Run()

    def run(self, due: list[float]) -> Run:
        self.left = len(due)
        self.env.process(self._arrivals(due))
        over = [self.env.process(self._worker()) for _ in range(self.hosts.workers)]
        self.env.run(until=simpy.AllOf(self.env, over))
        self.made.seconds = self.env.now
        for tier, resource in self.processors.items():
            self.made.busy[tier] = self.spent[tier] / (resource.capacity * self.env.now)
        return self.made

    def _arrivals(self, due: list[float]) -> Iterator[Any]:
        for number, at in enumerate(due):
            yield self.env.timeout(max(at - self.env.now, 0.0))
            self.env.process(self._request(number, at))

    def _request(self, number: int, at: float) -> Iterator[Any]:
        service, more = self.service, float(self.chance.choice(self.service.spread))
        if self.hosts.shared:
            yield from self._burst("web", service.client / 2, self.sender)
        with self.threads.request() as thread:
            yield thread
            lock = self.locks[number % len(self.locks)]
            for half in (0.5, 0.5):  # checked and read, written and answered
                yield from self._burst("web", half * more * service.web, lock)
                yield from self._burst("database", half * more * service.database)
            yield self.env.timeout(float(self.chance.choice(service.waiting)))
        if self.hosts.shared:
            yield from self._burst("web", service.client / 2, self.sender)
        self.made.answered.append(self.env.now - at)
        yield self.env.timeout(service.wake)
        self.pending.append(at)
        if not self.told.triggered:
            self.told.succeed()

    def _worker(self) -> Iterator[Any]:
        lock = simpy.Resource(self.env, 1)
        while self.left:
            if not self.pending:
                self.told = simpy.Event(self.env) if self.told.triggered else self.told
                yield self.told
                continue
            taken, self.pending = self.pending[:BATCH], self.pending[BATCH:]
            self.left -= len(taken)
            yield from self._burst("worker", self.service.batch + len(taken) * self.service.score, lock)
            yield from self._burst("database", len(taken) * self.service.score_database)
            self.made.scored += [self.env.now - at for at in taken]
        if not self.told.triggered:
            self.told.succeed()  # the others need not wait any longer

    def _burst(self, tier: str, seconds: float, lock: simpy.Resource | None = None) -> Iterator[Any]:
        """So many seconds of one of the tier's processors, a quantum at a time, and of the lock meanwhile."""
        while seconds > 0:
            step = min(QUANTUM, seconds)
            if lock is None:
                yield from self._step(tier, step)
            else:
                with lock.request() as mine:
                    yield mine
                    yield from self._step(tier, step)
            seconds -= step

    def _step(self, tier: str, seconds: float) -> Iterator[Any]:
        with self.processors[tier].request() as processor:
            yield processor
            yield self.env.timeout(seconds)
            self.spent[tier] += seconds
