"""What a machine with Python alone lacks: a database, a broker and the secrets of a development desk.

`ensure_environment()` gives every unset variable a development value. Where DATABASE_URL or REDIS_URL is unset it starts a real server
out of a wheel, with its data under `.loandesk/` (LOANDESK_HOME moves that folder). Every process that uses the servers holds a shared
lock on a file there, which the kernel lets go of even after kill -9; whoever leaves last stops them. The wheels are in
requirements-dev.txt only: in production an unset variable ends the start.

    python -m config.embedded status|stop|clear
"""

from __future__ import annotations

import atexit
import base64
import fcntl
import os
import secrets
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from config import servers
from config.servers import Postgres, Server, ServerError, SystemUserError, Valkey

PROJECT = Path(__file__).resolve().parent.parent
URLS = ("DATABASE_URL", "REDIS_URL")
KEYS = ("PII_KEYS", "BLIND_INDEX_KEY", "ARTIFACT_KEY")
# What production must set itself: settings.py reads all of these and has no default for them.
REQUIRED = (*URLS, "SECRET_KEY", *KEYS)


def home() -> Path:
    return Path(os.environ.get("LOANDESK_HOME") or PROJECT / ".loandesk").absolute()


class Desk:
    """The embedded servers of one folder, and this process's hold on them."""

    def __init__(self, folder: Path, *, durable: bool = True, postgres: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.postgres = Postgres(folder / "postgres", durable=durable, settings=postgres)
        self.valkey = Valkey(folder / "valkey")
        self._hold: int | None = None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time starts, attaches or stops."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "start.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def acquire(self, wanted: list[Server]) -> list[Server]:
        """Hold the servers, starting those that do not run. Returns the ones that were started."""
        started = []
        with self._alone():
            if self._hold is None:
                # not inheritable: a child that outlives us does not keep the servers up, it has only borrowed the URL
                self._hold = os.open(self.folder / "in-use.lock", os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(self._hold, fcntl.LOCK_SH)
            try:
                for server in wanted:
                    if not server.running:
                        server.start()
                        started.append(server)
            except BaseException:
                self._leave()
                raise
        return started

    def release(self) -> bool:
        """Let go; stops the servers and returns True when nobody else holds them."""
        if self._hold is None:
            return False
        with self._alone():
            return self._leave()

    def _leave(self) -> bool:
        hold, self._hold = self._hold, None
        assert hold is not None
        try:
            fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            self.valkey.stop()
            self.postgres.stop()
            return True
        finally:
            os.close(hold)

    def stop(self) -> bool:
        """Stop what a killed process left running. Returns False when a living process still uses the servers."""
        self.acquire([])
        return self.release()

    def secrets(self) -> dict[str, str]:
        """Development secrets: made once, readable by the owner only, so that stored data stays readable from run to run."""
        path = self.folder / "secrets.env"
        with self._alone():
            known = dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line) if path.exists() else {}
            missing = {name: make() for name, make in _SECRETS.items() if name not in known}
            if missing:
                known |= missing
                temporary = path.with_suffix(".tmp")
                temporary.unlink(missing_ok=True)
                temporary.touch(mode=0o600)
                temporary.write_text("".join(f"{name}={value}\n" for name, value in known.items()))
                temporary.replace(path)
        return {name: known[name] for name in _SECRETS}

    def clear(self) -> None:
        """Delete the embedded data and the models trained on it. The secrets stay: another database may be encrypted with them."""
        for name in ("postgres", "postgres.new", "valkey", "artifacts", "uploads", "archive"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        shutil.rmtree(self.postgres.socket_folder, ignore_errors=True)
        tests = Desk(self.folder / "tests")  # see tests/environment.py
        if tests.folder.exists() and tests.stop():
            shutil.rmtree(tests.folder)
        (self.folder / "launch.json").unlink(missing_ok=True)


def _key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


_SECRETS = {"SECRET_KEY": lambda: "dev-" + secrets.token_urlsafe(48), **dict.fromkeys(KEYS, _key)}
_desk: Desk | None = None


def ensure_environment(folder: Path | None = None, *, durable: bool = True, postgres: dict[str, str] | None = None) -> Desk | None:
    """Give every unset variable of `REQUIRED` a development value in os.environ; start embedded servers where their URLs are unset.

    Returns the desk whose servers this process holds, or None when both URLs were given. Once per process: later calls change nothing.
    `durable=False` trades a power failure's safety for speed (tests); `postgres` holds settings of that server. Exits with a message when
    something is missing that only the operator can give.
    """
    global _desk
    unset = [name for name in REQUIRED if not os.environ.get(name)]
    if _desk is not None or not unset:
        return _desk
    if not servers.available():
        _explain_missing(unset)
    folder = (folder or home()).absolute()
    desk = Desk(folder, durable=durable, postgres=postgres)
    try:
        if "SECRET_KEY" in unset:
            _develop(desk)
        wanted: list[Server] = [server for name, server in zip(URLS, (desk.postgres, desk.valkey), strict=True) if name in unset]
        if not wanted:
            return None
        desk.acquire(wanted)
    except (ServerError, SystemUserError, OSError) as error:
        sys.exit(f"loandesk: {error}")
    if "DATABASE_URL" in unset:
        os.environ["DATABASE_URL"] = desk.postgres.url
    if "REDIS_URL" in unset:
        os.environ["REDIS_URL"] = desk.valkey.url
    _desk = desk
    _release_at_exit(desk)
    return desk


def _develop(desk: Desk) -> None:
    """Only without a SECRET_KEY: whoever has set one is configuring a real desk, where nothing may be invented."""
    values = {**desk.secrets(), "DEBUG": "1", "ARTIFACTS_DIR": str(desk.folder / "artifacts"), "UPLOADS_DIR": str(desk.folder / "uploads")}
    values["ARCHIVE_DIR"] = str(desk.folder / "archive")
    for name, value in values.items():
        if not os.environ.get(name):
            os.environ[name] = value


def _explain_missing(unset: list[str]) -> None:
    urls = [name for name in URLS if name in unset]
    if not urls:
        return  # settings.py names the missing secret: nothing may be invented for it outside a developer's machine
    meaning = {"DATABASE_URL": "postgresql://user:password@host:5432/name", "REDIS_URL": "redis://:password@host:6379/0"}
    sys.exit(
        f"loandesk: {' and '.join(urls)} {'is' if len(urls) == 1 else 'are'} not set. Set "
        + " and ".join(f"{name}={meaning[name]}" for name in urls)
        + ".\nOn a development machine servers are started for you: pip install --require-hashes -r requirements-dev.txt, or `make run`."
    )


def _release_at_exit(desk: Desk) -> None:
    owner = os.getpid()

    def leave() -> None:
        if os.getpid() == owner:  # a forked child runs its parent's exit handlers too
            desk.release()

    atexit.register(leave)
    # SIGTERM ends Python without its exit handlers: turn it into an ordinary exit, unless the command has its own way.
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def _main(arguments: list[str]) -> int:
    desk = Desk(home())
    match arguments:
        case ["status"]:
            for server in (desk.postgres, desk.valkey):
                print(f"{server.name}: {f'running as process {server.pid}: {server.url}' if server.running else 'not running'}")
        case ["stop" | "clear" as action]:
            if not desk.folder.exists():
                print(f"Nothing to {action}: {desk.folder} does not exist.")
                return 0
            if not desk.stop():
                print(f"The servers under {desk.folder} are in use (`make run`, or another command): end that first.", file=sys.stderr)
                return 1
            from config.supervisor import end_leftovers

            end_leftovers(desk.folder / "processes.json")  # of a run that was killed: they would go on without a database
            if action == "clear":
                desk.clear()
                print(f"Deleted the embedded database, queue, models and uploads under {desk.folder}.")
                if os.environ.get("DATABASE_URL"):
                    print("DATABASE_URL is set: that database was not touched.")
        case _:
            print("usage: python -m config.embedded status|stop|clear", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
