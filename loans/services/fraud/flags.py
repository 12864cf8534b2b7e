"""Flags: raised by evidence or drawn at random, worked on by investigators. Every step of a flag is an event that stays.

A disposition is a finding (`FraudLabel`): known to later applications' link features at once, and to models after
`FRAUD_LABEL_DELAY_DAYS`, in which it may still be taken back.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext

from loans.models import FlagKind, FlagState, FraudFlag, FraudFlagEvent, FraudLabel, LoanApplication, Severity
from loans.services import audit, webhooks
from mlcore.fraud.merge import Verdict

MAX_NOTE = 4000
MOST_SNOOZE = timedelta(days=90)


class FlagRefused(Exception):
    """This can't be done with this flag; the message says why. `field` names what to correct, where it is one field."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


def raise_alert(application: LoanApplication, verdict: Verdict, expected_loss: Decimal) -> FraudFlag:
    """A new flag, or the newer evidence on one that nobody disposed of yet. What was disposed of stays as it was found."""
    return _raised(application, FlagKind.ALERT, _of_alert(verdict, expected_loss))


def _of_alert(verdict: Verdict, expected_loss: Decimal) -> dict[str, Any]:
    return {
        "severity": Severity[verdict.severity.upper()],
        "score": verdict.score,
        "calibrated": verdict.calibrated,
        "expected_loss": expected_loss,
        "evidence": verdict.evidence,
        "in_words": verdict.in_words,
    }


def draw_sample(application: LoanApplication, verdict: Verdict, expected_loss: Decimal) -> FraudFlag | None:
    """Flag it for a random review; not one that evidence has flagged before."""
    if FraudFlag.objects.filter(application=application, kind=FlagKind.ALERT).exists():
        return None
    return _raised(application, FlagKind.SAMPLE, _of_sample(verdict, expected_loss))


def _of_sample(verdict: Verdict, expected_loss: Decimal) -> dict[str, Any]:
    return {
        "severity": Severity.NONE,
        "score": verdict.score,
        "calibrated": verdict.calibrated,
        "expected_loss": expected_loss,
        "evidence": verdict.evidence,
        "in_words": gettext("Drawn at random among applications that nothing speaks against") if not verdict.evidence else verdict.in_words,
    }


def raise_many(
    alerts: Sequence[tuple[LoanApplication, Verdict, Decimal]], samples: Sequence[tuple[LoanApplication, Verdict, Decimal]]
) -> None:
    """`raise_alert` and `draw_sample` for many applications: new flags in two statements, those that exist already one by one."""
    flagged = {(application.pk, FlagKind.ALERT) for application, _, _ in alerts}
    ids = [application.pk for application, _, _ in (*alerts, *samples)]
    known = set(FraudFlag.objects.filter(application__in=ids).values_list("application_id", "kind"))
    new = []
    for application, verdict, loss in alerts:
        if (application.pk, FlagKind.ALERT) in known:
            raise_alert(application, verdict, loss)
        else:
            new.append(FraudFlag(application=application, kind=FlagKind.ALERT, **_of_alert(verdict, loss)))
    for application, verdict, loss in samples:
        if (application.pk, FlagKind.ALERT) in known | flagged or (application.pk, FlagKind.SAMPLE) in known:
            draw_sample(application, verdict, loss)
        else:
            new.append(FraudFlag(application=application, kind=FlagKind.SAMPLE, **_of_sample(verdict, loss)))
    made = FraudFlag.objects.bulk_create(new)
    for severity in {flag.severity for flag in made if flag.kind == FlagKind.ALERT}:
        told = [flag for flag in made if flag.kind == FlagKind.ALERT and flag.severity == severity]
        webhooks.send("application.flagged", told, severity=told[0].get_severity_display().lower())
    FraudFlagEvent.objects.bulk_create(
        [_new_event(flag, "raised", "", data={"score": flag.score, "severity": flag.severity}) for flag in made]
    )


def _raised(application: LoanApplication, kind: str, values: dict[str, Any]) -> FraudFlag:
    flag, made = FraudFlag.objects.get_or_create(application=application, kind=kind, defaults=values)
    if made:
        if kind == FlagKind.ALERT:
            webhooks.send("application.flagged", flag, severity=flag.get_severity_display().lower())
        _event(flag, "raised", "", by=None, data={"score": flag.score, "severity": flag.severity})
    elif not flag.is_disposed and any(getattr(flag, name) != value for name, value in values.items()):
        for name, value in values.items():
            setattr(flag, name, value)
        flag.save(update_fields=list(values))
        _event(flag, "reassessed", flag.state, by=None, data={"score": flag.score, "severity": flag.severity})
    return flag


def confirm(flag_id: int, *, by: Any, note: str = "") -> FraudFlag:
    """It is fraud. Raises FlagRefused."""
    return _dispose(flag_id, FlagState.CONFIRMED, by=by, note=note)


def clear(flag_id: int, *, by: Any, note: str = "") -> FraudFlag:
    """It is not. Raises FlagRefused."""
    return _dispose(flag_id, FlagState.CLEARED, by=by, note=note)


