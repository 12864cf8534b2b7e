"""A loan file as chunks of text columns, in bounded memory, each row with its line in the file: what all kinds share, and CSV.

Limits, so that no file can fill memory or a disk: a line or field of 16 million characters; a chunk of 10,000 rows or 16 million
characters; 2,000 columns; a gzip that unpacks to more than 200 times its size (past 256 MB); a workbook whose sheet unpacks to more
than 4 GB or whose shared texts to more than 256 MB; 100 million rows.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import pyarrow as pa
from django.utils.translation import gettext as _

from loans.models.fields import BadText, clean_text
from loans.services.imports.problems import ImportProblem, RowProblem, quoted
from loans.services.imports.rules import FileOptions

CHUNK_ROWS = 10_000
CHUNK_CHARACTERS = 16_000_000
MAX_LINE = 16_000_000
MAX_COLUMNS = 2_000
MAX_HEADER = 200
MAX_ROWS = 100_000_000
MAX_UNPACK_RATIO = 200
UNPACK_GRACE = 256_000_000


class FileProblem(ImportProblem):
    """The file can't be read at all, or not to its end."""


class WrongEncoding(FileProblem):
    """The bytes are no text in the encoding that the mapping says. likely: what they may be instead."""

    def __init__(self, message: str, *, likely: str) -> None:
        super().__init__(message)
        self.likely = likely


class SeveralSheets(FileProblem):
    """A workbook has several sheets, and nobody said which."""

    def __init__(self, message: str, *, names: list[str]) -> None:
        super().__init__(message)
        self.names = names


@dataclass
class Chunk:
    """Consecutive rows. lines: (n,) int64; columns: name → (n,) pyarrow string, "" or null where empty; share: of the file read so far.

    problems: rows that could not be split into columns; they are not among the n.
    """

    lines: np.ndarray
    columns: dict[str, pa.Array]
    share: float
    problems: list[RowProblem] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.lines)


class Reader(Protocol):
    """header: the names in the file's order. row_name: what `Chunk.lines` counts, "line" or "row"."""

    header: tuple[str, ...]
    row_name: str

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        """The rows, with these columns only. Raises FileProblem."""


def checked_header(names: Sequence[Any], file_name: str) -> tuple[str, ...]:
    """Trimmed names; a blank one is called "column N", which is what a mapping calls it too. Raises FileProblem."""
    if len(names) > MAX_COLUMNS:
        raise FileProblem(
            _("%(file_name)s has %(names)s columns; at most %(max_columns)s are read.")
            % {"file_name": file_name, "names": f"{len(names):,}", "max_columns": f"{MAX_COLUMNS:,}"}
        )
    header = []
    for number, name in enumerate(names, start=1):
        try:
            text = clean_text("" if name is None else str(name)) or f"column {number}"
        except BadText as error:
            raise FileProblem(
                _("%(file_name)s, header: the name of column %(number)s %(error)s.")
                % {"file_name": file_name, "number": number, "error": error}
            ) from error
        if len(text) > MAX_HEADER:
            raise FileProblem(
                _("%(file_name)s, header: the name of column %(number)s is %(text)s characters long. Is the first line a header?")
                % {"file_name": file_name, "number": number, "text": f"{len(text):,}"}
            )
        header.append(text)
    twice = sorted({name for name in header if header.count(name) > 1}) if len(set(header)) != len(header) else []
    if twice:
        places = ", ".join(
            f"{name!r} (columns {' and '.join(str(i) for i, other in enumerate(header, 1) if other == name)})" for name in twice
        )
        raise FileProblem(
            _("%(file_name)s names columns twice: %(places)s. Rename or remove one of each.") % {"file_name": file_name, "places": places}
        )
    if not header:
        raise FileProblem(_("%(file_name)s has no header in its first line.") % {"file_name": file_name})
    return tuple(header)


