"""Which reader a loan file needs, told by its first bytes, not by its name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from loans.services.imports.readers import CsvReader, FileProblem, Reader
from loans.services.imports.readers_tables import ParquetReader, WorkbookReader
from loans.services.imports.rules import FileOptions

_OTHER_KINDS = {
    b"\xd0\xcf\x11\xe0": gettext_lazy("an old Excel workbook (.xls); save it as .xlsx or .csv"),
    b"%PDF": gettext_lazy("a PDF; a loan file must be CSV, XLSX or Parquet"),
    b"BZh": gettext_lazy("packed with bzip2; unpack it, or pack it with gzip"),
    b"\xfd7zX": gettext_lazy("packed with xz; unpack it, or pack it with gzip"),
    b"\x28\xb5\x2f\xfd": gettext_lazy("packed with zstd; unpack it, or pack it with gzip"),
    b"7z\xbc\xaf": gettext_lazy("a 7-Zip archive; unpack it first"),
}


@contextmanager
def open_reader(path: Path, options: FileOptions, *, name: str | None = None) -> Iterator[Reader]:
    """A reader for the file at `path`, called `name` in messages. Raises FileProblem where there is nothing to read."""
    name = name or path.name
    try:
        raw = path.open("rb")
    except OSError as error:
        raise FileProblem(_("%(name)s can't be read: %(strerror)s.") % {"name": name, "strerror": error.strerror}) from error
    with raw:
        start = raw.read(8)
        raw.seek(0)
        if not start:
            raise FileProblem(f"{name} is empty.")
        for magic, what in _OTHER_KINDS.items():
            if start.startswith(magic):
                raise FileProblem(f"{name} is {what}.")
        if start.startswith(b"PAR1"):
            yield ParquetReader(raw, name)
        elif start.startswith(b"PK\x03\x04"):
            with WorkbookReader(raw, options, name) as reader:
                yield reader
        else:
            yield CsvReader(raw, options, name, packed=start.startswith(b"\x1f\x8b"))
