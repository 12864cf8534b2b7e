"""A whole desk of its own, and the words in which a fault test is written.

with FaultDesk(tmp_path, schema) as desk:      # the fixture `schema`: every table, as migrated
    desk.fill(applications=500)
    desk.start("worker", "sweeper")
    desk.after(100)                     # predictions
    desk.do("restart database")         # any of FAULTS
    desk.settle()                       # the books balance, or the test fails

The seed is printed; FAULTS_SEED repeats a run's choices (not its timing, which is the machine's).
"""

from __future__ import annotations

import base64
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psycopg
import redis
from django.db import connections
from django.test import override_settings

from config.embedded import KEYS, PROJECT
from loans.services import registry
from tests.factories import make_champion, make_pending
from tests.faults.books import Books, one_number, read_books
from tests.faults.client import Caller
from tests.services import (
    Process,
    free_port,
    isolated_environment,
    start_beat,
    start_manage,
    start_postgres,
    start_valkey,
    start_worker,
    wait_until,
)
from tests.services import start_web as gunicorn

# Short leases and looks, so that a test of seconds sees what takes production a quarter of a minute.
QUICK = {"SCORING_LEASE_SECONDS": "3", "SWEEP_INTERVAL_SECONDS": "0.3", "SCORING_BATCH_SIZE": "100", "BROKER_AWAY_SECONDS": "2"}
CLOCK = Path(__file__).parent / "clock"
_SCORED = "SELECT count(*) FROM loans_prediction WHERE NOT shadow"


def seed_of_run() -> int:
    seed = int(os.environ.get("FAULTS_SEED") or time.time_ns() % 1_000_000)
    print(f"FAULTS_SEED={seed}", flush=True)
    return seed


