"""How long work tells where it is, and hears that it should stop."""

from __future__ import annotations

from typing import Protocol


class Cancelled(Exception):
    """Somebody asked this work to stop. Nothing of it is kept."""


class Progress(Protocol):
    """Called by long work as often as it likes with the share done (0–1) and what it is doing now, in words for a person.

    An implementation may raise `Cancelled`; the work lets it pass and leaves nothing behind.
    """

    def __call__(self, share: float, step: str) -> None: ...


def silent(share: float, step: str) -> None:
    """A `Progress` for callers that do not watch."""


def part(progress: Progress, start: float, end: float) -> Progress:
    """A `Progress` for one stage of a larger work: its 0–1 becomes start–end."""

    def within(share: float, step: str) -> None:
        progress(start + (end - start) * min(max(share, 0.0), 1.0), step)

    return within
