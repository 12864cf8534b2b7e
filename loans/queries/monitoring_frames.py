"""Applications of a time with what a model version said of them and what became of them, streamed by COPY in blocks of columns.

COPY gives the server's own text without a Python object a value, and pandas parses it in C: a million rows never lie in memory at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection

from loans.models import LoanApplication, LoanOutcome, OutcomeState
from loans.models.fields import FEATURE_FIELDS
from mlcore.schema import Column, Schema

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

BLOCK_ROWS = 50_000
_SAID = {
    "said_probability": "said.probability",
    "said_grade": "said.grade",
    "said_advice": "said.advice",
    "said_reason": "jsonb_path_query_first(said.reasons, '$[*] ? (@.direction == \"against\")') ->> 'family'",
    "fraud_score": "fraud.score",
    "segment": "application.segment",
    "outcome": "outcome.state",
    "defaulted_on": "outcome.defaulted_on",
}
WORDS = ("said_grade", "said_advice", "said_reason", "segment", "outcome")


@dataclass(frozen=True)
class Block:
    """n applications. frame: as the model's schema wants them. said: probability (NaN where nothing is stored), grade, advice, reason,
    fraud_score, segment. default: (n,) 1, 0, or -1 without a label. booked: (n,) bool, there is an outcome row, mature or not.
    """

    frame: pd.DataFrame
    submitted_at: pd.Series
    said: pd.DataFrame
    default: np.ndarray
    booked: np.ndarray

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True)
class Extent:
    """What lies in [start, end): rows, those of which have an outcome that is final, and when the first and last came in."""

    rows: int
    finished: int
    first: datetime | None
    last: datetime | None


def extent(start: date | None, end: date | None) -> Extent:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), count(outcome.application_id) FILTER (WHERE outcome.state <> 'immature'),"
            " min(application.submitted_at), max(application.submitted_at) FROM loans_loanapplication application"
            " LEFT JOIN loans_loanoutcome outcome ON outcome.application_id = application.id"
            " WHERE (%(start)s::timestamptz IS NULL OR application.submitted_at >= %(start)s)"
            " AND (%(end)s::timestamptz IS NULL OR application.submitted_at < %(end)s)",
            {"start": _midnight(start), "end": _midnight(end)},
        )
        return Extent(*cursor.fetchone())


def by_day() -> dict[date, tuple[int, int]]:
    """{day: (applications, those with a final outcome)} of all that is on file."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (application.submitted_at AT TIME ZONE 'UTC')::date, count(*),"
            " count(outcome.application_id) FILTER (WHERE outcome.state <> 'immature')"
            " FROM loans_loanapplication application LEFT JOIN loans_loanoutcome outcome ON outcome.application_id = application.id"
            " GROUP BY 1 ORDER BY 1"
        )
        return {day: (rows, finished) for day, rows, finished in cursor.fetchall()}


def learned_until(at: datetime) -> datetime | None:
    """Where a version does not say what it learned from: the last application whose outcome was known when it was made."""
    known = LoanOutcome.objects.filter(created_at__lte=at).exclude(state=OutcomeState.IMMATURE)
    loans = LoanApplication.objects.filter(pk__in=known.values("pk")).order_by("-submitted_at")
    return loans.values_list("submitted_at", flat=True).first()


def stream(
    version_id: int, schema: Schema, start: date, end: date, *, share: float = 1.0, as_of: datetime | None = None
) -> Iterator[Block]:
    """Blocks of what came in within [start, end), in no order: sorting a million wide rows costs more than reading them. share: of all
    rows, chosen by their id, the same ones each time.
    """
    import pandas as pd

    names, query = _query(schema)
    wanted = {"version": version_id, "start": _midnight(start), "end": _midnight(end), "share": round(share * 10_000)}
    # The driver's own cursor: Django's wrapper for debugging hands no parameters on to COPY.
    with connection.cursor() as cursor, cursor.cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT csv)", wanted) as copy:
        reader = pd.read_csv(
            _Stream(copy),
            header=None,
            names=names,
            dtype=_dtypes(schema, names),
            chunksize=BLOCK_ROWS,
            na_values=[""],
            keep_default_na=False,
        )
        for chunk in _chunks(reader):
            yield _block(chunk, schema, as_of)


def _chunks(reader: Any) -> Iterator[pd.DataFrame]:
    from pandas.errors import EmptyDataError

    try:
        yield from reader
    except EmptyDataError:
        return


def _midnight(day: date | None) -> str | None:
    return None if day is None else f"{day.isoformat()} 00:00:00+00"


