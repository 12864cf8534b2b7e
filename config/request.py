"""What `make run` was asked for: a file, its mapping, a port. Whatever can be known to be wrong is said before anything is started."""

from __future__ import annotations

import argparse
import hashlib
import os
import socket
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from config.embedded import PROJECT

MAPPINGS = PROJECT / "loans" / "mappings"


class UsageError(Exception):
    """The request cannot be met as it was made; exit 2."""


@dataclass(frozen=True)
class Request:
    data: Path | None
    mapping: str | None
    port: int

    def check(self) -> None:
        """Raises UsageError for whatever can be known to be wrong now."""
        if self.data is not None:
            if not self.data.is_file():
                raise UsageError(f"DATA={self.data}: there is no such file (looked from {Path.cwd()}).")
            if not os.access(self.data, os.R_OK):
                raise UsageError(f"DATA={self.data} cannot be read by this user.")
            known = sorted(path.stem for path in MAPPINGS.glob("*.toml"))
            if not self.mapping:
                raise UsageError(
                    f"DATA needs a MAPPING, which says what its columns mean. Known: {', '.join(known)}. "
                    f"To propose one: {short(sys.executable)} manage.py import_loans {self.data} --draft-mapping"
                )
            if self.mapping not in known:
                path = Path(self.mapping)
                if not path.is_file():
                    raise UsageError(f"MAPPING={self.mapping} is unknown. Known: {', '.join(known)}; or the path of a .toml file of yours.")
                try:
                    tomllib.loads(path.read_text())
                except (ValueError, OSError) as error:
                    raise UsageError(f"MAPPING={self.mapping} is not a readable TOML file: {error}") from error
        elif self.mapping:
            raise UsageError("MAPPING is given without DATA: name the file too, DATA=loans.csv.gz.")


def parse(arguments: Sequence[str] | None = None) -> Request:
    parser = argparse.ArgumentParser(prog="python -m config.launch", description="Run the whole desk on this machine.")
    parser.add_argument("--data", default=os.environ.get("DATA") or None, help="a file of loans to fill an empty database with")
    parser.add_argument("--mapping", default=os.environ.get("MAPPING") or None, help="what its columns mean: a name, or a .toml file")
    parser.add_argument("--port", default=os.environ.get("PORT") or "8000")
    options = parser.parse_args(arguments)
    if not options.port.isdigit() or not 0 < int(options.port) < 65536:
        raise UsageError(f"PORT={options.port} is not a port: a number from 1 to 65535.")
    data = Path(options.data).expanduser() if options.data else None
    return Request(data=data, mapping=options.mapping, port=int(options.port))


def short(path: str | Path) -> str:
    """As one would type it here."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def take_port(port: int) -> socket.socket:
    """The site's port, taken now and handed to gunicorn later: another program could take it during a long training."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except PermissionError as error:
        listener.close()
        raise UsageError(f"Port {port} is for root only. Take another: make run PORT=8000") from error
    except OSError as error:
        listener.close()
        raise UsageError(f"Port {port} is in use by another program. Take another: make run PORT={port % 65535 + 1}") from error
    return listener


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
