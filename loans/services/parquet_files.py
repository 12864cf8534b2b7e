"""Rows of the database as Parquet files that can be compared with what went in, to the last bit.

Whole numbers, floats, booleans and times keep their kind; everything else (JSON, decimals, dates) is the text that PostgreSQL has for it.
The digest `content` is over the values themselves, so that another program's copy of a file can be held against it too.
"""

# ruff: noqa: S608 - the names in these statements are the catalogue's or our own

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection, transaction

VERSION = 1
GROUP = 20_000  # rows a row group: some 40 MB of predictions
_WHOLE, _TIME = ("int2", "int4", "int8"), "timestamptz"


class ArchiveProblem(Exception):
    """The file can't be written, or is not what it should be; the message says which. Nothing was taken out of the database."""


@dataclass(frozen=True)
class Written:
    """file: its name below ARCHIVE_DIR. sha256: of the file; content: of the rows. least, most: the keys."""

    file: str
    rows: int
    sha256: str
    content: str
    least: int | None
    most: int | None


def write(name: str, source: str, *, folder: str, key: str, extra: Mapping[str, str] | None = None) -> Written:
    """The rows of `source` ("table" or "table WHERE …") in the order of `key`, with a manifest beside it. Read back before it counts.

    folder: below ARCHIVE_DIR. extra: further columns, as SQL. In a transaction in which nobody changes these rows. Raises ArchiveProblem.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = source.split()[0]
    columns = _columns(table) | dict.fromkeys(extra or {}, "text")
    kinds = {**dict.fromkeys(_WHOLE, pa.int64()), "float8": pa.float64(), "bool": pa.bool_(), _TIME: pa.timestamp("us", tz="UTC")}
    arrow = {each: kinds.get(kind, pa.string()) for each, kind in columns.items()}
    schema = pa.schema(list(arrow.items()))
    file = Path(folder) / f"{name}.parquet"
    target = Path(settings.ARCHIVE_DIR) / file
    part = target.with_suffix(".part")
    content, rows, least, most = hashlib.sha256(), 0, None, None
    place = list(columns).index(key)
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(part, "wb", opener=_private) as stream:
            with pq.ParquetWriter(stream, schema, compression="zstd") as writer:
                for group in _rows(source, columns, key, extra or {}):
                    rows, least, most = rows + len(group), group[0][place] if least is None else least, group[-1][place]
                    content.update(_text(group))
                    made = [pa.array(list(values), pa.int64() if columns[each] == _TIME else arrow[each]).cast(arrow[each])
                            for each, values in zip(columns, zip(*group, strict=True), strict=True)]  # fmt: skip
                    writer.write_table(pa.Table.from_arrays(made, schema=schema), row_group_size=GROUP)
            stream.flush()
            os.fsync(stream.fileno())
        found = Written(str(file), rows, _sha256(part), content.hexdigest(), least, most)
        check_file(part, rows=found.rows, sha256=found.sha256, content=found.content)
        _manifest(target.with_suffix(".json"), found, {each: str(kind) for each, kind in arrow.items()})
        part.replace(target)
        _sync(target.parent)
    except OSError as error:
        raise ArchiveProblem(
            f"{target} can't be written: {error.strerror or type(error).__name__}. Everything is still in the database."
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return found


def _columns(table: str) -> dict[str, str]:
    """{column: type} in their order."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT attname, typname FROM pg_attribute JOIN pg_type type ON type.oid = atttypid"
            " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            [table],
        )
        return dict(cursor.fetchall())


def _rows(source: str, columns: Mapping[str, str], key: str, extra: Mapping[str, str]) -> Iterator[list[tuple[Any, ...]]]:
    """Groups of rows; times as microseconds since 1970."""

    def read(name: str, kind: str) -> str:
        if name in extra:
            return f"{extra[name]} AS {name}"
        if kind == _TIME:
            return f'(extract(epoch FROM "{name}") * 1000000)::bigint AS "{name}"'
        return f'"{name}"' if kind in (*_WHOLE, "float8", "bool") else f'"{name}"::text AS "{name}"'

    selected = ", ".join(read(name, kind) for name, kind in columns.items())
    table, _, where = source.partition(" ")
    with transaction.atomic(), connection.chunked_cursor() as cursor:
        cursor.execute(f"SELECT {selected} FROM {table} event {where} ORDER BY {key}")
        while rows := cursor.fetchmany(GROUP):
            yield rows


def _text(rows: list[tuple[Any, ...]]) -> bytes:
    return "".join(f"{row!r}\n" for row in rows).encode()


def read(path: Path) -> Iterator[list[tuple[Any, ...]]]:
    """Groups of rows as `write` had them, in the order of the file's columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            table = file.read_row_group(number)
            columns = [each.cast(pa.int64()) if pa.types.is_timestamp(each.type) else each for each in table.columns]
            yield list(zip(*(column.to_pylist() for column in columns), strict=True))


def named(path: Path) -> Iterator[list[dict[str, Any]]]:
    """Groups of rows as {column: value}, times as such."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            yield file.read_row_group(number).to_pylist()


def check_file(path: Path, *, rows: int, sha256: str, content: str) -> None:
    """Raises ArchiveProblem where the file is not the one that was written, or does not hold what went in."""
    import pyarrow as pa

    try:
        if _sha256(path) != sha256:
            raise ArchiveProblem(f"{path.name} is not as it was written: its SHA-256 is another.")
        found, count = hashlib.sha256(), 0
        for group in read(path):
            found.update(_text(group))
            count += len(group)
    except FileNotFoundError as error:
        raise ArchiveProblem(f"{path.name} is not there.") from error
    except (OSError, pa.ArrowException) as error:
        raise ArchiveProblem(f"{path.name} can't be read: {type(error).__name__}.") from error
    if count != rows or found.hexdigest() != content:
        raise ArchiveProblem(f"{path.name} holds other rows than went in.")


def _manifest(path: Path, written: Written, schema: dict[str, str]) -> None:
    manifest = {
        "version": VERSION,
        "file": path.with_suffix(".parquet").name,
        "rows": written.rows,
        "sha256": written.sha256,
        "content": written.content,
        "key": {"least": written.least, "most": written.most},
        "schema": schema,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    part = path.with_suffix(".json.part")
    with open(part, "w", opener=_private) as stream:
        stream.write(json.dumps(manifest, indent=1) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
