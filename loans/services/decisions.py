"""A person decides; where one is not enough, a second one confirms. Two officers at once: one decision stands, the other is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from loans.models import Decision, DecisionProposal, LoanApplication, Prediction, ProposalState, Status
from loans.models.decision import Outcome
from loans.models.fields import APPLICATION_FIELDS
from loans.queries.words import moment_of, whole
from loans.services import audit, notices, rulepack, webhooks

STATUS_AFTER = {
    Outcome.APPROVE: Status.APPROVED,
    Outcome.DECLINE: Status.DECLINED,
    Outcome.REFER: Status.REFERRED,
    Outcome.COUNTER: Status.OFFERED,
}
OPPOSED = {("approve", "decline"), ("decline", "approve"), ("decline", "counter")}
COMMITS = (Outcome.APPROVE, Outcome.COUNTER)
ACCEPTED = "offer_accepted"
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


@dataclass(frozen=True)
class Offer:
    """Other terms than those asked for. rate: a year's, as a fraction."""

    amount: Decimal
    term_months: int | None = None
    rate: Decimal | None = None


@dataclass(frozen=True)
class Wanted:
    """What somebody wants to decide, checked as far as it can be without the application."""

    outcome: str
    reason: rulepack.Reason
    note: str
    override_reason: str
    offer: Offer | None

    @property
    def terms(self) -> dict[str, Any]:
        offer = self.offer
        return (
            {"offered_amount": offer.amount, "offered_term_months": offer.term_months, "offered_rate": offer.rate}
            if offer is not None
            else {}
        )


def decide(
    application_id: int,
    *,
    officer: Any,
    outcome: str,
    reason: str,
    note: str = "",
    seen_prediction: int | None = None,
    override_reason: str = "",
    offer: Offer | None = None,
    actor: Any = None,
) -> Decision | DecisionProposal:
    """Record the officer's decision and move the application on, in one transaction; or, where one person is not enough, propose it.

    A second person is needed above the officer's limit and against the advice; then nothing is decided before `confirm`.
    seen_prediction: the id of the prediction that the officer's page showed, 0 where it showed none; where the current one is another,
    nothing is decided. None: whoever asks saw no page. override_reason: a code of the rule pack's overrides, needed against the advice.
    actor: the API key that the officer acted through, where it was one.
    Raises DecisionRefused (or a subclass), `rulepack.UnknownReason`, LoanApplication.DoesNotExist.
    """
    wanted = _checked(outcome, reason, note, override_reason, offer)
    with transaction.atomic():
        application = LoanApplication.objects.select_for_update(of=("self",)).get(pk=application_id)
        _refuse_unless_open(application, outcome)
        prediction = Prediction.objects.latest_of(application)
        if seen_prediction is not None and seen_prediction != (prediction.pk if prediction else 0):
            raise ScoreChanged(_("This application was scored anew while you looked at it. Look at the new score, then decide."))
        _refuse_if_it_does_not_fit(application, wanted, prediction)
        needs = second_person_for(application, officer=officer, outcome=outcome, prediction=prediction, offer=offer)
        if not needs:
            return _record(application, wanted, prediction, officer=officer, second=None, actor=actor or officer)
        proposal = DecisionProposal.objects.create(
            application=application,
            outcome=outcome,
            maker=officer,
            reason=wanted.reason.code,
            note=wanted.note,
            override_reason=wanted.override_reason,
            prediction=prediction,
            needs=needs,
            **wanted.terms,
        )
        audit.record("decision.proposed", actor=actor or officer, subject=application, proposal=proposal.pk, outcome=outcome, needs=needs)
    return proposal


