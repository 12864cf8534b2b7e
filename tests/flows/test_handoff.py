"""The promise under fire: real worker, sweeper, broker and database, killed and wiped while 2,000 applications are scored."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import psycopg

from config.embedded import PROJECT
from tests.services import Process, isolated_environment, start_manage, start_postgres, start_valkey, start_worker, wait_until

APPLICATIONS = 2_000
SETUP = f"from tests.factories import make_champion, make_pending; make_champion(); make_pending({APPLICATIONS})"

_BOOKS = """
    SELECT (SELECT count(*) FROM loans_loanapplication),
           (SELECT count(*) FROM loans_prediction),
           (SELECT count(DISTINCT application_id) FROM loans_prediction),
           (SELECT count(*) FROM loans_scoringjob WHERE state IN ('pending', 'running')),
           (SELECT count(*) FROM loans_loanapplication WHERE status = 'open'),
           (SELECT count(*) FROM loans_featuresnapshot),
           (SELECT max(attempts) FROM loans_scoringjob)
"""


def _manage(arguments: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run([sys.executable, PROJECT / "manage.py", *arguments], env=environment, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def _books(url: str) -> tuple[int, ...] | None:
    """None while the database is starting anew."""
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            return connection.execute(_BOOKS).fetchone()
    except psycopg.OperationalError:
        return None


def test_every_application_is_scored_exactly_once_whatever_dies(tmp_path: Path) -> None:
    seed = int(os.environ.get("FAULTS_SEED") or time.time_ns() % 1_000_000)
    print(f"FAULTS_SEED={seed}")
    chance = random.Random(seed)
    with ExitStack() as stack:
        database = stack.enter_context(start_postgres())
        broker = stack.enter_context(start_valkey())
        environment = isolated_environment(
            database,
            broker,
            tmp_path,
            SCORING_LEASE_SECONDS="3",
            SWEEP_INTERVAL_SECONDS="0.3",
            SCORING_BATCH_SIZE="100",
            BROKER_AWAY_SECONDS="2",
        )
        _manage(["migrate", "-v0"], environment)
        _manage(["shell", "-v0", "-c", SETUP], environment)
        sweeper = stack.enter_context(start_manage(["sweep"], environment, tmp_path / "sweep.log"))

        def worker() -> Process:
            return stack.enter_context(start_worker(environment, log=tmp_path / "worker.log", wait=False))

        running = worker()

        def done() -> int:
            books = _books(database.url)
            return books[1] if books else 0

        for fault in ("kill worker", "wipe broker", "restart database", "kill sweeper", "kill worker"):
            aim = done() + chance.randrange(50, 350)
            wait_until(lambda aim=aim: done() >= min(aim, APPLICATIONS - 100), 60, f"{aim} predictions before: {fault}")
            time.sleep(chance.random() * 0.2)
            if fault == "kill worker":
                running.kill()
                running = worker()
            elif fault == "wipe broker":
                broker.wipe()
            elif fault == "restart database":
                database.restart_immediately()
            else:
                sweeper.kill()
                sweeper = stack.enter_context(start_manage(["sweep"], environment, tmp_path / "sweep.log"))

        def balanced() -> bool:
            books = _books(database.url)
            return books is not None and books[3] == 0

        try:
            wait_until(balanced, 90, "no job pending")
        finally:
            print("books:", _books(database.url))
            print((tmp_path / "worker.log").read_text()[-2000:], (tmp_path / "sweep.log").read_text()[-2000:])
        applications, predictions, scored, pending, opened, snapshots, attempts = _books(database.url)
        assert (applications, predictions, scored, pending) == (APPLICATIONS, APPLICATIONS, APPLICATIONS, 0)
        assert opened == snapshots == APPLICATIONS
        assert attempts > 1, "no fault hit a running job: this run proved nothing"
