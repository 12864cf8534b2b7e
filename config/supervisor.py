"""Keeps the desk's processes running on one machine: output into files, restarts with back-off, a clean end.

In production an orchestrator does this (see compose.yaml); this is for `make run`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0  # seconds before a restart
STEADY_AFTER = 60.0  # a process that lived so long starts its back-off anew
LOG_LIMIT = 10_000_000  # bytes; a larger log is set aside once at the start
STOP_SECONDS = 30.0  # longer than gunicorn's and Celery's own graceful ends


@dataclass
class Service:
    """One long-running process and what is known of it."""

    name: str
    command: list[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    files: tuple[int, ...] = ()  # open files that it inherits
    process: subprocess.Popen | None = None
    started: float = 0.0
    wait: float = FIRST_WAIT
    due: float = 0.0
    peak_memory: int = 0  # bytes, of the process and its children together, as sampled

    def start(self, folder: Path) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".old.log"))
        with self.log.open("ab") as stream:
            # a session of its own: Ctrl-C on the terminal reaches the launcher alone, which ends the others in order
            self.process = subprocess.Popen(
                self.command, cwd=folder, env={**os.environ, **self.environment}, start_new_session=True, pass_fds=self.files,
                stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
            )  # fmt: skip
        self.started = time.monotonic()

    def measure(self) -> None:
        if self.process is None:
            return
        with suppress(psutil.Error):
            parent = psutil.Process(self.process.pid)
            total = parent.memory_info().rss
            for child in parent.children(recursive=True):
                with suppress(psutil.Error):
                    total += child.memory_info().rss
            self.peak_memory = max(self.peak_memory, total)


class Supervisor:
    """Starts services, restarts those that die, stops all. `say` gets a sentence for whatever a person should know."""

    def __init__(self, services: Iterable[Service], *, folder: Path, record: Path, say: Callable[[str], None]) -> None:
        self.services = list(services)
        self.folder = folder
        self.record = record
        self.say = say

    def start(self) -> None:
        for service in self.services:
            service.start(self.folder)
            self._remember()

    def tick(self) -> None:
        """Look after everyone once; call it several times a second."""
        now = time.monotonic()
        for service in self.services:
            if service.process is None:
                if now >= service.due:
                    service.start(self.folder)
                    self._remember()
                continue
            code = service.process.poll()
            if code is None:
                continue
            kill_group(service.process.pid)  # children that outlive their parent would run beside the new ones
            service.wait = FIRST_WAIT if now - service.started > STEADY_AFTER else min(service.wait * 2, LONGEST_WAIT)
            service.due = now + service.wait
            service.process = None
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            self.say(f"{service.name} {how}; it starts again in {service.wait:.0f} s. Its log: {service.log}")

    def measure(self) -> None:
        for service in self.services:
            service.measure()

    def stop(self, *, hurry: Callable[[], bool] = lambda: False) -> None:
        """SIGTERM to all, SIGKILL to what is left after STOP_SECONDS or as soon as `hurry` says so."""
        living = [service for service in self.services if service.process is not None]
        for service in living:
            with suppress(ProcessLookupError):
                service.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        while any(service.process.poll() is None for service in living) and time.monotonic() < deadline and not hurry():
            time.sleep(0.05)
        for service in living:
            if service.process.poll() is None:
                self.say(f"{service.name} did not end in time and is killed.")
            kill_group(service.process.pid)
            service.process.wait()
            service.process = None
        self.record.unlink(missing_ok=True)

    def _remember(self) -> None:
        remember(self.record, [service.process.pid for service in self.services if service.process is not None])


def remember(record: Path, leaders: Iterable[int]) -> None:
    """Note who runs, for a next run to end should this one be killed."""
    living = []
    for pid in leaders:
        with suppress(psutil.Error):
            living.append([pid, psutil.Process(pid).create_time()])
    temporary = record.with_suffix(".tmp")
    temporary.write_text(json.dumps(living))
    temporary.replace(record)


def kill_group(leader: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def end_leftovers(record: Path) -> int:
    """End what a killed run left behind; the start time tells our process from another that was given its id since."""
    try:
        known = json.loads(record.read_text())
    except (OSError, ValueError):
        return 0
    ended, dying = 0, []
    for pid, created in known:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            if abs(process.create_time() - created) < 1:
                dying += [process, *process.children(recursive=True)]
                kill_group(pid)
                ended += 1
    psutil.wait_procs(dying, timeout=10)  # they hold the site's port until they are gone
    record.unlink(missing_ok=True)
    return ended