def _checked(outcome: str, reason: str, note: str, override_reason: str, offer: Offer | None) -> Wanted:
    if outcome not in Outcome.values:
        raise DecisionRefused(
            _("%(outcome)s is not an outcome; there are: %(values)s.") % {"outcome": f"{outcome!r}", "values": ", ".join(Outcome.values)},
            field="outcome",
        )
    pack = rulepack.in_force()
    chosen = pack.reason(outcome, reason)
    note = note.strip()
    if chosen.note_required and not note:
        raise DecisionRefused(_("“%(text)s” needs a note that says it in words.") % {"text": chosen.text}, field="note")
    if len(note) > MAX_NOTE:
        raise DecisionRefused(
            _("The note has %(note)s characters; at most %(max_note)s are kept.") % {"note": len(note), "max_note": MAX_NOTE}, field="note"
        )
    if outcome == Outcome.DECLINE and chosen.note_required and pack.notice.is_no_reason(note):
        raise DecisionRefused(
            _("That a score or a standard of ours was missed is no reason that an applicant may be given. Say what lies behind it."),
            field="note",
        )
    if override_reason and override_reason not in pack.overrides:
        raise DecisionRefused(
            _("%(override_reason)s is not a reason to override; there are: %(overrides)s.")
            % {"override_reason": f"{override_reason!r}", "overrides": ", ".join(pack.overrides)},
            field="override_reason",
        )
    if (outcome == Outcome.COUNTER) != (offer is not None):
        raise DecisionRefused(_("A counter-offer names the amount that is offered; no other decision does."), field="offered_amount")
    return Wanted(outcome, chosen, note, override_reason, offer)


def _refuse_unless_open(application: LoanApplication, outcome: str) -> None:
    waiting = application.proposals.filter(state=ProposalState.WAITING).select_related("maker").first()
    if waiting is not None:
        raise AlreadyDecided(
            _("%(maker)s proposed on %(created_at)s UTC to %(lower)s; that waits for a second person.")
            % {"maker": name_of(waiting.maker), "created_at": moment_of(waiting.created_at), "lower": waiting.get_outcome_display().lower()}
        )
    if application.can_become(STATUS_AFTER[Outcome(outcome)]):
        return
    last = application.decisions.select_related("officer").order_by("-pk").first()
    if last is not None:
        raise AlreadyDecided(
            _("%(officer)s decided this on %(created_at)s UTC: %(lower)s.")
            % {"officer": name_of(last.officer), "created_at": moment_of(last.created_at), "lower": last.get_outcome_display().lower()}
        )
    if application.status == Status.RECEIVED:
        raise DecisionRefused(_("This application still waits for its score. It can be decided as soon as it has one, or needs review."))
    raise DecisionRefused(_("This application is “%(lower)s”; it can't be decided.") % {"lower": application.get_status_display().lower()})


def _refuse_if_it_does_not_fit(application: LoanApplication, wanted: Wanted, prediction: Prediction | None) -> None:
    outcome = wanted.outcome
    if outcome in COMMITS and prediction is None:
        what = "approved" if outcome == Outcome.APPROVE else _("offered other terms")
        raise DecisionRefused(
            _("There is no valid score, so this can't be %(what)s. Ask for a score, refer it, or decline it.") % {"what": what},
            field="outcome",
        )
    if (wanted.reason.code == ACCEPTED) != (application.status == Status.OFFERED and outcome == Outcome.APPROVE):
        raise DecisionRefused(_("Approved after an offer is what the applicant accepted, and nothing else is."), field="reason")
    if wanted.offer is not None:
        _refuse_an_odd_offer(application, wanted.offer)
    if is_override(application, outcome, prediction):
        if not wanted.override_reason:
            raise DecisionRefused(_("This goes against the advice. Choose from the list why."), field="override_reason")
        if not wanted.note:
            raise DecisionRefused(_("This goes against the advice. Say in the note what the model can not know."), field="note")


