"""Rows to frames: the only place where the ORM meets pandas. pandas takes seconds to import, so it is imported where it is needed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Max, QuerySet

from loans.models import AttributeDefinition, LoanApplication, LoanOutcome, Status
from loans.models.fields import FEATURE_FIELDS
from loans.queries import columns
from mlcore.schema import CORE, Column, Schema

if TYPE_CHECKING:
    import pandas as pd

CHUNK = 5_000


@dataclass(frozen=True)
class ScoringFrame:
    """frame: one row an application, in the order of `application_ids`; submitted_at beside it.

    facts: all that the application says, {field or attribute: plain value or None}: a model's schema may hold less.
    """

    frame: pd.DataFrame
    submitted_at: pd.Series
    application_ids: list[int]
    facts: list[dict[str, Any]]


@dataclass(frozen=True)
class OutcomeFrame:
    """Everything that a label rests on, one row an application with an outcome, in the order of submission.

    outcomes has the columns state, submitted_on, defaulted_on, observed_on (datetime64, NaT where unknown). application_ids: (n,) int64.
    """

    frame: pd.DataFrame
    submitted_at: pd.Series
    outcomes: pd.DataFrame
    protected: pd.DataFrame
    undecided: int
    declined: int
    fingerprint: str
    synthetic: bool
    application_ids: Any = None


def schema_in_force() -> Schema:
    """The fields that every application has, and the lender's own attributes that a model may learn from.

    Raises ImproperlyConfigured where FIELDS_LEFT_OUT names a field that there is not: a slip would let it in.
    """
    may_be = [name for name in CORE.names if name != "amount"]  # profit is reckoned with the amount
    unknown = [name for name in settings.FIELDS_LEFT_OUT if name not in may_be]
    if unknown:
        raise ImproperlyConfigured(f"FIELDS_LEFT_OUT names {', '.join(unknown)}; it may name: {', '.join(may_be)}.")
    core = CORE.only([name for name in CORE.names if name not in settings.FIELDS_LEFT_OUT])
    return core.with_columns(
        Column(
            name=attribute.name,
            kind=attribute.kind,
            label=str(attribute),
            unit=attribute.unit,
            direction=attribute.direction,
            family=attribute.family,
            known_at_application=attribute.known_at_application,
            protected=attribute.protected,
            changeable=attribute.changeable,
        )
        for attribute in AttributeDefinition.objects.features()
    )


def scoring_frame(application_ids: Sequence[int], schema: Schema) -> ScoringFrame:
    """The features of these applications as the schema wants them. An id that does not exist is left out."""
    rows = list(_rows(LoanApplication.objects.filter(pk__in=application_ids).order_by("pk")))
    return ScoringFrame(
        frame=_frame(rows, schema),
        submitted_at=_times([row["submitted_at"] for row in rows], "submitted_at"),
        application_ids=[row["pk"] for row in rows],
        facts=[_facts(row) for row in rows],
    )


def outcome_frame(
    schema: Schema, *, since: datetime | None = None, most: int | None = None, only: Any = None, protected: bool = True
) -> OutcomeFrame:
    """All applications whose outcome is on file, oldest first. since: only those submitted from then on. most: only so many, the latest.
    only: (n,) ids of those wanted. protected: whether their protected characteristics are.
    """
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    words = pa.dictionary(pa.int32(), pa.string())
    further = {
        "state": ("outcome.state", words),
        "defaulted_on": ("outcome.defaulted_on", pa.date32()),
        "observed_on": ("outcome.observed_on", pa.date32()),
        "synthetic": ("app.synthetic", pa.bool_()),
        "protected": ('protected."values"::text' if protected else "NULL", words),
        "lent": ("app.amount", pa.float64()),
    }
    source = (
        f"FROM loans_loanoutcome outcome JOIN {columns.TABLES.replace('LEFT', 'ON app.id = outcome.application_id LEFT', 1)}"
        " LEFT JOIN loans_protectedattributes protected ON protected.application_id = app.id"
        " WHERE (%s::timestamptz IS NULL OR app.submitted_at >= %s)"
    )
    parameters: list[Any] = [since, since]
    if only is not None:
        source += " AND app.id = ANY(%s::bigint[])"
        parameters.append(columns.id_list(only))
    if most is not None:
        source += f" ORDER BY app.submitted_at DESC, app.id DESC LIMIT {int(most)}"
    found = columns.fetched(source, parameters, columns.Wanted.of([schema]), **further)
    # Sorted here, where a million positions fit into the cache: the server would sort whole rows, and on disk.
    loans = found.taken(np.lexsort((found.ids, found.numbers("submitted_at"))))
    codes, texts = columns.coded(loans.table["protected"])
    shielded = pd.DataFrame([json.loads(text) for text in texts] + [{}], index=range(len(texts) + 1))
    submitted_at = loans.submitted_at
    state = columns.each_distinct(loans.table["state"], str)
    return OutcomeFrame(
        frame=loans.frame(schema),
        submitted_at=submitted_at,
        outcomes=pd.DataFrame(
            {
                "state": pd.Series(state, dtype=object),
                "submitted_on": submitted_at,
                "defaulted_on": _days(loans, "defaulted_on"),
                "observed_on": _days(loans, "observed_on"),
            }
        ),
        protected=shielded.iloc[codes].reset_index(drop=True),
        undecided=LoanApplication.objects.undecided().count(),
        declined=LoanApplication.objects.filter(status=Status.DECLINED).count(),
        fingerprint=_fingerprint(loans),
        synthetic=bool(np.any(loans.numbers("synthetic"))),
        application_ids=loans.ids,
    )


def _days(loans: columns.Applications, name: str) -> pd.Series:
    import pandas as pd

    return pd.Series(pd.to_datetime(loans.table[name].to_pandas(date_as_object=False), utc=True), name=name).astype("datetime64[ns, UTC]")


def _fingerprint(loans: columns.Applications) -> str:
    """SHA-256 over who was lent how much and what became of it, in order."""
    import numpy as np

    digest = hashlib.sha256()
    state, texts = columns.coded(loans.table["state"])
    # The positions of texts hang on which came first; their places in the alphabet do not.
    place = np.array([*(sorted(texts).index(text) for text in texts), -1], dtype=np.int64)
    days = loans.table["defaulted_on"].to_numpy().astype("datetime64[D]").astype(np.int64)
    for column in (loans.ids, place[state], days, loans.numbers("lent")):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class WindowFrames:
    """The same applications as each of several schemas wants them, newest last. outcomes: state (None: no outcome), defaulted_on.

    as_of: the latest day of which any outcome tells. left_out: applications of the window beyond the most that are read.
    """

    frames: list[pd.DataFrame]
    submitted_at: pd.Series
    amount: Any
    outcomes: pd.DataFrame
    protected: pd.DataFrame
    as_of: Any
    left_out: int


def window_frames(schemas: Sequence[Schema], applications: QuerySet, *, most: int) -> WindowFrames:
    """The newest `most` of these applications, with outcomes and protected characteristics beside them."""
    import numpy as np
    import pandas as pd

    found = applications.count()
    extra = ("outcome__state", "outcome__defaulted_on", "protected__values")
    rows = list(_rows(applications.order_by("-submitted_at", "-pk")[:most], *extra))[::-1]
    last = LoanOutcome.objects.aggregate(seen=Max("observed_on"), bad=Max("defaulted_on"), begun=Max("application__submitted_at"))
    days = [value for value in (last["seen"], last["bad"], last["begun"] and last["begun"].date()) if value is not None]
    return WindowFrames(
        frames=[_frame(rows, schema) for schema in schemas],
        submitted_at=_times([row["submitted_at"] for row in rows], "submitted_at"),
        amount=np.array([float(row["amount"]) for row in rows]),
        outcomes=pd.DataFrame(
            {
                "state": pd.Series([row["outcome__state"] for row in rows], dtype=object),
                "defaulted_on": _times([row["outcome__defaulted_on"] for row in rows], "defaulted_on"),
            }
        ),
        protected=pd.DataFrame([row["protected__values"] or {} for row in rows], index=range(len(rows))),
        as_of=None if not days else pd.Timestamp(max(days), tz="UTC"),
        left_out=max(found - most, 0),
    )


def _rows(applications: QuerySet, *extra: str) -> Iterable[dict[str, Any]]:
    wanted = {"pk", "submitted_at", "attributes", "product__code", *FEATURE_FIELDS, *extra} - {"product"}
    return applications.values(*wanted).iterator(chunk_size=CHUNK)


def _facts(row: dict[str, Any]) -> dict[str, Any]:
    facts = {name: row["product__code" if name == "product" else name] for name in FEATURE_FIELDS}
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in (row["attributes"] | facts).items()}


def _frame(rows: list[dict[str, Any]], schema: Schema) -> pd.DataFrame:
    import pandas as pd

    made = {}
    for column in schema:
        if column.name == "product":
            values = [row["product__code"] for row in rows]
        elif column.name in FEATURE_FIELDS:
            values = [row[column.name] for row in rows]
        else:
            values = [row["attributes"].get(column.name) for row in rows]
        made[column.name] = _series(values, column)
    return pd.DataFrame(made, index=range(len(rows)))


def _series(values: list[Any], column: Column) -> pd.Series:
    import numpy as np
    import pandas as pd

    if column.kind in ("number", "boolean"):
        return pd.Series(np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64))
    if column.kind == "date":
        return _times(values, column.name)
    # An empty string is how a text column says "not given".
    return pd.Series([None if value in (None, "") else str(value) for value in values], dtype=object)


def _times(values: list[Any], name: str) -> pd.Series:
    import pandas as pd

    return pd.Series(pd.to_datetime(values, utc=True), name=name).astype("datetime64[ns, UTC]")


def as_snapshot(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Each row as plain JSON values (missing ones as null): what a prediction rests on, for good."""
    return [{name: _plain(value) for name, value in row.items()} for row in frame.astype(object).to_dict("records")]


