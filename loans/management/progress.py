"""Progress of a long command: one line that moves on a terminal, a few plain lines in a log."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from mlcore.progress import Progress

REDRAW_SECONDS = 0.1
PLAIN_SECONDS = 10.0
BAR = 24


class _Bar:
    """Redraws one line, at most ten times a second."""

    def __init__(self, label: str, stream: TextIO) -> None:
        self.label, self.stream = label, stream
        self.began = time.monotonic()
        self.drawn = 0.0

    def __call__(self, share: float, step: str) -> None:
        now = time.monotonic()
        if now - self.drawn < REDRAW_SECONDS and share < 1:
            return
        self.drawn = now
        share = min(max(share, 0.0), 1.0)
        filled = round(share * BAR)
        text = f"{self.label} [{'#' * filled}{'.' * (BAR - filled)}] {share:4.0%} {now - self.began:4.0f} s  {step}"
        # one column is left free: a full line makes some terminals wrap, and then the bar crawls down the screen
        width = shutil.get_terminal_size().columns - 1
        self.stream.write("\r" + text[:width].ljust(width))
        self.stream.flush()

    def close(self) -> None:
        if self.drawn:
            self.stream.write("\n")
            self.stream.flush()


class _Lines:
    """For logs and pipes: a line when the step begins to read differently, and every ten seconds; never a carriage return."""

    def __init__(self, label: str, stream: TextIO) -> None:
        self.label, self.stream = label, stream
        self.written: float | None = None
        self.step = ""

    def __call__(self, share: float, step: str) -> None:
        # numbers in a step change all the time; the words say whether it is another one
        words = "".join(letter for letter in step if not (letter.isdigit() or letter in ",."))
        now = time.monotonic()
        if words == self.step and self.written is not None and now - self.written < PLAIN_SECONDS:
            return
        self.step, self.written = words, now
        self.stream.write(f"{self.label}: {min(max(share, 0.0), 1.0):.0%} {step}\n")
        self.stream.flush()

    def close(self) -> None:
        pass


@contextmanager
def terminal_progress(label: str, *, stream: TextIO | None = None) -> Iterator[Progress]:
    """A `Progress` that shows `label` and the step on standard error: a bar on a terminal, plain lines elsewhere."""
    stream = stream or sys.stderr
    shown = _Bar(label, stream) if stream.isatty() else _Lines(label, stream)
    try:
        yield shown
    finally:
        shown.close()
