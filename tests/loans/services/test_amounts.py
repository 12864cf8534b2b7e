from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError, transaction

from loans.models import AmountEstimate, ModelVersion, Prediction
from loans.services import amounts, scoring, training
from tests.factories import make_application, make_champion, make_outcomes

pytestmark = pytest.mark.django_db


@pytest.fixture
def amount_champion(artifacts):
    make_champion()
    make_outcomes(600)
    run = training.start_training("loan_amount", by=None, wake=False)
    done = training.run_training(run.pk)
    assert done.state == "done", done.error
    return done.model_version


def test_an_amount_model_is_trained_beside_its_baseline_and_gives_ranges_with_scores(amount_champion):
    assert "in_words" in amount_champion.report
    poor = make_application(annual_income=12_000, debt_to_income=0.4, amount=20_000, term_months=36)
    rich = make_application(annual_income=200_000, debt_to_income=0.05, amount=20_000, term_months=36)
    for application in (poor, rich):
        scoring.request_score(application)
    assert scoring.score_pending().stored == 2
    small, large = AmountEstimate.objects.latest_of(poor), AmountEstimate.objects.latest_of(rich)
    assert small.high <= small.cap < large.cap
    assert small.capped
    assert small.low <= small.middle <= small.high
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        AmountEstimate.objects.filter(pk=small.pk).update(high=1)


def test_the_range_is_in_the_application_s_answer(amount_champion, client):
    staff = get_user_model().objects.create_superuser("root")
    application = make_application(annual_income=60_000)
    scoring.request_score(application)
    scoring.score_pending()
    client.force_login(staff)
    answer = client.get(f"/api/v1/applications/{application.pk}/").json()
    estimate = AmountEstimate.objects.get()
    assert answer["amount_range"]["middle"] == f"{estimate.middle:.2f}"
    assert answer["amount_range"]["model"]["kind"] == "loan_amount"


def test_an_amount_model_that_fails_costs_no_score(amount_champion, monkeypatch):
    def broken(jobs):
        raise ValueError("boom")

    monkeypatch.setattr(amounts, "estimates", broken)
    application = make_application()
    scoring.request_score(application)
    assert scoring.score_pending().stored == 1
    assert Prediction.objects.count() == 1
    assert not AmountEstimate.objects.exists()


def test_one_champion_of_each_kind(amount_champion):
    assert sorted(version.kind for version in ModelVersion.objects.filter(state="champion")) == ["default_risk", "loan_amount"]
