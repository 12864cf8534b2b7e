"""Make the virtual environment and install the pinned packages, hashes checked. Standard library only: it runs before anything is there.

usage: find-python's Python bin/setup.py FOLDER REQUIREMENTS…
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

WIDTH = 28


def works(python: Path) -> bool:
    """Whether an existing environment can be used: its Python may have been removed or upgraded since."""
    probe = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    try:
        return subprocess.run([str(python), "-c", probe], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def main(folder: Path, requirements: list[Path]) -> int:
    started = time.monotonic()
    python = folder / "bin" / "python"
    if not works(python):
        print(f"Making a virtual environment in {folder} with Python {sys.version.split()[0]}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
    # distinct names: a package that both files pin counts once
    pin = re.compile(r"^([A-Za-z0-9._-]+)(?:\[.*?\])?==", re.MULTILINE)
    pins = {match[1] for path in requirements for match in pin.finditer(path.read_text())}
    command = [str(python), "-m", "pip", "install", "--require-hashes", "--no-input", "--disable-pip-version-check", "--progress-bar=off"]
    for path in requirements:
        command += ["-r", str(path)]
    log = folder / "install.log"
    print(f"Installing up to {len(pins)} pinned packages (about 1 GB on disk)", flush=True)
    code = watch(command, log, len(pins))
    if code:
        lines = log.read_text(errors="replace").splitlines()
        print("\n".join(line for line in lines[-40:] if "error" in line.lower()) or "\n".join(lines[-15:]))
        print(f"\nloandesk: the installation failed; all that pip said is in {log}.")
        print("  No network, or a proxy? pip reads PIP_INDEX_URL, PIP_PROXY and its own configuration. Then run make again.")
        return 1
    print(f"Installed in {time.monotonic() - started:.0f} s", flush=True)
    return 0


def watch(command: list[str], log: Path, total: int) -> int:
    """Run pip with its talk in a file and one moving line on the terminal (a few lines where there is none)."""
    live = sys.stdout.isatty()
    done, told = 0, 0
    with log.open("w") as record, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            record.write(line)
            if line.startswith(("Collecting ", "Requirement already satisfied: ")):
                done += 1
                text = f"  fetching {min(done, total)}/{total} {line.split()[1 if line.startswith('C') else 3].split('==')[0]}"
            elif line.startswith("Installing collected packages"):
                text, told = "  unpacking", -1
            else:
                continue
            if live:
                filled = WIDTH * min(done, total) // max(total, 1)
                print(f"\r\033[K  [{'#' * filled}{'.' * (WIDTH - filled)}]{text}", end="", flush=True)
            elif told < 0 or done - told >= 25:
                print(text, flush=True)
                told = done
        if live:
            print("\r\033[K", end="", flush=True)
        return pip.wait()


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]))
    except KeyboardInterrupt:
        sys.exit("\nInterrupted; the same make command goes on from here.")
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"loandesk: no virtual environment could be made in {sys.argv[1]}: {error}")
