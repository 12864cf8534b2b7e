"""Everything that the page of one application shows, prepared: who, how much, how risky, why, can they carry it, what happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils.translation import gettext, gettext_lazy

from loans.models import (
    AttributeDefinition,
    AuditEvent,
    Decision,
    DocumentKind,
    LoanApplication,
    LoanOutcome,
    ModelVersion,
    Prediction,
    ProposalState,
    ScoringJob,
    ScoringState,
    Status,
)
from loans.models.fields import APPLICANT_FIELDS, APPLICATION_FIELDS
from loans.queries import inbox
from loans.queries.application_amount import Amounts, amounts
from loans.queries.application_facts import Fact, Group, affordability, fact, groups
from loans.queries.application_risk import Risk, risk
from loans.queries.model_page import Worth, worth
from loans.queries.similar import Similar, similar
from loans.queries.words import age, code, money, percent

STATUS_TONES = {
    Status.RECEIVED: "info",
    Status.OPEN: "primary",
    Status.NEEDS_REVIEW: "warning",
    Status.REFERRED: "warning",
    Status.OFFERED: "info",
    Status.APPROVED: "success",
    Status.DECLINED: "danger",
}


@dataclass(frozen=True)
class NoScore:
    """Why there is no score, and whether asking for one helps."""

    title: str
    text: str
    may_ask: bool


@dataclass(frozen=True)
class Event:
    at: datetime
    title: str
    text: str = ""
    who: str = ""
    note: str = ""
    icon: str = "circle"


@dataclass(frozen=True)
class Page:
    application: LoanApplication
    name: str
    headline: str
    age: str
    status: str
    tone: str
    personal: list[Fact]
    groups: list[Group]
    affordability: list[Fact]
    risk: Risk | None
    no_score: NoScore | None
    worth: Worth | None
    synthetic: bool
    events: list[Event]
    last_decision: Decision | None
    outcome: LoanOutcome | None
    previous: LoanApplication | None
    next: LoanApplication | None
    amounts: Amounts | None = None
    similar: Similar | None = None
    definitions: dict[str, AttributeDefinition] = field(default_factory=dict)


def application_page(application: LoanApplication, visible: Any, *, now: datetime, personal_data: bool, outcomes: bool = False) -> Page:
    """visible: the applications that the reader may see. `application` comes with its product (and applicant, where allowed)."""
    predictions = list(
        application.predictions.filter(shadow=False)
        .select_related("model_version", "policy")
        .defer("model_version__report")
        .order_by("-pk")[:20]
    )
    latest = predictions[0] if predictions else None
    decisions = list(application.decisions.select_related("officer", "second").order_by("-pk"))
    job = application.scoring_jobs.order_by("-pk").first()
    definitions = {row.name: row for row in AttributeDefinition.objects.all()}
    labels = {name: spec.label for name, spec in APPLICATION_FIELDS.items()} | {name: str(row) for name, row in definitions.items()}
    applicant = application.applicant if personal_data else None
    value = worth(ModelVersion.objects.get(pk=latest.model_version_id)) if latest else None
    return Page(
        application=application,
        name=(applicant.name if applicant else "")
        or ("" if personal_data else gettext("Applicant (personal data not shown to your role)")),
        headline=headline(application),
        age=age(application.submitted_at, now),
        status=application.get_status_display(),
        tone=STATUS_TONES.get(application.status, "default"),
        personal=[fact(spec.label, getattr(applicant, name)) for name, spec in APPLICANT_FIELDS.items() if name != "name"]
        if applicant
        else [],
        groups=groups(application, definitions),
        affordability=affordability(application),
        risk=risk(latest, value, application, labels) if latest else None,
        no_score=None if latest else _no_score(application, job),
        worth=value,
        synthetic=application.synthetic or bool(latest and latest.model_version.synthetic),
        events=_events(application, predictions, decisions, job),
        last_decision=decisions[0] if decisions else None,
        outcome=LoanOutcome.objects.filter(pk=application.pk).first() if outcomes else None,
        previous=inbox.neighbour(application, visible, forward=False),
        next=inbox.neighbour(application, visible),
        amounts=amounts(application),
        similar=similar(application, visible) if outcomes and application.status != Status.HISTORICAL else None,
        definitions=definitions,
    )


def headline(application: LoanApplication) -> str:
    """`$12,000 over 36 months for debt consolidation`."""
    text = money(application.amount)
    if application.term_months:
        text += f" over {application.term_months} months"
    if application.purpose:
        text += f" for {code(application.purpose).lower() if application.purpose.islower() else application.purpose}"
    return text


def _no_score(application: LoanApplication, job: ScoringJob | None) -> NoScore:
    if application.status == Status.HISTORICAL:
        return NoScore(gettext("No score"), gettext("It was decided before Loandesk and came in as history to learn from."), may_ask=False)
    if not application.is_undecided:
        if application.default_probability is not None:
            return NoScore(
                gettext("Its score is in the archive"),
                gettext("It was decided long ago; what the score rested on is kept in a file."),
                may_ask=False,
            )
        return NoScore(gettext("No score"), gettext("It was decided without one."), may_ask=False)
    if job is not None and job.state == ScoringState.FAILED:
        return NoScore(
            gettext("It could not be scored"),
            gettext(
                "%(attempts)s attempts failed, so it is yours to judge. A new attempt helps once the cause is mended; it "
                "can be referred or declined without a score."
            )
            % {"attempts": job.attempts},
            may_ask=True,
        )
    if ModelVersion.objects.champion() is None:
        return NoScore(
            gettext("No model serves yet"),
            gettext("As soon as a model is trained and promoted, this application is scored."),
            may_ask=job is None,
        )
    if job is not None and job.state in (ScoringState.PENDING, ScoringState.RUNNING):
        tried = (
            gettext(" %(attempts)s attempt%(more)s so far.") % {"attempts": job.attempts, "more": "s" if job.attempts != 1 else ""}
            if job.attempts
            else ""
        )
        return NoScore(
            gettext("Waiting for its score"),
            gettext("Usually a matter of seconds: this page shows it when you load it again.%(tried)s") % {"tried": tried},
            may_ask=False,
        )
    return NoScore(gettext("No score yet"), gettext("Nobody has asked for one."), may_ask=True)


def _events(application: LoanApplication, predictions: list[Prediction], decisions: list[Decision], job: ScoringJob | None) -> list[Event]:
    by = application.submitted_by
    source = f"from {application.import_batch}" if application.import_batch_id else (f"by {_who(by)}" if by else "")
    events = [Event(application.submitted_at, "Submitted", source, icon="inbox")]
    events += [
        Event(each.created_at, f"Scored {percent(each.probability)}, grade {each.grade}", f"by {each.model_version}", icon="speed")
        for each in predictions
    ]
    if job is not None and job.state == ScoringState.FAILED and job.finished_at:
        events.append(
            Event(
                job.finished_at,
                gettext("Given to a person"),
                gettext("after %(attempts)s attempts to score it") % {"attempts": job.attempts},
                icon="person_alert",
            )
        )
    events += [
        Event(
            each.created_at,
            DECIDED[each.outcome] + (gettext(" against the advice") if each.override else ""),
            each.reason_text,
            _who(each.officer) + (f" and {_who(each.second)}" if each.second else ""),
            each.note,
            "gavel",
        )
        for each in decisions
    ]
    for each in application.proposals.select_related("maker", "checker"):
        what = each.get_outcome_display().lower()
        events.append(Event(each.created_at, f"Proposed to {what}", "", _who(each.maker), each.note, "group"))
        if each.answered_at and each.state != ProposalState.CONFIRMED:
            by = each.checker or each.maker
            events.append(Event(each.answered_at, f"Proposal to {what} {each.state}", "", _who(by), each.answer, "undo"))
    events += _audited(application)
    return sorted(events, key=lambda event: event.at, reverse=True)


AUDITED = {
    "applicant.viewed": (gettext_lazy("Looked at"), "visibility"),
    "application.viewed": (gettext_lazy("Looked at"), "visibility"),
    "application.claimed": ("Taken", "back_hand"),
    "application.released": (gettext_lazy("Given back"), "undo"),
    "notice.revised": (gettext_lazy("Notice corrected"), "edit_note"),
    "notice.sent": (gettext_lazy("Notice sent"), "mail"),
    "document.added": (gettext_lazy("Document added"), "attach_file"),
    "document.opened": (gettext_lazy("Document opened"), "visibility"),
    "document.deleted": (gettext_lazy("Document deleted"), "delete"),
    "applicant.erased": (gettext_lazy("Personal data erased"), "delete"),
}
VIEWED = ("applicant.viewed", "application.viewed")
MOST_AUDITED = 100


def _audited(application: LoanApplication) -> list[Event]:
    """What the audit trail has of it besides scores and decisions; looks of one person on one day are one line with their number."""
    rows = AuditEvent.objects.filter(subject_type="loanapplication", subject_id=str(application.pk), action__in=AUDITED)
    events, looks = [], {}
    for row in rows.order_by("-pk")[:MOST_AUDITED]:
        title, icon = AUDITED[row.action]
        if row.action not in VIEWED:
            kind = row.facts.get("kind") if row.action.startswith("document.") else ""
            events.append(Event(row.at, title, str(DocumentKind(kind).label) if kind in DocumentKind else "", row.actor_name, icon=icon))
            continue
        key = (row.actor_name, row.at.date())
        first, many = looks.get(key, (row.at, 0))
        looks[key] = (first, many + 1)
    events += [
        Event(at, gettext("Looked at"), gettext("%(many)s times that day") % {"many": many} if many > 1 else "", who, icon="visibility")
        for (who, _), (at, many) in looks.items()
    ]
    return events


DECIDED = {"approve": "Approved", "decline": "Declined", "refer": "Referred", "counter": gettext_lazy("Offered other terms")}


def _who(user: Any) -> str:
    return user.get_full_name() or user.get_username()
