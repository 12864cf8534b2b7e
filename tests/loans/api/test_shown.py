"""The quick way from rows to an answer says what the serializers say, and a scored submission costs three statements."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from rest_framework.request import Request

from loans.api import shown
from loans.api.applications import ApplicationSerializer
from loans.api.renderers import FiniteJSONRenderer
from loans.models import AmountEstimate, Decision, FraudAssessment, LoanApplication, LoanProduct, Prediction, SegmentAssignment
from tests.factories import make_champion
from tests.loans.api.conftest import URL

FULL = {
    "amount": 9000.5, "annual_income": 41000, "debt_to_income": 0.25, "term_months": 36, "channel": "branch", "purpose_text": "",
    "submitted_at": "2026-03-31T09:30:00.5Z", "applicant": {"name": "Ada Lane", "birth_date": "1980-03-31"},
}  # fmt: skip


@pytest.fixture
def stored(api, artifacts):
    make_champion()
    answer = api.post(f"{URL}?wait=1", FULL).json()
    return LoanApplication.objects.select_related("applicant", "product").get(pk=answer["id"])


def _with_all(application: LoanApplication) -> LoanApplication:
    prediction = Prediction.objects.latest_of(application)
    application.product = LoanProduct(code="car", name="Car")
    application.latest_job, application.latest_prediction = prediction.scoring_job, prediction
    version = prediction.model_version
    rest = {"application": application, "model_version": version, "created_at": prediction.created_at}
    application.latest_amount = AmountEstimate(low=Decimal(5), middle=Decimal("6.5"), high=Decimal("7.25"), cap=None, capped=False, **rest)
    application.latest_segment = SegmentAssignment(segment=3, name="Savers", share=0.5, distance=1.5, **rest)
    application.latest_fraud = FraudAssessment(application=application, state="assessed", score=0.5, calibrated=True)
    application.latest_fraud.flags = []
    application.latest_decision = Decision(pk=4, application=application, outcome="declined", created_at=prediction.created_at)
    return application


def _with_none(application: LoanApplication) -> LoanApplication:
    application.applicant = application.applicant_id = None
    application.latest_job = Prediction.objects.latest_of(application).scoring_job
    for name in ("prediction", "amount", "segment", "fraud", "decision"):
        setattr(application, f"latest_{name}", None)
    return application


@pytest.mark.parametrize("made", [_with_all, _with_none])
def test_an_answer_is_what_the_serializer_says(stored, sender, made):
    application = made(stored)
    request = Request(RequestFactory().get("/"))
    request.user = sender
    serializer = ApplicationSerializer(context={"request": request})
    said = serializer.to_representation(application)
    quick = {name: None if value == "" else value for name, value in shown.represented(serializer, application, request).items()}
    assert quick == said and list(quick) == list(said)
    assert FiniteJSONRenderer().render(quick) == FiniteJSONRenderer().render(said)


def test_a_scored_submission_costs_three_statements(api, artifacts):
    make_champion()
    api.post(f"{URL}?wait=1", FULL)  # what a process reads once
    with CaptureQueriesContext(connection) as captured:
        assert api.post(f"{URL}?wait=1", FULL).json()["prediction"]
    sent = [each["sql"].split()[0] for each in captured if "SAVEPOINT" not in each["sql"]]
    assert sent == ["SELECT", "SELECT", "WITH"], sent  # the key with its user, what is in force, all rows


def test_a_request_with_a_key_has_no_session_and_is_told_the_same_policy(api, sender, settings):
    by_key, page = api.get(URL), api.client.get("/admin/login/", headers={"authorization": ""})
    assert by_key["Content-Security-Policy"] == page["Content-Security-Policy"]
    assert not hasattr(by_key.wsgi_request, "session") and hasattr(page.wsgi_request, "session")
    docs = [api.client.get("/api/docs/", headers=headers)["Content-Security-Policy"] for headers in ({}, {"authorization": ""})]
    assert docs[0] == docs[1]
