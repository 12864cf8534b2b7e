"""Applications come in: each with its applicant and its scoring job in one transaction, then a hint to the workers.

`prepare` checks one and touches nothing; `store` writes it with all that hangs on it by one statement, scored already or waiting for it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from django.utils.translation import gettext

from loans.models import (
    Applicant,
    AttributeDefinition,
    FeatureSnapshot,
    LoanApplication,
    LoanProduct,
    Prediction,
    ProtectedAttributes,
    ScoringJob,
    ScoringState,
)
from loans.models.rows import copy_rows, insert, stencil
from loans.models.scope import branch_of
from loans.models.statements import first_row
from loans.services.wakeups import wake_scoring

TRIES = 5


class InvalidApplication(Exception):
    """What is wrong with a submission, by field path: {"attributes.savings": ["must be a number"]}."""

    def __init__(self, errors: dict[str, list[str]]) -> None:
        super().__init__("; ".join(f"{field}: {' '.join(messages)}" for field, messages in errors.items()))
        self.errors = errors


class DuplicateReference(Exception):
    """An application with this external reference is here already."""


@dataclass(frozen=True)
class Received:
    application: LoanApplication
    job: ScoringJob


mould = functools.cache(stencil)


@dataclass(frozen=True)
class Moulds:
    """What makes the rows of one submitter: `loans.models.rows.stencil`."""

    application: Callable[..., LoanApplication]
    applicant: Callable[..., Applicant]

    @classmethod
    def of(cls, submitted_by: Any) -> Moulds:
        owned = {"reference_scope": reference_scope(submitted_by), "submitted_by": submitted_by, "branch_id": branch_of(submitted_by)}
        return cls(stencil(LoanApplication, **owned), stencil(Applicant))

    @classmethod
    def for_one(cls, submitted_by: Any) -> Moulds:
        """The same, from moulds that are kept for good: nothing of a submitter is in them."""
        owned = {"reference_scope": reference_scope(submitted_by), "branch_id": branch_of(submitted_by)}
        made = mould(LoanApplication)
        return cls(lambda values, rows: made(values | owned, {**rows, "submitted_by": submitted_by}), mould(Applicant))


@dataclass(frozen=True)
class Known:
    """What a submission may name, read beforehand: products by code, attribute definitions by name. moulds: of whoever submits many."""

    products: Mapping[str, LoanProduct]
    attributes: Mapping[str, AttributeDefinition]
    moulds: Moulds | None = None


@dataclass(frozen=True)
class Ready:
    """One application that was checked: rows that are not stored yet."""

    application: LoanApplication
    applicant: Applicant | None
    protected: dict[str, Any] = field(default_factory=dict)
    named: bool = True
    """Whether its reference is its sender's; one of ours (64 random bits) is looked for nowhere."""


def submit(fields: dict[str, Any], *, submitted_by: object | None, synthetic: bool = False) -> Received:
    """Store one application with its pending scoring job.

    fields: the names of `loans.models.fields.APPLICATION_FIELDS`, already of the right types, `product` as a code, and optionally
    `applicant` and `attributes` as dicts. It belongs to the branch of whoever submits it. Raises InvalidApplication or DuplicateReference,
    and then nothing is stored.
    """
    return store(prepare(fields, submitted_by=submitted_by, synthetic=synthetic))


def reference_scope(user: Any | None) -> int:
    """Whose references a clash is looked for among: those of the same client, or the desk's own."""
    return 0 if user is None or user.is_staff else user.pk


def prepare(fields: dict[str, Any], *, submitted_by: Any | None, synthetic: bool = False, known: Known | None = None) -> Ready:
    """Check one application. known: read beforehand, where there are many. Raises InvalidApplication."""
    fields = dict(fields)
    errors: dict[str, list[str]] = {}
    product = _product(fields.pop("product", None), fields.get("amount"), errors, known)
    attributes, protected = sort_attributes(fields.pop("attributes", None) or {}, errors, known)
    applicant_fields = {name: value for name, value in (fields.pop("applicant", None) or {}).items() if value}
    now = timezone.now()
    submitted_at = fields.pop("submitted_at", None) or now
    if submitted_at > now + timedelta(days=1):
        errors["submitted_at"] = [gettext("lies in the future")]
    if errors:
        raise InvalidApplication(errors)
    named = fields.get("external_reference")
    values = {name: value for name, value in fields.items() if value is not None} | {
        "external_reference": named or f"LD-{os.urandom(8).hex()}",
        "submitted_at": submitted_at,
        "attributes": attributes,
    }
    if known is not None and known.moulds is not None:
        application = known.moulds.application(values, {"product": product})
        applicant = known.moulds.applicant(applicant_fields, {}) if applicant_fields else None
    else:
        owned = {"reference_scope": reference_scope(submitted_by), "submitted_by": submitted_by, "branch_id": branch_of(submitted_by)}
        application = LoanApplication(**values, **owned, product=product, synthetic=synthetic)
        applicant = Applicant(**applicant_fields) if applicant_fields else None
    if applicant is not None:
        applicant.set_indexes()
    return Ready(application, applicant, protected, bool(named))


