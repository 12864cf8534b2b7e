"""Everything that the page of one application shows, prepared: who, how much, how risky, why, can they carry it, what happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from loans.models import AttributeDefinition, Decision, LoanApplication, LoanOutcome, ModelVersion, Prediction, ScoringJob, ScoringState, Status
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


@dataclass(frozen=True)
class Comparison:
    label: str
    value: str
    share: float
    mine: bool = False


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
    above_cut: bool | None
    cut: str
    reason_codes: list[str]


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


def application_page(
    application: LoanApplication, visible: Any, *, now: datetime, personal_data: bool, outcomes: bool = False
) -> Page:
    """visible: the queryset of applications that the reader may see. `application` comes with its product (and applicant, where allowed)."""
    predictions = list(application.predictions.filter(shadow=False).select_related("model_version").defer("model_version__report").order_by("-pk")[:20])
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
        personal=[_fact(spec.label, getattr(applicant, name)) for name, spec in APPLICANT_FIELDS.items() if name != "name"] if applicant else [],
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
    average = expit(prediction.baseline)
    cut = value.cut if value else None
    reasons = [row for row in prediction.reasons or [] if isinstance(row, dict)]
    longest = max((abs(row.get("contribution") or 0.0) for row in reasons), default=0.0) or 1.0

    def bar(text: str, contribution: float, most: float, values: str = "") -> Bar:
        return Bar(
            text=text,
            raises=contribution > 0,
            effect=points(p - expit(z - contribution)),
            log_odds=f"{contribution:+.3f}".replace("-", "−"),
            share=round(100 * min(abs(contribution) / most, 1.0), 1),
            values=values,
        )

    def said(direction: str) -> list[Bar]:
        return [
            bar(str(row.get("text") or row.get("family")), float(row.get("contribution") or 0.0), longest, _behind(row, application, labels))
            for row in reasons
            if row.get("direction") == direction
        ]

    parts = sorted((prediction.contributions or {}).items(), key=lambda item: -abs(item[1]))
    most = max((abs(amount) for _, amount in parts), default=0.0) or 1.0
    # Room to the right of the longest, so that 100 % of the width is never mistaken for 100 % of risk.
    reach = max(p, average, cut or 0.0) * 1.15 or 1.0
    compared = [("This applicant", p, True), ("Average applicant", average, False)]
    if cut is not None:
        compared.append(("The model's cut", cut, False))
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
        contributions=[bar(labels.get(name, code(name)), amount, most, field_value(application, name)) for name, amount in parts],
        comparisons=[Comparison(label, percent(share), round(100 * share / reach, 1), mine) for label, share, mine in compared],
        times_average=f"{p / average:.1f} times the average applicant's" if average > 0 else "",
        baseline=percent(average),
        above_cut=None if cut is None else p >= cut,
        cut=percent(cut) if cut is not None else "",
        reason_codes=list(dict.fromkeys(str(row.get("code")) for row in reasons if row.get("direction") == "against")),
    )


def _behind(reason: dict[str, Any], application: LoanApplication, labels: dict[str, str]) -> str:
    """The values that a reason rests on: `Credit score: 640 points`."""
    features = reason.get("features") or {}
    parts = []
    for name in list(features)[:3]:
        shown = field_value(application, name)
        parts.append(f"{labels.get(name, code(name))}: {shown}")
    return " · ".join(parts)


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
        _fact("Share of income", percent(float(instalment / monthly)) if instalment and monthly else "", help="Amount per month ÷ income per month."),
    ]
    dti = application.debt_to_income
    facts.append(_fact("Debt to income today", percent(dti) if dti is not None else "", help="As stated, before this loan."))
    if dti is not None and instalment and monthly:
        facts.append(_fact("Both together", percent(dti + float(instalment / monthly)), help="Debt to income today + share of income."))
    facts.append(_fact("Amount ÷ annual income", f"{float(amount / income):.2f}" if income else "", help="How many years' income is asked for."))
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
            _fact(str(row), shown(own.get(name), row.unit)) for name, row in definitions.items() if row.known_at_application and not row.protected
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
            f"{job.attempts} attempts failed, so it is yours to judge. A new attempt helps once the cause is mended; it can be referred or declined without a score.",
            may_ask=True,
        )
    if ModelVersion.objects.champion() is None:
        return NoScore("No model serves yet", "As soon as a model is trained and promoted, this application is scored.", may_ask=job is None)
    if job is not None and job.state in (ScoringState.PENDING, ScoringState.RUNNING):
        tried = f" {job.attempts} attempt{'s' if job.attempts != 1 else ''} so far." if job.attempts else ""
        return NoScore("Waiting for its score", f"Usually a matter of seconds: this page shows it when you load it again.{tried}", may_ask=False)
    return NoScore("No score yet", "Nobody has asked for one.", may_ask=True)


def _events(
    application: LoanApplication, predictions: list[Prediction], decisions: list[Decision], job: ScoringJob | None
) -> list[Event]:
    by = application.submitted_by
    source = f"from {application.import_batch}" if application.import_batch_id else (f"by {_who(by)}" if by else "")
    events = [Event(application.submitted_at, "Submitted", source, icon="inbox")]
    events += [
        Event(each.created_at, f"Scored {percent(each.probability)}, grade {each.grade}", f"by {each.model_version}", icon="speed") for each in predictions
    ]
    if job is not None and job.state == ScoringState.FAILED and job.finished_at:
        events.append(Event(job.finished_at, "Given to a person", f"after {job.attempts} attempts to score it", icon="person_alert"))
    events += [
        Event(each.created_at, DECIDED[each.outcome], each.reason_text, _who(each.officer), each.note, icon="gavel") for each in decisions
    ]
    return sorted(events, key=lambda event: event.at, reverse=True)


DECIDED = {"approve": "Approved", "decline": "Declined", "refer": "Referred"}


def _who(user: Any) -> str:
    return user.get_full_name() or user.get_username()


def waiting_days(application: LoanApplication, now: datetime) -> int:
    return days(application.submitted_at, now)
