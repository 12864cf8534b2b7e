"""Which Python `make` takes, and what it says when there is none that will do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from config.embedded import PROJECT

REAL = os.path.realpath(sys.executable)
TOOLS = "/usr/bin:/bin"


@pytest.fixture
def machine(tmp_path):
    """A PATH that holds the given interpreters only: name → the shell script that it is."""

    def make(**interpreters: str):
        folder = tmp_path / "bin"
        folder.mkdir()
        for name, script in interpreters.items():
            path = folder / name.replace("_", ".")
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)
        return folder

    return make


def find(folder: Path, **variables: str) -> subprocess.CompletedProcess:
    # /bin/sh by its own path; the tools that the script needs are built into it
    return subprocess.run(
        ["/bin/sh", str(PROJECT / "bin" / "find-python")],
        env={"PATH": str(folder), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


WORKS = f'exec {REAL} "$@"'
SHIM = 'echo "pyenv: python3: command not found" >&2; exit 127'


def without(module: str) -> str:
    """A Python that lacks a module, as Debian's does without python3-venv."""
    return f'case "$2" in *{module}*) exit 1 ;; esac; exec {REAL} "$@"'


def saying(version: str) -> str:
    return f'case "$2" in *version_info*) echo {version} ;; *) exec {REAL} "$@" ;; esac'


def test_the_first_that_works_is_taken(machine):
    done = find(machine(python3=WORKS))
    assert (done.returncode, done.stdout.strip()) == (0, REAL)


def test_a_shim_that_fails_is_passed_over(machine):
    done = find(machine(python3=SHIM, python3_13=SHIM, python3_12=WORKS))
    assert (done.returncode, done.stdout.strip()) == (0, REAL)


def test_one_that_lacks_venv_is_passed_over(machine):
    done = find(machine(python3=without("ensurepip"), python3_11=WORKS))
    assert done.returncode == 0


def test_only_one_that_lacks_venv_names_the_package(machine):
    done = find(machine(python3=without("ensurepip")))
    version = "{}.{}".format(*sys.version_info)
    assert done.returncode == 1
    assert f"apt-get install python{version}-venv" in done.stderr


def test_an_old_one_is_named_and_not_taken(machine):
    done = find(machine(python3=saying("3.9")))
    assert done.returncode == 1
    assert "found only python3 (3.9)" in done.stderr and "needs Python 3.11, 3.12 or 3.13" in done.stderr


def test_none_at_all(machine):
    done = find(machine())
    assert done.returncode == 1 and "apt-get install python3 python3-venv" in done.stderr


def test_a_newer_one_is_better_than_none_and_said_to_be_untested(machine):
    done = find(machine(python3=saying("3.15")))
    assert done.returncode == 0 and "tested on 3.11 to 3.13" in done.stderr


def test_a_tested_one_comes_before_a_newer(machine):
    done = find(machine(python3=saying("3.15"), python3_12=WORKS))
    assert done.returncode == 0 and not done.stderr


def test_the_one_that_is_named_comes_first_and_is_not_replaced(machine):
    folder = machine(python3=WORKS, other=SHIM)
    assert find(folder, PYTHON=str(folder / "python3")).returncode == 0
    done = find(folder, PYTHON=str(folder / "other"))
    assert done.returncode == 1 and "is not a Python 3.11 or newer that runs" in done.stderr


def test_make_help_lists_every_target():
    done = subprocess.run(["make", "help"], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        pytest.skip("no make here")
    for target in ("run", "test", "lint", "pins", "bench", "bench-%", "faults", "clean", "clean-data"):
        assert f"\n  {target} " in done.stdout
