"""Erasing a person on request: what says who it was goes for good, what was decided and why stays.

Gone: every field of the applicant with its blind indexes, the links made of them, protected characteristics, identifying attributes, the
purpose in the applicant's own words, documents, and kept answers that quote any of it. Kept: the application's figures, its scores,
decisions and audit events, none of which name anybody. Events hold no personal data, so the audit trail verifies as before, with one more
event in it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from loans.models import ApplicationLink, AttributeDefinition, IdempotentAnswer, LoanApplication, ProtectedAttributes
from loans.models.fields import APPLICANT_FIELDS
from loans.queries.words import day_of, whole
from loans.services import audit, documents

MAX_REASON = 200


class NotErasable(Exception):
    """It has to be kept for now; the message says why and until when."""


def erase(application_id: int, *, by: Any | None, case: str = "") -> LoanApplication:
    """Erase the person of one application, in one transaction. case: the lender's own number of the request, no name.

    Raises NotErasable while the application is undecided, within RETENTION_DAYS of its last decision (of its submission where it was
    decided before Loandesk), or where it is erased already; LoanApplication.DoesNotExist.
    """
    if len(case) > MAX_REASON:
        raise NotErasable(f"The case number has {len(case)} characters; at most {MAX_REASON} are kept.")
    with transaction.atomic():
        application = LoanApplication.objects.select_for_update(of=("self",)).get(pk=application_id)
        _refuse_unless_due(application)
        person = application.applicant
        if person is not None:
            for name in APPLICANT_FIELDS:
                setattr(person, name, None)
            person.erased_at = timezone.now()
            person.save()
        identifying = set(AttributeDefinition.objects.exclude(link_kind="").values_list("name", flat=True))
        application.attributes = {name: value for name, value in application.attributes.items() if name not in identifying}
        application.purpose_text = ""
        application.save(update_fields=["attributes", "purpose_text"])
        ProtectedAttributes.objects.filter(application=application).delete()
        ApplicationLink.objects.filter(application=application).delete()
        IdempotentAnswer.objects.filter(applications__contains=[application.pk]).delete()
        papers = documents.erase(application)
        audit.record("applicant.erased", actor=by, subject=application, case=case, **({"documents": papers} if papers else {}))
    return application


def _refuse_unless_due(application: LoanApplication) -> None:
    if application.is_undecided:
        raise NotErasable(f"{application} is undecided: decide it, or withdraw it, first.")
    if application.applicant is not None and application.applicant.erased_at is not None:
        raise NotErasable(f"The person of {application} was erased on {day_of(application.applicant.erased_at)}.")
    last = application.decisions.order_by("-pk").values_list("created_at", flat=True).first() or application.submitted_at
    until = last + timedelta(days=settings.RETENTION_DAYS)
    if until > timezone.now():
        raise NotErasable(
            f"{application} is kept until {day_of(until)}: {whole(settings.RETENTION_DAYS)} days from {day_of(last)} (RETENTION_DAYS)."
        )
