"""Applications that share identifiers, linked and assessed as the services do it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from loans.models import Applicant, AttributeDefinition, FraudRule, LoanApplication
from loans.services.fraud import assessment, links, rules
from tests.factories import START, make_application


def apply(minutes: float = 0, *, device: str = "", **applicant: str) -> LoanApplication:
    """An application so many minutes after the start; equal texts are equal identifiers."""
    person = Applicant.objects.create(**applicant) if applicant else None
    return make_application(
        submitted_at=START + timedelta(minutes=minutes),
        applicant=person,
        amount=10_000,
        status="open",
        attributes={"device_id": device} if device else {},
    )


def assess(*applications: LoanApplication) -> None:
    while links.link_waiting():
        pass
    assessment.assess_quietly([application.pk for application in applications])


@pytest.fixture(autouse=True)
def nobody_is_drawn(settings):
    """References go on counting from test to test, so that now and then one would be drawn for a random review."""
    settings.FRAUD_SAMPLE_SHARE = 0.0


@pytest.fixture
def device(db) -> AttributeDefinition:
    return AttributeDefinition.objects.create(name="device_id", kind="category", link_kind="device")


@pytest.fixture
def starter(db) -> list[FraudRule]:
    rules.install_pack()
    return list(FraudRule.objects.all())


@pytest.fixture
def ring(device, starter) -> list[LoanApplication]:
    """Two people, one phone and one device, a day apart: the second is flagged."""
    rows = [
        apply(0, name="Ann Able", phone="555-0100", device="d1"),
        apply(1440, name="Bob Baker", phone="(555) 0100", device="D1"),
    ]
    assess(*rows)
    return rows


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def values(application: LoanApplication) -> dict[str, Any]:
    application.refresh_from_db()
    return application.fraud_assessment.findings()[0]
