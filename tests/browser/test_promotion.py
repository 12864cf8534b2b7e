"""A model's way into service in a real browser: one owner asks, another approves, and one click brings the old one back."""

from __future__ import annotations

import pytest

from loans.models import ModelVersion, PromotionCheck
from loans.services import registry
from tests.browser.people import BROWSER, come_in, person
from tests.factories import make_outcomes
from tests.loans.admin.reports import full_report
from tests.loans.services.test_promotion import policy, register

pytestmark = [*BROWSER, pytest.mark.slow]


def test_one_owner_asks_another_approves_and_one_click_brings_the_old_one_back(screen, shoot, live_server, artifacts):
    mona = person("mona", "Model owners")
    person("otto", "Model owners")
    make_outcomes(700, seed=1)
    policy(reasons_agreement=0.5)
    old = register(1, **full_report())
    new = register(1, by=mona, **full_report())
    page = f"/admin/loans/modelversion/{new.pk}/change/"

    come_in(screen, "mona", page)
    shoot("promotion-candidate", whole=True)
    screen.click("summary:has-text('Check for promotion')")
    screen.fill("form[action*=promote] [name=reason]", "As good, and it knows the new branch.")
    shoot("promotion-asked")
    screen.click("form[action*=promote] button")
    screen.wait_for_url("**/promotioncheck/**")
    text = screen.inner_text("#content")
    assert "As good, and it knows the new branch." in text and "a second person has to approve it" in text
    assert screen.locator("form[action*=approve]").count() == 0, "not by whoever trained it"
    shoot("promotion-check-of-the-trainer", whole=True)

    come_in(screen, "otto")
    shoot("promotion-home-of-the-second")
    screen.click("text=Models to approve")
    screen.locator("#result_list tbody tr a").first.click()
    screen.click("summary:has-text('Approve')")
    screen.wait_for_function("document.activeElement.name === 'reason'")
    screen.keyboard.type("Looks right on the later loans.")
    shoot("promotion-approving", whole=True)
    screen.keyboard.press("Enter")
    screen.wait_for_selector(f"text={new} serves from now on")
    found = PromotionCheck.objects.get()
    assert (found.state, found.requested_by.username, found.decided_by.username) == ("approved", "mona", "otto")
    assert registry.champion().version == new
    shoot("promotion-approved", whole=True)

    screen.goto("/admin/loans/modelversion/")
    serving = screen.locator("#result_list tbody tr", has_text=str(new))
    assert "Champion" in serving.inner_text()
    shoot("promotion-versions")
    serving.locator("a").first.click()
    screen.wait_for_selector("text=Roll back")
    text = screen.inner_text("#content")
    assert "Looks right on the later loans." in text and "otto" in text.lower()
    shoot("promotion-champion", whole=True)

    screen.click(f"text=Roll back to {old}")
    screen.wait_for_function("document.activeElement.name === 'reason'")
    screen.keyboard.type("Officers see wrong reasons.")
    shoot("promotion-rolling-back")
    screen.keyboard.press("Enter")
    screen.wait_for_selector(f"text={old} serves again")
    assert registry.champion().version == old and not ModelVersion.objects.get(pk=new.pk).is_champion
    assert str(old) in screen.inner_text("h1, header") and "Officers see wrong reasons." in screen.inner_text("#content")
    shoot("promotion-rolled-back", whole=True)
