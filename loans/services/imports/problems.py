"""What can be wrong with an import, said so that whoever made the file can mend it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MAX_QUOTED = 60


@dataclass(frozen=True, slots=True)
class RowProblem:
    """One reason why one row was refused.

    line: of the source file, counted from 1 with the header (a row's first line, where a quoted field spans several).
    value: what stands there, or "" where its column holds personal data. message: what is wrong, without the value.
    """

    line: int
    column: str
    value: str
    message: str

    def __str__(self) -> str:
        where = f"line {self.line}" + (f", column {self.column!r}" if self.column else "")
        return f"{where}: {self.message}" + (f" (there stands {self.value!r})" if self.value else "")


class ImportProblem(Exception):
    """A file or mapping that can't be imported; nothing of it was loaded. The message is for the person who brought it.

    problems: the first row problems; total: how many there are in all; rows: how many rows they refuse.
    """

    def __init__(self, message: str, *, problems: Iterable[RowProblem] = (), total: int | None = None, rows: int = 0) -> None:
        super().__init__(message)
        self.problems = list(problems)
        self.total = len(self.problems) if total is None else total
        self.rows = rows


def quoted(value: str) -> str:
    """A value short enough to show, with what a terminal or page could trip over made visible."""
    cut = value if len(value) <= MAX_QUOTED else value[: MAX_QUOTED - 1] + "…"
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape", "backslashreplace").decode() for letter in cut)[:100]
