"""What `make run` prints."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass
class Step:
    name: str
    seconds: float
    peak_memory: int | None  # bytes


class Terminal:
    """Lines that stay, and on a terminal one line that moves."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty()

    def say(self, text: str) -> None:
        print(("\r\033[K" if self.live else "") + text, flush=True)

    def moving(self, text: str) -> None:
        """A line that the next one replaces; without a terminal it is left out."""
        if self.live:
            print(f"\r\033[K{text}", end="", flush=True)

    def table(self, steps: Iterable[Step]) -> None:
        self.say(f"{'step':<24}{'time':>10}{'peak memory':>14}")
        for step in steps:
            memory = f"{step.peak_memory / 1e6:,.0f} MB" if step.peak_memory else "–"
            self.say(f"{step.name:<24}{step.seconds:>8.1f} s{memory:>14}")
