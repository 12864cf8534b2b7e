"""Parquet files and Excel workbooks as chunks of text columns: typed cells become text, so that one set of rules reads them all."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from django.utils.translation import gettext as _

from loans.services.imports.problems import RowProblem
from loans.services.imports.readers import (
    CHUNK_CHARACTERS,
    CHUNK_ROWS,
    MAX_COLUMNS,
    MAX_ROWS,
    Chunk,
    FileProblem,
    SeveralSheets,
    checked_header,
)
from loans.services.imports.rules import FileOptions

MAX_SHEET = 4_000_000_000
MAX_SHARED_TEXTS = 256_000_000
MAX_COLUMN_CHUNK = 1_000_000_000


class ParquetReader:
    """Parquet in batches; the rows are counted from 1, for there are no lines."""

    row_name = "row"

    def __init__(self, raw: BinaryIO, name: str) -> None:
        self._name = name
        try:
            # not buffered ahead: a row group may be larger than memory, its pages are not
            self._file = pq.ParquetFile(raw, pre_buffer=False, buffer_size=1 << 20)
            self._rows = self._file.metadata.num_rows
            self._check_sizes()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise FileProblem(_("%(name)s is a damaged Parquet file: %(error)s") % {"name": name, "error": str(error)[:200]}) from error
        self.header = checked_header(self._file.schema_arrow.names, name)
        if self._rows > MAX_ROWS:
            raise FileProblem(_("%(name)s has more than %(max_rows)s rows; split it.") % {"name": name, "max_rows": f"{MAX_ROWS:,}"})

    def _check_sizes(self) -> None:
        metadata = self._file.metadata
        for group in range(metadata.num_row_groups):
            for number in range(metadata.num_columns):
                column = metadata.row_group(group).column(number)
                if column.total_uncompressed_size > MAX_COLUMN_CHUNK:
                    raise FileProblem(
                        _(
                            "%(name)s: column %(path_in_schema)s takes more than %(max_column_chunk)s bytes in one row group. Write "
                            "the file with smaller row groups."
                        )
                        % {"name": self._name, "path_in_schema": f"{column.path_in_schema!r}", "max_column_chunk": f"{MAX_COLUMN_CHUNK:,}"}
                    )

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        names = dict(zip(self.header, self._file.schema_arrow.names, strict=True))
        read = 0
        batches = self._file.iter_batches(batch_size=CHUNK_ROWS, columns=[names[name] for name in columns], use_threads=False)
        while True:
            try:
                batch = next(batches, None)
            except (pa.ArrowException, OSError) as error:
                raise FileProblem(
                    _("%(name)s is damaged after row %(read)s: %(error)s")
                    % {"name": self._name, "read": f"{read:,}", "error": str(error)[:200]}
                ) from error
            if batch is None:
                return
            texts = {name: self._as_text(name, batch.column(names[name])) for name in columns}
            lines = np.arange(read + 1, read + batch.num_rows + 1, dtype=np.int64)
            read += batch.num_rows
            yield Chunk(lines, texts, min(read / max(self._rows, 1), 1.0))

    def _as_text(self, name: str, column: pa.Array) -> pa.Array:
        return as_text(column, f"{self._name}, column {name!r}")


def as_text(column: pa.Array, where: str) -> pa.Array:
    """Typed values as the text that a CSV would hold. Raises FileProblem for what is no single value."""
    try:
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if pa.types.is_nested(column.type) or pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            raise FileProblem(
                _("%(where)s is of the type %(type)s; only single values can be imported.") % {"where": where, "type": column.type}
            )
        return pc.cast(column, pa.string())
    except pa.ArrowException as error:
        raise FileProblem(
            _("%(where)s is of the type %(type)s, which can't be read: %(error)s")
            % {"where": where, "type": column.type, "error": str(error)[:200]}
        ) from error


class WorkbookReader:
    """One sheet of an .xlsx, row by row. Formulas count with the value that was last computed for them."""

    row_name = "row"

    def __init__(self, raw: BinaryIO, options: FileOptions, name: str) -> None:
        self._name = name
        self._check_sizes(raw)
        import openpyxl

        try:
            self._book = openpyxl.load_workbook(raw, read_only=True, data_only=True, keep_links=False)
        except Exception as error:  # a workbook is XML of anybody's making: openpyxl raises whatever its parts run into
            raise FileProblem(
                _("%(name)s can't be read as an Excel workbook (%(error)s). Open it in Excel and save it again.")
                % {"name": name, "error": type(error).__name__}
            ) from error
        try:
            self._sheet = self._chosen(options.sheet)
            self._cells = self._values()
            first = next(self._cells, None)
            if first is None:
                raise FileProblem(f"{name} is empty.")
            self._line, cells = first
            self.header = checked_header(_without_blank_end(cells), name)
        except BaseException:
            self._book.close()
            raise

    def _check_sizes(self, raw: BinaryIO) -> None:
        try:
            with zipfile.ZipFile(raw) as archive:
                parts = archive.infolist()
                names = [part.filename for part in parts]
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise FileProblem(_("%(name)s is a damaged or cut-off workbook: %(error)s.") % {"name": self._name, "error": error}) from error
        if "xl/workbook.xml" not in names:
            raise FileProblem(_("%(name)s is a ZIP archive, not an Excel workbook. Unpack it first.") % {"name": self._name})
        for part in parts:
            limit = MAX_SHARED_TEXTS if part.filename.lower().endswith("sharedstrings.xml") else MAX_SHEET
            if part.file_size > limit:
                raise FileProblem(
                    _("%(name)s: %(filename)s unpacks to %(file_size)s bytes; at most %(limit)s are read. Save it as CSV.")
                    % {"name": self._name, "filename": part.filename, "file_size": f"{part.file_size:,}", "limit": f"{limit:,}"}
                )
        raw.seek(0)

    def _chosen(self, wanted: str) -> Any:
        names = [sheet.title for sheet in self._book.worksheets]
        if wanted and wanted not in names:
            raise FileProblem(
                _("%(name)s has no sheet %(wanted)s; it has: %(what)s.")
                % {"name": self._name, "wanted": f"{wanted!r}", "what": ", ".join(map(repr, names))}
            )
        if not names:
            raise FileProblem(_("%(name)s has no sheet with cells.") % {"name": self._name})
        if not wanted and len(names) > 1:
            listed = ", ".join(map(repr, names))
            raise SeveralSheets(
                _('%(name)s has %(names)s sheets: %(listed)s. Say which in the mapping: [file] sheet = "…".')
                % {"name": self._name, "names": len(names), "listed": listed},
                names=names,
            )
        sheet = self._book[wanted or names[0]]
        sheet.reset_dimensions()  # a file may lie about its size
        return sheet

    def _values(self) -> Iterator[tuple[int, tuple[Any, ...]]]:
        line = 0
        try:
            for line, cells in enumerate(self._sheet.iter_rows(values_only=True, max_col=MAX_COLUMNS + 1), start=1):
                if any(cell is not None for cell in cells):
                    yield line, cells
        except Exception as error:
            raise FileProblem(
                _("%(name)s is damaged after row %(line)s (%(error)s).")
                % {"name": self._name, "line": f"{line:,}", "error": type(error).__name__}
            ) from error

    def __enter__(self) -> WorkbookReader:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._book.close()

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        wanted = [(name, self.header.index(name)) for name in columns]
        width = len(self.header)
        # how many rows there are is known at the end only; a sheet holds at most this many
        expected = max(self._sheet.max_row or 0, 1)
        ended = False
        while not ended:
            rows: list[list[str]] = []
            lines: list[int] = []
            problems: list[RowProblem] = []
            size = 0
            ended = True
            for line, cells in self._cells:
                self._line = line
                texts = [_cell_text(cell) for cell in cells]
                if any(texts[width:]):
                    problems.append(
                        RowProblem(
                            line,
                            "",
                            "",
                            _("has %(count)s columns; the header has %(width)s")
                            % {"count": len(_without_blank_end(cells)), "width": width},
                        )
                    )
                else:
                    rows.append(texts + [""] * (width - len(texts)))
                    lines.append(line)
                    size += sum(map(len, texts))
                if len(rows) >= CHUNK_ROWS or size >= CHUNK_CHARACTERS or len(problems) >= CHUNK_ROWS:
                    ended = False
                    break
            if rows or problems:
                try:
                    arrays = {name: pa.array([row[index] for row in rows], pa.string()) for name, index in wanted}
                except UnicodeEncodeError as error:
                    raise FileProblem(
                        _("%(name)s, rows %(lines)s to %(lines_2)s: text that is not Unicode.")
                        % {"name": self._name, "lines": f"{lines[0]:,}", "lines_2": f"{lines[-1]:,}"}
                    ) from error
                share = min(self._line / expected, 1.0) if expected > self._line else 0.5
                yield Chunk(np.array(lines, dtype=np.int64), arrays, share, problems)


def _without_blank_end(cells: Sequence[Any]) -> list[Any]:
    kept = list(cells)
    while kept and (kept[-1] is None or kept[-1] == ""):
        kept.pop()
    return kept


def _cell_text(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
    if isinstance(cell, datetime | date | time):
        return cell.isoformat()
    return str(cell)
