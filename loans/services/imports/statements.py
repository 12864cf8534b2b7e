"""The one SQL statement that turns a range of staged rows into everything that they become."""

# ruff: noqa: S608 - the names in these statements are our own; whatever a file says travels as data

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from loans.models import OutcomeState, ScoringState, Status
from loans.models.fields import APPLICATION_FIELDS
from loans.services.imports.rules import Fitted

_TEXTS = ("channel", "purpose", "purpose_text", "employment_status", "home_ownership", "region")  # never NULL: "" is not given
_RANGE = "s.ctid >= %(start)s::tid AND s.ctid < %(end)s::tid"


def insert_statement(table: str, fitted: Fitted, columns: dict[str, str], parameters: dict[str, Any]) -> str:
    """Applications, and what hangs on them, from the staged rows of pages %(start)s to %(end)s; answers (loaded, of them open).

    columns: those of the staging table. parameters: now, batch, branch, synthetic, open_since; the mapping's constants are added to it.
    """
    values = {"id": "s.application_id", **_field_values(fitted, columns, parameters), "status": _status(columns, parameters)}
    values |= {"import_batch_id": "%(batch)s", "branch_id": "%(branch)s::bigint"}
    values |= {"synthetic": "%(synthetic)s", "created_at": "%(now)s", "grade": "''"}
    has_applicant = " OR ".join(f"s.applicant_{rule.name} IS NOT NULL" for rule in fitted.applicant)
    if has_applicant:
        values["applicant_id"] = f"CASE WHEN {has_applicant} THEN s.applicant_id END"
    joins = "LEFT JOIN loans_loanproduct p ON p.code = s.product" if "product" in columns else ""
    parts = [
        f"new AS (INSERT INTO loans_loanapplication ({', '.join(values)}) SELECT {', '.join(values.values())} FROM {table} s {joins}"
        f" WHERE {_RANGE} ON CONFLICT (reference_scope, external_reference) DO NOTHING RETURNING id, status)"
    ]
    source = f"FROM new JOIN {table} s ON s.application_id = new.id AND {_RANGE}"
    if has_applicant:
        names = [name.removeprefix("applicant_") for name in columns if name.startswith("applicant_")]
        staged = ", ".join(f"s.applicant_{name}" for name in names)
        parts.append(
            f"a AS (INSERT INTO loans_applicant (id, {', '.join(names)}) SELECT s.applicant_id, {staged} {source} WHERE {has_applicant})"
        )
    if "protected" in columns:
        parts.append(
            'x AS (INSERT INTO loans_protectedattributes (application_id, "values")'
            f" SELECT new.id, s.protected {source} WHERE s.protected <> '{{}}'::jsonb)"
        )
    if "outcome" in columns:
        parts.append(_outcomes(columns, source))
    parts.append(
        "j AS (INSERT INTO loans_scoringjob (application_id, state, attempts, claimed_by, error, created_at, due_at)"
        f" SELECT id, '{ScoringState.PENDING}', 0, '', '', clock_timestamp(), clock_timestamp() FROM new"
        f" WHERE status = '{Status.RECEIVED}')"
    )
    return f"WITH {', '.join(parts)} SELECT count(*), count(*) FILTER (WHERE status = '{Status.RECEIVED}') FROM new"


def _outcomes(columns: dict[str, str], source: str) -> str:
    """Withheld for whatever comes in open: an officer is to decide it as if the end were not known."""
    further = [name for name in ("defaulted_on", "observed_on", "past_due_30_on", "loss") if name in columns]
    names = ", ".join(["application_id", "state", "import_batch_id", "created_at", *further])
    staged = ", ".join(["new.id", "s.outcome", "%(batch)s", "%(now)s", *(f"s.{name}" for name in further)])
    return f"o AS (INSERT INTO loans_loanoutcome ({names}) SELECT {staged} {source} WHERE new.status = '{Status.HISTORICAL}')"


def _status(columns: dict[str, str], parameters: dict[str, Any]) -> str:
    if "outcome" not in columns:
        return f"'{Status.RECEIVED}'"
    submitted = "s.submitted_at" if "submitted_at" in columns else "%(submitted_at)s"
    since = _(" OR %(submitted)s >= %%(open_since)s") % {"submitted": submitted} if parameters["open_since"] is not None else ""
    return f"CASE WHEN s.outcome IS NULL{since} THEN '{Status.RECEIVED}' ELSE '{Status.HISTORICAL}' END"


def _field_values(fitted: Fitted, columns: dict[str, str], parameters: dict[str, Any]) -> dict[str, str]:
    """Column of the application → the SQL that fills it; the mapping's constants go into `parameters`."""
    constants = {"submitted_at": parameters["now"], **fitted.mapping.constants}
    values = {}
    for name in APPLICATION_FIELDS:
        if name in columns:
            values[name] = f"COALESCE(s.{name}, '')" if name in _TEXTS else f"s.{name}"
        elif name in constants:
            parameters[name] = constants[name]
            values[name] = f"%({name})s"
        elif name in _TEXTS:
            values[name] = "''"
    product = values.pop("product", None)
    if product is not None:
        values["product_id"] = "p.id" if product == "s.product" else "(SELECT id FROM loans_loanproduct WHERE code = %(product)s)"
    values["attributes"] = "s.attributes" if "attributes" in columns else "'{}'::jsonb"
    return values


assert {OutcomeState.DEFAULT, OutcomeState.REPAID, OutcomeState.IMMATURE} == {"default", "repaid", "immature"}
