"""The second person: confirms what another proposed, or returns it. Maker is never checker; the database holds that too."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext

from loans.models import Decision, DecisionProposal, LoanApplication, Prediction, ProposalState
from loans.queries.words import fixed
from loans.services import audit, decisions, rulepack
from loans.services.decisions import MAX_NOTE, DecisionRefused, Offer, ScoreChanged


def confirm(proposal_id: int, *, checker: Any, answer: str = "") -> Decision:
    """Make the proposed decision, in the names of both. Raises DecisionRefused (or a subclass), DecisionProposal.DoesNotExist."""
    with transaction.atomic():
        proposal, application = _waiting(proposal_id)
        if proposal.maker_id == checker.pk:
            raise DecisionRefused(gettext("You proposed this yourself; another person has to confirm it."))
        prediction = Prediction.objects.latest_of(application)
        if (prediction.pk if prediction else None) != proposal.prediction_id:
            raise ScoreChanged(gettext("It was scored anew after this was proposed. Return it, so that it is proposed on the new score."))
        amount = proposal.offered_amount if proposal.offered_amount is not None else application.amount
        limit = decisions.limit_of(checker)
        if "limit" in proposal.needs and limit is not None and amount > limit:
            raise DecisionRefused(
                gettext("%(amount)s is above your own limit of %(limit)s; somebody with a higher one has to confirm it.")
                % {"amount": fixed(amount, 2), "limit": fixed(limit, 2)}
            )
        offer = None
        if proposal.offered_amount is not None:
            offer = Offer(proposal.offered_amount, proposal.offered_term_months, proposal.offered_rate)
        reason = rulepack.in_force().reason(proposal.outcome, proposal.reason)
        wanted = decisions.Wanted(proposal.outcome, reason, proposal.note, proposal.override_reason, offer)
        decision = decisions._record(application, wanted, prediction, officer=proposal.maker, second=checker, actor=checker)
        _answer(proposal, ProposalState.CONFIRMED, checker, answer, decision)
    return decision


def give_back(proposal_id: int, *, checker: Any, answer: str) -> DecisionProposal:
    """Not like this: the application is free to be decided again. Raises DecisionRefused, DecisionProposal.DoesNotExist."""
    if not answer.strip():
        raise DecisionRefused(gettext("Say why, so that whoever proposed it knows what to do."), field="answer")
    with transaction.atomic():
        proposal, _ = _waiting(proposal_id)
        if proposal.maker_id == checker.pk:
            raise DecisionRefused(gettext("You proposed this yourself; withdraw it instead."))
        _answer(proposal, ProposalState.RETURNED, checker, answer)
    return proposal


def withdraw(proposal_id: int, *, maker: Any) -> DecisionProposal:
    """The maker thought better of it. Raises DecisionRefused, DecisionProposal.DoesNotExist."""
    with transaction.atomic():
        proposal, _ = _waiting(proposal_id)
        if proposal.maker_id != maker.pk:
            raise DecisionRefused(gettext("Only who proposed it withdraws it; anybody else returns it."))
        _answer(proposal, ProposalState.WITHDRAWN, None, "")
    return proposal


def _waiting(proposal_id: int) -> tuple[DecisionProposal, LoanApplication]:
    """The proposal and its application, both locked: the application first, as everybody who decides does."""
    application_id = DecisionProposal.objects.values_list("application", flat=True).get(pk=proposal_id)
    application = LoanApplication.objects.select_for_update(of=("self",)).get(pk=application_id)
    proposal = DecisionProposal.objects.select_for_update(of=("self",)).select_related("maker", "checker").get(pk=proposal_id)
    if proposal.state != ProposalState.WAITING:
        by = f" by {decisions.name_of(proposal.checker)}" if proposal.checker else ""
        raise DecisionRefused(
            gettext("This proposal was %(lower)s%(by)s meanwhile.") % {"lower": proposal.get_state_display().lower(), "by": by}
        )
    return proposal, application


def _answer(proposal: DecisionProposal, state: str, checker: Any, answer: str, decision: Decision | None = None) -> None:
    answer = answer.strip()
    if len(answer) > MAX_NOTE:
        raise DecisionRefused(
            gettext("The answer has %(answer)s characters; at most %(max_note)s are kept.") % {"answer": len(answer), "max_note": MAX_NOTE},
            field="answer",
        )
    proposal.state, proposal.checker, proposal.answer, proposal.answered_at = state, checker, answer, timezone.now()
    proposal.decision = decision
    proposal.save(update_fields=["state", "checker", "answer", "answered_at", "decision"])
    audit.record(f"proposal.{state}", actor=checker or proposal.maker, subject=proposal.application, proposal=proposal.pk)