def store(ready: Ready, prediction: Prediction | None = None, snapshot: dict[str, Any] | None = None) -> Received:
    """Write what was checked: with a pending job, or with the prediction and feature snapshot that it has already and a job that is done.

    One statement, so that it is a transaction of its own where the caller has none. Raises DuplicateReference.
    """
    application, person = ready.application, ready.applicant
    scored = prediction is not None
    state = {"state": ScoringState.DONE if scored else ScoringState.PENDING, "attempts": 1 if scored else 0}
    job = mould(ScoringJob)(state, {"application": application})
    new = "(SELECT id FROM app)"
    parts: list[tuple[str, str, list[Any]]] = []
    if person is not None:
        parts.append(("person", *insert(person)))
    parts.append(("app", *insert(application, applicant_id="(SELECT id FROM person)" if person is not None else "NULL")))
    if ready.protected:
        parts.append(("own", *insert(ProtectedAttributes(values=ready.protected), application_id=new)))
    parts.append(("job", *insert(job, application_id=new, **({"finished_at": "statement_timestamp()"} if scored else {}))))
    if scored:
        its_job = "(SELECT id FROM job)"
        parts.append(("score", *insert(prediction, application_id=new, scoring_job_id=its_job)))
        parts.append(("rest", *insert(mould(FeatureSnapshot)({"values": snapshot}, {}), application_id=new, scoring_job_id=its_job)))
    returned = {"job": "id, created_at, due_at, finished_at", "score": "id, created_at", "own": "1", "rest": "1"}
    ctes = ", ".join(f"{name} AS ({statement} RETURNING {returned.get(name, 'id')})" for name, statement, _ in parts)
    wanted = ["app.id", "person.id" if person is not None else "NULL", "job.id", "job.created_at", "job.due_at", "job.finished_at"]
    tables = ["app", "job"] + (["person"] if person is not None else []) + (["score"] if scored else [])
    if scored:
        wanted += ["score.id", "score.created_at"]
    try:
        # Inside a caller's transaction a clash must not end that.
        with transaction.atomic() if connection.in_atomic_block else nullcontext():
            row = first_row(
                f"WITH {ctes} SELECT {', '.join(wanted)} FROM {', '.join(tables)}",  # noqa: S608 - names of our own
                [value for _, _, values in parts for value in values],
            )
    except IntegrityError as error:
        if "external_reference" in (error.__cause__.diag.constraint_name or ""):
            raise DuplicateReference(
                gettext("An application with the reference %(external_reference)s is here already.")
                % {"external_reference": f"{application.external_reference!r}"}
            ) from error
        raise
    application.pk, applicant_id, job.pk, job.created_at, job.due_at, job.finished_at = row[:6]
    if person is not None:
        person.pk = applicant_id
        application.applicant = person
    for instance in (application, job):
        instance._state.adding = False
    job.application = application
    if scored:
        prediction.pk, prediction.created_at = row[6:]
        prediction.application, prediction.scoring_job, prediction._state.adding = application, job, False
    else:
        transaction.on_commit(wake_scoring)
    return Received(application=application, job=job)


def store_many(ready: Sequence[Ready], write: Callable[[list[Ready]], list[Received]] | None = None) -> list[Received | DuplicateReference]:
    """Write many at once, each with its pending job, in one transaction; in their order, with an exception in place of a taken reference.

    write: another way to write those whose reference is free, inside that transaction. Rows go in by COPY.
    All are of one submitter. A reference that somebody else takes meanwhile is found out by the database: then anew.
    """
    for _ in range(TRIES):
        taken = _taken(ready)
        good = [each for place, each in enumerate(ready) if place not in taken]
        try:
            with transaction.atomic():
                if good and write is not None:
                    received = iter(write(good))
                elif good:
                    number(good)
                    received = iter(copied(good))
                    transaction.on_commit(wake_scoring)
        except IntegrityError as error:
            if "external_reference" not in (error.__cause__.diag.constraint_name or ""):
                raise
        else:
            return [taken.get(place) or next(received) for place in range(len(ready))]
    raise DuplicateReference(gettext("References of this batch are being taken by another request at the same time; send it again."))