def _query(schema: Schema) -> tuple[list[str], str]:
    """Names of the columns and the SELECT that gives them."""
    selected: dict[str, str] = {"submitted_at": "extract(epoch FROM application.submitted_at)"}
    for column in schema:
        if column.kind == "text":
            continue
        if column.name == "product":
            selected[column.name] = "product.code"
        elif column.name in FEATURE_FIELDS:
            selected[column.name] = f"application.{connection.ops.quote_name(column.name)}"
        else:
            selected[column.name] = f"application.attributes ->> '{column.name}'"  # a declared name: letters, digits, underscores
    selected |= _SAID
    query = (
        f"SELECT {', '.join(selected.values())} FROM loans_loanapplication application"  # noqa: S608
        " LEFT JOIN loans_loanproduct product ON product.id = application.product_id"
        " LEFT JOIN loans_loanoutcome outcome ON outcome.application_id = application.id"
        " LEFT JOIN loans_fraudassessment fraud ON fraud.application_id = application.id AND fraud.state = 'assessed'"
        " LEFT JOIN LATERAL (SELECT probability, grade, advice, reasons FROM loans_prediction prediction"
        "  WHERE prediction.application_id = application.id AND prediction.model_version_id = %(version)s"
        "  ORDER BY prediction.id DESC LIMIT 1) said ON true"
        " WHERE application.submitted_at >= %(start)s AND application.submitted_at < %(end)s"
        " AND (application.id * 2654435761 / 65536) %% 10000 < %(share)s"
    )
    return list(selected), query


def _dtypes(schema: Schema, names: list[str]) -> dict[str, Any]:
    made: dict[str, Any] = {"submitted_at": float, "said_probability": float, "fraud_score": float, "defaulted_on": object}
    made |= dict.fromkeys(WORDS, "category")
    for column in schema:
        if column.name in names:
            number = column.kind in ("number", "boolean") and column.name in FEATURE_FIELDS
            made[column.name] = float if number else object if column.kind == "date" else "category"
    return made


class _Stream:
    """What `copy` gives, as a file that can be read from."""

    def __init__(self, copy: Any) -> None:
        self._parts = iter(copy)
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        parts, have = [self._rest], len(self._rest)
        while size < 0 or have < size:
            part = next(self._parts, None)
            if part is None:
                break
            parts.append(bytes(part))
            have += len(part)
        whole = b"".join(parts)
        self._rest = b"" if size < 0 else whole[size:]
        return whole if size < 0 else whole[:size]

    def __iter__(self) -> _Stream:
        return self

    def __next__(self) -> bytes:
        raise StopIteration


def _block(chunk: pd.DataFrame, schema: Schema, as_of: datetime | None) -> Block:
    import pandas as pd

    from mlcore.labels import LabelPolicy, label

    chunk = chunk.reset_index(drop=True)
    submitted_at = pd.Series(pd.to_datetime(chunk["submitted_at"], unit="s", utc=True)).astype("datetime64[ns, UTC]")
    frame = pd.DataFrame({column.name: _column(chunk, column) for column in schema if column.kind != "text"}, copy=False)
    defaulted = pd.Series(pd.to_datetime(chunk["defaulted_on"], utc=True)).astype("datetime64[ns, UTC]")
    window = settings.OUTCOME_WINDOW_MONTHS or None
    stamp = None if as_of is None else pd.Timestamp(as_of)
    labels = label(
        chunk["outcome"].astype(object), submitted_at=submitted_at, outcome_at=defaulted, policy=LabelPolicy(window, as_of=stamp)
    )
    booked = chunk["outcome"].notna().to_numpy()
    default = labels.default.copy()
    # A closed window without an outcome row is an application that was declined or never taken up, not a loan that was repaid.
    default[~booked] = -1
    said = pd.DataFrame(
        {
            "probability": chunk["said_probability"],
            "grade": chunk["said_grade"],
            "advice": chunk["said_advice"],
            "reason": chunk["said_reason"],
            "fraud_score": chunk["fraud_score"],
            "segment": chunk["segment"],
        },
        copy=False,
    )
    return Block(frame, submitted_at, said, default, booked)


def _column(chunk: pd.DataFrame, column: Column) -> pd.Series:
    import pandas as pd

    values = chunk[column.name]
    if column.kind == "date":
        return pd.Series(pd.to_datetime(values, utc=True, errors="coerce")).astype("datetime64[ns, UTC]")
    if column.kind == "category" or values.dtype == float:
        return values
    # An attribute, as JSON writes it. What is no number counts as missing, as it does when it is scored.
    levels = values.cat.categories
    numbers = pd.to_numeric(pd.Series(levels).replace({"true": "1", "false": "0"}), errors="coerce").to_numpy(dtype=float)
    import numpy as np

    return pd.Series(np.append(numbers, np.nan)[values.cat.codes.to_numpy()], index=values.index)
