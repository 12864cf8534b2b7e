"""A version in shadow scores the same applications and decides nothing."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction

from loans.models import Decision, LoanApplication, ModelEvent, ModelVersion, Policy, Prediction
from loans.services import registry, scoring, shadow
from tests.factories import fit_model, make_champion, make_pending

pytestmark = pytest.mark.django_db


@pytest.fixture
def shadowed(artifacts):
    """(champion, the version in shadow)"""
    champion = make_champion(seed=1)
    second = registry.register(
        kind="default_risk", model=fit_model(seed=2), algorithm="logistic", report={}, fingerprint="", synthetic=False, created_by=None
    )
    return champion, shadow.start(second, by=None, reason="Let us see.")


def test_the_shadow_scores_what_the_champion_scores_and_shows_nowhere(shadowed, client):
    champion, second = shadowed
    Policy.objects.create(approve_below=0.2, decline_from=0.4, reason="For this test.")
    jobs = make_pending(5)
    assert scoring.score_pending().stored == 5
    real, dark = Prediction.objects.filter(shadow=False), Prediction.objects.filter(shadow=True)
    assert set(real.values_list("model_version", flat=True)) == {champion.pk} and real.count() == 5
    assert set(dark.values_list("model_version", flat=True)) == {second.pk} and dark.count() == 5
    assert set(dark.values_list("advice", "policy")) == {("", None)} and "" not in set(real.values_list("advice", flat=True))
    for job in jobs:
        application = LoanApplication.objects.get(pk=job.application_id)
        assert application.default_probability == real.get(application=application).probability
        assert Prediction.objects.latest_of(application).model_version_id == champion.pk


def test_a_shadow_that_fails_costs_no_score(shadowed, monkeypatch):
    champion, _ = shadowed
    whole = registry.model_of

    class Broken:
        schema = whole(champion).schema

        def score(self, *rows):
            raise ValueError("boom")

    monkeypatch.setattr(registry, "model_of", lambda version: whole(version) if version.is_champion else Broken())
    make_pending(3)
    assert scoring.score_pending().stored == 3
    assert Prediction.objects.count() == 3 and not Prediction.objects.filter(shadow=True).exists()


def test_what_the_database_refuses_of_a_shadow_costs_no_score(shadowed, monkeypatch):
    whole = shadow.predictions

    def out_of_range(jobs, **more):
        rows = whole(jobs, **more)
        rows[0].probability = 2.0
        return rows

    monkeypatch.setattr(shadow, "predictions", out_of_range)
    make_pending(3)
    assert scoring.score_pending().stored == 3
    assert not Prediction.objects.filter(shadow=True).exists()


def test_a_second_attempt_goes_without_the_shadow(shadowed):
    (job,) = make_pending(1)
    type(job).objects.filter(pk=job.pk).update(attempts=1)
    assert scoring.score_pending().stored == 1
    assert not Prediction.objects.filter(shadow=True).exists()


def test_the_database_refuses_a_decision_that_rests_on_a_shadow(shadowed, django_user_model):
    (job,) = make_pending(1)
    scoring.score_pending()
    officer = django_user_model.objects.create_user("officer")
    fields = {"application_id": job.application_id, "outcome": "refer", "officer": officer, "reason": "other", "reason_text": "Other"}
    with pytest.raises(IntegrityError, match="never reaches a decision"), transaction.atomic():
        Decision.objects.create(prediction=Prediction.objects.get(shadow=True), **fields)
    with pytest.raises(IntegrityError, match="shadow_advises_nothing"), transaction.atomic():
        Prediction.objects.bulk_create([_copy(Prediction.objects.get(shadow=True), advice="approve")])
    Decision.objects.create(prediction=Prediction.objects.get(shadow=False), **fields)


def _copy(prediction, **fields):
    values = {field.attname: getattr(prediction, field.attname) for field in Prediction._meta.concrete_fields if not field.primary_key}
    return Prediction(**(values | fields))


def test_one_at_a_time_and_the_time_is_counted_over_spells(shadowed):
    from datetime import timedelta

    _, second = shadowed
    third = registry.register(
        kind="default_risk", model=fit_model(seed=3), algorithm="logistic", report={}, fingerprint="", synthetic=False, created_by=None
    )
    with pytest.raises(shadow.NotShadowable, match="one at a time"):
        shadow.start(third, by=None, reason="Me too.")
    ModelVersion.objects.filter(pk=second.pk).update(shadow_since=second.shadow_since - timedelta(days=3))
    stopped = shadow.stop(second, by=None, reason="Enough.")
    assert (stopped.state, round(stopped.shadow_seconds / 86_400, 2)) == ("challenger", 3.0)
    again = shadow.start(stopped, by=None, reason="Not enough.")
    assert shadow.time_in(again) >= timedelta(days=3)
    told = list(ModelEvent.objects.filter(version=second).order_by("pk").values_list("action", "reason"))
    assert told[1:] == [("shadow_started", "Let us see."), ("shadow_stopped", "Enough."), ("shadow_started", "Not enough.")]


def test_only_default_risk_runs_in_shadow_and_never_the_champion(shadowed):
    champion, second = shadowed
    with pytest.raises(shadow.NotShadowable, match="is champion"):
        shadow.start(champion, by=None, reason="No.")
    ModelVersion.objects.filter(pk=second.pk).update(kind="loan_amount", version=9)
    with pytest.raises(shadow.NotShadowable, match="Only default-risk"):
        shadow.start(second, by=None, reason="No.")


def test_the_api_lists_no_shadow(shadowed, admin_client):
    make_pending(2)
    scoring.score_pending()
    found = admin_client.get("/api/v1/predictions/").json()["results"]
    assert len(found) == 2 and {row["model"]["version"] for row in found} == {1}


def test_what_was_scored_without_it_is_made_up_for_once(shadowed, monkeypatch):
    from datetime import timedelta

    monkeypatch.setattr(shadow, "CATCH_UP_AFTER", timedelta(0))
    monkeypatch.setattr(shadow, "_seen", {})
    (first, second) = make_pending(2)
    type(first).objects.filter(pk=second.pk).update(attempts=1)
    assert scoring.score_pending().stored == 2
    assert list(Prediction.objects.filter(shadow=True).values_list("scoring_job", flat=True)) == [first.pk]
    assert [shadow.catch_up() for _ in range(2)] == [1, 0]
    assert set(Prediction.objects.filter(shadow=True).values_list("scoring_job", flat=True)) == {first.pk, second.pk}
