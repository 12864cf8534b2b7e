"""An application's facts as text: the fields that all have, the lender's own, and simple arithmetic on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from loans.models import AttributeDefinition, LoanApplication
from loans.models.fields import APPLICATION_FIELDS
from loans.queries.words import NOT_GIVEN, code, figure, fixed, money, months, percent, whole

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Loan", ("amount", "term_months", "product", "purpose", "purpose_text", "channel")),
    (
        gettext_lazy("Income and employment"),
        ("annual_income", "debt_to_income", "employment_status", "employment_months", "home_ownership", "region"),
    ),
    (
        gettext_lazy("Credit history"),
        (
            "credit_score",
            "credit_history_months",
            "open_accounts",
            "total_accounts",
            "delinquencies_24m",
            "months_since_delinquency",
            "public_records",
            "inquiries_6m",
            "revolving_balance",
            "revolving_utilisation",
        ),
    ),
)


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


def field_value(application: LoanApplication, name: str) -> str:
    """One field, or one of the lender's own attributes, as text."""
    if name not in APPLICATION_FIELDS:
        return shown((application.attributes or {}).get(name))
    if name == "product":
        return application.product.name if application.product_id else NOT_GIVEN
    return value_text(name, getattr(application, name))


def value_text(name: str, value: Any, unit: str = "") -> str:
    """A value that this field has, or might have, as text. unit: of one of the lender's own attributes."""
    if name not in APPLICATION_FIELDS:
        return shown(value, unit)
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
        return whole(value)
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
        fact(_("Amount per month"), money(round(instalment)) if instalment else "", help=_("Amount ÷ term, without interest.")),
        fact(_("Income per month"), money(round(monthly)) if monthly else "", help=_("Annual income ÷ 12, before tax.")),
        fact(
            _("Share of income"),
            percent(float(instalment / monthly)) if instalment and monthly else "",
            help=_("Amount per month ÷ income per month."),
        ),
    ]
    dti = application.debt_to_income
    facts.append(fact(_("Debt to income today"), percent(dti) if dti is not None else "", help=_("As stated, before this loan.")))
    if dti is not None and instalment and monthly:
        facts.append(
            fact(_("Both together"), percent(dti + float(instalment / monthly)), help=_("Debt to income today + share of income."))
        )
    facts.append(
        fact(
            _("Amount ÷ annual income"), fixed(float(amount / income), 2) if income else "", help=_("How many years' income is asked for.")
        )
    )
    return facts


def fact(label: str, value: str, help: str = "") -> Fact:
    missing = not value or value == NOT_GIVEN
    return Fact(label, NOT_GIVEN if missing else value, missing, help)


def groups(application: LoanApplication, definitions: dict[str, AttributeDefinition]) -> list[Group]:
    made = []
    for title, names in GROUPS:
        facts = [fact(APPLICATION_FIELDS[name].label, field_value(application, name)) for name in names]
        made.append(Group(title, [each for each in facts if not (each.missing and each.label.startswith("Purpose in"))]))
    own = application.attributes or {}
    if own or definitions:
        known = [
            fact(str(row), shown(own.get(name), row.unit))
            for name, row in definitions.items()
            if row.known_at_application and not row.protected
        ]
        undeclared = [fact(code(name), shown(value)) for name, value in sorted(own.items()) if name not in definitions]
        if known or undeclared:
            made.append(Group(_("This lender's own"), known + undeclared))
    return made
