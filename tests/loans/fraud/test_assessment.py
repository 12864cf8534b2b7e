"""Assessed with the score, in its transaction, and never in its way."""

from __future__ import annotations

import pytest

from loans.models import FraudAssessment, FraudFlag, FraudRule, LoanApplication, Prediction, ScoringJob
from loans.queries.fraud import flags_for, of_queue
from loans.services import fraud, scoring
from loans.services.fraud import assessment, links
from tests.factories import make_champion, make_pending
from tests.loans.fraud.conftest import apply, assess, values

pytestmark = pytest.mark.django_db


def test_every_application_has_a_row_however_it_came():
    make_pending(3)
    assert FraudAssessment.objects.filter(state="waiting").count() == 3


def test_the_second_loan_of_a_ring_is_flagged_and_the_first_is_not(ring):
    first, second = ring
    assert not FraudFlag.objects.filter(application=first).exists()
    flag = FraudFlag.objects.get(application=second)
    assert flag.get_severity_display() == "High" and "Two or more identifiers" in flag.in_words
    assert values(second)["double_matches"] == 1 and values(second)["strongest_match"] == 2
    trace = {each["code"]: each for each in second.fraud_assessment.trace}
    assert trace["two_identifiers_of_another"]["outcome"] == "hit"
    assert trace["known_fraud_direct"]["outcome"] == "no_hit"
    assert trace["account_under_other_names"]["outcome"] == "not_applicable"
    assert float(flag.expected_loss) == pytest.approx(10_000 * flag.score * 0.6, abs=0.01)
    assert [event.action for event in flag.events.all()] == ["raised"]


def test_assessing_again_changes_nothing(ring):
    before = FraudFlag.objects.values().get()
    assess(*ring)
    assert FraudFlag.objects.values().get() == before
    assert FraudFlag.objects.get().events.count() == 1


def test_scoring_assesses(artifacts, starter):
    make_champion()
    make_pending(3)
    assert scoring.score_pending().stored == 3
    assert FraudAssessment.objects.filter(state="assessed").count() == 3


def test_a_failure_is_visible_blocks_no_score_and_is_made_up_for(artifacts, starter, monkeypatch):
    make_champion()
    (job,) = make_pending(1)
    monkeypatch.setattr(assessment, "link_features", lambda ids: FraudFlag.objects.raw("SELECT nonsense")[0])
    assert scoring.score_pending().stored == 1
    assert Prediction.objects.count() == 1 and ScoringJob.objects.get(pk=job.pk).state == "done"
    row = FraudAssessment.objects.get()
    assert (row.state, row.attempts, row.score) == ("failed", 1, None) and "Not assessed" in row.get_state_display()
    monkeypatch.undo()
    fraud.sweep()
    assert FraudAssessment.objects.get().state == "failed", "it is not due yet"
    FraudAssessment.objects.update(due_at="2020-01-01T00:00Z")
    assert fraud.sweep() == (0, 1)
    assert FraudAssessment.objects.get().state == "assessed"


def test_linking_that_fails_blocks_no_score(artifacts, monkeypatch):
    make_champion()
    make_pending(1)
    monkeypatch.setattr(links, "link_waiting", lambda **_: 1 / 0)
    assert scoring.score_pending().stored == 1
    assert FraudAssessment.objects.get().state == "waiting"
    assert fraud.sweep() == (0, 0)


def test_nothing_is_assessed_while_an_earlier_application_is_not_linked(starter):
    early, late = apply(0, phone="1"), apply(10, phone="1")
    links.link_waiting()
    FraudAssessment.objects.filter(application=early).update(state="waiting")
    assert assessment.assess_quietly([late.pk]) == 0
    assert FraudAssessment.objects.get(application=late).state == "linked"
    links.link_waiting()
    assert assessment.assess_quietly([late.pk]) == 1


def test_history_is_linked_and_not_assessed(starter):
    past = LoanApplication.objects.create(external_reference="H-1", amount=1, status="historical")
    links.link_waiting()
    assert FraudAssessment.objects.get(application=past).state == "history"
    assert assessment.assess_quietly([past.pk]) == 0


def test_a_rule_that_can_not_be_read_stops_no_other(starter):
    FraudRule.objects.filter(code="hub_burst").update(conditions=[{"feature": "phone_1h", "operator": "eval", "value": "1"}])
    assert len(assessment.rules_in_force()) == len(starter) - 1


def test_the_sample_is_the_same_each_time_and_never_what_is_flagged(settings, ring):
    settings.FRAUD_SAMPLE_SHARE = 1.0
    first, second = ring
    for _ in range(2):
        assess(first, second)
    assert FraudFlag.objects.get(application=first).kind == "sample"
    assert FraudFlag.objects.get(application=second).kind == "alert"
    assert flags_for(first).title == "Drawn for a random review" and flags_for(second).title == "Flagged"
    assert of_queue(FraudFlag.objects.all(), "sample", None).get().application == first


def test_a_thousand_with_the_same_phone_stay_fast(starter):
    import time

    rows = LoanApplication.objects.bulk_create([LoanApplication(external_reference=f"P-{i}", amount=1, status="open") for i in range(1000)])
    from loans.models import ApplicationLink

    ApplicationLink.objects.bulk_create(
        [ApplicationLink(application=row, kind=0, digest=b"1" * 16, submitted_at=row.submitted_at) for row in rows]
    )
    FraudAssessment.objects.update(state="linked")
    began = time.perf_counter()
    assert assessment.assess_quietly([row.pk for row in rows[-100:]]) == 100
    assert time.perf_counter() - began < 5
    features = values(rows[-1])
    assert features["hub_keys"] == 1 and features["component_size"] == 0 and features["other_names_phone"] is None
