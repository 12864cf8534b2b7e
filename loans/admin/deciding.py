"""An officer's decision on an application: the forms that take it, and what becomes of what he sends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from loans.admin.base import post_only
from loans.models import DecisionProposal, LoanApplication, Status
from loans.queries import inbox
from loans.queries.words import fixed, money, read_number
from loans.services import decisions, proposals, rulepack, scoring

DECIDES = "loans.decide_loanapplication"
CONFIRMS = "loans.confirm_decision"
SENT = ("outcome", "reason", "note", "override_reason", "offered_amount", "offered_term_months", "offered_rate")


@dataclass(frozen=True)
class Attempt:
    """What an officer sent, and why it was not accepted: shown again with his inputs kept."""

    outcome: str = ""
    reason: str = ""
    note: str = ""
    override_reason: str = ""
    offered_amount: str = ""
    offered_term_months: str = ""
    offered_rate: str = ""
    error: str = ""
    field: str = ""


@dataclass(frozen=True)
class Suggested:
    code: str
    text: str
    note: str = ""


@dataclass(frozen=True)
class DecisionForm:
    outcome: str
    label: str
    key: str
    tone: str
    explain: str
    reasons: list[Any]
    suggested: list[Suggested]
    attempt: Attempt
    blocked: str = ""
    against: str = ""
    overrides: tuple[Any, ...] = ()
    second: str = ""
    offers: bool = False
    fixed: str = ""

    @property
    def open(self) -> bool:
        return self.attempt.outcome == self.outcome


FORMS = (
    ("approve", "Approve", "a", "success", gettext_lazy("Final. The loan may be paid out.")),
    ("decline", "Decline", "d", "danger", gettext_lazy("Final. The reason goes into the applicant's notice.")),
    (
        "counter",
        "Counter-offer",
        "o",
        "primary",
        gettext_lazy("Other terms than those asked for; it stays open until the applicant has answered."),
    ),
    ("refer", "Refer", "r", "warning", gettext_lazy("Stays in the inbox as “referred” until somebody approves or declines it.")),
)


OFFERED = (
    (
        "approve",
        gettext_lazy("Offer accepted"),
        "a",
        "success",
        gettext_lazy("Final. The loan may be paid out on the terms that were offered."),
    ),
    ("decline", gettext_lazy("Not accepted"), "d", "danger", gettext_lazy("Final. The reasons go into the applicant's notice.")),
)


def read_offer(sent: Attempt) -> decisions.Offer:
    """What was typed, as an offer. Raises DecisionRefused with the field that can't be read."""
    return decisions.Offer(
        amount=_number(sent.offered_amount, "offered_amount", "amount"),
        term_months=int(_number(sent.offered_term_months, "offered_term_months", "term")) if sent.offered_term_months.strip() else None,
        rate=_number(sent.offered_rate, "offered_rate", "rate") / 100 if sent.offered_rate.strip() else None,
    )


def _number(text: str, field: str, what: str) -> Decimal:
    try:
        value = read_number(text.strip().rstrip("%"))
    except ValueError:
        value = None
    if value is None or abs(value) > 10**12:
        raise decisions.DecisionRefused(
            _("The %(what)s offered, “%(text)s”, is not a number.") % {"what": what, "text": text.strip()[:40]}, field=field
        )
    return value