def as_plain(row: dict[str, Any]) -> dict[str, Any]:
    """`as_snapshot` of one row as `row_of` gives it."""
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    if value is None or value != value:  # NaN and NaT are not themselves
        return None
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value


def row_of(application: LoanApplication, schema: Schema) -> dict[str, Any]:
    """What `scoring_frame` would hold of one application that need not be stored yet, as plain values: None where missing, dates in UTC."""
    row = {}
    for column in schema:
        if column.name == "product":
            value = application.product.code if application.product else None
        elif column.name in FEATURE_FIELDS:
            value = getattr(application, column.name)
        else:
            value = application.attributes.get(column.name)
        row[column.name] = _plain_value(value, column)
    return row


def _plain_value(value: Any, column: Column) -> Any:
    if column.kind in ("number", "boolean"):
        return None if value is None else float(value)
    if column.kind == "date":
        if isinstance(value, str) and value:
            value = datetime.fromisoformat(value)
        return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value or None
    return None if value in (None, "") else str(value)


def facts_of_one(application: LoanApplication) -> dict[str, Any]:
    """`facts_of` of one application that need not be stored yet."""
    row = {name: getattr(application, name) for name in FEATURE_FIELDS if name != "product"}
    return _facts(row | {"product__code": application.product.code if application.product else None, "attributes": application.attributes})


def facts_of(application_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """All that each application says, {field or attribute: plain value or None}, without building a frame."""
    return {row["pk"]: _facts(row) for row in _rows(LoanApplication.objects.filter(pk__in=application_ids))}