class FaultDesk:
    """Servers, processes by name, and faults by name. `quick=False`: the settings that production has."""

    def __init__(self, folder: Path, schema: str, *, quick: bool = True, **environment: str) -> None:
        self.folder = folder
        self.schema = schema
        self.seed = seed_of_run()
        self.chance = random.Random(self.seed)
        self.processes: dict[str, Process] = {}
        self.extra: dict[str, dict[str, str]] = {}
        self.port = 0
        self._quick = QUICK if quick else {}
        self._more = environment
        self._stack = ExitStack()

    def __enter__(self) -> FaultDesk:
        with ExitStack() as stack:
            self.database = stack.enter_context(start_postgres())
            self.broker = stack.enter_context(start_valkey())
            self.environment = isolated_environment(
                self.database, self.broker, self.folder, **{**self._quick, **self._more, "DJANGO_SETTINGS_MODULE": "tests.faults.settings"}
            )
            stack.callback(self._end)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def _end(self) -> None:
        for process in self.processes.values():
            process.resume()
            process.kill()

    # --- a filled database ----------------------------------------------------------------------------------------------
    @contextmanager
    def orm(self) -> Iterator[None]:
        """This process's Django on this desk's database, models and keys."""
        connection = connections["default"]
        with ExitStack() as stack:
            keys = {name: [base64.b64decode(self.environment[name])] for name in KEYS}
            changed = {"PII_KEYS": keys["PII_KEYS"], "BLIND_INDEX_KEY": keys["BLIND_INDEX_KEY"][0], "ARTIFACT_KEY": keys["ARTIFACT_KEY"][0]}
            stack.enter_context(override_settings(ARTIFACTS_DIR=Path(self.environment["ARTIFACTS_DIR"]), **changed))
            before = {name: connection.settings_dict[name] for name in ("NAME", "HOST", "PORT", "USER", "PASSWORD")}
            connection.close()
            connection.settings_dict.update(NAME=self.database.database, HOST=str(self.database.socket_folder), PORT="", USER="postgres")
            stack.callback(connection.settings_dict.update, before)
            stack.callback(connection.close)
            registry._loaded.clear()
            stack.callback(registry._loaded.clear)
            yield

    def fill(self, *, applications: int = 0, champion: bool = True) -> None:
        """The tables, a model that serves, and so many applications that wait."""
        psql = [self.database.binaries / "psql", "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--output=/dev/null", self.database.url]
        done = subprocess.run([str(part) for part in psql], input=self.schema, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        with self.orm():
            if champion:
                make_champion()
            if applications:
                make_pending(applications)

    def shell(self, code: str, **environment: str) -> str:
        """Run Python with Django set up in a process of its own; returns what it printed."""
        done = subprocess.run(
            [sys.executable, "-c", "import django; django.setup()\n" + code], env={**self.environment, **environment}, cwd=PROJECT,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    # --- processes by name ----------------------------------------------------------------------------------------------
    def start(self, *names: str, **extra: str) -> None:
        """Start processes: worker, sweeper, web or beat, numbered where there are several (worker-2). `extra` is their environment."""
        for name in names:
            self.extra.setdefault(name, {}).update(extra)
            environment = {**self.environment, **self.extra[name]}
            log = self.folder / f"{name}.log"
            match name.partition("-")[0]:
                case "worker":
                    process = start_worker(environment, log=log, wait=False)
                case "sweeper":
                    process = start_manage(["sweep"], environment, log)
                case "beat":
                    process = start_beat(environment, log)
                case "web":
                    self.port = self.port or free_port()
                    process = gunicorn(environment, port=self.port, log=log)
                case other:
                    raise ValueError(f"There is no process {other!r}.")
            self.processes[name] = process

    def kill(self, name: str) -> None:
        """SIGKILL, and a new one at once, as an orchestrator would."""
        self.processes[name].kill()
        self.start(name)

    def roll(self, name: str) -> None:
        """As a deploy does: SIGTERM, wait until it has drained, start anew."""
        process = self.processes[name]
        code = process.stop(timeout=60)
        # one that has not yet come up holds nothing, and is ended by the signal itself
        assert code in (0, -signal.SIGTERM), f"{name} ended with {code}"
        self.start(name)

    def keep_alive(self) -> list[str]:
        """Start anew whatever ended by itself; returns the names."""
        ended = [name for name, process in self.processes.items() if not process.running]
        for name in ended:
            self.processes[name].kill()  # children that outlived their parent
            self.start(name)
        return ended

    def clock_ahead(self, seconds: int) -> dict[str, str]:
        """Environment of a process whose clock is so far ahead."""
        return {"PYTHONPATH": str(CLOCK), "FAULTS_CLOCK_AHEAD": str(seconds)}

    # --- faults by name -------------------------------------------------------------------------------------------------
    def any_of(self, role: str) -> str:
        return self.chance.choice([name for name in self.processes if name.partition("-")[0] == role])

    def do(self, fault: str, *, seconds: float = 1.0) -> None:
        """Do the fault; one that lasts is over after `seconds`, when this returns."""
        FAULTS[fault](self, seconds)

    def memory_limit(self, bytes_: int) -> None:
        with redis.Redis.from_url(self.broker.url, socket_timeout=5) as client:
            client.config_set("maxmemory", bytes_)

    # --- looking --------------------------------------------------------------------------------------------------------
    def scored(self) -> int:
        return one_number(self.database.url, _SCORED) or 0

    def serves(self) -> bool:
        return bool(self.port) and Caller(lambda: self.port, "").ask("GET", "/healthz")[0] == 200

    def books(self) -> Books | None:
        return read_books(self.database.url)

    def after(self, predictions: int, timeout: float = 90) -> None:
        wait_until(lambda: self.scored() >= predictions, timeout, f"{predictions} predictions", interval=0.1)

    def settle(self, *, submitted: int, to_person: int = 0, timeout: float = 120) -> Books:
        """Wait until nothing is pending; the books must balance then. Prints them, and the processes' last words where they don't."""
        try:
            # what a poison killed comes back, as under any supervisor
            wait_until(lambda: self.keep_alive() == [] and self.unfinished() == 0, timeout, "no job pending", interval=0.1)
            books = self.books()
            assert books is not None and books.balanced, books
            assert (books.submitted, books.to_person) == (submitted, to_person), books
        except BaseException:
            print("books:", self.books())
            for name in self.processes:
                print(f"--- {name}\n{self.log(name)[-2500:]}")
            raise
        print("books:", books)
        return books

    def unfinished(self) -> int | None:
        return one_number(self.database.url, "SELECT count(*) FROM loans_scoringjob WHERE state IN ('pending', 'running')")

    def log(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""


def _broker_down(desk: FaultDesk, seconds: float) -> None:
    desk.broker.kill()
    time.sleep(seconds)
    desk.broker.start()


def _broker_hung(desk: FaultDesk, seconds: float) -> None:
    desk.broker.pause()
    time.sleep(seconds)
    desk.broker.resume()


def _broker_full(desk: FaultDesk, seconds: float) -> None:
    """Every command that could need memory is refused; reading goes on."""
    desk.memory_limit(1)
    time.sleep(seconds)
    desk.memory_limit(0)


def _worker_frozen(desk: FaultDesk, seconds: float) -> None:
    """Frozen past its lease, then awake again with a result that is nobody's any more."""
    process = desk.processes[desk.any_of("worker")]
    process.pause()
    time.sleep(seconds)
    process.resume()


def _child_of(role: str) -> Callable[[FaultDesk, float], None]:
    return lambda desk, seconds: desk.processes[desk.any_of(role)].kill_child() and None


def _busy_worker_child(desk: FaultDesk, seconds: float) -> None:
    """While it holds jobs, if any come within two seconds: a fault that finds a worker idle proves nothing."""
    until = time.monotonic() + 2
    with suppress(psycopg.Error), psycopg.connect(desk.database.url, autocommit=True) as connection:
        while time.monotonic() < until:
            if connection.execute("SELECT 1 FROM loans_scoringjob WHERE state = 'running' LIMIT 1").fetchone():
                break
            time.sleep(0.001)
    desk.processes[desk.any_of("worker")].kill_child()


def _whole(role: str) -> Callable[[FaultDesk, float], None]:
    return lambda desk, seconds: desk.kill(desk.any_of(role))


FAULTS: dict[str, Callable[[FaultDesk, float], None]] = {
    "kill worker": _whole("worker"),
    "kill worker child": _busy_worker_child,
    "kill sweeper": _whole("sweeper"),
    "kill web": _whole("web"),
    "kill web child": _child_of("web"),
    "kill scheduler": _whole("beat"),
    "freeze worker": _worker_frozen,
    "roll worker": lambda desk, seconds: desk.roll(desk.any_of("worker")),
    "reload web": lambda desk, seconds: desk.processes[desk.any_of("web")].popen.send_signal(signal.SIGHUP),
    "broker down": _broker_down,
    "broker hung": _broker_hung,
    "broker emptied": lambda desk, seconds: desk.broker.wipe(),
    "broker out of memory": _broker_full,
    "restart database": lambda desk, seconds: desk.database.restart_immediately(),
}
