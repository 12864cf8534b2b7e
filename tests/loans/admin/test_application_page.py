"""The page of one application: what it says, to whom, and at what cost."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from loans.models import AttributeDefinition, Branch, LoanApplication, LoanOutcome, Policy, Prediction, ScoringJob, Status
from loans.queries.application_facts import affordability
from loans.queries.application_page import application_page
from tests.loans.admin.conftest import make_application, make_version, score

pytestmark = pytest.mark.django_db


def url_of(application) -> str:
    return reverse("admin:loans_loanapplication_change", args=[application.pk])


def test_says_who_what_how_risky_and_why(as_, application):
    page = as_("officer").get(url_of(application)).content.decode()
    for text in (
        "Ann Jensen",
        "$12,000 over 36 months for debt consolidation",
        "25.0%",
        "Of 100 applicants like this about 25 default",
        "Grade E · 512 points",
        "Advice:",
        "Number of recent inquiries on credit bureau report",
        "Credit inquiries in 6 months: 4",
        "+5.0",
        "Employment is stable",
        "60 months (5 years)",
        "0.709 (0.640–0.760)",
        "0.5 for a coin",
        "88.6% by always saying the more frequent",
        "4,000 loans",
        "2024-06-04 to 2026-08-13",
        "not given",
        "Debt to income today",
    ):
        assert text in page, text
    assert "Synthetic" not in page


def test_without_personal_data_nothing_of_the_person_is_read_or_shown(as_, application):
    with CaptureQueriesContext(connection) as queries:
        page = as_("owner").get(url_of(application)).content.decode()
    assert "Ann Jensen" not in page and "@example.org" not in page and "personal data not shown" in page
    assert not any('"loans_applicant"."' in query["sql"] for query in queries)


def test_only_who_may_decide_finds_the_forms(as_, application):
    assert "Choose…" in as_("officer").get(url_of(application)).content.decode()
    for role in ("owner", "auditor"):
        page = as_(role).get(url_of(application)).content.decode()
        assert "Choose…" not in page and "not decide them" in page


def test_costs_the_same_however_much_happened(as_, application, version):
    client = as_("officer")
    client.get(url_of(application))
    with CaptureQueriesContext(connection) as few:
        client.get(url_of(application))
    for _ in range(3):
        score(application, version)
    with CaptureQueriesContext(connection) as many:
        client.get(url_of(application))
    assert len(few) <= 27, [query["sql"][:110] for query in few]
    assert len(many) == len(few)


def test_the_lenders_own_attributes_have_their_labels_and_units(as_, application):
    AttributeDefinition.objects.create(name="savings", label="Savings on deposit", kind="number", unit="USD")
    AttributeDefinition.objects.create(name="guarantor", kind="boolean")
    AttributeDefinition.objects.create(name="age", kind="number", protected=True)
    application.attributes = {"savings": 1500.0, "age": 41, "left_over": "x"}
    application.save(update_fields=["attributes"])
    page = application_page(application, LoanApplication.objects.all(), now=timezone.now(), personal_data=False)
    facts = {fact.label: fact.value for fact in page.groups[-1].facts}
    assert facts == {"Savings on deposit": "1,500 USD", "Guarantor": "not given", "Left over": "X"}


def test_affordability_is_plain_arithmetic():
    facts = {
        fact.label: fact.value
        for fact in affordability(LoanApplication(amount=12_000, term_months=24, annual_income=60_000, debt_to_income=0.2))
    }
    assert facts["Amount per month"] == "$500" and facts["Income per month"] == "$5,000"
    assert facts["Share of income"] == "10.0%" and facts["Both together"] == "30.0%" and facts["Amount ÷ annual income"] == "0.20"
    nothing = {fact.label: fact.value for fact in affordability(LoanApplication(amount=12_000, annual_income=0))}
    assert set(nothing.values()) == {"not given"}


@pytest.mark.parametrize(
    ("state", "attempts", "champion", "text", "may_ask"),
    [
        ("pending", 0, True, "Waiting for its score", False),
        ("pending", 2, True, "2 attempts so far", False),
        ("pending", 0, False, "No model serves yet", False),
        ("failed", 5, True, "5 attempts failed", True),
    ],
)
def test_without_a_score_it_says_why(as_, state, attempts, champion, text, may_ask):
    if champion:
        make_version()
    application = make_application(status=Status.NEEDS_REVIEW if state == "failed" else Status.RECEIVED)
    ScoringJob.objects.create(
        application=application, state=state, attempts=attempts, finished_at=timezone.now() if state == "failed" else None
    )
    page = as_("officer").get(url_of(application)).content.decode()
    assert text in page and ("Score again" in page) == may_ask
    if state == "failed":
        assert "Without a score it can&#x27;t be approved" in page and "Given to a person" in page


def test_score_again_asks_once(as_, version):
    application = make_application(status=Status.NEEDS_REVIEW)
    client, url = as_("officer"), reverse("admin:loans_loanapplication_score", args=[application.pk])
    for _ in range(2):
        assert client.post(url, follow=True).status_code == 200
    assert ScoringJob.objects.filter(application=application, state="pending").count() == 1


def test_a_newer_model_offers_a_new_score(as_, application, version):
    assert "Score again" not in as_("officer").get(url_of(application)).content.decode()
    version.state = "retired"
    version.save()
    make_version(2)
    assert "Score again" in as_("officer").get(url_of(application)).content.decode()


def test_knock_outs_and_the_policy_explain_the_advice(as_, version):
    policy = Policy.objects.create(approve_below=0.1, decline_from=0.3, reason="x", effective_from=timezone.now() - timedelta(days=1))
    between, ruled_out = make_application(), make_application()
    made = score(between, version, 0.2)
    job = ScoringJob.objects.create(application=between, state="done")
    Prediction.objects.create(
        application=between,
        scoring_job=job,
        model_version=version,
        probability=0.2,
        log_odds=-1.4,
        baseline=-2.0,
        grade="E",
        points=500,
        contributions=made.contributions,
        reasons=[],
        advice="refer",
        policy=policy,
    )
    page = as_("officer").get(url_of(between)).content.decode()
    assert "20.0% lies between the policy&#x27;s 10.0% and 30.0%" in page and "Look closer" in page and "Approve below" in page
    job = ScoringJob.objects.create(application=ruled_out, state="done")
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
        knock_outs=[{"rule": "Low income", "in_words": "Annual income is below 60000"}],
        policy=policy,
    )
    LoanApplication.objects.filter(pk=ruled_out.pk).update(status=Status.OPEN)
    page = as_("officer").get(url_of(ruled_out)).content.decode()
    assert "Ruled out whatever the score is" in page and "Annual income is below 60000" in page


def test_history_shows_what_became_of_it(as_, version):
    application = make_application(status=Status.HISTORICAL)
    LoanOutcome.objects.create(application=application, state="default")
    page = as_("officer").get(url_of(application)).content.decode()
    assert "defaulted" in page and "Decided before Loandesk" in page


def test_synthetic_is_said_for_the_data_and_for_the_model(as_, application, version):
    version.synthetic = True
    version.save()
    assert "Made up by the demo generator" in as_("officer").get(url_of(application)).content.decode()


@pytest.mark.parametrize(
    "report", [{}, {"champion": None}, {"champion": {"figures": {"auc": None}}, "split": "x", "policy": {"current": None}}]
)
def test_a_report_without_figures_does_not_break_the_page(as_, application, version, report):
    version.report = report
    version.save()
    assert as_("officer").get(url_of(application)).status_code == 200
    assert as_("owner").get(reverse("admin:loans_modelversion_change", args=[version.pk])).status_code == 200


def test_a_missing_application_is_no_error(as_, application):
    for number in (999_999, 10**30):
        assert as_("officer").get(f"/admin/loans/loanapplication/{number}/change/").status_code == 302
    assert as_("officer").get("/admin/loans/loanapplication/abc/change/").status_code == 302


def test_text_from_outside_is_escaped(as_, version):
    application = make_application(purpose_text="<script>alert(1)</script>", name="<b>Ann</b>", external_reference='x"><i>')
    score(application, version)
    page = as_("officer").get(url_of(application)).content.decode()
    assert "<script>alert" not in page and "<b>Ann" not in page and "<i>" not in page


def test_what_became_of_the_like_of_it(as_, application, product):
    def past(state, **fields):
        row = make_application(status="historical", product=product, **fields)
        LoanOutcome.objects.create(application=row, state=state)
        return row

    near = past("default", amount=12_100, annual_income=54_500, credit_score=640, employment_months=60)
    far = past("repaid", amount=90_000, annual_income=20_000, credit_score=400, debt_to_income=0.9)
    past("immature", amount=12_000)
    other = past("default", amount=12_000)
    LoanApplication.objects.filter(pk=other.pk).update(product=None)
    page = as_("officer").get(url_of(application)).content.decode()
    assert "Of the 2 most similar past loans with a known outcome, 1 defaulted." in page
    assert page.index(str(near)) < page.index(str(far)) and str(other) not in page
    # Another branch's are not among them, and who may not see outcomes sees none.
    LoanApplication.objects.filter(pk=near.pk).update(branch=Branch.objects.create(code="north", name="North"))
    assert "Of the 1 most similar past loan with" in as_("officer").get(url_of(application)).content.decode()
    assert "What became of the like" not in as_("investigator").get(url_of(application)).content.decode()


def test_the_timeline_says_who_looked_and_how_often(as_, application):
    for _ in range(3):
        page = as_("officer").get(url_of(application)).content.decode()
    assert "Looked at" in page and "by officer" in page and "3 times that day" in page
