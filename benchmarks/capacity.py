"""How many hosts so many applications a second take: service times measured here, put into a simulation, which is checked against load.

`python -m benchmarks.capacity` starts servers of its own, measures one request at a time and one batch at a time, simulates this machine at
three loads, puts the same arrivals on it and compares; then it simulates 100, 1,000 and 10,000 a second. Some three minutes on a quiet
machine with Linux. Figures: build/bench/capacity.json; what they mean: docs/CAPACITY.md. LOAD_SECONDS sets how long each load is held.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import api, load, report
from benchmarks.queueing import Hosts, Run, Service, simulate
from benchmarks.report import Figure

SECONDS = float(os.environ.get("LOAD_SECONDS", "30"))
LEVELS = (0.3, 0.5, 0.7)
"""Loads, as shares of what the processors of this machine can do."""
RATES = (100, 1_000, 10_000)
CORES = 8
"""Processors of a host, in the reading for many hosts."""
FULL = 0.6
"""A tier is built so that its processors are busy for this share: what is left carries an hour that is busier than most, or a lost host."""
PROMISE = 1.0
"""Seconds within which 99 of 100 answers are to come."""
SLICE = 1_000
"""Applications a second that are simulated at most; more hosts are more of the same."""
CLIENTS = 32
WAITING, SMALL_BATCH = 990, 15
"""So many wait for the worker when its time for an application is measured; sent in batches so small that the site leaves them to it."""


@dataclass(frozen=True)
class Spent:
    """Processor seconds by process."""

    client: float
    web: float
    database: float
    worker: float

    def __sub__(self, other: Spent) -> Spent:
        return Spent(*(mine - theirs for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True)))


class Machine:
    """The servers of this run: gunicorn, a worker, a sweeper, PostgreSQL."""

    def __init__(self, headers: dict[str, str], bodies: list[dict[str, Any]], folder: Path) -> None:
        self.headers, self.bodies, self.folder = headers, bodies, folder
        self.port = api.PORTS["capacity"]
        self.web = api._serve("capacity", "config.wsgi:application", {}, folder)
        self.processes, self.worker = [self.web], None
        self.postmaster = int(_stat(_query("SELECT pg_backend_pid()")[0])[1])

    def start_worker(self) -> None:
        arguments = "-A config.celery:app worker --queues scoring --concurrency 1 --without-gossip --without-mingle --loglevel WARNING"
        self.worker = api._process([sys.executable, "-m", "celery", *arguments.split()], {}, self.folder / "worker.log")
        sweeper = api._process([sys.executable, "manage.py", "sweep"], {}, self.folder / "sweep.log")
        self.processes += [self.worker, sweeper]
        api._wait_for_worker()

    def spent(self) -> Spent:
        times = {pid: fields for pid in _pids() if (fields := _stat(pid))}
        worker = _of_tree(times, self.worker.pid) if self.worker else 0.0
        return Spent(time.process_time(), _of_tree(times, self.web.pid), _of_tree(times, self.postmaster), worker)

    @contextmanager
    def resting(self) -> Iterator[None]:
        """The worker and the sweeper are stopped meanwhile, so that what comes in waits."""
        times = {pid: fields for pid in _pids() if (fields := _stat(pid))}
        stopped = [pid for process in self.processes if process is not self.web for pid in _tree(times, process.pid)]
        try:
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)

    def made(self, count: int) -> Callable[[int], bytes]:
        bodies = [json.dumps(body).encode() for body in api._people(self.bodies, count)]
        return lambda number: bodies[number % len(bodies)]

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(60)


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _stat(pid: int) -> tuple[float, int] | None:
    """(processor seconds, its children's that ended included; parent), None where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return sum(int(each) for each in fields[11:15]) / os.sysconf("SC_CLK_TCK"), int(fields[1])


def _tree(times: dict[int, tuple[float, int]], root: int) -> list[int]:
    """The process and all below it, as far as they live."""
    found, wanted = [], {root}
    while wanted:
        found += [pid for pid in wanted if pid in times]
        wanted = {pid for pid, (_, parent) in times.items() if parent in wanted}
    return found


def _of_tree(times: dict[int, tuple[float, int]], root: int) -> float:
    return sum(times[pid][0] for pid in _tree(times, root))


def _query(sql: str) -> tuple:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()


def measured(machine: Machine) -> tuple[Service, dict[str, float]]:
    """One request at a time without a worker, then what waits scored by it in batches, then single ones; and bytes an application."""
    closed = {"headers": machine.headers, "clients": 1, "expect": 201}
    load.closed_loop(machine.port, api.URL, machine.made(400), seconds=4, **closed)  # the first ones load what is loaded once
    before, log = machine.spent(), _query("SELECT pg_current_wal_lsn()")[0]
    _, took = load.closed_loop(machine.port, api.URL, machine.made(2_000), seconds=SECONDS / 2, **closed)
    each = machine.spent() - before
    client, web, database = (value / len(took) for value in (each.client, each.web, each.database))
    waiting = np.maximum(np.array(took) - client - web - database, 0.0)
    machine.start_worker()
    api._wait_scored()
    scored, spent = 0, []
    for number in range(5):
        people = api._people(machine.bodies, WAITING)
        batches = [json.dumps({"applications": people[k : k + SMALL_BATCH]}).encode() for k in range(0, WAITING, SMALL_BATCH)]
        with machine.resting():
            count = len(batches)
            load.open_loop(
                machine.port, f"{api.URL}batch/", batches.__getitem__, machine.headers, rate=1_000, count=count, clients=1, expect=200
            )
            start, waiting_ones = machine.spent(), api._unscored()
        api._wait_scored()
        time.sleep(0.2)
        if number:  # the first one loads what is loaded once
            spent.append(machine.spent() - start)
            scored += waiting_ones
    if scored < 500:
        raise SystemExit("The worker was done before it could be measured: let a machine with more to do measure it.")
    score = sum(one.worker for one in spent) / scored
    score_database = sum(one.database for one in spent) / scored
    size = _query(f"SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '{log}')")[0]
    wal = float(size) / (len(took) + 5 * WAITING)
    alone = _alone(machine)
    fixed = max(alone["worker"] - score, 0.0)
    wake = max(alone["seconds"] - fixed - score - score_database, 0.0)
    service = Service(client, web, database, tuple(waiting.tolist()), fixed, score, score_database, wake)
    return service, {"wal": wal, "stored": float(_query("SELECT pg_database_size(current_database())")[0]) / _stored()}


def _stored() -> int:
    return _query("SELECT count(*) FROM loans_loanapplication")[0]


def _alone(machine: Machine) -> dict[str, float]:
    """What a worker spends on a batch of one, and the seconds from the stored row to the score."""
    count, before = 20, machine.spent()
    last = _query("SELECT max(id) FROM loans_scoringjob")[0]
    load.at_times(machine.port, api.URL, machine.made(count), machine.headers, [0.4 * k for k in range(count)], clients=1, expect=201)
    api._wait_scored()
    spent = machine.spent() - before
    (seconds,) = _query(f"SELECT avg(extract(epoch FROM finished_at - created_at)) FROM loans_scoringjob WHERE id > {last}")
    return {"worker": spent.worker / count, "seconds": float(seconds)}


@dataclass(frozen=True)
class Level:
    rate: float
    measured: Run
    expected: Run

    def rows(self) -> list[tuple[str, float, float]]:
        """(name, measured, expected): answers a second, and quantiles of the answers' times in milliseconds."""
        made = [
            ("answers a second", len(self.measured.answered) / self.measured.seconds, len(self.expected.answered) / self.expected.seconds)
        ]
        for name, share in (("answer, p50 ms", 0.5), ("answer, p99 ms", 0.99)):
            made.append((name, *(1000 * float(np.quantile(run.answered, share)) for run in (self.measured, self.expected))))
        return made


def compared(machine: Machine, service: Service) -> list[Level]:
    cores = os.cpu_count() or 1
    hosts = Hosts(cores, cores, cores, api.WORKERS, api.THREADS, 1, shared=True)
    made = []
    for number, level in enumerate(LEVELS):
        rate = level * cores / service.processors
        chance = np.random.default_rng(number)
        due = np.cumsum(chance.exponential(1 / rate, max(round(rate * SECONDS), 30))).tolist()
        expected = simulate(service, due, hosts)
        began = time.perf_counter()
        answered = load.at_times(machine.port, api.URL, machine.made(len(due)), machine.headers, due, clients=CLIENTS, expect=201)
        api._wait_scored()
        made.append(Level(rate, Run(answered, seconds=time.perf_counter() - began), expected))
    return made


@dataclass(frozen=True)
class Reading:
    """Hosts of CORES processors each. database: processors that one server has busy. p99, scored_p99: seconds. wal: MB a second.
    connections: to the database, one a thread.
    """

    rate: int
    web: int
    workers: int
    database: float
    p99: float
    scored_p99: float
    wal: float
    connections: int


def read(service: Service, size: dict[str, float], rate: int) -> Reading:
    """The fewest hosts that are busy for FULL of their time and keep PROMISE."""
    service = replace(service, client=0.0)  # clients bring their own machines
    part = rate / min(rate, SLICE)
    share = rate / part
    batches = 10.0  # a second and worker, at most: what comes meanwhile waits for the next one
    workers = max(1, math.ceil(share * service.score / (FULL * max(1 - batches * service.batch, 0.2))))
    database = max(1, math.ceil(share * (service.database + service.score_database) / FULL))
    web = max(1, math.ceil(share * service.web / FULL / CORES))
    due = np.cumsum(np.random.default_rng(0).exponential(1 / share, round(share * 10))).tolist()
    run = _simulated(service, due, web, database, workers)
    while _late(run) > PROMISE and _late(more := _simulated(service, due, web + 1, database, workers)) < 0.95 * _late(run):
        web, run = web + 1, more  # while another host helps: it shortens no wait for the disk
    web_hosts, every = math.ceil(web * part), math.ceil(workers * part)
    return Reading(
        rate, web_hosts, math.ceil(every / CORES), rate * (service.database + service.score_database), _late(run),
        float(np.quantile(run.scored, 0.99)), rate * size["wal"] / 1e6, web_hosts * CORES * 4 + every,
    )  # fmt: skip


def _simulated(service: Service, due: list[float], web: int, database: int, workers: int) -> Run:
    return simulate(service, due, Hosts(web * CORES, database, workers, web * CORES, 4, workers))


def _late(run: Run) -> float:
    return float(np.quantile(run.answered, 0.99))


def show(service: Service, size: dict[str, float], levels: list[Level], readings: list[Reading]) -> None:
    spent = [
        ("client, its request", service.client), ("web, the request", service.web), ("database, the request", service.database),
        ("waiting, the request (median)", float(np.median(service.waiting))), ("worker, a batch", service.batch),
        ("worker, each in it", service.score),
        ("database, each in it", service.score_database), ("until a worker hears of it", service.wake),
    ]  # fmt: skip
    print(report.table(("one application", "ms"), [(name, 1000 * seconds) for name, seconds in spent]), end="\n\n")
    rows = [
        (f"{level.rate:.0f}/s", name, f"{one:.1f}", f"{other:.1f}", f"{other / one - 1:+.0%}")
        for level in levels
        for name, one, other in level.rows()
    ]
    print(report.table(("load", "what", "measured", "simulated", "off by"), rows), end="\n\n")
    heads = (
        "a second",
        "web hosts",
        "worker hosts",
        "database processors",
        "answer p99 ms",
        "scored p99 s",
        "WAL MB/s",
        "connections",
    )
    rows = [
        (
            f"{each.rate:,}", each.web, each.workers, f"{each.database:.1f}", f"{1000 * each.p99:.0f}", f"{each.scored_p99:.2f}",
            f"{each.wal:.1f}", each.connections,
        )
        for each in readings
    ]  # fmt: skip
    print(report.table(heads, rows), end="\n\n")
    print(f"{size['stored'] / 1000:.1f} kB stored an application; hosts of {CORES} processors, busy for {FULL:.0%}.")


def figures(service: Service, size: dict[str, float], levels: list[Level], readings: list[Reading]) -> list[Figure]:
    off: dict[str, float] = {}
    for level in levels:
        for name, one, other in level.rows():
            off[name] = max(off.get(name, 0.0), abs(other / one - 1))
    names = {"answers a second": "throughput", "answer, p50 ms": "p50", "answer, p99 ms": "p99"}
    made = [Figure(f"capacity.{names[name]}_error", value, "of the measured, worst level", "at most", 0.2) for name, value in off.items()]
    made += [Figure(f"capacity.{name}_ms", 1000 * value, "ms") for name, value in vars(service).items() if isinstance(value, float)]
    made += [
        Figure("capacity.wal_bytes", size["wal"], "bytes an application"),
        Figure("capacity.stored_bytes", size["stored"], "bytes an application"),
    ]
    for each in readings:
        made += [
            Figure(f"capacity.web_hosts_{each.rate}", each.web, f"hosts of {CORES}"),
            Figure(f"capacity.worker_hosts_{each.rate}", each.workers, f"hosts of {CORES}"),
            Figure(f"capacity.database_processors_{each.rate}", each.database, "busy"),
        ]
    return made


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="loandesk-capacity-"))
    folder.chmod(0o711)
    machine = None
    desk = api.environment(folder)
    try:
        key, bodies = api._prepare(folder, peers=False)
        machine = Machine({"Authorization": f"Bearer {key}", "Content-Type": "application/json"}, bodies, folder)
        service, size = measured(machine)
        levels = compared(machine, service)
        readings = [read(service, size, rate) for rate in RATES]
        show(service, size, levels, readings)
        print(f"Written to {report.write('capacity', figures(service, size, levels, readings))}.")
    finally:
        if machine is not None:
            machine.stop()
        from django.db import connections

        connections.close_all()
        desk.release()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
