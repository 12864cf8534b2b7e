from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.db.models.functions import Now
from django.urls import reverse

from loans.models import LoanApplication, ModelVersion, Prediction, TrainingRun
from loans.services import registry, scoring, training, training_rows
from tests.factories import make_application, make_champion, make_outcomes, make_pending

pytestmark = pytest.mark.django_db


@pytest.fixture
def quick(monkeypatch):
    """Two rungs instead of the whole ladder: what is tested here is the run, not the fit."""
    from mlcore.risk import train

    whole = train.train_default_risk
    monkeypatch.setattr(train, "train_default_risk", lambda data, **more: whole(data, rungs=["prior", "logistic"], **more))


def test_from_outcomes_to_a_serving_model_and_scores(artifacts, quick):
    make_outcomes(1500)
    steps = []
    run = training.start_training("default_risk", by=None, wake=False)
    done = training.run_training(run.pk, progress=lambda share, step: steps.append((share, step)))
    assert done.state == "done", done.error
    assert done.rows == 1500
    assert done.peak_memory_mb > 0
    version = done.model_version
    assert version.is_champion
    assert version.algorithm == "logistic"
    assert version.report["champion"]["figures"]["auc"]["value"] > 0.6
    assert [share for share, _ in steps] == sorted(share for share, _ in steps)
    risky, safe = make_application(debt_to_income=0.59, annual_income=15_000), make_application(debt_to_income=0.02, annual_income=150_000)
    for application in (risky, safe):
        scoring.request_score(application)
    scoring.score_pending()
    risky.refresh_from_db()
    safe.refresh_from_db()
    assert risky.default_probability > 2 * safe.default_probability
    reasons = Prediction.objects.get(application=risky).reasons
    assert reasons[0]["direction"] == "against"
    assert reasons[0]["text"] in ("Excessive obligations in relation to income", "Income insufficient for amount of credit requested")


def test_of_too_many_loans_a_sample_is_learned_from_with_weights_and_its_report_says_so(artifacts, quick, settings, client):
    settings.TRAINING_MOST_ROWS, settings.SECURE_SSL_REDIRECT = 900, False
    make_outcomes(1500)
    found = training_rows.gathered("default_risk", seed=0)
    assert abs(len(found.data) - 900) < 100 and found.data.weight.sum() == pytest.approx(1500, rel=0.02)
    rows = LoanApplication.objects.in_bulk(found.loans.application_ids.tolist())
    for place in range(0, len(found.data), 97):
        row = rows[int(found.loans.application_ids[place])]
        assert (row.outcome.state == "default") == bool(found.data.default[place])
        assert float(row.amount) == found.data.frame["amount"][place]
    settings.TRAINING_MOST_ROWS = 0
    whole = training_rows.gathered("default_risk", seed=0)
    assert (len(whole.data), whole.data.weight, whole.sample) == (1500, None, {})
    assert whole.loans.fingerprint == found.loans.fingerprint
    assert whole.labels.report() == found.labels.report()
    settings.TRAINING_MOST_ROWS = 900
    run = training.run_training(training.start_training("default_risk", by=None, wake=False).pk)
    assert run.state == "done" and run.rows == len(found.data), run.error
    words = run.model_version.report["sample"]["in_words"]
    assert f"Learned from {run.rows:,} of 1,500 loans" in words and "weighted" in words
    client.force_login(get_user_model().objects.create_superuser("root"))
    for page in (f"/admin/loans/trainingrun/{run.pk}/change/", reverse("admin:loans_modelversion_card", args=[run.model_version.pk])):
        assert words in client.get(page).content.decode(), page


def test_amounts_are_learned_from_an_even_sample(artifacts, settings):
    settings.TRAINING_MOST_ROWS = 900
    make_outcomes(1500)
    found = training_rows.gathered("loan_amount", seed=0)
    assert abs(len(found.data) - 900) < 80 and found.data.weight is None and found.cut is None
    assert "equal chances" in found.sample["in_words"]


