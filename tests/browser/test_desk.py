"""The desk's main paths in a real browser: an officer's day, a model owner's, and the keyboard."""

from __future__ import annotations

import re

import pytest
from django.utils import timezone

from loans.models import Decision, Policy, TrainingRun
from loans.services import scoring
from tests.browser.people import BROWSER, come_in, person, sign_in
from tests.factories import make_application as make_plain
from tests.factories import make_champion
from tests.loans.admin.conftest import make_application, make_version, score
from tests.loans.admin.reports import full_report

pytestmark = BROWSER


@pytest.fixture
def desk(live_server):
    """Four open applications; the third is the riskiest."""
    for name, group in (("olivia", "Loan officers"), ("sonja", "Senior officers"), ("mona", "Model owners")):
        person(name, group)
    version = make_version(synthetic=True)
    rows = [make_application(synthetic=True) for _ in range(4)]
    for row, probability in zip(rows, (0.05, 0.12, 0.41, 0.2), strict=True):
        score(row, version, probability, grade="A" if probability < 0.1 else "G", advice="approve" if probability < 0.15 else "decline")
    return rows


def test_an_officer_declines_the_riskiest_and_finds_it_in_the_history(screen, shoot, desk):
    riskiest = desk[2].external_reference
    sign_in(screen, "olivia")
    shoot("home")
    screen.click("text=All by risk")
    shoot("inbox")
    first = screen.locator("#result_list tbody tr").first
    assert riskiest in first.inner_text()
    first.locator("a").first.click()
    screen.wait_for_selector(f"[data-application='{riskiest}']")
    assert "Of 100 applicants like this about 41 default." in screen.inner_text("#application")
    shoot("application", whole=True)

    screen.keyboard.press("d")
    screen.wait_for_selector("details[data-key=d][open]")
    screen.wait_for_function("document.activeElement.name === 'reason'")
    screen.select_option("details[open] select[name=reason]", "recent_inquiries")
    shoot("decline")
    screen.fill("details[open] textarea", "Four inquiries in one month.")
    screen.click("details[open] button[type=submit]")
    screen.wait_for_selector(f"text={riskiest} declined")
    shoot("declined")

    screen.click("text=Show in the history")
    screen.wait_for_selector("#result_list tbody tr")
    row = screen.locator("#result_list tbody tr")
    assert row.count() == 1
    text = row.inner_text()
    assert (
        riskiest in text and "Declined" in text and "Number of recent inquiries" in text and "Four inquiries" in text and "Olivia" in text
    )
    shoot("history")
    decision = Decision.objects.get()
    assert decision.officer.username == "olivia" and decision.application == desk[2]


def test_one_proposes_against_the_advice_and_another_confirms(screen, shoot, desk):
    riskiest = desk[2]
    page = f"/admin/loans/loanapplication/{riskiest.pk}/change/"
    come_in(screen, "olivia", page)
    screen.keyboard.press("c")
    screen.wait_for_selector("text=You have it.")
    screen.keyboard.press("a")
    screen.select_option("details[open] select[name=override_reason]", "security")
    screen.select_option("details[open] select[name=reason]", "compensating_factors")
    screen.fill("details[open] textarea", "Her brother guarantees it.")
    shoot("override")
    screen.click("details[open] button[type=submit]")
    screen.wait_for_selector("text=Withdraw the proposal")
    assert Decision.objects.count() == 0
    come_in(screen, "sonja")
    screen.click("text=Wait for a second person")
    screen.click(f"#result_list a:has-text('{riskiest.external_reference}')")
    screen.wait_for_selector("text=Her brother guarantees it.")
    shoot("second-person")
    screen.click("button[value=confirm]")
    screen.wait_for_selector(f"text={riskiest.external_reference} approved")
    decision = Decision.objects.get()
    assert (decision.officer.username, decision.second.username, decision.override) == ("olivia", "sonja", True)


def test_the_keyboard_alone_walks_the_inbox(screen, desk):
    come_in(screen, "olivia", "/admin/loans/loanapplication/")
    screen.keyboard.press("j")
    screen.keyboard.press("j")
    screen.keyboard.press("k")
    screen.keyboard.press("Enter")
    screen.wait_for_selector("#application")
    order = [row.external_reference for row in type(desk[0]).objects.to_decide().inbox_order()]
    assert screen.get_attribute("#application", "data-application") == order[0]
    screen.keyboard.press("n")
    screen.wait_for_selector(f"[data-application='{order[1]}']")
    screen.keyboard.press("p")
    screen.wait_for_selector(f"[data-application='{order[0]}']")
    screen.keyboard.press("r")
    screen.wait_for_selector("details[data-key=r][open]")
    # A letter typed into the form is text, not a command.
    screen.fill("details[open] textarea", "")
    screen.type("details[open] textarea", "and")
    assert screen.input_value("details[open] textarea") == "and"
    screen.keyboard.press("Escape")
    assert screen.locator("details[name=decision][open]").count() == 0


