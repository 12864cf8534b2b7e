"""Applications out of the database as columns: COPY into Arrow, no Python object a cell. What `frames` does row by row, for bulk work.

Both give the same frames to the last bit (a test holds them together): a decimal becomes the nearest float either way.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db import connection

from loans.models.fields import APPLICATION_FIELDS, FEATURE_FIELDS
from mlcore.schema import Column, Schema

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

TABLES = "loans_loanapplication app LEFT JOIN loans_loanproduct product ON product.id = app.product_id"
TEXTS = frozenset(name for name in FEATURE_FIELDS if APPLICATION_FIELDS[name].kind in ("code", "text"))
_FLOATS = ("money", "ratio", "count")
NUMBERS = frozenset(name for name in FEATURE_FIELDS if APPLICATION_FIELDS[name].kind in _FLOATS)
COUNTS = frozenset(name for name in FEATURE_FIELDS if APPLICATION_FIELDS[name].kind == "count")


PIECE = 1 << 25
"""Bytes of CSV that are turned into columns at a time: a million rows never lie in memory as text."""


def copied(query: str, parameters: Any, types: dict[str, pa.DataType]) -> pa.Table:
    """What a query answers, as an Arrow table of these columns, one chunk each. An empty text is no NULL."""
    import psycopg
    import pyarrow as pa

    connection.ensure_connection()
    # COPY takes no parameters: they are put in here, quoted by the driver.
    statement = psycopg.ClientCursor(connection.connection).mogrify(f"COPY ({query}) TO STDOUT (FORMAT csv)", parameters)
    tables, rows, size = [], [], 0
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in copy:  # the server sends row by row
            rows.append(row)
            size += len(row)
            if size >= PIECE:
                tables.append(_parsed(b"".join(rows), types))
                rows, size = [], 0
    if rows:
        tables.append(_parsed(b"".join(rows), types))
    if not tables:
        return pa.schema(list(types.items())).empty_table()
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def id_list(ids: Sequence[int] | np.ndarray) -> str:
    """Whole numbers as an array's text, for `%s::bigint[]`: a tenth of what the driver takes to write down a list."""
    return "{" + ",".join(map(str, getattr(ids, "tolist", lambda: ids)())) + "}"


def _parsed(text: bytes, types: dict[str, pa.DataType]) -> pa.Table:
    from pyarrow import csv

    return csv.read_csv(
        io.BytesIO(text),
        read_options=csv.ReadOptions(column_names=list(types), use_threads=False, block_size=2 * PIECE),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=types,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        ),
    )


@dataclass(frozen=True)
class Wanted:
    """Which columns of an application to fetch. attributes: the lender's own, as a schema types them. facts: own attributes as they are."""

    fields: tuple[str, ...]
    attributes: tuple[Column, ...]
    facts: tuple[str, ...]

    @classmethod
    def of(cls, schemas: Iterable[Schema], facts: Iterable[str] = ()) -> Wanted:
        columns = {column.name: column for schema in schemas for column in schema}
        names = set(columns) | set(facts)
        own = tuple(column for name, column in sorted(columns.items()) if name not in FEATURE_FIELDS)
        return cls(
            fields=tuple(name for name in FEATURE_FIELDS if name in names),
            attributes=own,
            facts=tuple(sorted(name for name in set(facts) if name not in FEATURE_FIELDS)),
        )

    def select(self) -> tuple[list[str], list[str], dict[str, pa.DataType]]:
        """SQL expressions, the parameters in them, and the type that each is read as."""
        import pyarrow as pa

        expressions, parameters, types = [], [], {}
        words = pa.dictionary(pa.int32(), pa.string())  # the same few texts over and over: each is kept once
        for name in self.fields:
            expressions.append("product.code" if name == "product" else f"app.{name}")
            types[name] = pa.float64() if APPLICATION_FIELDS[name].kind in _FLOATS else words
        for column in self.attributes:
            expressions.append("app.attributes ->> %s")
            parameters.append(column.name)
            types[f"own:{column.name}"] = pa.float64() if column.kind == "number" else words
        for name in self.facts:
            expressions.append("(app.attributes -> %s)::text")
            parameters.append(name)
            types[f"fact:{name}"] = words
        return expressions, parameters, types


