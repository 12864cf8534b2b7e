"""Applications that are not stored yet, as the columns that `columns` would fetch: to score what came in without reading it back.

A value is here what the database would hand out again (a test compares the two): a decimal becomes the nearest float, and a number among
the lender's own attributes is written as `jsonb` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from loans.models.fields import APPLICATION_FIELDS
from loans.queries.columns import Applications, Wanted

if TYPE_CHECKING:
    from loans.models import LoanApplication

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def held(rows: Sequence[LoanApplication], wanted: Wanted) -> Applications:
    """rows: unsaved, with their keys, as `intake.prepare` makes them. Also has `reference`. Raises ValueError for an attribute that is not
    of its column's kind.
    """
    import pyarrow as pa

    _, _, types = wanted.select()
    seen = [row.__dict__ for row in rows]
    found: dict[str, pa.Array] = {
        "id": pa.array([row["id"] for row in seen], pa.int64()),
        "submitted_at": pa.array([(row["submitted_at"] - _EPOCH) // _MICROSECOND for row in seen], pa.int64()),
        "reference": pa.array([row["external_reference"] for row in seen], pa.string()),
    }
    for name in wanted.fields:
        if name == "product":
            values = [row.product.code if row.product_id else None for row in rows]
        else:
            values = [row[name] for row in seen]
            if APPLICATION_FIELDS[name].kind in ("money", "ratio", "count"):
                values = [None if value is None else float(value) for value in values]
        found[name] = pa.array(values, types[name])
    own = [row["attributes"] for row in seen]
    for column in wanted.attributes:
        read = _number if column.kind == "number" else _text
        found[f"own:{column.name}"] = _read(own, column.name, read, types[f"own:{column.name}"])
    for name in wanted.facts:
        found[f"fact:{name}"] = _read(own, name, _json, types[f"fact:{name}"])
    return Applications(pa.table(found))


def _read(own: list[dict[str, Any]], name: str, read: Any, kind: Any) -> Any:
    import pyarrow as pa

    return pa.array([None if (value := each.get(name)) is None else read(value) for each in own], kind)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("An attribute is no number.")
    return float(value)


def _text(value: Any) -> str:
    """As `->>` gives it."""
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    """As `jsonb` writes it: numbers without an exponent, and no zero below zero."""
    if isinstance(value, float):
        return format(Decimal(repr(value or 0.0)), "f")
    return json.dumps(value, ensure_ascii=False)
