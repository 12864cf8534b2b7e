"""Fraud, segments and demand in a real browser: an investigator confirms a ring, a model owner reads the two other pages."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from loans.models import AttributeDefinition, FraudFlag, FraudLabel, LoanApplication
from loans.services import forecasts, registry
from loans.services.fraud import rules
from mlcore.segments.choose import Effort
from tests.browser.people import BROWSER, come_in, person
from tests.loans.fraud.conftest import apply, assess
from tests.loans.segments.conftest import make_groups, train

pytestmark = BROWSER


def test_an_investigator_finds_a_ring_in_the_queue_and_confirms_it(screen, shoot, live_server, settings):
    settings.FRAUD_SAMPLE_SHARE = 0.0
    person("inga", "Fraud investigators")
    rules.install_pack()
    AttributeDefinition.objects.create(name="device_id", kind="category", link_kind="device")
    ring = [apply(1440 * day, name=f"Person {day}", phone="555-0100", device="d1") for day in range(4)]
    assess(*ring)
    come_in(screen, "inga")
    screen.click("text=Fraud flags")
    shoot("fraud-queue")
    first = screen.locator("#result_list tbody tr").first
    assert "High" in first.inner_text()
    first.locator("a").first.click()
    screen.wait_for_selector("#fraudflag figure svg")
    assert screen.locator("#fraudflag figure circle").count() >= 2
    shoot("fraud-flag", whole=True)
    screen.keyboard.press("c")
    screen.wait_for_selector("details[data-key=c][open]")
    screen.wait_for_function("['INPUT', 'TEXTAREA'].includes(document.activeElement.tagName)")
    screen.keyboard.type("Three names, one phone, one device")
    screen.click("details[open] button[type=submit]")
    screen.wait_for_selector("text=confirmed as fraud")
    assert FraudFlag.objects.filter(state="confirmed").count() == FraudLabel.objects.filter(fraud=True).count() == 1
    before = screen.url
    screen.keyboard.press("n")
    screen.wait_for_url(lambda url: url != before)
    assert "Open" in screen.inner_text("#fraudflag")


@pytest.mark.slow
def test_a_model_owner_reads_segments_and_demand(screen, shoot, live_server, artifacts, monkeypatch):
    from loans.services import segments

    monkeypatch.setattr(segments, "EFFORT", Effort(rows=300, bootstraps=4, nulls=4, restarts=3, most=4))
    person("mona", "Model owners")
    make_groups()
    now = timezone.now()
    LoanApplication.objects.bulk_create(
        LoanApplication(external_reference=f"D-{day}-{number}", submitted_at=now - timedelta(days=day, hours=number), amount=1000)
        for day in range(1, 120)
        for number in range(3)
    )
    version = train()
    registry._loaded.clear()
    forecasts.refresh(frequencies=["weekly"])
    come_in(screen, "mona")
    screen.goto(f"/admin/loans/modelversion/{version.pk}/change/")
    text = screen.inner_text("#main, main, body")
    assert "groups" in text and "Least Jaccard" in text and "Share over time" in text
    shoot("segments", whole=True)
    screen.click("text=Demand")
    screen.locator("#result_list tbody tr a").first.click()
    screen.wait_for_selector("svg polyline.dashed")
    box = screen.locator(".ld-broad svg").bounding_box()
    assert box["width"] > 700, "the picture is as wide as its card"
    shoot("demand", whole=True)
