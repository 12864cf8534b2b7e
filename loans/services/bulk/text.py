"""Columns to the text that COPY reads, on Arrow's kernels: not one Python object a cell.

A number is written as the shortest digits that read back as the same number, so what is stored is what was computed. JSON is put together
from columns of JSON texts; its escapes and COPY's are two different things, and the second is done once, in `lines`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

Text = Any  # a pyarrow StringArray, or one str (None for NULL) for all rows


def plain(value: Any) -> str:
    """One value as JSON."""
    return json.dumps(value, ensure_ascii=False)


def joined(*parts: Text, between: str = "") -> pa.StringArray:
    """The parts of each row one behind the other; a null in any makes the row null."""
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(*parts, between)


def joined_known(*parts: Text, between: str) -> pa.StringArray:
    """The parts of each row that are not null."""
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(*parts, between, null_handling="skip")


def floats(values: np.ndarray) -> pa.StringArray:
    """(n,) JSON numbers of (n,) float64, null where not finite. Whole ones keep their ".0", as Python writes them."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    known = np.isfinite(values)
    text = pc.cast(pa.array(values, mask=~known), pa.string())
    whole = known & (np.abs(values) < 1e15) & (np.floor(values) == values)
    if whole.any():
        text = pc.if_else(pa.array(whole), joined(text, ".0"), text)
    return text


def integers(values: np.ndarray, known: np.ndarray | None = None) -> pa.StringArray:
    """(n,) of whole numbers; null where not `known`."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    mask = None if known is None else ~known
    return pc.cast(
        pa.array(np.where(mask, 0, values).astype(np.int64) if mask is not None else values.astype(np.int64), mask=mask), pa.string()
    )


def by_value(values: Sequence[Any] | np.ndarray, write: Callable[[Any], str | None]) -> pa.StringArray:
    """(n,) texts of (n,) objects, each distinct one written once; None where `write` says so or the value is None."""
    import pandas as pd

    codes, distinct = pd.factorize(pd.Series(values, dtype=object), use_na_sentinel=True)
    return picked([write(each) for each in distinct], codes)


def picked(texts: Sequence[str | None], codes: np.ndarray) -> pa.StringArray:
    """(n,) texts by position; null where the position is negative."""
    import numpy as np
    import pyarrow as pa

    words = pa.array(list(texts), type=pa.string())
    return words.take(pa.array(np.where(codes < 0, 0, codes), mask=codes < 0)) if len(words) else pa.nulls(len(codes), pa.string())


def json_values(column: pd.Series, kind: str) -> pa.StringArray:
    """(n,) JSON of a frame's column as a snapshot holds it; null where missing."""
    if kind in ("number", "boolean"):
        return floats(column.to_numpy(dtype=float))
    if kind == "date":
        return by_value(column.astype(object).where(column.notna(), None).to_numpy(), lambda moment: plain(moment.isoformat()))
    return by_value(column.to_numpy(dtype=object), plain)


def or_null(text: pa.StringArray) -> pa.StringArray:
    """Nulls as JSON's word for it."""
    import pyarrow.compute as pc

    return pc.fill_null(text, "null")


def json_object(names: Sequence[str], values: Sequence[pa.StringArray]) -> pa.StringArray:
    """(n,) objects; a null value is JSON's null."""
    parts: list[Text] = []
    for number, (name, value) in enumerate(zip(names, values, strict=True)):
        parts += [("{" if number == 0 else ", ") + plain(name) + ": ", or_null(value)]
    return joined(*parts, "}")


def json_list(items: Sequence[pa.StringArray]) -> pa.StringArray:
    """(n,) lists of the items that are not null."""
    return joined("[", joined_known(*items, between=", "), "]")


def lines(columns: Sequence[Text]) -> memoryview:
    """Rows in COPY's text format. A column is texts, null where the database is to have NULL."""
    import pyarrow.compute as pc

    parts: list[Text] = []
    for number, column in enumerate(columns):
        parts += ["\t"] if number else []
        if column is None or isinstance(column, str):
            parts.append("\\N" if column is None else _escaped(column))
        else:
            parts.append(pc.fill_null(_escaped_array(column), "\\N"))
    text = joined(*parts, "\n")
    data = text.buffers()[2]
    # The rows lie one behind the other in Arrow's own buffer already; whatever lies behind the last one is padding.
    return memoryview(data)[: pc.sum(pc.binary_length(text)).as_py()]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _escaped_array(text: pa.StringArray) -> pa.StringArray:
    import pyarrow.compute as pc

    data = text.buffers()[2]
    held = data.to_pybytes() if data is not None else b""
    # Nearly always there is nothing to escape, and looking at the bytes costs a fiftieth of looking at the texts.
    for letter, written in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        if letter.encode() in held:
            text = pc.replace_substring(text, letter, written)
    return text
