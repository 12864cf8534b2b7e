"""What would change the outcome, and the amount range, on the page of one application."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.contrib import admin
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from loans.admin import curves
from loans.models import AmountEstimate, KnockOutRule, LoanApplication, Policy, Prediction
from loans.services import scoring
from tests.factories import make_application as make_plain
from tests.factories import make_champion
from tests.loans.admin.conftest import make_application, make_version, score

pytestmark = pytest.mark.django_db


def url_of(application, name: str = "what_if") -> str:
    return reverse(f"admin:loans_loanapplication_{name}", args=[application.pk])


@pytest.fixture
def risky(artifacts):
    make_champion()
    Policy.objects.create(approve_below=0.25, decline_from=0.25, reason="test")
    application = make_plain(debt_to_income=0.45, amount=15_000, annual_income=50_000)
    scoring.request_score(application)
    scoring.score_pending()
    application.refresh_from_db()
    return application


def test_the_nearest_changes_are_said_with_their_units(as_, risky):
    page = as_("officer").get(url_of(risky)).content.decode()
    assert "to below 25.0%, up to which is approved" in page
    assert "Debt to income:" in page and "instead of 45.0%" in page and "% points)" in page
    assert "Each was scored by Default risk v1" in page
    assert "<html" in page and risky.external_reference in page


def test_the_part_is_the_same_answer_without_the_frame(as_, risky):
    client = as_("officer")
    answer = client.get(url_of(risky), {"part": "1"})
    part = answer.content.decode()
    assert "<html" not in part and "instead of 45.0%" in part and "no-store" in answer["Cache-Control"]
    change = client.get(url_of(risky, "change")).content.decode()
    assert f'data-load-url="{url_of(risky)}?part=1"' in change and f'href="{url_of(risky)}"' in change


def test_looking_changes_nothing_and_costs_few_queries(as_, risky):
    client = as_("officer")
    client.get(url_of(risky), {"part": "1"})
    before = list(LoanApplication.objects.values()), Prediction.objects.count()
    with CaptureQueriesContext(connection) as queries:
        client.get(url_of(risky), {"part": "1"})
    assert (list(LoanApplication.objects.values()), Prediction.objects.count()) == before
    assert not [query["sql"] for query in queries if not query["sql"].startswith(("SELECT", "DECLARE"))]
    assert len(queries) <= 11, [query["sql"][:110] for query in queries]
    assert client.post(url_of(risky)).status_code == 405


def test_a_rule_that_holds_is_named_first(as_, risky):
    KnockOutRule.objects.create(name="Poor", field="annual_income", operator="below", value="60000", reason="income_insufficient")
    page = as_("officer").get(url_of(risky), {"part": "1"}).content.decode()
    assert "no change of the score helps while it holds" in page and "Annual income is below $60,000" in page and "“Poor”" in page


def test_who_is_below_the_cut_off_needs_nothing(as_, risky):
    safe = make_plain(debt_to_income=0.01, amount=1_000, annual_income=150_000)
    assert "Nothing has to change" in as_("officer").get(url_of(safe)).content.decode()
    Policy.objects.create(approve_below=0.0001, decline_from=0.5, reason="nobody")
    assert "No feasible change brings it" in as_("officer").get(url_of(safe)).content.decode()


def test_without_a_model_or_its_artifact_the_page_says_so_kindly(as_, artifacts, db):
    application = make_application()
    assert "No model serves yet" in as_("officer").get(url_of(application)).content.decode()
    make_version()
    answer = as_("officer").get(url_of(application))
    assert answer.status_code == 200 and "can&#x27;t be read" in answer.content.decode()


def test_only_who_may_see_the_application_may_ask(as_, client, application, monkeypatch):
    for role, status in (("officer", 200), ("owner", 200), ("auditor", 200), ("administrator", 403), ("stranger", 403)):
        for query in ({}, {"part": "1"}):
            assert as_(role).get(url_of(application), query).status_code == status, role
    client.logout()
    assert client.get(url_of(application)).status_code == 302
    # Out of scope is as if it were not there.
    monkeypatch.setattr(type(admin.site._registry[LoanApplication]), "get_queryset", lambda *args: LoanApplication.objects.none())
    assert as_("officer").get(url_of(application), {"part": "1"}).status_code == 404
    assert as_("officer").get(url_of(application)).status_code == 302


def test_a_knock_out_that_decided_comes_first_and_is_suggested_as_the_reason(as_, version):
    ruled_out = make_application()
    score(ruled_out, version, 0.02)
    made = make_application()
    job = ruled_out.scoring_jobs.create(state="done")
    Prediction.objects.create(
        application=ruled_out,
        scoring_job=job,
        model_version=version,
        probability=0.02,
        log_odds=-3.9,
        baseline=-2.0,
        grade="A",
        points=600,
        contributions={},
        reasons=[],
        advice="decline",
        knock_outs=[{"rule": "Poor", "in_words": "Annual income is below 60000", "code": "income_insufficient", "text": "Income too low"}],
    )
    page = as_("officer").get(url_of(ruled_out, "change")).content.decode()
    assert page.index("Ruled out whatever the score is") < page.index("Risk of default")
    assert "The applicant is told: Income too low" in page and "A knock-out rule decided, not the score." in page
    suggested = page[page.index("The rule that decided, and the model") : page.index("Other reasons")]
    assert 'value="income_insufficient"' in suggested
    assert "Ruled out" not in as_("officer").get(url_of(made, "change")).content.decode()


def estimate(application, version, **fields):
    job = application.scoring_jobs.first()
    amounts = {"low": 5_000, "middle": 9_000, "high": 15_000, "cap": 20_000, "capped": False} | fields
    return AmountEstimate.objects.create(application=application, scoring_job=job, model_version=version, **amounts)


def test_the_amount_range_is_a_picture_and_a_table(as_, application):
    estimate(application, make_version(kind="loan_amount", algorithm="quantiles"))
    page = as_("officer").get(url_of(application, "change")).content.decode()
    assert "$12,000 asked for: within the range, above its middle." in page
    for text in ("$5,000", "$9,000", "$15,000", "cap $20,000", "at most $20,000", "Loan amount v1"):
        assert text in page, text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"cap": 11_000, "high": 11_000, "capped": True}, "above what the affordability rule allows"),
        ({"high": 11_500, "cap": None}, "No cap: the income is not known."),
        ({"low": 13_000, "middle": 14_000}, "below the range"),
        ({"low": 0, "middle": 0, "high": 0, "cap": 0, "capped": True}, "above what the affordability rule allows"),
    ],
)
def test_what_is_asked_for_is_placed_in_words(as_, application, fields, said):
    estimate(application, make_version(kind="loan_amount", algorithm="quantiles"), **fields)
    assert said in as_("officer").get(url_of(application, "change")).content.decode()


def test_without_an_amount_model_owners_are_led_to_training(as_, application):
    text, link = "No amount model serves yet", ">Train one</a>"
    officer = as_("officer").get(url_of(application, "change")).content.decode()
    owner = as_("owner").get(url_of(application, "change")).content.decode()
    assert text in officer and link not in officer and text in owner and link in owner
    make_version(kind="loan_amount", algorithm="quantiles")
    assert "one comes with the next score" in as_("officer").get(url_of(application, "change")).content.decode()


def test_the_picture_of_a_range_keeps_its_order():
    made = curves.amount_range(Decimal(5_000), Decimal(9_000), Decimal(15_000), Decimal(40_000), Decimal(20_000))
    at = [float(each) for each in (made.low, made.middle, made.high, made.cap, made.asked)]
    assert at == sorted(at) and at[0] > 0 and at[-1] < made.width
    # A cap that is far away is not drawn: it would press the range into a corner.
    assert curves.amount_range(1, 2, 3, 2, 1_000_000).cap == ""