class Deciding:
    """For the admin of applications, which has `page` (the application's, with what was refused) and `address` (where it is)."""

    @post_only
    def decide_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        application = self.seen_or_refused(request, str(object_id), DECIDES)
        if application is None:
            return self.gone(request, str(object_id))
        sent = Attempt(**{name: request.POST.get(name, "")[:5000] for name in SENT})
        seen = request.POST.get("seen_prediction", "")
        try:
            decided = decisions.decide(
                application.pk,
                officer=request.user,
                outcome=sent.outcome,
                reason=sent.reason,
                note=sent.note,
                seen_prediction=int(seen) if seen.isdecimal() else None,
                override_reason=sent.override_reason,
                offer=read_offer(sent) if sent.outcome == "counter" else None,
            )
        except rulepack.UnknownReason:
            return self._refused(request, application, sent, _("Choose a reason from the list."), "reason")
        except decisions.DecisionRefused as refusal:
            return self._refused(request, application, sent, str(refusal), refusal.field or "")
        self._say_decided(request, application, decided)
        return HttpResponseRedirect(self.address(request, application))

    @post_only
    def confirm_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """The second person's answer to a proposal: `confirm`, `return`, or the maker's `withdraw`."""
        step = request.POST.get("step", "")
        application = self.seen_or_refused(request, str(object_id), DECIDES if step == "withdraw" else CONFIRMS)
        if application is None:
            return self.gone(request, str(object_id))
        sent = request.POST.get("proposal", "")
        proposal = application.proposals.filter(pk=int(sent)).first() if sent.isdecimal() and len(sent) < 19 else None
        if proposal is None:
            return self.told(request, application, _("There is no such proposal."), messages.ERROR)
        answer = request.POST.get("answer", "")[:5000]
        try:
            if step == "confirm":
                self._say_decided(request, application, proposals.confirm(proposal.pk, checker=request.user, answer=answer))
            elif step == "return":
                proposals.give_back(proposal.pk, checker=request.user, answer=answer)
                self.message_user(request, f"{application}: returned to {decisions.name_of(proposal.maker)}.")
            elif step == "withdraw":
                proposals.withdraw(proposal.pk, maker=request.user)
                self.message_user(request, _("%(application)s: the proposal is withdrawn.") % {"application": application})
            else:
                self.message_user(request, _("A proposal is confirmed, returned or withdrawn."), messages.ERROR)
        except (decisions.DecisionRefused, rulepack.UnknownReason) as refusal:
            self.message_user(request, str(refusal), messages.ERROR)
        return HttpResponseRedirect(self.address(request, application))

    def _refused(self, request: HttpRequest, application: LoanApplication, sent: Attempt, error: str, field: str) -> HttpResponse:
        """The page as it is now (somebody else may have decided meanwhile), with what was sent."""
        application.refresh_from_db(fields=["status", "default_probability", "grade"])
        return self.page(request, application, replace(sent, error=error, field=field))

    def _say_decided(self, request: HttpRequest, application: LoanApplication, decision: Any) -> None:
        visible = self.get_queryset(request)
        following = inbox.neighbour(application, visible) or inbox.first(visible.exclude(pk=application.pk))
        if isinstance(decision, DecisionProposal):
            text = format_html(_("{}: proposed to {}. It waits for a second person."), application, decision.get_outcome_display().lower())
        else:
            done = {"approve": "approved", "decline": "declined", "refer": "referred", "counter": _("offered other terms")}[
                decision.outcome
            ]
            text = format_html("{} {}: {}.", application, done, decision.reason_text)
        if following is not None:
            link = self.address(request, following)
            text = format_html('{} <a class="ld-link" href="{}" data-key="n">Next in inbox: {} →</a>', text, link, following)
        else:
            text = format_html(_("{} The inbox is empty now."), text)
        self.message_user(request, text, messages.SUCCESS)

    @post_only
    def score_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        application = self.seen_or_refused(request, str(object_id), DECIDES)
        if application is None:
            return self.gone(request, str(object_id))
        if not application.is_undecided:
            self.message_user(request, _("It is decided; a new score would change nothing."), messages.WARNING)
        else:
            with transaction.atomic():
                scoring.request_score(application)
            self.message_user(request, _("Asked for a score. Load the page again in a few seconds."))
        return HttpResponseRedirect(self.address(request, application))