@dataclass(frozen=True)
class Applications:
    """n applications as columns. table: what was fetched; `id` and `submitted_at` (microseconds since 1970) are always in it."""

    table: pa.Table
    _made: dict[str, Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return self.table.num_rows

    def numbers(self, name: str) -> np.ndarray:
        return self.table[name].to_numpy()

    def taken(self, rows: np.ndarray) -> Applications:
        """These rows, in this order."""
        return Applications(self.table.take(rows))

    @property
    def ids(self) -> np.ndarray:
        return self.numbers("id")

    @property
    def submitted_at(self) -> pd.Series:
        import pandas as pd

        moments = self.numbers("submitted_at").astype("datetime64[us]").astype("datetime64[ns]")
        return pd.Series(pd.DatetimeIndex(moments, tz="UTC"), name="submitted_at")

    def frame(self, schema: Schema) -> pd.DataFrame:
        """As `frames.scoring_frame` gives it. Columns are made once and shared between frames; nobody writes into them."""
        import pandas as pd

        return pd.DataFrame({column.name: self._column(column) for column in schema}, index=range(len(self)), copy=False)

    def _column(self, column: Column) -> pd.Series:
        key = f"{column.kind}:{column.name}"
        if key not in self._made:
            name = column.name if column.name in FEATURE_FIELDS else f"own:{column.name}"
            self._made[key] = _series(self.table[name], column)
        return self._made[key]

    def fact(self, name: str) -> np.ndarray:
        """(n,) objects, each as `frames.facts_of` gives it; None where the application says nothing of it."""
        import numpy as np

        if name in FEATURE_FIELDS:
            values = self.table[name]
            if APPLICATION_FIELDS[name].kind == "count":
                return np.array([None if value is None else int(value) for value in values.to_pylist()], dtype=object)
            return each_distinct(values, lambda text: text) if name in TEXTS else objects(values)
        if f"fact:{name}" not in self.table.column_names:
            return np.full(len(self), None, dtype=object)
        return each_distinct(self.table[f"fact:{name}"], json.loads)


def applications(ids: Sequence[int] | np.ndarray, wanted: Wanted) -> Applications:
    """These applications in the order of their ids. An id that does not exist is left out."""
    return fetched(f"FROM {TABLES} WHERE app.id = ANY(%s::bigint[]) ORDER BY app.id", [id_list(ids)], wanted)


def fetched(source: str, parameters: Sequence[Any], wanted: Wanted, **further: tuple[str, Any]) -> Applications:
    """source: FROM and all that follows. further: more columns, {name: (SQL expression, Arrow type)}."""
    import pyarrow as pa

    expressions, values, types = wanted.select()
    first = {
        "id": ("app.id", pa.int64()),
        "submitted_at": ("(extract(epoch FROM app.submitted_at) * 1000000)::int8", pa.int64()),
        **further,
    }
    heads = ", ".join([*(expression for expression, _ in first.values()), *expressions])
    types = {**{name: kind for name, (_, kind) in first.items()}, **types}
    return Applications(copied(f"SELECT {heads} {source}", [*values, *parameters], types))


def objects(values: pa.ChunkedArray) -> np.ndarray:
    """(n,) objects, None where null."""
    import numpy as np

    made = np.empty(len(values), dtype=object)
    made[:] = values.to_pylist()
    return made


def coded(values: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """(n,) positions, and the distinct texts that they point at; one beyond the last where null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    array = values.combine_chunks()
    array = array if pa.types.is_dictionary(array.type) else pc.dictionary_encode(array)
    return pc.fill_null(array.indices, len(array.dictionary)).to_numpy(zero_copy_only=False), array.dictionary.to_pylist()


def each_distinct(values: pa.ChunkedArray, read: Any) -> np.ndarray:
    """(n,) objects of texts, every distinct text read once and its object shared: millions of rows hold a few hundred objects."""
    import numpy as np

    codes, texts = coded(values)
    distinct = np.empty(len(texts) + 1, dtype=object)
    distinct[:-1] = [read(text) for text in texts]
    return distinct[codes]


def _series(values: pa.ChunkedArray, column: Column) -> pd.Series:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    if column.kind == "date":
        read = each_distinct(values, lambda text: pd.Timestamp(text, tz="UTC"))
        return pd.Series(pd.to_datetime(read, utc=True)).astype("datetime64[ns, UTC]")
    if column.kind == "boolean":
        read = each_distinct(values, lambda text: {"true": 1.0, "false": 0.0}.get(text) if text in ("true", "false") else float(text))
        return pd.Series(np.array([np.nan if value is None else value for value in read], dtype=np.float64))
    if column.kind == "number":
        if not pa.types.is_floating(values.type):
            return pd.Series(np.array([np.nan if value is None else float(value) for value in values.to_pylist()], dtype=np.float64))
        return pd.Series(values.to_numpy().astype(np.float64, copy=False))
    # An empty text is how a text column says "not given".
    return pd.Series(each_distinct(values, lambda text: text or None), dtype=object)
