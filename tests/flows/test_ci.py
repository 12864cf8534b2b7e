"""What CI runs: the audit tells and fails nothing, and the tests have the last word."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from config.embedded import PROJECT


@pytest.mark.parametrize(("audit", "test"), [(0, 0), (1, 0), (0, 2), (1, 2)])
def test_the_exit_code_and_the_last_line_are_the_tests(tmp_path, audit, test):
    (tmp_path / ".ci").mkdir()
    shutil.copy(PROJECT / ".ci" / "run", tmp_path / ".ci" / "run")
    (tmp_path / "Makefile").write_text(
        f"setup:\n\t@echo made\naudit:\n\t@echo 1 known vulnerability; exit {audit}\ntest:\n\t@echo 3 passed; exit {test}\n"
    )
    done = subprocess.run(["bash", ".ci/run"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == test
    assert "1 known vulnerability" in done.stdout and done.stdout.splitlines()[-1] == "3 passed"
    assert ("warning: make audit" in done.stdout) == bool(audit)