def test_the_same_data_and_seed_give_the_same_model(artifacts, quick):
    make_outcomes(600)
    versions = []
    for _ in range(2):
        run = training.start_training("default_risk", by=None, wake=False)
        versions.append(training.run_training(run.pk).model_version)
    assert versions[0].sha256 == versions[1].sha256
    assert versions[0].data_fingerprint == versions[1].data_fingerprint
    assert [version.is_champion for version in ModelVersion.objects.order_by("version")] == [True, False]


def test_nothing_to_learn_from_is_said(artifacts):
    run = training.start_training("default_risk", by=None, wake=False)
    done = training.run_training(run.pk)
    assert done.state == "failed"
    assert "import_loans" in done.error
    assert not ModelVersion.objects.exists()


def test_one_training_at_a_time(artifacts):
    training.start_training("default_risk", by=None, wake=False)
    with pytest.raises(training.TrainingAlreadyActive):
        training.start_training("default_risk", by=None, wake=False)


def test_a_cancelled_run_keeps_nothing(artifacts, quick, monkeypatch):
    make_outcomes(600)
    monkeypatch.setattr(training, "REPORT_EVERY_SECONDS", 0)
    run = training.start_training("default_risk", by=None, wake=False)

    def cancel_at_half(share, step):
        if share > 0.3:
            training.cancel(TrainingRun.objects.get(pk=run.pk), by=None)

    done = training.run_training(run.pk, progress=cancel_at_half)
    assert done.state == "cancelled"
    assert not ModelVersion.objects.exists()
    assert not list(artifacts.glob("*"))


def test_a_run_whose_worker_died_is_taken_up_and_the_late_result_dropped(artifacts, quick, monkeypatch):
    make_outcomes(600)
    run = training.start_training("default_risk", by=None, wake=False)
    late = training._claim(run.pk)
    TrainingRun.objects.filter(pk=run.pk).update(lease_until=Now() - timedelta(seconds=1))
    assert training.orphaned_runs() == [run.pk]
    assert training.run_training(run.pk).state == "done"
    with pytest.raises(training.TrainingTakenOver):
        training._train(late, lambda share, step: None)
    assert ModelVersion.objects.count() == 1


def test_a_run_that_kills_its_worker_three_times_fails(artifacts):
    run = training.start_training("default_risk", by=None, wake=False)
    for _ in range(training.MAX_ATTEMPTS):
        assert training._claim(run.pk)
        TrainingRun.objects.filter(pk=run.pk).update(lease_until=Now() - timedelta(seconds=1))
    assert training.orphaned_runs() == []
    run.refresh_from_db()
    assert run.state == "failed"
    assert "died" in run.error


def test_promotion_retires_the_champion_and_scores_with_the_new_one_at_once(artifacts):
    first, second = make_champion(seed=1), make_champion(seed=2)
    first.refresh_from_db()
    assert (first.state, second.state) == ("retired", "champion")
    (job,) = make_pending(1)
    scoring.score_now(job.pk)
    assert Prediction.objects.get().model_version == second
    registry.roll_back("default_risk", by=None, reason="Worse.")
    assert registry.champion().version == first


def test_an_altered_artifact_serves_nobody(artifacts):
    from mlcore.artifacts import ArtifactError

    version = make_champion()
    path = artifacts / version.artifact
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)
    registry._loaded.clear()
    (job,) = make_pending(1)
    with pytest.raises(ArtifactError):
        registry.champion()
    with pytest.raises(ArtifactError):
        registry.promote(version, by=None, reason="x", how="approved") if not version.is_champion else registry.load(version)
    assert not LoanApplication.objects.filter(default_probability__isnull=False).exists()


def test_a_cluster_that_is_not_there_is_said(artifacts, settings, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "distributed", None)
    settings.TRAINING_SCHEDULER = "tcp://127.0.0.1:8786"
    run = training.start_training("default_risk", by=None, wake=False)
    failed = training.run_training(run.pk)
    assert failed.state == "failed"
    assert "pip install distributed" in failed.error