def _taken(ready: Sequence[Ready]) -> dict[int, DuplicateReference]:
    """{position: why} of those whose reference is here already, or stands earlier in the same batch."""
    wanted = {place: each.application.external_reference for place, each in enumerate(ready) if each.named}
    if not wanted:
        return {}
    scope = ready[0].application.reference_scope
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT external_reference FROM loans_loanapplication WHERE reference_scope = %s AND external_reference = ANY(%s)",
            [scope, list(wanted.values())],
        )
        here = {row[0] for row in cursor.fetchall()}
    found = {}
    for place, reference in wanted.items():
        if reference in here:
            found[place] = DuplicateReference(
                gettext("An application with the reference %(reference)s is here already.") % {"reference": f"{reference!r}"}
            )
        here.add(reference)
    return found


def number(ready: Sequence[Ready]) -> None:
    """Give each its application's key, and its applicant's."""
    people = [each.applicant for each in ready if each.applicant is not None]
    for model, rows in ((LoanApplication, [each.application for each in ready]), (Applicant, people)):
        for row, pk in zip(rows, _new_ids(model, len(rows)), strict=True):
            row.id = pk
    for each in ready:
        if each.applicant is not None:
            each.application.applicant = each.applicant


def copied(ready: list[Ready], state: str = ScoringState.PENDING) -> list[Received]:
    """Write those that have their keys. state: of their jobs; done ones have had their attempt. Call inside a transaction."""
    copy_rows([each.applicant for each in ready if each.applicant is not None])
    copy_rows([each.application for each in ready])
    copy_rows([ProtectedAttributes(application_id=each.application.pk, values=each.protected) for each in ready if each.protected])
    done = state == ScoringState.DONE
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO loans_scoringjob (application_id, state, attempts, claimed_by, error, created_at, due_at, finished_at)"
            " SELECT id, %s, %s, '', '', statement_timestamp(), statement_timestamp(), CASE WHEN %s THEN statement_timestamp() END"
            " FROM unnest(%s::bigint[]) AS new(id) ORDER BY id RETURNING application_id, id",
            [state, int(done), done, [each.application.pk for each in ready]],
        )
        jobs = dict(cursor.fetchall())
    made = stencil(ScoringJob, state=state)
    return [Received(each.application, made({"id": jobs[each.application.pk]}, {"application": each.application})) for each in ready]


def _new_ids(model: type, count: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH own AS MATERIALIZED (SELECT pg_get_serial_sequence(%s, 'id')::regclass AS name)"
            " SELECT nextval(own.name) FROM own, generate_series(1, %s)",
            [model._meta.db_table, count],
        )
        return [row[0] for row in cursor.fetchall()]


def _product(code: str | None, amount: Any, errors: dict[str, list[str]], known: Known | None = None) -> LoanProduct | None:
    if not code:
        return None
    product = LoanProduct.objects.filter(code=code).first() if known is None else known.products.get(code)
    if product is None or not product.active:
        listed = ", ".join(LoanProduct.objects.filter(active=True).values_list("code", flat=True)[:20]) or "none yet"
        errors["product"] = [gettext("is not a product that takes applications; there are: %(listed)s") % {"listed": listed}]
        return None
    if amount is not None and product.minimum_amount is not None and amount < product.minimum_amount:
        errors["amount"] = [gettext("is below this product's minimum of %(minimum_amount)s") % {"minimum_amount": product.minimum_amount}]
    if amount is not None and product.maximum_amount is not None and amount > product.maximum_amount:
        errors["amount"] = [gettext("is above this product's maximum of %(maximum_amount)s") % {"maximum_amount": product.maximum_amount}]
    return product


def sort_attributes(
    values: dict[str, Any], errors: dict[str, list[str]], known: Known | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(ordinary, protected) attributes, parsed; what is wrong goes into `errors` under "attributes.NAME"."""
    ordinary: dict[str, Any] = {}
    protected: dict[str, Any] = {}
    if not values:
        return ordinary, protected
    if known is None:
        definitions: Mapping[str, AttributeDefinition] = {
            row.name: row for row in AttributeDefinition.objects.filter(name__in=list(values))
        }
    else:
        definitions = known.attributes
    for name, value in values.items():
        definition = definitions.get(name)
        if definition is None:
            errors[f"attributes.{name}"] = [gettext("is not declared; an administrator can declare it as an attribute definition")]
            continue
        try:
            parsed = definition.parse(value)
        except ValueError as error:
            errors[f"attributes.{name}"] = [str(error)]
            continue
        if parsed is not None:
            (protected if definition.protected else ordinary)[name] = parsed
    return ordinary, protected
