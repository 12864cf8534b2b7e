"""Whose an application is to work on: taken by an officer himself, or given by who may assign."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from loans.models import LoanApplication
from loans.models.application import TO_DECIDE, UNDECIDED
from loans.services import audit


class NotYours(Exception):
    """Somebody else has it, or it is not to be worked on; the message says which."""


def claim(application_id: int, *, by: Any) -> None:
    """Take it, where nobody has it. Compare-and-set: of two at once one gets it. Raises NotYours."""
    with transaction.atomic():
        free = LoanApplication.objects.filter(pk=application_id, assigned_to__isnull=True, status__in=UNDECIDED)
        if not free.update(assigned_to=by, assigned_at=Now()):
            _why_not(application_id, by)
            return
        audit.record("application.claimed", actor=by, subject=LoanApplication(pk=application_id))


def _why_not(application_id: int, by: Any) -> None:
    row = LoanApplication.objects.select_related("assigned_to").get(pk=application_id)
    if row.assigned_to_id == by.pk:
        return
    if row.assigned_to_id is not None:
        raise NotYours(_("%(what)s has it already.") % {"what": row.assigned_to.get_full_name() or row.assigned_to.get_username()})
    raise NotYours(_("It is “%(lower)s”; there is nothing to work on.") % {"lower": row.get_status_display().lower()})


def release(application_id: int, *, by: Any, anybodys: bool = False) -> None:
    """Give it back to the pool. anybodys: also where another has it. Raises NotYours."""
    with transaction.atomic():
        held = LoanApplication.objects.filter(pk=application_id, assigned_to__isnull=False)
        if not (held if anybodys else held.filter(assigned_to=by)).update(assigned_to=None, assigned_at=None):
            raise NotYours(_("You do not have it."))
        audit.record("application.released", actor=by, subject=LoanApplication(pk=application_id))


def assign(application_ids: list[int], *, to: Any | None, by: Any) -> list[int]:
    """Give these to an officer, or to nobody. Returns the ids of those that it was done to: decided ones stay whose they are."""
    with transaction.atomic():
        rows = LoanApplication.objects.filter(pk__in=application_ids, status__in=(*TO_DECIDE, "received"))
        done = list(rows.order_by("pk").select_for_update(of=("self",)).values_list("pk", flat=True))
        values = {"assigned_to": to, "assigned_at": Now() if to is not None else None}
        LoanApplication.objects.filter(pk__in=done).update(**values)
        if done:
            audit.record("applications.assigned", actor=by, to=to.pk if to is not None else None, applications=done)
    return done
