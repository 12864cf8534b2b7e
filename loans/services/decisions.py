"""A person decides. Two officers at once: one decision stands, the other is told of it."""

from __future__ import annotations

from django.db import transaction

from loans.models import Decision, LoanApplication, Prediction, Status
from loans.models.decision import Outcome
from loans.services import rulepack

STATUS_AFTER = {Outcome.APPROVE: Status.APPROVED, Outcome.DECLINE: Status.DECLINED, Outcome.REFER: Status.REFERRED}
MAX_NOTE = 4000


class DecisionRefused(Exception):
    """This decision can not be made; the message says why and what to do. `field` names what to correct, where it is one field."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class AlreadyDecided(DecisionRefused):
    """Somebody else was first."""


class ScoreChanged(DecisionRefused):
    """The score that the officer looked at is not the current one any more."""


def decide(
    application_id: int, *, officer: object, outcome: str, reason: str, note: str = "", seen_prediction: int | None = None
) -> Decision:
    """Record the officer's decision and move the application on, in one transaction.

    seen_prediction: the id of the prediction that the officer's page showed, 0 where it showed none; where the current one is another,
    nothing is decided. None: whoever asks saw no page.
    Raises DecisionRefused (or a subclass), `rulepack.UnknownReason`, LoanApplication.DoesNotExist.
    """
    if outcome not in Outcome.values:
        raise DecisionRefused(f"{outcome!r} is not an outcome; there are: {', '.join(Outcome.values)}.", field="outcome")
    chosen = rulepack.in_force().reason(outcome, reason)
    note = note.strip()
    if chosen.note_required and not note:
        raise DecisionRefused(f"“{chosen.text}” needs a note that says it in words.", field="note")
    if len(note) > MAX_NOTE:
        raise DecisionRefused(f"The note has {len(note)} characters; at most {MAX_NOTE} are kept.", field="note")
    with transaction.atomic():
        application = LoanApplication.objects.select_for_update(of=("self",)).get(pk=application_id)
        _refuse_unless_open(application, outcome)
        prediction = Prediction.objects.latest_of(application)
        if seen_prediction is not None and seen_prediction != (prediction.pk if prediction else 0):
            raise ScoreChanged("This application was scored anew while you looked at it. Look at the new score, then decide.")
        if outcome == Outcome.APPROVE and prediction is None:
            raise DecisionRefused(
                "There is no valid score, so this can't be approved. Ask for a score, refer it, or decline it.", field="outcome"
            )
        decision = Decision.objects.create(
            application=application,
            outcome=outcome,
            officer=officer,
            reason=chosen.code,
            reason_text=chosen.text,
            note=note,
            prediction=prediction,
            advice=prediction.advice if prediction else "",
            override=is_override(outcome, prediction),
        )
        application.status = STATUS_AFTER[Outcome(outcome)]
        application.save(update_fields=["status"])
    return decision


def _refuse_unless_open(application: LoanApplication, outcome: str) -> None:
    if application.can_become(STATUS_AFTER[Outcome(outcome)]):
        return
    last = application.decisions.select_related("officer").order_by("-pk").first()
    if last is not None:
        who = last.officer.get_full_name() or last.officer.get_username()
        raise AlreadyDecided(f"{who} decided this on {last.created_at:%Y-%m-%d at %H:%M} UTC: {last.get_outcome_display().lower()}.")
    if application.status == Status.RECEIVED:
        raise DecisionRefused("This application still waits for its score. It can be decided as soon as it has one, or needs review.")
    raise DecisionRefused(f"This application is “{application.get_status_display().lower()}”; it can't be decided.")


def is_override(outcome: str, prediction: Prediction | None) -> bool:
    """Whether a final decision goes against the advice. Referring is no decision yet, and “look closer” advises neither way."""
    return prediction is not None and (prediction.advice, outcome) in {("approve", "decline"), ("decline", "approve")}