def decision_forms(page: Any, attempt: Attempt, officer: Any) -> list[DecisionForm]:
    """What this officer may decide about the application now, one form each."""
    pack = rulepack.in_force()
    application, prediction = page.application, page.risk.prediction if page.risk else None
    offered = application.status == Status.OFFERED
    made = []
    for outcome, label, key, tone, explain in OFFERED if offered else FORMS:
        if not application.can_become(decisions.STATUS_AFTER[outcome]):
            continue
        blocked = ""
        if outcome in decisions.COMMITS and prediction is None:
            blocked = _("Without a score it can't be %(more)s.") % {
                "more": _("approved") if outcome == "approve" else _("offered other terms")
            }
        mine = attempt if attempt.outcome == outcome else Attempt()
        reasons = {code: reason for code, reason in pack.reasons[outcome].items() if code != decisions.ACCEPTED}
        suggested = _suggested(page.risk, reasons) if outcome == "decline" and page.risk else []
        named = {each.code for each in suggested if not each.note}
        opposed = decisions.is_override(application, outcome, prediction)
        needs_second = decisions.second_person_for(application, officer=officer, outcome=outcome, prediction=prediction)
        made.append(
            DecisionForm(
                outcome=outcome,
                label=label,
                key=key,
                tone=tone,
                explain=_("Nothing is decided before a second person confirms it.") if needs_second else explain,
                reasons=[reason for reason in reasons.values() if reason.code not in named],
                suggested=suggested,
                attempt=mine,
                blocked=blocked,
                against=_("Against the advice (%(label)s): say why, and in the note what the model can not know.")
                % {"label": page.risk.advice.label.lower()}
                if opposed
                else "",
                overrides=tuple(pack.overrides.values()) if opposed else (),
                second=_second(application, officer, outcome, prediction),
                offers=outcome == "counter",
                fixed=decisions.ACCEPTED if offered and outcome == "approve" else "",
            )
        )
    return made


def _second(application: LoanApplication, officer: Any, outcome: str, prediction: Any) -> str:
    """Why this officer can't decide it alone, in words."""
    needs = decisions.second_person_for(application, officer=officer, outcome=outcome, prediction=prediction)
    limit = decisions.limit_of(officer)
    if not needs and not (outcome == "counter" and limit is not None):
        return ""
    above = _("above your limit of %(limit)s") % {"limit": money(limit)} if limit is not None else ""
    if outcome == "counter" and "advice" not in needs:
        return _("An offer %(above)s waits for a second person.") % {"above": above}
    why = " and ".join(text for text in (above if "limit" in needs else "", _("against the advice") if "advice" in needs else "") if text)
    return _("It is %(why)s: it is proposed, and a second person confirms it.") % {"why": why}


@dataclass(frozen=True)
class Proposed:
    """A proposal that waits, as the page shows it, and what this reader may answer."""

    proposal: DecisionProposal
    title: str
    reason: str
    override: str
    why: str
    terms: str
    confirms: bool
    withdraws: bool


def proposed(application: LoanApplication, user: Any) -> Proposed | None:
    waiting = application.proposals.filter(state="waiting").select_related("maker").first()
    if waiting is None:
        return None
    pack = rulepack.in_force()
    reason = pack.reasons[waiting.outcome].get(waiting.reason)
    override = pack.overrides.get(waiting.override_reason)
    words = {"limit": _("above the officer's limit"), "advice": _("against the advice")}
    mine = waiting.maker_id == user.pk
    return Proposed(
        proposal=waiting,
        title=f"{waiting.get_outcome_display()}?",
        reason=reason.text if reason else waiting.reason,
        override=override.text if override else "",
        why=" and ".join(words[each] for each in waiting.needs if each in words),
        terms=terms(waiting),
        confirms=user.has_perm(CONFIRMS) and not mine,
        withdraws=mine,
    )


def terms(row: Any) -> str:
    """What was offered, in words; empty where nothing was."""
    if row.offered_amount is None:
        return ""
    text = money(row.offered_amount)
    text += f" over {row.offered_term_months} months" if row.offered_term_months else ""
    return text + (f" at {fixed(row.offered_rate * 100, 2)}% a year" if row.offered_rate is not None else "")


def _suggested(risk: Any, reasons: dict[str, Any]) -> list[Suggested]:
    """The knock-out rules that decided, then what the model holds against the applicant, as reasons of the rule pack; one without a code of
    its own goes into the note.
    """
    rules = risk.advice.knock_outs if risk.advice else []
    made = [Suggested(rule.code, reasons[rule.code].text) for rule in rules if rule.code in reasons]
    for bar in risk.against:
        if bar.code in reasons and not reasons[bar.code].note_required:
            made.append(Suggested(bar.code, reasons[bar.code].text))
        elif "other" in reasons:
            made.append(Suggested("other", bar.text, bar.text))
    return list(dict.fromkeys(made))