class CsvReader:
    """CSV, packed with gzip or not. Line numbers count the file's own lines, so that a quoted field may span several."""

    row_name = "line"

    def __init__(self, raw: BinaryIO, options: FileOptions, name: str, *, packed: bool) -> None:
        self._raw, self._name, self._packed = raw, name, packed
        self._options = options
        self._size = max(Path(raw.name).stat().st_size, 1)
        self._characters = 0
        self._text = self._opened()
        with self._explained():
            first = next((line for line in iter(lambda: self._text.readline(MAX_LINE), "") if line.strip()), "")
        if not first:
            raise FileProblem(f"{name} is empty.")
        self.delimiter = options.delimiter or max((",", ";", "\t", "|"), key=_outside_quotes(first).count)
        self._text.detach()
        self._text = self._opened()
        csv.field_size_limit(MAX_LINE)  # one limit for the process; nothing else here reads CSV
        self._rows = csv.reader(self._lines(), delimiter=self.delimiter, strict=True)
        with self._explained():
            self.header = checked_header(next(row for row in self._rows if any(cell.strip() for cell in row)), name)

    def _opened(self) -> io.TextIOWrapper:
        self._raw.seek(0)
        unpacked = gzip.GzipFile(fileobj=self._raw) if self._packed else self._raw
        encoding = "utf-8-sig" if self._options.encoding == "utf-8" else self._options.encoding
        return io.TextIOWrapper(unpacked, encoding=encoding, newline="")

    def _lines(self) -> Iterator[str]:
        readline = self._text.readline
        while line := readline(MAX_LINE):
            if len(line) == MAX_LINE and line[-1] not in "\r\n":
                raise FileProblem(
                    _("%(name)s, line %(what)s: is longer than %(max_line)s characters. Is this a CSV file?")
                    % {"name": self._name, "what": self._rows.line_num + 1, "max_line": f"{MAX_LINE:,}"}
                )
            self._characters += len(line)
            yield line

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns what Python raises while reading into what the person who made the file needs to know."""
        line = self._rows.line_num + 1 if hasattr(self, "_rows") else 1
        try:
            try:
                yield
            except UnicodeError as error:
                raise self._undecodable() from error
        except StopIteration:
            raise FileProblem(f"{self._name} is empty.") from None
        except EOFError as error:
            raise FileProblem(
                _("%(name)s is a gzip file that ends too early, after about line %(line)s: it was cut off. Copy it again.")
                % {"name": self._name, "line": f"{line:,}"}
            ) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise FileProblem(
                _("%(name)s is a damaged gzip file, after about line %(line)s: %(error)s.")
                % {"name": self._name, "line": f"{line:,}", "error": error}
            ) from error
        except csv.Error as error:
            raise FileProblem(f"{self._name}, line {line:,}: {_csv_words(error)}") from error

    def _undecodable(self) -> WrongEncoding:
        """Text is decoded in blocks, so the error knows no line: the file is read again as bytes to find it."""
        encoding = self._options.encoding
        self._raw.seek(0)
        source = gzip.GzipFile(fileobj=self._raw) if self._packed else self._raw
        offset = 0
        # a line of UTF-16 is no piece of bytes that ends with a newline
        for number, line in enumerate(iter(lambda: source.readline(MAX_LINE), b"") if encoding != "utf-16" else (), start=1):
            if number == 1 and line[:2] in (b"\xff\xfe", b"\xfe\xff"):
                return WrongEncoding(
                    _('%(name)s is UTF-16 text. Save it as UTF-8, or say encoding = "utf-16" in the mapping\'s [file].')
                    % {"name": self._name},
                    likely="utf-16",
                )
            try:
                line.decode(encoding)
            except UnicodeDecodeError as found:
                where = f"line {number:,}: byte {offset + found.start:,} (0x{line[found.start]:02x})"
                return WrongEncoding(
                    _(
                        '%(name)s, %(where)s is not %(encoding)s text. Save the file as UTF-8, or say encoding = "cp1252" (or '
                        "what it is) in the mapping's [file]."
                    )
                    % {"name": self._name, "where": where, "encoding": encoding},
                    likely="cp1252",
                )
            offset += len(line)
        return WrongEncoding(
            _("%(name)s is not %(encoding)s text. Save it as UTF-8, or correct `encoding` in the mapping's [file].")
            % {"name": self._name, "encoding": encoding},
            likely="utf-8",
        )

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        wanted = [(name, self.header.index(name)) for name in columns]
        total = 0
        while True:
            rows, lines, problems, ended = self._some()
            total += len(rows)
            if total > MAX_ROWS:
                raise FileProblem(
                    _("%(name)s has more than %(max_rows)s rows; split it.") % {"name": self._name, "max_rows": f"{MAX_ROWS:,}"}
                )
            if rows or problems:
                yield self._chunk(rows, lines, problems, wanted)
            if ended:
                return

    def _some(self) -> tuple[list[list[str]], list[int], list[RowProblem], bool]:
        rows: list[list[str]] = []
        lines: list[int] = []
        problems: list[RowProblem] = []
        width, reader = len(self.header), self._rows
        full = self._characters + CHUNK_CHARACTERS
        while len(rows) < CHUNK_ROWS and len(problems) < CHUNK_ROWS and self._characters < full:
            line = reader.line_num + 1
            with self._explained():
                try:
                    # the inner loop is where a large file's time goes: nothing in it but what each row needs
                    for row in reader:
                        if len(row) == width:
                            rows.append(row)
                            lines.append(line)
                        elif row:
                            problems.append(
                                RowProblem(
                                    line, "", "", _("has %(row)s columns; the header has %(width)s") % {"row": len(row), "width": width}
                                )
                            )
                        line = reader.line_num + 1
                        if len(rows) >= CHUNK_ROWS or self._characters >= full or len(problems) >= CHUNK_ROWS:
                            break
                    else:
                        return rows, lines, problems, True
                except csv.Error as error:
                    if "field larger" in str(error):
                        raise
                    problems.append(RowProblem(line, "", "", _csv_words(error)))  # the reader goes on with the next line
        self._check_unpacked()
        return rows, lines, problems, False

    def _check_unpacked(self) -> None:
        if self._packed and self._characters > UNPACK_GRACE and self._characters > MAX_UNPACK_RATIO * self._size:
            raise FileProblem(
                _("%(name)s unpacks to more than %(max_unpack_ratio)s times its size; that is no loan file. Unpack it and look inside.")
                % {"name": self._name, "max_unpack_ratio": MAX_UNPACK_RATIO}
            )

    def _chunk(self, rows: list[list[str]], lines: list[int], problems: list[RowProblem], wanted: list[tuple[str, int]]) -> Chunk:
        turned = list(zip(*rows, strict=True)) if rows else [()] * len(self.header)
        columns = {name: pa.array(turned[index], pa.string()) for name, index in wanted}
        share = min(self._raw.tell() / self._size, 1.0)
        return Chunk(np.array(lines, dtype=np.int64), columns, share, problems)


def _outside_quotes(line: str) -> str:
    return "".join(line.split('"')[::2])


def _csv_words(error: csv.Error) -> str:
    text = str(error)
    if "unexpected end of data" in text:
        return _("a quotation mark opens here and is never closed")
    if "expected after" in text:
        return _("a quotation mark stands inside a field; inside quotes it must be doubled")
    if "field larger" in text:
        return _("a field is longer than %(max_line)s characters. A quotation mark that opens here is probably never closed.") % {
            "max_line": f"{MAX_LINE:,}"
        }
    return quoted(text)
