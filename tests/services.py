"""Servers and processes of a test's own, to be killed at will: nothing here touches the desk's development data.

with start_postgres() as database, start_valkey() as broker:
    environment = isolated_environment(database, broker, tmp_path)
    worker = start_worker(environment)
    worker.kill()               # SIGKILL, children included
    broker.wipe()               # SIGKILL, data deleted, back on the same port
    database.restart_immediately()
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from config.embedded import KEYS, PROJECT, Desk
from config.servers import Postgres, Valkey


class _Temporary:
    """A server whose folder goes when it stops for good. Not under pytest's tmp_path: as root, PostgreSQL's user may not enter that."""

    directory: Path

    def close(self) -> None:
        self.resume()
        self.kill()
        shutil.rmtree(self.directory.parent, ignore_errors=True)

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class TemporaryPostgres(_Temporary, Postgres):
    pass


class TemporaryValkey(_Temporary, Valkey):
    pass


def _folder(name: str, directory: Path | None) -> Path:
    return (directory or Path(tempfile.mkdtemp(prefix=f"loandesk-test-{name}-"))) / name


def start_postgres(directory: Path | None = None, *, durable: bool = False) -> TemporaryPostgres:
    """An empty PostgreSQL, about a second. `durable=False` skips fsync: it still survives kills of its processes."""
    parent = _folder("postgres", directory)
    parent.parent.chmod(0o711)  # mkdtemp's 0700 would keep PostgreSQL's user out
    server = TemporaryPostgres(parent, durable=durable)
    server.start()
    return server


def start_valkey(directory: Path | None = None) -> TemporaryValkey:
    server = TemporaryValkey(_folder("valkey", directory))
    server.start()
    return server


def isolated_environment(database: Postgres, broker: Valkey, folder: Path, **more: str) -> dict[str, str]:
    """The environment of a desk that lives on these two servers and keeps its files in `folder`."""
    secrets = Desk(folder / "secrets").secrets()
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("COV_", "PYTEST_"))},
        **{name: secrets[name] for name in ("SECRET_KEY", *KEYS)},
        "DATABASE_URL": database.url,
        "REDIS_URL": broker.url,
        "DEBUG": "1",
        "ARTIFACTS_DIR": str(folder / "artifacts"),
        "UPLOADS_DIR": str(folder / "uploads"),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "PYTHONUNBUFFERED": "1",
        **more,
    }


class Process:
    """A process in a session of its own, with its output in a file."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        self._offset = log.stat().st_size if log.exists() else 0
        with log.open("ab") as stream:
            self.popen = subprocess.Popen(
                [str(part) for part in arguments], env=dict(environment), cwd=PROJECT, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    @property
    def output(self) -> str:
        with self.log.open("rb") as stream:
            stream.seek(self._offset)
            return stream.read().decode(errors="replace")

    def kill(self) -> None:
        """SIGKILL to it and all its children at once, as when the machine takes them."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.popen.wait()

    def kill_child(self) -> bool:
        """SIGKILL to one child only (a pool process that runs a task). False when there is none."""
        with suppress(psutil.Error):
            for child in psutil.Process(self.pid).children(recursive=True):
                child.kill()
                return True
        return False

    def pause(self) -> None:
        """SIGSTOP to it and all its children: alive, and doing nothing."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGCONT)

    def stop(self, timeout: float = 20) -> int:
        """SIGTERM, as an operator would; SIGKILL when it does not heed it. Returns the exit code."""
        with suppress(ProcessLookupError):
            self.popen.terminate()
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def wait_for(self, text: str, timeout: float = 30) -> None:
        wait_until(lambda: text in self.output or not self.running, timeout, f"{text!r} in {self.log}")
        if text not in self.output:
            raise AssertionError(f"ended with {self.popen.returncode} before it said {text!r}:\n{self.output[-3000:]}")

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()


def start_manage(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Process:
    """`manage.py …` in the background, e.g. ["sweep"]."""
    return Process([sys.executable, PROJECT / "manage.py", *arguments], environment, log)


def start_worker(
    environment: Mapping[str, str], queues: Sequence[str] = ("scoring",), *, log: Path, concurrency: int = 1, wait: bool = True
) -> Process:
    """A Celery worker on its own; `queues` carry the environment's QUEUE_PREFIX already added here."""
    names = ",".join(environment.get("QUEUE_PREFIX", "") + queue for queue in queues)
    worker = Process(
        [
            sys.executable, "-m", "celery", "-A", "config.celery:app", "worker", "--queues", names, "--concurrency", str(concurrency),
            "--hostname", f"test-{os.getpid()}-{time.monotonic_ns()}@%h", "--without-gossip", "--without-mingle", "--loglevel", "INFO",
        ],
        environment,
        log,
    )  # fmt: skip
    if wait:
        worker.wait_for("ready.", timeout=60)
    return worker


def start_beat(environment: Mapping[str, str], log: Path) -> Process:
    """Celery's scheduler."""
    command = [sys.executable, "-m", "celery", "-A", "config.celery:app", "beat", "--pidfile=", "--loglevel", "INFO"]
    return Process(command, environment, log)


def start_web(environment: Mapping[str, str], *, port: int, log: Path) -> Process:
    """The site under gunicorn, configured as in production; returns at once."""
    command = [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py", "--bind", f"127.0.0.1:{port}", "config.wsgi:application"]
    return Process(command, environment, log)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition: Callable[[], bool], timeout: float, what: str = "the condition", interval: float = 0.05) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:.0f} s in vain for {what}")
        time.sleep(interval)
