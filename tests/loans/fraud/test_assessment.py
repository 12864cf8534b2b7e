"""Assessed with the score, in its transaction, and never in its way."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction

from loans.models import FraudAssessment, FraudFlag, FraudRule, FraudRuleSet, LoanApplication, Prediction, ScoringJob
from loans.queries.fraud import flags_for
from loans.queries.fraud_queue import of_queue
from loans.services import fraud, scoring
from loans.services.fraud import assessment, links
from tests.factories import make_application, make_champion, make_pending
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
    trace = {each["code"]: each for each in second.fraud_assessment.findings()[1]}
    assert trace["two_identifiers_of_another"]["outcome"] == "hit"
    assert trace["known_fraud_direct"]["outcome"] == "no_hit"
    assert trace["account_under_other_names"]["outcome"] == "not_applicable"
    assert trace["known_fraud_direct"]["conditions"][0] == {
        "feature": "direct_frauds", "operator": "at_least", "value": 0, "threshold": 1, "holds": False,
    }  # fmt: skip
    assert len(str(second.fraud_assessment.trace)) < 100, "what all have in common is kept once"
    assert float(flag.expected_loss) == pytest.approx(10_000 * flag.score * 0.6, abs=0.01)
    assert [event.action for event in flag.events.all()] == ["raised"]


def test_assessing_again_changes_nothing(ring):
    before = FraudFlag.objects.values().get()
    assess(*ring)
    assert FraudFlag.objects.values().get() == before
    assert FraudFlag.objects.get().events.count() == 1


def test_a_trace_stays_what_it_was_whatever_becomes_of_the_rules(ring):
    second = FraudAssessment.objects.get(application=ring[1])
    features, before = second.findings()
    FraudRule.objects.filter(code="hub_burst").update(name="Changed past the forms")
    FraudRule.objects.exclude(code="hub_burst").delete()
    assert FraudAssessment.objects.get(application=ring[1]).findings() == (features, before)
    assess(ring[1])
    after = FraudAssessment.objects.get(application=ring[1])
    assert [each["name"] for each in after.findings()[1]] == ["Changed past the forms"]
    assert after.findings()[0] == features
    assert FraudRuleSet.objects.count() == 2
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM loans_fraudruleset")


def test_what_was_written_in_full_before_there_were_rule_sets_is_read_as_it_is(ring):
    row = FraudAssessment.objects.get(application=ring[1])
    features, trace = row.findings()
    FraudAssessment.objects.filter(pk=row.pk).update(features=features, trace=trace, rule_set=None)
    assert FraudAssessment.objects.get(pk=row.pk).findings() == (features, trace)
    panel = flags_for(ring[1], LoanApplication.objects.all())
    assert len(panel.trace) == len(trace) and panel.lines


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
    everyone = LoanApplication.objects.all()
    assert flags_for(first, everyone).title == "Drawn for a random review" and flags_for(second, everyone).title == "Flagged"
    assert of_queue(FraudFlag.objects.all(), "sample", None).get().application == first


def test_ten_thousand_with_the_same_phone_stay_fast_and_the_page_says_so(starter):
    import time

    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO loans_loanapplication (external_reference, submitted_at, channel, amount, purpose, purpose_text,"
            " employment_status, home_ownership, region, attributes, status, synthetic, created_at, grade)"
            " SELECT 'P-' || i, timestamptz '2026-01-05 09:00Z' + i * interval '1 second', 'online', 1, '', '', '', '', '', '{}', 'open',"
            " false, now(), '' FROM generate_series(1, 10000) i"
        )
        cursor.execute(
            "INSERT INTO loans_applicationlink (application_id, kind, digest, submitted_at)"
            " SELECT id, 0, decode(md5('the phone'), 'hex'), submitted_at FROM loans_loanapplication"
        )
        # as the server does by itself within a minute
        cursor.execute("ANALYZE loans_loanapplication, loans_applicationlink, loans_fraudassessment")
    FraudAssessment.objects.update(state="linked")
    alone = [make_application().pk for _ in range(100)]
    FraudAssessment.objects.filter(application__in=alone).update(state="linked")
    last = list(LoanApplication.objects.filter(external_reference__startswith="P-").order_by("-pk")[:100])
    began = time.perf_counter()
    assert assessment.assess_quietly(alone) == 100
    between = time.perf_counter()
    assert assessment.assess_quietly([row.pk for row in last]) == 100
    assert time.perf_counter() - between < 20 * (between - began)
    features = values(last[0])
    assert features["hub_keys"] == 1 and features["component_size"] == 0 and features["other_names_phone"] is None
    assert features["phone_24h"] == 1000, "counted up to the limit"
    (warning,) = flags_for(last[0], LoanApplication.objects.all()).warnings
    assert "shared by more than 25 earlier applications" in warning and "linked to nobody" in warning