def _refuse_an_odd_offer(application: LoanApplication, offer: Offer) -> None:
    spec, terms = APPLICATION_FIELDS["amount"], APPLICATION_FIELDS["term_months"]
    if not spec.minimum <= offer.amount <= spec.maximum:
        raise DecisionRefused(
            _("The amount offered must lie between %(minimum)s and %(maximum)s.")
            % {"minimum": f"{spec.minimum:g}", "maximum": whole(spec.maximum)},
            field="offered_amount",
        )
    if offer.term_months is not None and not terms.minimum <= offer.term_months <= terms.maximum:
        raise DecisionRefused(
            _("The term offered must lie between %(minimum)s and %(maximum)s months.")
            % {"minimum": f"{terms.minimum:g}", "maximum": f"{terms.maximum:g}"},
            field="offered_term_months",
        )
    if offer.rate is not None and not 0 <= offer.rate <= 10:
        raise DecisionRefused(_("The rate offered must lie between 0 and 1,000 per cent a year."), field="offered_rate")
    same_term = offer.term_months in (None, application.term_months)
    if offer.amount == application.amount and same_term and offer.rate is None:
        raise DecisionRefused(
            _("These are the terms that were asked for. Change the amount, the term or the rate, or approve."), field="offered_amount"
        )


def second_person_for(
    application: LoanApplication, *, officer: Any, outcome: str, prediction: Prediction | None, offer: Offer | None = None
) -> list[str]:
    """Why one person is not enough for this decision: `limit`, `advice`, both or neither."""
    needs = []
    limit = limit_of(officer)
    if outcome in COMMITS and application.status != Status.OFFERED and limit is not None:
        needs += ["limit"] if (offer.amount if offer else application.amount) > limit else []
    return needs + (["advice"] if is_override(application, outcome, prediction) else [])


def limit_of(user: Any) -> Decimal | None:
    """Up to which amount this person decides alone; None: any."""
    profile = getattr(user, "officer_profile", None)
    own = profile.approval_limit if profile is not None else None
    return own if own is not None else settings.APPROVAL_LIMIT


def _record(
    application: LoanApplication, wanted: Wanted, prediction: Prediction | None, *, officer: Any, second: Any, actor: Any
) -> Decision:
    accepts = application.decisions.filter(outcome=Outcome.COUNTER).order_by("-pk").first() if wanted.reason.code == ACCEPTED else None
    amount = None
    if wanted.outcome in COMMITS:
        amount = accepts.offered_amount if accepts else wanted.offer.amount if wanted.offer else application.amount
    decision = Decision.objects.create(
        application=application,
        outcome=wanted.outcome,
        officer=officer,
        second=second,
        reason=wanted.reason.code,
        reason_text=wanted.reason.text,
        note=wanted.note,
        prediction=prediction,
        advice=prediction.advice if prediction else "",
        override=is_override(application, wanted.outcome, prediction),
        override_reason=wanted.override_reason,
        amount=amount,
        officer_limit=limit_of(officer) if amount is not None else None,
        accepts=accepts,
        **wanted.terms,
    )
    application.status = STATUS_AFTER[Outcome(wanted.outcome)]
    application.save(update_fields=["status"])
    if wanted.outcome == Outcome.DECLINE:
        notices.draft(decision)
    webhooks.send("application.decided", decision, outcome=decision.outcome, status=application.status)
    audit.record(
        "decision.made", actor=actor, subject=application,
        decision=decision.pk, outcome=decision.outcome, reason=decision.reason, override=decision.override,
        prediction=decision.prediction_id, officer=officer.pk, second=second.pk if second is not None else None,
    )  # fmt: skip
    return decision


def is_override(application: LoanApplication, outcome: str, prediction: Prediction | None) -> bool:
    """Whether a decision goes against the advice. Referring is no decision yet, “look closer” advises neither way, and what becomes of
    an offer is the applicant's choice.
    """
    return prediction is not None and application.status != Status.OFFERED and (prediction.advice, outcome) in OPPOSED


def name_of(user: Any) -> str:
    return user.get_full_name() or user.get_username()