def test_a_refused_decision_keeps_what_was_written(screen, desk):
    come_in(screen, "olivia", f"/admin/loans/loanapplication/{desk[1].pk}/change/")
    screen.keyboard.press("d")
    screen.select_option("details[open] select[name=reason]", label="Credit score reported by the credit bureau")
    assert screen.input_value("details[open] textarea") == "Credit score reported by the credit bureau"
    screen.fill("details[open] textarea", "")
    screen.select_option("details[open] select[name=override_reason]", "verified_information")
    screen.click("details[open] button[type=submit]")
    screen.wait_for_selector("[role=alert]")
    assert screen.input_value("details[open] select[name=override_reason]") == "verified_information"
    assert "needs a note" in screen.inner_text("[role=alert]")
    assert screen.input_value("details[open] select[name=reason]") == "other"
    screen.wait_for_function("document.activeElement.name === 'note'")
    assert Decision.objects.count() == 0


@pytest.mark.slow
def test_a_training_moves_by_itself(screen, shoot, desk):
    run = TrainingRun.objects.create(kind="default_risk", state="running", share_done=0.1, step="Reading", started_at=timezone.now())
    come_in(screen, "mona", f"/admin/loans/trainingrun/{run.pk}/change/")
    TrainingRun.objects.filter(pk=run.pk).update(share_done=0.62, step="Fitting boosting")
    screen.wait_for_function("document.querySelector('[data-progress-share]').textContent === '62%'")
    assert screen.inner_text("[data-progress-step]") == "Fitting boosting"
    shoot("training")
    TrainingRun.objects.filter(pk=run.pk).update(state="failed", error="There are too few defaults.", finished_at=timezone.now())
    screen.wait_for_selector("text=There are too few defaults.")


@pytest.mark.slow
def test_what_would_change_the_outcome_is_loaded_when_its_panel_opens(screen, shoot, live_server, artifacts):
    person("olivia", "Loan officers")
    make_champion()
    Policy.objects.create(approve_below=0.25, decline_from=0.25, reason="test")
    application = make_plain(debt_to_income=0.45, amount=15_000, annual_income=50_000)
    scoring.request_score(application)
    scoring.score_pending()
    come_in(screen, "olivia", f"/admin/loans/loanapplication/{application.pk}/change/")
    # By the keyboard alone; before that nothing is asked for.
    assert "instead of" not in screen.content()
    screen.focus("details[data-load-url] summary")
    screen.keyboard.press("Enter")
    screen.wait_for_selector("[data-load-into] .ld-way")
    assert "Debt to income" in screen.inner_text("[data-load-into]") and "instead of 45.0%" in screen.inner_text("[data-load-into]")
    shoot("what-if", whole=True)
    # And where it can't be had, the link to its own page stays.
    screen.reload()
    screen.evaluate("() => { window.fetch = () => Promise.reject(new Error('away')); }")
    screen.click("details[data-load-url] summary")
    screen.wait_for_selector("text=It could not be worked out just now.")
    screen.click("[data-load-into] a")
    screen.wait_for_url("**/what-if/")
    assert "instead of 45.0%" in screen.inner_text("#content")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_model_pages_fit_1280_pixels(screen, shoot, desk, scheme):
    screen.emulate_media(color_scheme=scheme)
    come_in(screen, "mona")
    version = make_version(2, "candidate", report=full_report())
    for name, url in {
        "policy": f"/admin/loans/modelversion/{version.pk}/policy/",
        "card": f"/admin/loans/modelversion/{version.pk}/card/",
        "fairness": f"/admin/loans/modelversion/{version.pk}/change/",
        "policies": "/admin/loans/policy/",
    }.items():
        screen.goto(url)
        screen.wait_for_load_state("load")
        assert screen.evaluate("document.documentElement.scrollWidth") <= 1280, name
        assert not re.search(r"\{\{|\{%|None\b", screen.inner_text("#content")), name
        shoot(f"{scheme}-{name}", whole=True)
    screen.goto(f"/admin/loans/modelversion/{version.pk}/policy/")
    with screen.expect_download() as download:
        screen.click("text=Download as CSV")
    assert download.value.suggested_filename == f"modelversion-{version.pk}-policy.csv"


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_main_pages_fit_1280_pixels(screen, shoot, desk, scheme):
    screen.emulate_media(color_scheme=scheme)
    come_in(screen, "mona")
    version = desk[0].predictions.get().model_version_id
    pages = {
        "home": "/admin/",
        "inbox": "/admin/loans/loanapplication/",
        "application": f"/admin/loans/loanapplication/{desk[2].pk}/change/",
        "models": "/admin/loans/modelversion/",
        "model": f"/admin/loans/modelversion/{version}/change/",
        "decisions": "/admin/loans/decision/",
        "imports": "/admin/loans/importbatch/",
        "attributes": "/admin/loans/attributedefinition/",
    }
    for name, url in pages.items():
        screen.goto(url)
        screen.wait_for_load_state("load")
        assert screen.evaluate("document.documentElement.scrollWidth") <= 1280, name
        assert not re.search(r"\{\{|\{%|None\b", screen.inner_text("#content")), name
        shoot(f"{scheme}-{name}", whole=True)
