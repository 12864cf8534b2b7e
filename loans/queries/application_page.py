"""Everything that the page of one application shows, prepared: who, how much, how risky, why, can they carry it, what happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from loans.models import (
    AttributeDefinition,
    Decision,
    LoanApplication,
    LoanOutcome,
    ModelVersion,
    Prediction,
    ScoringJob,
    ScoringState,
    Status,
)
from loans.models.fields import APPLICANT_FIELDS, APPLICATION_FIELDS
from loans.queries import inbox
from loans.queries.model_page import Worth, worth
from loans.queries.words import NOT_GIVEN, age, code, days, expit, figure, frequency, logit, money, months, out_of, percent, points

STATUS_TONES = {
    Status.RECEIVED: "info",
    Status.OPEN: "primary",
    Status.NEEDS_REVIEW: "warning",
    Status.REFERRED: "warning",
    Status.APPROVED: "success",
    Status.DECLINED: "danger",
}
GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Loan", ("amount", "term_months", "product", "purpose", "purpose_text", "channel")),
    ("Income and employment", ("annual_income", "debt_to_income", "employment_status", "employment_months", "home_ownership", "region")),
    (
        "Credit history",
        (
            "credit_score", "credit_history_months", "open_accounts", "total_accounts", "delinquencies_24m", "months_since_delinquency",
            "public_records", "inquiries_6m", "revolving_balance", "revolving_utilisation",
        ),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Fact:
    label: str
    value: str
    missing: bool = False
    help: str = ""


@dataclass(frozen=True)
class Group:
    title: str
    facts: list[Fact]


@dataclass(frozen=True)
class Bar:
    """A reason, or one input's contribution. `share`: its length in per cent of the longest; raises: it speaks for default."""

    text: str
    raises: bool
    effect: str
    log_odds: str
    share: float
    values: str = ""
    code: str = ""


@dataclass(frozen=True)
class Comparison:
    label: str
    value: str
    share: float
    mine: bool = False


@dataclass(frozen=True)
class Advised:
    """What the policy made of the score: `text` says why. knock_outs: the rules that decided it, in words."""

    outcome: str
    label: str
    tone: str
    text: str
    knock_outs: list[str]


