"""What each field of an application may hold: one table that constraints, API, import and forms all read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

FieldKind = Literal["money", "ratio", "count", "code", "text", "time", "date"]


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """kind: money = decimal with two places; ratio = fraction (0.25 is 25 %); count = whole number; code = short text of a list."""

    kind: FieldKind
    label: str
    minimum: float | None = None
    maximum: float | None = None
    max_length: int | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    required: bool = False


CHANNELS = ("branch", "online", "phone", "broker", "partner", "api", "import", "other")
EMPLOYMENT_STATUSES = ("employed", "self_employed", "unemployed", "retired", "student", "other")
HOME_OWNERSHIPS = ("own", "mortgage", "rent", "other")
EARLIEST_YEAR = 1950

APPLICATION_FIELDS: dict[str, FieldSpec] = {
    "external_reference": FieldSpec("code", "Reference", max_length=64),
    "submitted_at": FieldSpec("time", "Submitted"),
    "product": FieldSpec("code", "Product", max_length=64),
    "channel": FieldSpec("code", "Channel", max_length=16, choices=CHANNELS),
    "amount": FieldSpec("money", "Amount requested", minimum=0.01, maximum=1_000_000_000, unit="currency", required=True),
    "term_months": FieldSpec("count", "Term", minimum=1, maximum=600, unit="months"),
    "purpose": FieldSpec("code", "Purpose", max_length=64),
    "purpose_text": FieldSpec("text", "Purpose in the applicant's words", max_length=4000),
    "annual_income": FieldSpec("money", "Annual income", minimum=0, maximum=1_000_000_000, unit="currency"),
    "debt_to_income": FieldSpec("ratio", "Debt to income", minimum=0, maximum=100, unit="fraction"),
    "employment_status": FieldSpec("code", "Employment status", max_length=16, choices=EMPLOYMENT_STATUSES),
    "employment_months": FieldSpec("count", "Time in employment", minimum=0, maximum=1200, unit="months"),
    "home_ownership": FieldSpec("code", "Home ownership", max_length=16, choices=HOME_OWNERSHIPS),
    "region": FieldSpec("code", "Region", max_length=64),
    "credit_score": FieldSpec("count", "Credit score", minimum=0, maximum=2000, unit="points"),
    "credit_history_months": FieldSpec("count", "Length of credit history", minimum=0, maximum=1440, unit="months"),
    "open_accounts": FieldSpec("count", "Open accounts", minimum=0, maximum=10_000, unit="accounts"),
    "total_accounts": FieldSpec("count", "Accounts ever held", minimum=0, maximum=10_000, unit="accounts"),
    "delinquencies_24m": FieldSpec("count", "Delinquencies in 24 months", minimum=0, maximum=1000, unit="times"),
    "months_since_delinquency": FieldSpec("count", "Time since last delinquency", minimum=0, maximum=1440, unit="months"),
    "public_records": FieldSpec("count", "Public records", minimum=0, maximum=1000, unit="records"),
    "inquiries_6m": FieldSpec("count", "Credit inquiries in 6 months", minimum=0, maximum=1000, unit="times"),
    "revolving_balance": FieldSpec("money", "Revolving balance", minimum=0, maximum=1_000_000_000, unit="currency"),
    "revolving_utilisation": FieldSpec("ratio", "Revolving utilisation", minimum=0, maximum=100, unit="fraction"),
}

APPLICANT_FIELDS: dict[str, FieldSpec] = {
    "name": FieldSpec("text", "Name", max_length=200),
    "email": FieldSpec("text", "Email", max_length=254),
    "phone": FieldSpec("text", "Phone", max_length=40),
    "birth_date": FieldSpec("date", "Birth date"),
    "national_id": FieldSpec("text", "National id", max_length=64),
    "bank_account": FieldSpec("text", "Bank account", max_length=64),
    "address": FieldSpec("text", "Address", max_length=400),
    "employer": FieldSpec("text", "Employer", max_length=200),
}

FEATURE_FIELDS: tuple[str, ...] = tuple(name for name in APPLICATION_FIELDS if name not in ("external_reference", "submitted_at"))
"""The fields that go into a frame, under the names of `mlcore.schema.CORE`."""


class BadText(ValueError):
    """Text that no honest client sends: control characters, or marks that reverse what a reader sees."""


# Bidirectional controls can show an officer another text than the one stored ("Trojan source"); NUL can't be stored at all.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def clean_text(value: str) -> str:
    """The text stripped; raises BadText where it holds a control or bidirectional-override character, or a lone surrogate."""
    text = value.strip()
    if text.isascii() and text.isprintable():  # nearly always, and a fifth of the time
        return text
    found = _FORBIDDEN.search(text)
    if found:
        raise BadText(f"contains the character U+{ord(found.group()):04X}, which is not allowed in text")
    return text


def choices(values: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(value, value.replace("_", " ").capitalize()) for value in values]
