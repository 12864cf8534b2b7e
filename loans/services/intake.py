"""An application comes in: it, its applicant and its scoring job in one transaction, then a hint to the workers."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from loans.models import Applicant, AttributeDefinition, LoanApplication, LoanProduct, ProtectedAttributes, ScoringJob
from loans.services.wakeups import wake_scoring


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


def submit(fields: dict[str, Any], *, submitted_by: object | None, synthetic: bool = False) -> Received:
    """Store one application with its pending scoring job.

    fields: the names of `loans.models.fields.APPLICATION_FIELDS`, already of the right types, `product` as a code, and optionally
    `applicant` and `attributes` as dicts. Raises InvalidApplication or DuplicateReference, and then nothing is stored.
    """
    fields = dict(fields)
    errors: dict[str, list[str]] = {}
    product = _product(fields.pop("product", None), fields.get("amount"), errors)
    attributes, protected = sort_attributes(fields.pop("attributes", None) or {}, errors)
    applicant_fields = {name: value for name, value in (fields.pop("applicant", None) or {}).items() if value}
    submitted_at = fields.pop("submitted_at", None) or timezone.now()
    if submitted_at > timezone.now() + timedelta(days=1):
        errors["submitted_at"] = ["lies in the future"]
    if errors:
        raise InvalidApplication(errors)
    reference = fields.pop("external_reference", None) or f"LD-{uuid.uuid4().hex[:16]}"
    with transaction.atomic():
        applicant = Applicant.objects.create(**applicant_fields) if applicant_fields else None
        try:
            with transaction.atomic():
                application = LoanApplication.objects.create(
                    **{name: value for name, value in fields.items() if value is not None},
                    external_reference=reference,
                    submitted_at=submitted_at,
                    product=product,
                    attributes=attributes,
                    applicant=applicant,
                    submitted_by=submitted_by,
                    synthetic=synthetic,
                )
        except IntegrityError as error:
            if "external_reference" in (error.__cause__.diag.constraint_name or ""):
                raise DuplicateReference(f"An application with the reference {reference!r} is here already.") from error
            raise
        if protected:
            ProtectedAttributes.objects.create(application=application, values=protected)
        job = ScoringJob.objects.create(application=application)
        transaction.on_commit(wake_scoring)
    return Received(application=application, job=job)


def _product(code: str | None, amount: Any, errors: dict[str, list[str]]) -> LoanProduct | None:
    if not code:
        return None
    product = LoanProduct.objects.filter(code=code).first()
    if product is None or not product.active:
        known = ", ".join(LoanProduct.objects.filter(active=True).values_list("code", flat=True)[:20]) or "none yet"
        errors["product"] = [f"is not a product that takes applications; there are: {known}"]
        return None
    if amount is not None and product.minimum_amount is not None and amount < product.minimum_amount:
        errors["amount"] = [f"is below this product's minimum of {product.minimum_amount}"]
    if amount is not None and product.maximum_amount is not None and amount > product.maximum_amount:
        errors["amount"] = [f"is above this product's maximum of {product.maximum_amount}"]
    return product


def sort_attributes(values: dict[str, Any], errors: dict[str, list[str]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(ordinary, protected) attributes, parsed; what is wrong goes into `errors` under "attributes.NAME"."""
    ordinary: dict[str, Any] = {}
    protected: dict[str, Any] = {}
    if not values:
        return ordinary, protected
    definitions = {row.name: row for row in AttributeDefinition.objects.filter(name__in=list(values))}
    for name, value in values.items():
        definition = definitions.get(name)
        if definition is None:
            errors[f"attributes.{name}"] = ["is not declared; an administrator can declare it as an attribute definition"]
            continue
        try:
            parsed = definition.parse(value)
        except ValueError as error:
            errors[f"attributes.{name}"] = [str(error)]
            continue
        if parsed is not None:
            (protected if definition.protected else ordinary)[name] = parsed
    return ordinary, protected
