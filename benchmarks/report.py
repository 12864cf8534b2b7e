"""What every benchmark ends with: a table on the terminal and build/bench/<name>.json to compare runs by."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Figure:
    """One measured number. against: the yardstick measured in the same run (or a stated target), and its value."""

    name: str
    value: float
    unit: str = ""
    against: str | None = None
    against_value: float | None = None


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns as wide as they need be; numbers to the right."""
    text = [[f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    widths = [max(len(line[k]) for line in [list(heads), *text]) for k in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(
            cell.ljust(width) if k == 0 else cell.rjust(width) for k, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )

    return "\n".join([line(heads), line(["-" * width for width in widths]), *(line(cells) for cells in text)])


def machine() -> dict[str, Any]:
    return {"system": platform.platform(), "processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}


def commit() -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def show(figures: Sequence[Figure]) -> None:
    rows = [(f.name, f.value, f.unit, f.against or "", "" if f.against_value is None else f"{f.against_value:.4f}") for f in figures]
    print(table(("figure", "value", "unit", "against", "its value"), rows))


def write(name: str, figures: Sequence[Figure]) -> Path:
    """Write build/bench/<name>.json, whole or not at all."""
    path = ROOT / "build" / "bench" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    body = {
        "commit": commit(),
        "machine": machine(),
        "figures": [
            {"name": f.name, "value": f.value, "unit": f.unit, "against": f.against, "against_value": f.against_value} for f in figures
        ],
    }
    part = path.with_suffix(".part")
    part.write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
    part.replace(path)
    return path