@dataclass(frozen=True)
class Risk:
    prediction: Prediction
    percent: str
    frequency: str
    many: int
    of: int
    grade: str
    points: int
    against: list[Bar]
    favour: list[Bar]
    contributions: list[Bar]
    comparisons: list[Comparison]
    times_average: str
    baseline: str
    advice: Advised | None


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
    decisions = list(application.decisions.select_related("officer").order_by("-pk"))
    job = application.scoring_jobs.order_by("-pk").first()
    definitions = {row.name: row for row in AttributeDefinition.objects.all()}
    labels = {name: spec.label for name, spec in APPLICATION_FIELDS.items()} | {name: str(row) for name, row in definitions.items()}
    applicant = application.applicant if personal_data else None
    value = worth(ModelVersion.objects.get(pk=latest.model_version_id)) if latest else None
    return Page(
        application=application,
        name=(applicant.name if applicant else "") or ("" if personal_data else "Applicant (personal data not shown to your role)"),
        headline=headline(application),
        age=age(application.submitted_at, now),
        status=application.get_status_display(),
        tone=STATUS_TONES.get(application.status, "default"),
        personal=[_fact(spec.label, getattr(applicant, name)) for name, spec in APPLICANT_FIELDS.items() if name != "name"]
        if applicant
        else [],
        groups=_groups(application, definitions),
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


def risk(prediction: Prediction, value: Worth | None, application: LoanApplication, labels: dict[str, str]) -> Risk:
    p, z = prediction.probability, logit(prediction.probability)
    baseline = expit(prediction.baseline)
    average = value.portfolio if value and value.portfolio else baseline
    policy = prediction.policy
    cuts = (
        [("Approve below", policy.approve_below), ("Decline from", policy.decline_from)]
        if policy
        else [("The model's cut", value.cut if value else None)]
    )
    if policy and policy.approve_below == policy.decline_from:
        cuts = [("The policy's cut", policy.decline_from)]
    reasons = [row for row in prediction.reasons or [] if isinstance(row, dict)]
    longest = max((abs(row.get("effect") or 0.0) for row in reasons), default=0.0) or 1.0

    def bar(text: str, effect: float, change: float, most: float, values: str = "", code: str = "") -> Bar:
        return Bar(
            text=text,
            raises=effect > 0,
            effect=points(change),
            log_odds=f"{effect:+.3f}".replace("-", "−"),
            share=round(100 * min(abs(effect) / most, 1.0), 1),
            values=values,
            code=code,
        )

    def said(direction: str) -> list[Bar]:
        made = []
        for row in reasons:
            if row.get("direction") == direction:
                effect = float(row.get("effect") or 0.0)
                change = row.get("probability_change")
                change = p - expit(z - effect) if change is None else float(change)
                text = str(row.get("text") or row.get("title") or row.get("family"))
                made.append(bar(text, effect, change, longest, _behind(row, application, labels), str(row.get("code") or "")))
        return made

    parts = sorted((prediction.contributions or {}).items(), key=lambda item: -abs(item[1]))
    most = max((abs(amount) for _, amount in parts), default=0.0) or 1.0
    # Room to the right of the longest, so that 100 % of the width is never mistaken for 100 % of risk.
    compared = [("This applicant", p, True), ("Portfolio average", average, False)]
    compared += [(label, cut, False) for label, cut in cuts if cut is not None]
    reach = max(share for _, share, _ in compared) * 1.15 or 1.0
    many, of = out_of(p)
    return Risk(
        prediction=prediction,
        percent=percent(p),
        frequency=frequency(p),
        many=many,
        of=of,
        grade=prediction.grade,
        points=prediction.points,
        against=said("against"),
        favour=said("for"),
        contributions=[
            bar(labels.get(name, code(name)), amount, p - expit(z - amount), most, field_value(application, name)) for name, amount in parts
        ],
        comparisons=[Comparison(label, percent(share), round(100 * share / reach, 1), mine) for label, share, mine in compared],
        times_average=f"{p / average:.1f} times the portfolio average" if average > 0 else "",
        baseline=percent(baseline),
        advice=advised(prediction, value),
    )


ADVICE = {"approve": ("Approve", "success"), "refer": ("Look closer", "warning"), "decline": ("Decline", "danger")}


def advised(prediction: Prediction, value: Worth | None) -> Advised | None:
    """The advice as it was given with the score, and in one sentence why."""
    if prediction.advice not in ADVICE:
        return None
    label, tone = ADVICE[prediction.advice]
    knock_outs = [str(row.get("in_words") or row.get("rule")) for row in prediction.knock_outs or [] if isinstance(row, dict)]
    policy, here = prediction.policy, percent(prediction.probability)
    if knock_outs:
        text = "Ruled out whatever the score is:"
    elif policy is None:
        cut = percent(value.cut) if value and value.cut is not None else "the break-even"
        side = "below" if prediction.advice == "approve" else "at or above"
        text = f"{here} is {side} {cut}, where a loan is expected to earn nothing. No policy is written yet."
    elif prediction.advice == "refer":
        text = f"{here} lies between the policy's {percent(policy.approve_below)} and {percent(policy.decline_from)}."
    elif prediction.advice == "approve":
        text = f"{here} is below the {percent(policy.approve_below)} up to which the policy approves."
    else:
        text = f"{here} is at or above the {percent(policy.decline_from)} from which the policy declines."
    return Advised(prediction.advice, label, tone, text, knock_outs)


def _behind(reason: dict[str, Any], application: LoanApplication, labels: dict[str, str]) -> str:
    """The value that a reason rests on most: `Credit score: 640`."""
    column = reason.get("column")
    return f"{labels.get(column, reason.get('title') or code(column))}: {field_value(application, column)}" if column else ""


def field_value(application: LoanApplication, name: str) -> str:
    """One field, or one of the lender's own attributes, as text."""
    if name not in APPLICATION_FIELDS:
        return shown((application.attributes or {}).get(name))
    if name == "product":
        return application.product.name if application.product_id else NOT_GIVEN
    value = getattr(application, name)
    if value is None or value == "":
        return NOT_GIVEN
    spec = APPLICATION_FIELDS[name]
    if spec.kind == "money":
        return money(value)
    if spec.kind == "ratio":
        return percent(value)
    if spec.unit == "months":
        return months(value)
    if spec.kind == "count":
        return f"{value:,}"
    return code(value) if spec.kind == "code" else str(value)


def shown(value: Any, unit: str = "") -> str:
    """An attribute's value as text, with its unit."""
    if value is None or value == "":
        return NOT_GIVEN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        text = figure(value)
        return f"{text} {unit}".strip()
    return code(str(value))


def affordability(application: LoanApplication) -> list[Fact]:
    """Simple arithmetic on what the applicant stated: no interest, no taxes, no cost of living."""
    income, amount, term = application.annual_income, application.amount, application.term_months
    instalment = amount / term if term else None
    monthly = income / 12 if income else None
    facts = [
        _fact("Amount per month", money(round(instalment)) if instalment else "", help="Amount ÷ term, without interest."),
        _fact("Income per month", money(round(monthly)) if monthly else "", help="Annual income ÷ 12, before tax."),
        _fact(
            "Share of income",
            percent(float(instalment / monthly)) if instalment and monthly else "",
            help="Amount per month ÷ income per month.",
        ),
    ]
    dti = application.debt_to_income
    facts.append(_fact("Debt to income today", percent(dti) if dti is not None else "", help="As stated, before this loan."))
    if dti is not None and instalment and monthly:
        facts.append(_fact("Both together", percent(dti + float(instalment / monthly)), help="Debt to income today + share of income."))
    facts.append(
        _fact("Amount ÷ annual income", f"{float(amount / income):.2f}" if income else "", help="How many years' income is asked for.")
    )
    return facts


def _fact(label: str, value: str, help: str = "") -> Fact:
    missing = not value or value == NOT_GIVEN
    return Fact(label, NOT_GIVEN if missing else value, missing, help)


def _groups(application: LoanApplication, definitions: dict[str, AttributeDefinition]) -> list[Group]:
    made = []
    for title, names in GROUPS:
        facts = [_fact(APPLICATION_FIELDS[name].label, field_value(application, name)) for name in names]
        made.append(Group(title, [fact for fact in facts if not (fact.missing and fact.label.startswith("Purpose in"))]))
    own = application.attributes or {}
    if own or definitions:
        known = [
            _fact(str(row), shown(own.get(name), row.unit))
            for name, row in definitions.items()
            if row.known_at_application and not row.protected
        ]
        undeclared = [_fact(code(name), shown(value)) for name, value in sorted(own.items()) if name not in definitions]
        if known or undeclared:
            made.append(Group("This lender's own", known + undeclared))
    return made


def _no_score(application: LoanApplication, job: ScoringJob | None) -> NoScore:
    if application.status == Status.HISTORICAL:
        return NoScore("No score", "It was decided before Loandesk and came in as history to learn from.", may_ask=False)
    if not application.is_undecided:
        return NoScore("No score", "It was decided without one.", may_ask=False)
    if job is not None and job.state == ScoringState.FAILED:
        return NoScore(
            "It could not be scored",
            f"{job.attempts} attempts failed, so it is yours to judge. A new attempt helps once the cause is mended; "
            "it can be referred or declined without a score.",
            may_ask=True,
        )
    if ModelVersion.objects.champion() is None:
        return NoScore(
            "No model serves yet", "As soon as a model is trained and promoted, this application is scored.", may_ask=job is None
        )
    if job is not None and job.state in (ScoringState.PENDING, ScoringState.RUNNING):
        tried = f" {job.attempts} attempt{'s' if job.attempts != 1 else ''} so far." if job.attempts else ""
        return NoScore(
            "Waiting for its score", f"Usually a matter of seconds: this page shows it when you load it again.{tried}", may_ask=False
        )
    return NoScore("No score yet", "Nobody has asked for one.", may_ask=True)


def _events(application: LoanApplication, predictions: list[Prediction], decisions: list[Decision], job: ScoringJob | None) -> list[Event]:
    by = application.submitted_by
    source = f"from {application.import_batch}" if application.import_batch_id else (f"by {_who(by)}" if by else "")
    events = [Event(application.submitted_at, "Submitted", source, icon="inbox")]
    events += [
        Event(each.created_at, f"Scored {percent(each.probability)}, grade {each.grade}", f"by {each.model_version}", icon="speed")
        for each in predictions
    ]
    if job is not None and job.state == ScoringState.FAILED and job.finished_at:
        events.append(Event(job.finished_at, "Given to a person", f"after {job.attempts} attempts to score it", icon="person_alert"))
    events += [
        Event(
            each.created_at,
            DECIDED[each.outcome] + (" against the advice" if each.override else ""),
            each.reason_text,
            _who(each.officer),
            each.note,
            "gavel",
        )
        for each in decisions
    ]
    return sorted(events, key=lambda event: event.at, reverse=True)


DECIDED = {"approve": "Approved", "decline": "Declined", "refer": "Referred"}


def _who(user: Any) -> str:
    return user.get_full_name() or user.get_username()


def waiting_days(application: LoanApplication, now: datetime) -> int:
    return days(application.submitted_at, now)