def _dispose(flag_id: int, state: str, *, by: Any, note: str) -> FraudFlag:
    note = _checked(note)
    if not note:
        raise FlagRefused(gettext("Say in a few words what it rests on."), field="note")
    now = timezone.now()
    with transaction.atomic():
        flag = _locked(flag_id, state)
        before = flag.state
        flag.state, flag.snoozed_until, flag.note = state, None, note
        flag.disposed_by, flag.disposed_at = by, now
        flag.save(update_fields=["state", "snoozed_until", "note", "disposed_by", "disposed_at"])
        _event(flag, "confirmed" if state == FlagState.CONFIRMED else "cleared", before, by=by, note=note)
        _withdraw(flag, now)
        FraudLabel.objects.create(
            application_id=flag.application_id,
            fraud=state == FlagState.CONFIRMED,
            sampled=flag.kind == FlagKind.SAMPLE,
            known_at=now,
            learn_from=now + timedelta(days=settings.FRAUD_LABEL_DELAY_DAYS),
        )
    return flag


def snooze(flag_id: int, *, by: Any, until: datetime, note: str = "") -> FraudFlag:
    """Out of the queue until then. Raises FlagRefused."""
    note = _checked(note)
    now = timezone.now()
    if not now < until <= now + MOST_SNOOZE:
        raise FlagRefused(gettext("Snooze until a time within the next %(days)s days.") % {"days": MOST_SNOOZE.days}, field="until")
    with transaction.atomic():
        flag = _locked(flag_id, FlagState.SNOOZED)
        before = flag.state
        flag.state, flag.snoozed_until = FlagState.SNOOZED, until
        flag.save(update_fields=["state", "snoozed_until"])
        _event(flag, "snoozed", before, by=by, note=note, data={"until": until.isoformat()})
    return flag


def reopen(flag_id: int, *, by: Any, note: str = "") -> FraudFlag:
    """Back into the queue; a finding that it had is taken back from now on. Raises FlagRefused."""
    note = _checked(note)
    now = timezone.now()
    with transaction.atomic():
        flag = _locked(flag_id, FlagState.OPEN)
        before = flag.state
        if flag.is_disposed and not note:
            raise FlagRefused(gettext("Say why the finding is taken back."), field="note")
        flag.state, flag.snoozed_until, flag.disposed_by, flag.disposed_at = FlagState.OPEN, None, None, None
        flag.save(update_fields=["state", "snoozed_until", "disposed_by", "disposed_at"])
        _event(flag, "reopened", before, by=by, note=note)
        if before in (FlagState.CONFIRMED, FlagState.CLEARED):
            _withdraw(flag, now)
    return flag


def assign(flag_id: int, *, by: Any, to: Any | None) -> FraudFlag:
    """Give it to an investigator, or to nobody. Raises FlagRefused."""
    if to is not None and not (to.is_active and to.has_perm("loans.investigate_fraudflag")):
        raise FlagRefused(gettext("%(to)s does not investigate fraud flags.") % {"to": to.get_username()}, field="to")
    with transaction.atomic():
        flag = FraudFlag.objects.select_for_update().get(pk=flag_id)
        if flag.assignee_id != (to.pk if to else None):
            flag.assignee = to
            flag.save(update_fields=["assignee"])
            _event(flag, "assigned", flag.state, by=by, data={"to": to.get_username() if to else None})
    return flag


def _locked(flag_id: int, state: str) -> FraudFlag:
    flag = FraudFlag.objects.select_for_update().get(pk=flag_id)
    if not flag.can_become(state):
        raise FlagRefused(
            gettext("This flag is “%(lower)s” already; somebody was faster. Load the page again.")
            % {"lower": flag.get_state_display().lower()}
        )
    return flag


def _withdraw(flag: FraudFlag, now: datetime) -> None:
    """A model may have learned from the finding, and later applications were described with it: it ends now, and was true till then."""
    FraudLabel.objects.filter(application_id=flag.application_id, withdrawn_at__isnull=True).update(withdrawn_at=now)


def _checked(note: str) -> str:
    note = note.strip()
    if len(note) > MAX_NOTE:
        raise FlagRefused(
            gettext("The note has %(note)s characters; at most %(max_note)s are kept.") % {"note": len(note), "max_note": MAX_NOTE},
            field="note",
        )
    return note


def _event(flag: FraudFlag, action: str, before: str, *, by: Any, note: str = "", data: dict[str, Any] | None = None) -> None:
    if by is not None:  # what the system raised stands in the flag's own events
        audit.record(f"fraud_flag.{action}", actor=by, subject=flag, application=flag.application_id, state=flag.state)
    _new_event(flag, action, before, by=by, note=note, data=data).save(force_insert=True)


def _new_event(
    flag: FraudFlag, action: str, before: str, *, by: Any = None, note: str = "", data: dict[str, Any] | None = None
) -> FraudFlagEvent:
    return FraudFlagEvent(
        flag=flag, action=action, from_state=before, to_state=flag.state, by=by, note=note, data=data or {}, created_at=Now()
    )
