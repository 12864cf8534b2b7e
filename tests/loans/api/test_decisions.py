from __future__ import annotations

import pytest

from loans.models import Decision, LoanApplication, Policy, Status
from tests.factories import make_application, make_champion
from tests.loans.api.conftest import URL, Api, fields_of, key_of


@pytest.fixture
def scored(sender, artifacts):
    """An open application of the sender's with its prediction."""
    make_champion()
    # Advice neither way, so that one person is enough.
    Policy.objects.create(approve_below=0.0001, decline_from=0.9999, reason="test")
    return Api(key=key_of(sender)).post(f"{URL}?wait=1", {"amount": 9000, "annual_income": 30000}).json()


def test_an_officer_decides_and_the_client_learns_it(scored, api, officer_api, officer):
    url = f"{scored['url']}decision/"
    body = {"outcome": "decline", "reason": "income_insufficient", "note": " Seen twice. ", "seen_prediction": scored["prediction"]["id"]}
    answer = officer_api.post(url, body)
    assert answer.status_code == 201
    made = answer.json()
    assert (made["outcome"], made["note"], made["officer"]) == ("decline", "Seen twice.", "officer")
    assert made["prediction"] == scored["prediction"]["id"] and made["reason_text"].startswith("Income insufficient")
    row = Decision.objects.get()
    assert row.officer == officer and row.application.status == Status.DECLINED
    seen = officer_api.get(url).json()
    assert seen == {"status": "declined", "decision": made, "history": [made]}
    # The client learns what was decided and why, and not what officers write to each other.
    of_client = api.get(url).json()
    assert of_client["decision"] == made | {"note": None, "officer": None, "override": None}
    assert api.get(scored["url"]).json()["decision"] == of_client["decision"]


def test_two_decisions_at_once_leave_the_first(scored, officer_api):
    url = f"{scored['url']}decision/"
    assert officer_api.post(url, {"outcome": "approve", "reason": "meets_policy"}).status_code == 201
    second = officer_api.post(url, {"outcome": "decline", "reason": "collateral"})
    assert second.status_code == 409 and second.json()["type"] == "/api/problems/already-decided/"
    assert "officer decided this" in second.json()["detail"]
    assert Decision.objects.count() == 1


def test_a_referred_application_is_decided_later(scored, officer_api):
    url = f"{scored['url']}decision/"
    officer_api.post(url, {"outcome": "refer", "reason": "verify_identity"})
    assert officer_api.post(url, {"outcome": "approve", "reason": "meets_policy"}).status_code == 201
    assert [row["outcome"] for row in officer_api.get(url).json()["history"]] == ["approve", "refer"]


def test_a_decision_on_a_score_that_is_not_the_current_one_is_a_conflict(scored, officer_api):
    answer = officer_api.post(f"{scored['url']}decision/", {"outcome": "approve", "reason": "meets_policy", "seen_prediction": 999_999})
    assert answer.status_code == 409 and answer.json()["type"] == "/api/problems/score-changed/"


def test_what_waits_for_its_score_is_not_decided(sender, officer_api):
    waiting = make_application(submitted_by=sender)
    answer = officer_api.post(f"{URL}{waiting.pk}/decision/", {"outcome": "refer", "reason": "second_opinion"})
    assert answer.status_code == 409 and answer.json()["type"] == "/api/problems/not-decidable/"


def test_nothing_is_approved_without_a_score(sender, officer_api):
    unscored = make_application(submitted_by=sender, status=Status.NEEDS_REVIEW)
    answer = officer_api.post(f"{URL}{unscored.pk}/decision/", {"outcome": "approve", "reason": "meets_policy"})
    assert answer.status_code == 400 and fields_of(answer) == {"outcome"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"outcome": "maybe"}, "outcome"),
        ({"outcome": None}, "outcome"),
        ({"outcome": ["decline"]}, "outcome"),
        ({"reason": "no such reason"}, "reason"),
        ({"reason": "meets_policy"}, "reason"),
        ({"reason": ""}, "reason"),
        ({"reason": None}, "reason"),
        ({"reason": 3}, "reason"),
        ({"reason": "\x00"}, "reason"),
        ({"reason": "other"}, "note"),
        ({"reason": "other", "note": "  "}, "note"),
        ({"note": "x" * 4001}, "note"),
        ({"note": "a‮b"}, "note"),
        ({"note": 5}, "note"),
        ({"seen_prediction": "1"}, "seen_prediction"),
        ({"seen_prediction": True}, "seen_prediction"),
        ({"seen_prediction": 10**30}, "seen_prediction"),
        ({"officer": 1}, "officer"),
    ],
)
def test_a_bad_decision_names_its_field(sender, officer_api, change, field):
    application = make_application(submitted_by=sender, status=Status.OPEN)
    answer = officer_api.post(f"{URL}{application.pk}/decision/", {"outcome": "decline", "reason": "collateral"} | change)
    assert answer.status_code == 400 and fields_of(answer) == {field}
    assert not Decision.objects.exists() and LoanApplication.objects.get().status == Status.OPEN


def test_the_reasons_are_those_that_a_decision_takes(api, sender, officer_api):
    listed = api.get("/api/v1/decision-reasons/").json()
    assert listed["source"].startswith("12 CFR")
    for row in listed["reasons"]:
        if row["outcome"] == "refer":
            application = make_application(submitted_by=sender, status=Status.OPEN)
            note = "Payslips of the last three months." if row["note_required"] else ""
            answer = officer_api.post(f"{URL}{application.pk}/decision/", {"outcome": "refer", "reason": row["code"], "note": note})
            assert answer.status_code == 201
