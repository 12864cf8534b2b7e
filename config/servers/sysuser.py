"""PostgreSQL refuses to run as root. Where we are root, it gets a system user of its own, and the terminal is told what was done for it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

USER = "pgserver"  # the name the PostgreSQL wheel uses as well


class SystemUserError(RuntimeError):
    """PostgreSQL's system user cannot be had; the text says what to do."""


class SystemUser(NamedTuple):
    uid: int
    gid: int


def server_user(binary: Path, data: Path) -> SystemUser | None:
    """Who PostgreSQL is to run as: None means ourselves. As root, makes sure that the user exists and reaches both paths."""
    if os.geteuid() != 0:
        return None
    user = _find() or _create()
    opened = [folder for path in (binary, data) for folder in _open_parents(path)]
    if opened:
        folders = ", ".join(map(str, opened))
        _say(f"opened {folders} for traversal (chmod o+x), so that the system user {USER} reaches PostgreSQL and its data.")
    if not _can_run(binary, user):
        for path in [binary.parent.parent, *binary.parent.parent.rglob("*")]:  # an umask of 077 when pip installed
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | stat.S_IROTH | (stat.S_IXOTH if path.is_dir() or os.access(path, os.X_OK) else 0))
        if not _can_run(binary, user):
            raise SystemUserError(
                f"The system user {USER} may not run {binary} (is its file system mounted noexec?). "
                "Run as an ordinary user instead of root, or set DATABASE_URL."
            )
    return user


def _say(text: str) -> None:
    print(f"loandesk: PostgreSQL does not run as root: {text}", file=sys.stderr, flush=True)


def _find() -> SystemUser | None:
    import pwd

    try:
        entry = pwd.getpwnam(USER)
    except KeyError:
        return None
    return SystemUser(entry.pw_uid, entry.pw_gid)


def _create() -> SystemUser:
    choices = "run as an ordinary user instead, or set DATABASE_URL to a PostgreSQL server of yours"
    useradd = shutil.which("useradd", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    if useradd is None:
        raise SystemUserError(
            f"PostgreSQL does not run as root, and the command useradd, to make a system user for it, is missing: {choices}, "
            "or install useradd (Debian and Ubuntu: apt-get install passwd; Fedora: dnf install shadow-utils)."
        )
    command = [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", USER]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    user = _find()  # another process may have been faster: then useradd failed and the user exists
    if user is None:
        raise SystemUserError(f"PostgreSQL does not run as root, and `{' '.join(command)}` failed ({done.stderr.strip()}): {choices}.")
    _say(f"created the system user {USER} for it (remove it with: userdel {USER}).")
    return user


def _open_parents(path: Path) -> list[Path]:
    """Let others pass through (not list) the folders above `path`."""
    opened = []
    for folder in path.absolute().parents:
        mode = folder.stat().st_mode if folder.exists() else stat.S_IXOTH
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
            opened.append(folder)
    return opened


def _can_run(binary: Path, user: SystemUser) -> bool:
    try:
        done = subprocess.run(
            [str(binary), "--version"], capture_output=True, check=False, cwd="/", user=user.uid, group=user.gid, extra_groups=[]
        )
    except PermissionError:
        return False
    return done.returncode == 0
