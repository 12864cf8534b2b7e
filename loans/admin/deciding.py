"""An officer's decision on an application: the forms that take it, and what becomes of what he sends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html

from loans.admin.base import post_only
from loans.models import LoanApplication
from loans.queries import inbox
from loans.services import decisions, rulepack, scoring

DECIDES = "loans.decide_loanapplication"


@dataclass(frozen=True)
class Attempt:
    """What an officer sent, and why it was not accepted: shown again with his inputs kept."""

    outcome: str = ""
    reason: str = ""
    note: str = ""
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

    @property
    def open(self) -> bool:
        return self.attempt.outcome == self.outcome


FORMS = (
    ("approve", "Approve", "a", "success", "Final. The loan may be paid out."),
    ("decline", "Decline", "d", "danger", "Final. The reason goes into the applicant's notice."),
    ("refer", "Refer", "r", "warning", "Stays in the inbox as “referred” until somebody approves or declines it."),
)


class Deciding:
    """For the admin of applications, which has `page` (the application's, with what was refused) and `address` (where it is)."""

    @post_only
    def decide_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        application = self.seen_or_refused(request, str(object_id), DECIDES)
        if application is None:
            return self.gone(request, str(object_id))
        sent = Attempt(*(request.POST.get(name, "")[:5000] for name in ("outcome", "reason", "note")))
        seen = request.POST.get("seen_prediction", "")
        try:
            decision = decisions.decide(
                application.pk,
                officer=request.user,
                outcome=sent.outcome,
                reason=sent.reason,
                note=sent.note,
                seen_prediction=int(seen) if seen.isdecimal() else None,
            )
        except rulepack.UnknownReason:
            return self._refused(request, application, sent, "Choose a reason from the list.", "reason")
        except decisions.DecisionRefused as refusal:
            return self._refused(request, application, sent, str(refusal), refusal.field or "")
        self._say_decided(request, application, decision)
        return HttpResponseRedirect(self.address(request, application))

    def _refused(self, request: HttpRequest, application: LoanApplication, sent: Attempt, error: str, field: str) -> HttpResponse:
        """The page as it is now (somebody else may have decided meanwhile), with what was sent."""
        application.refresh_from_db(fields=["status", "default_probability", "grade"])
        return self.page(request, application, Attempt(sent.outcome, sent.reason, sent.note, error, field))

    def _say_decided(self, request: HttpRequest, application: LoanApplication, decision: Any) -> None:
        done = {"approve": "approved", "decline": "declined", "refer": "referred"}[decision.outcome]
        visible = self.get_queryset(request)
        following = inbox.neighbour(application, visible) or inbox.first(visible.exclude(pk=application.pk))
        text = format_html("{} {}: {}.", application, done, decision.reason_text)
        if following is not None:
            link = self.address(request, following)
            text = format_html('{} <a class="ld-link" href="{}" data-key="n">Next in inbox: {} →</a>', text, link, following)
        else:
            text = format_html("{} The inbox is empty now.", text)
        self.message_user(request, text, messages.SUCCESS)

    @post_only
    def score_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        application = self.seen_or_refused(request, str(object_id), DECIDES)
        if application is None:
            return self.gone(request, str(object_id))
        if not application.is_undecided:
            self.message_user(request, "It is decided; a new score would change nothing.", messages.WARNING)
        else:
            with transaction.atomic():
                scoring.request_score(application)
            self.message_user(request, "Asked for a score. Load the page again in a few seconds.")
        return HttpResponseRedirect(self.address(request, application))


def decision_forms(page: Any, attempt: Attempt) -> list[DecisionForm]:
    pack = rulepack.in_force()
    made = []
    for outcome, label, key, tone, explain in FORMS:
        if outcome == "refer" and not page.application.can_become("referred"):
            continue
        blocked = "Without a score it can't be approved." if outcome == "approve" and page.risk is None else ""
        mine = attempt if attempt.outcome == outcome else Attempt()
        reasons = pack.reasons[outcome]
        suggested = _suggested(page.risk, reasons) if outcome == "decline" and page.risk else []
        named = {each.code for each in suggested if not each.note}
        others = [reason for reason in reasons.values() if reason.code not in named]
        advice = page.risk.advice if page.risk else None
        opposed = advice is not None and (advice.outcome, outcome) in {("approve", "decline"), ("decline", "approve")}
        against = (
            f"Against the advice ({advice.label.lower()}): it is kept as an override. Say in the note what the model can not know."
            if opposed
            else ""
        )
        made.append(DecisionForm(outcome, label, key, tone, explain, others, suggested, mine, blocked, against))
    return made


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
