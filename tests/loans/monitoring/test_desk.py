"""Decisions, flags, jobs and young loans of a window, counted by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection

from loans.models import Decision, FraudFlag, LoanOutcome, Prediction, ScoringJob
from loans.services import alerts, monitoring_desk
from tests.factories import make_application

pytestmark = pytest.mark.django_db
START, END = date(2026, 1, 1), date(2026, 2, 1)
IN, AFTER = datetime(2026, 1, 10, tzinfo=UTC), datetime(2026, 9, 1, tzinfo=UTC)


def figures(champion):
    made, notes = monitoring_desk.figures(champion, START, END, alerts.Rules.in_force(), AFTER)
    return {figure.metric: figure for figure in made}, " ".join(notes)


def predicted(champion, application, probability):
    job = ScoringJob.objects.create(application=application, state="done", created_at=IN, finished_at=IN + timedelta(seconds=2))
    return Prediction.objects.create(
        application=application, scoring_job=job, model_version=champion, probability=probability, log_odds=0, baseline=0, grade="C",
        points=600, contributions={}, reasons=[], advice="decline",
    )  # fmt: skip


def test_an_idle_desk_says_what_it_cannot_say(champion):
    found, notes = figures(champion)
    assert found == {}
    for said in ("Decisions: 0 final", "Demand: no kept forecast", "Fraud flags: 0", "Operations: no scoring job", "Early signals"):
        assert said in notes


def test_overrides_how_they_turned_out_and_operations(champion):
    officer, second = User.objects.create_user("officer"), User.objects.create_user("senior")
    for number in range(40):
        application = make_application()
        prediction = predicted(champion, application, 0.4)
        overruled = number < 20
        Decision.objects.create(
            application=application, outcome="approve" if overruled else "decline", officer=officer, reason="x", reason_text="x",
            prediction=prediction, advice="decline", override=overruled,
            second=second if overruled else None, created_at=IN,
        )  # fmt: skip
        if number < 10:
            LoanOutcome.objects.create(application=application, state="default" if number < 5 else "repaid")
    ScoringJob.objects.filter(application__decisions__override=True).update(attempts=2)
    late, failed = make_application(), make_application()
    ScoringJob.objects.create(application=late, state="done", created_at=IN, finished_at=IN + timedelta(seconds=300))
    ScoringJob.objects.create(application=failed, state="failed", created_at=IN)
    outside = make_application()
    ScoringJob.objects.create(application=outside, state="failed", created_at=AFTER)
    found, notes = figures(champion)
    assert found["approval_rate"].value == 0.5
    override = found["override_rate"]
    assert (override.value, override.breach, override.grave) == (0.5, True, False)
    assert override.low < 0.5 < override.high
    turned_out = found["override_default"]
    assert (turned_out.value, turned_out.baseline, turned_out.detail["of"]) == (0.5, pytest.approx(0.4), 10)
    assert found["latency_p50"].value == pytest.approx(2)
    assert found["throughput"].value == pytest.approx(41 / 31)
    assert found["failures"].value == pytest.approx(1 / 42)
    assert not found["failures"].breach  # one of 42 may be chance
    assert found["retries"].value == pytest.approx(20 / 42)


def test_flags_that_are_mostly_for_nothing_ring(champion):
    by = User.objects.create_user("investigator")
    for number in range(120):
        FraudFlag.objects.create(
            application=make_application(), severity=2, score=0.3, expected_loss=1, state="confirmed" if number < 2 else "cleared",
            disposed_by=by, disposed_at=IN, created_at=IN,
        )  # fmt: skip
    FraudFlag.objects.create(application=make_application(), kind="sample", severity=0, score=0.3, expected_loss=1, created_at=IN)
    precision = figures(champion)[0]["fraud_precision"]
    assert precision.value == pytest.approx(2 / 120)
    assert precision.breach


def test_a_vintage_that_goes_bad_early_rings_before_any_default(champion):
    old, new = datetime(2025, 6, 1, tzinfo=UTC), IN
    for number in range(160):
        vintage = number < 80
        started = new if vintage else old
        late = number % 5 == 0 if vintage else number % 40 == 0
        LoanOutcome.objects.create(
            application=make_application(submitted_at=started), state="immature", observed_on=(started + timedelta(days=100)).date(),
            past_due_30_on=(started + timedelta(days=70)).date() if late else None,
        )  # fmt: skip
    early = figures(champion)[0]["early_bad"]
    assert (early.value, early.baseline, early.breach) == (0.2, 0.025, True)
    assert "3 months" in early.title
    months = early.detail["months"]
    assert [month["bad"] for month in months] == [0, 0, 16]


def test_the_figures_queries_do_not_grow_with_the_rows(champion, django_assert_max_num_queries):
    with django_assert_max_num_queries(14), connection.cursor():
        figures(champion)
