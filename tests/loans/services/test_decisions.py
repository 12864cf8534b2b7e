from __future__ import annotations

import threading

import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError, connection, transaction

from loans.models import Decision, LoanApplication, Policy, Prediction, Status
from loans.services import decisions, scoring
from loans.services.rulepack import UnknownReason
from tests.factories import make_application, make_champion, make_pending


@pytest.fixture
def officer(db):
    return get_user_model().objects.create_user("olga", first_name="Olga", last_name="Berg")


@pytest.fixture
def scored(db, artifacts):
    make_champion()
    # Advice neither way, so that one person is enough.
    Policy.objects.create(approve_below=0.0001, decline_from=0.9999, reason="test")
    (job,) = make_pending(1)
    scoring.score_now(job.pk)
    return LoanApplication.objects.get(pk=job.application_id)


def test_a_decision_keeps_what_it_rested_on(scored, officer):
    decision = decisions.decide(scored.pk, officer=officer, outcome="decline", reason="income_insufficient", note=" too little ")
    scored.refresh_from_db()
    assert scored.status == Status.DECLINED
    assert decision.prediction == Prediction.objects.get(application=scored)
    assert (decision.reason_text, decision.note) == ("Income insufficient for amount of credit requested", "too little")


def test_a_referred_application_can_still_be_decided_once(scored, officer):
    decisions.decide(scored.pk, officer=officer, outcome="refer", reason="second_opinion")
    decisions.decide(scored.pk, officer=officer, outcome="approve", reason="meets_policy")
    with pytest.raises(decisions.AlreadyDecided, match="Olga Berg decided this on .* approve"):
        decisions.decide(scored.pk, officer=officer, outcome="decline", reason="bankruptcy")


@pytest.mark.parametrize(
    ("outcome", "reason", "note", "error"),
    [
        ("forget", "bankruptcy", "", decisions.DecisionRefused),
        ("decline", "meets_policy", "", UnknownReason),
        ("decline", "", "", UnknownReason),
        ("decline", "other", "  ", decisions.DecisionRefused),
        ("decline", "bankruptcy", "x" * 4001, decisions.DecisionRefused),
    ],
)
def test_what_is_wrong_changes_nothing(scored, officer, outcome, reason, note, error):
    with pytest.raises(error):
        decisions.decide(scored.pk, officer=officer, outcome=outcome, reason=reason, note=note)
    scored.refresh_from_db()
    assert scored.status == Status.OPEN
    assert not Decision.objects.exists()


def test_an_officer_who_looked_at_an_older_score_is_told(scored, officer):
    seen = Prediction.objects.latest_of(scored).pk
    job = scoring.request_score(scored)
    scoring.score_now(job.pk)
    with pytest.raises(decisions.ScoreChanged):
        decisions.decide(scored.pk, officer=officer, outcome="approve", reason="meets_policy", seen_prediction=seen)


def test_no_approval_without_a_score_in_code_and_in_the_database(officer):
    application = make_application(status=Status.NEEDS_REVIEW)
    with pytest.raises(decisions.DecisionRefused, match="no valid score"):
        decisions.decide(application.pk, officer=officer, outcome="approve", reason="meets_policy")
    with pytest.raises(DatabaseError), transaction.atomic():
        Decision.objects.create(application=application, outcome="approve", officer=officer, reason="meets_policy", reason_text="x")
    assert decisions.decide(application.pk, officer=officer, outcome="decline", reason="application_incomplete").prediction is None


def test_waiting_and_historical_applications_can_not_be_decided(officer):
    for status in (Status.RECEIVED, Status.HISTORICAL):
        with pytest.raises(decisions.DecisionRefused):
            decisions.decide(make_application(status=status).pk, officer=officer, outcome="decline", reason="bankruptcy")


@pytest.mark.parametrize("sql", ["UPDATE loans_decision SET note = 'x'", "DELETE FROM loans_decision", "TRUNCATE loans_decision CASCADE"])
def test_the_database_refuses_to_change_a_decision(scored, officer, sql):
    decisions.decide(scored.pk, officer=officer, outcome="decline", reason="bankruptcy")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SET CONSTRAINTS ALL IMMEDIATE; SET LOCAL loandesk.maintenance = 'on'; SET LOCAL loandesk.maintenance_truncate = 'off'; " + sql
        )


@pytest.mark.django_db(transaction=True)
def test_two_officers_at_once_make_one_decision(artifacts):
    officers = [get_user_model().objects.create_user(name) for name in ("a", "b", "c", "d")]
    application = make_application(status=Status.NEEDS_REVIEW)
    start, ends = threading.Barrier(len(officers)), []

    def decide(officer):
        start.wait()
        try:
            ends.append(decisions.decide(application.pk, officer=officer, outcome="decline", reason="bankruptcy"))
        except decisions.AlreadyDecided as error:
            ends.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=decide, args=(officer,)) for officer in officers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(end).__name__ for end in ends) == ["AlreadyDecided"] * 3 + ["Decision"]
    assert Decision.objects.count() == 1
