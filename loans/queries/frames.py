"""Rows to frames: the only place where the ORM meets pandas. pandas takes seconds to import, so it is imported where it is needed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db.models import QuerySet

from loans.models import AttributeDefinition, LoanApplication, LoanOutcome, Status
from loans.models.fields import FEATURE_FIELDS
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

    outcomes has the columns state, submitted_on, defaulted_on, observed_on (datetime64, NaT where unknown).
    """

    frame: pd.DataFrame
    submitted_at: pd.Series
    outcomes: pd.DataFrame
    protected: pd.DataFrame
    undecided: int
    declined: int
    fingerprint: str
    synthetic: bool


def schema_in_force() -> Schema:
    """The fields that every application has, and the lender's own attributes that a model may learn from."""
    return CORE.with_columns(
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


def outcome_frame(schema: Schema) -> OutcomeFrame:
    """All applications whose outcome is on file, oldest first."""
    import pandas as pd

    loans = LoanOutcome.objects.order_by("application__submitted_at", "application_id")
    outcomes = list(loans.values("application_id", "state", "defaulted_on", "observed_on").iterator(chunk_size=CHUNK))
    with_outcome = LoanApplication.objects.filter(outcome__isnull=False).order_by("submitted_at", "pk")
    rows = list(_rows(with_outcome, "synthetic", "protected__values"))
    digest = hashlib.sha256()
    for outcome, row in zip(outcomes, rows, strict=True):
        digest.update(f"{row['pk']} {outcome['state']} {outcome['defaulted_on']} {row['amount']}\n".encode())
    submitted_at = _times([row["submitted_at"] for row in rows], "submitted_at")
    return OutcomeFrame(
        frame=_frame(rows, schema),
        submitted_at=submitted_at,
        outcomes=pd.DataFrame(
            {
                "state": pd.Series([outcome["state"] for outcome in outcomes], dtype=object),
                "submitted_on": submitted_at,
                "defaulted_on": _times([outcome["defaulted_on"] for outcome in outcomes], "defaulted_on"),
                "observed_on": _times([outcome["observed_on"] for outcome in outcomes], "observed_on"),
            }
        ),
        protected=pd.DataFrame([row["protected__values"] or {} for row in rows], index=range(len(rows))),
        undecided=LoanApplication.objects.undecided().count(),
        declined=LoanApplication.objects.filter(status=Status.DECLINED).count(),
        fingerprint=digest.hexdigest(),
        synthetic=any(row["synthetic"] for row in rows),
    )


def _rows(applications: QuerySet, *extra: str) -> Iterable[dict[str, Any]]:
    wanted = {"pk", "submitted_at", "attributes", "product__code", *FEATURE_FIELDS, *extra} - {"product"}
    return applications.values(*wanted).iterator(chunk_size=CHUNK)


def _facts(row: dict[str, Any]) -> dict[str, Any]:
    facts = {name: row["product__code" if name == "product" else name] for name in FEATURE_FIELDS}
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in (row["attributes"] | facts).items()}


def _frame(rows: list[dict[str, Any]], schema: Schema) -> pd.DataFrame:
    import pandas as pd

    columns = {}
    for column in schema:
        if column.name == "product":
            values = [row["product__code"] for row in rows]
        elif column.name in FEATURE_FIELDS:
            values = [row[column.name] for row in rows]
        else:
            values = [row["attributes"].get(column.name) for row in rows]
        columns[column.name] = _series(values, column)
    return pd.DataFrame(columns, index=range(len(rows)))


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


def _plain(value: Any) -> Any:
    if value is None or value != value:  # NaN and NaT are not themselves
        return None
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value


def facts_of(application_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """All that each application says, {field or attribute: plain value or None}, without building a frame."""
    return {row["pk"]: _facts(row) for row in _rows(LoanApplication.objects.filter(pk__in=application_ids))}
