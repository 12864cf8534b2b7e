"""Batches: each row checked as if it came alone, the good ones stored together."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from rest_framework import serializers

from loans.api.applications import _INPUT, _quickly, read_application
from loans.models import ApiKey, AttributeDefinition, FraudAssessment, LoanApplication, ProtectedAttributes, ScoringJob
from loans.services import scoring
from tests.factories import make_champion
from tests.loans.api.conftest import Api

BATCH = "/api/v1/applications/batch/"
ROW = {"amount": "5000.00", "annual_income": 40000, "home_ownership": "rent", "applicant": {"name": "Ann Jensen", "phone": "12345678"}}


@pytest.fixture
def shop(db):
    return Api(key=ApiKey.issue(user=User.objects.create_user("shop"), name="x")[1])


def test_good_rows_are_stored_and_scored_and_bad_ones_named(shop, artifacts):
    make_champion()
    AttributeDefinition.objects.create(name="sex", kind="category", protected=True)
    rows = [
        ROW | {"external_reference": "A-1"}, ROW | {"amount": -1}, "no object", ROW | {"external_reference": "A-1"},
        ROW | {"product": "none"}, {"amount": 700, "attributes": {"sex": "f"}}, ROW | {"colour": "red"}, {},
    ]  # fmt: skip
    answer = shop.post(BATCH, {"applications": rows}).json()
    assert (answer["accepted"], answer["rejected"]) == (2, 6)
    results = answer["results"]
    assert [each["index"] for each in results] == list(range(8)) and [each["accepted"] for each in results] == [
        True, False, False, False, False, True, False, False
    ]  # fmt: skip
    assert results[3]["problem"] == "duplicate-reference"
    fields = [each["errors"][0]["field"] if each["errors"] else None for each in results]
    assert fields == [None, "amount", "", "external_reference", "product", None, "colour", "amount"]
    assert LoanApplication.objects.count() == ScoringJob.objects.count() == FraudAssessment.objects.count() == 2
    assert ProtectedAttributes.objects.get().values == {"sex": "f"}
    first = LoanApplication.objects.get(pk=results[0]["id"])
    assert first.applicant.name == "Ann Jensen" and first.applicant.phone_index is not None
    assert scoring.score_pending().stored == 2
    detail = shop.get(results[0]["url"]).json()
    assert detail["prediction"]["job"] == results[0]["job"] and detail["applicant"]["name"] == "Ann Jensen"


def test_a_reference_that_is_taken_is_named_and_another_client_s_is_not(shop):
    other = Api(key=ApiKey.issue(user=User.objects.create_user("other"), name="x")[1])
    rows = {"applications": [ROW | {"external_reference": "A-1"}, ROW | {"external_reference": "A-2"}]}
    assert shop.post(BATCH, rows).json()["accepted"] == 2 and other.post(BATCH, rows).json()["accepted"] == 2
    rows["applications"].append(ROW)
    again = shop.post(BATCH, rows).json()
    assert [each["accepted"] for each in again["results"]] == [False, False, True]


def test_a_batch_sent_twice_is_stored_once(shop):
    first, again = (shop.post(BATCH, {"applications": [ROW] * 3}, headers={"Idempotency-Key": "b"}) for _ in range(2))
    assert first.json() == again.json() and LoanApplication.objects.count() == 3


@pytest.mark.parametrize(
    "body", [[], {}, {"applications": []}, {"applications": {}}, {"applications": [ROW], "more": 1}, {"applications": [{}] * 1001}, None],
    ids=["list", "empty", "none", "object", "more", "1001", "null"],
)  # fmt: skip
def test_what_is_no_batch_is_refused(shop, body):
    assert shop.post(BATCH, body).status_code == 400
    assert not LoanApplication.objects.exists()


def test_a_thousand_rows_are_taken(shop):
    answer = shop.post(BATCH, {"applications": [ROW] * 1000}).json()
    assert answer["accepted"] == 1000 == LoanApplication.objects.count()


@pytest.mark.parametrize(
    "data",
    [
        ROW,
        {"amount": 1, "submitted_at": "2026-01-01T00:00:00Z", "channel": "", "purpose_text": "  x ", "applicant": None, "attributes": {}},
        {"amount": 0.01, "credit_score": 2000, "term_months": 600, "debt_to_income": 100.0, "purpose_text": "ä\tb", "region": "x" * 64},
        {"amount": "12.50", "debt_to_income": 0, "term_months": 12.0, "applicant": {"birth_date": "1990-01-01", "email": ""}},
    ],
)
def test_the_quick_way_reads_what_the_serializer_reads(data):
    slow = {name: value for name, value in _INPUT.run_validation(data).items() if value is not None}
    if slow.get("applicant"):
        slow["applicant"] = {name: value for name, value in slow["applicant"].items() if value is not None}
    assert _quickly(data, _INPUT) == slow


@pytest.mark.parametrize(
    "data",
    [
        {"amount": 1, "credit_score": 2001}, {"amount": 1, "term_months": 0}, {"amount": 1, "term_months": True}, {"amount": 0},
        {"amount": 1, "debt_to_income": float("nan")}, {"amount": 1, "debt_to_income": -0.1}, {"amount": 1, "region": "a\x00"},
        {"amount": 1, "region": "x" * 65},
        {"amount": 1, "applicant": {"email": "no"}}, {"amount": 1, "purpose_text": "x\u202e"}, {"amount": 1, "term_months": 1.5},
    ],
)  # fmt: skip
def test_the_quick_way_takes_nothing_that_the_serializer_refuses(data):
    with pytest.raises(serializers.ValidationError):
        read_application(data)
