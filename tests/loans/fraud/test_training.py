"""Fraud models are versions like all others: trained by a run, registered, promoted, and used where they serve."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.urls import reverse
from django.utils import timezone

from loans.models import FraudAssessment, FraudLabel, LoanApplication, ModelVersion, TrainingRun
from loans.services import registry, training
from loans.services.fraud import learning
from loans.tasks import train_fraud
from mlcore import artifacts as stored
from tests.factories import START, make_pending, promoted
from tests.loans.fraud.conftest import assess

pytestmark = pytest.mark.django_db

CASES = 120


@pytest.fixture
def many(starter) -> None:
    make_pending(250, status="open")


@pytest.fixture
def owner(client, db):
    user = User.objects.create_user("olga", is_staff=True)
    user.groups.add(Group.objects.get(name="Model owners"))
    client.force_login(user)
    return client


@pytest.fixture
def few_findings_suffice(monkeypatch):
    """The least number of findings is a constant; what it is compared with is not. One rung, so that it takes a second."""
    from mlcore.fraud import train

    fit = train.train_fraud
    monkeypatch.setattr(train, "train_fraud", lambda *args, **more: fit(*args, **more, least=(30, 30), rungs=("logistic",)))


def findings(count: int = CASES) -> list[LoanApplication]:
    """Applications with a finding each, its delay over: those with little income for a large amount were frauds."""
    rows = LoanApplication.objects.bulk_create(
        [
            LoanApplication(
                external_reference=f"F-{i:04d}", submitted_at=START + timedelta(hours=i), amount=15_000 if i % 3 == 0 else 5_000 + 10 * i,
                annual_income=20_000 + 50 * i if i % 3 == 0 else 60_000 + 90 * i, status="open",
            )
            for i in range(count)
        ]
    )  # fmt: skip
    known = timezone.now() - timedelta(days=40)
    FraudLabel.objects.bulk_create(
        [
            FraudLabel(application=row, fraud=i % 3 == 0, sampled=i % 20 == 1, known_at=known, learn_from=known + timedelta(days=30))
            for i, row in enumerate(rows)
        ]
    )
    return rows


def train(seed: int = 0) -> ModelVersion:
    done = training.run_training(training.start_training("fraud", by=None, seed=seed, wake=False).pk)
    assert done.state == "done", done.error
    return done.model_version


def test_a_model_of_findings_is_learned_judged_beside_the_parts_and_used(artifacts, many, few_findings_suffice, owner, settings):
    settings.FRAUD_SAMPLE_SHARE = 0.25
    rows = findings()
    version = train()
    assert version.is_champion and version.algorithm == "anomaly+logistic" and version.promotion_reason == "The first of its kind."
    judged = version.report["judged"]
    assert judged["how"] == "time" and judged["train"]["until"] <= judged["test"]["from"]
    assert judged["train"]["cases"] + judged["test"]["cases"] == CASES
    figures = judged["figures"]
    assert set(figures) == {"rules", "anomaly", "weights", "supervised", "merged"}
    assert figures["merged"]["auc"]["value"] > 0.95 > figures["weights"]["auc"]["value"]
    assert judged["gain"]["low"] > 0 and judged["probability"]["log_loss"] < judged["probability"]["prior_log_loss"]
    assert version.report["labels"]["sampled"] == CASES // 20
    assess(*rows[-6:])
    found = FraudAssessment.objects.filter(application__in=rows[-6:])
    assert {row.model_id for row in found} == {version.pk} and all(row.calibrated for row in found)
    probability = {row.application.external_reference: row.probability for row in found}
    frauds = {name: value for name, value in probability.items() if int(name[2:]) % 3 == 0}
    assert min(frauds.values()) > 0.2 > max(value for name, value in probability.items() if name not in frauds)
    flag = rows[-3].fraud_flags.get()
    assert flag.calibrated and "Like confirmed frauds" in flag.in_words and flag.score == pytest.approx(frauds[str(rows[-3])])
    page = owner.get(reverse("admin:loans_modelversion_change", args=[version.pk])).content.decode()
    assert "All together, as it serves" in page and "No score here is" not in page and "better than" in page
    (row,) = owner.get("/api/v1/models/?kind=fraud").json()["results"]
    assert row["figures"]["auc"] == figures["merged"]["auc"] and row["rows"] == 250 + CASES
    assert "What each part is worth" in owner.get(reverse("admin:loans_modelversion_card", args=[version.pk])).content.decode()


def test_with_too_few_findings_anomaly_serves_and_it_says_so(artifacts, many, owner):
    findings(30)
    out = StringIO()
    call_command("train", "fraud", stdout=out)
    version = ModelVersion.objects.get(kind="fraud")
    assert (
        "Fraud v1 (anomaly) serves now" in out.getvalue()
        and "10 confirmed and 20 cleared cases; a model takes 200 and 200" in out.getvalue()
    )
    assert version.report["supervised"] is None and version.report["choice"]["title"] == "Anomaly alone"
    assert version.report["judged"]["how"] == "all" and set(version.report["judged"]["figures"]) == {"rules", "anomaly", "weights"}
    last = LoanApplication.objects.get(external_reference="F-0029")
    assess(last)
    row = FraudAssessment.objects.get(application=last)
    assert row.model == version and 0 <= row.unusual <= 1 and row.probability is None and not row.calibrated
    page = owner.get(reverse("admin:loans_modelversion_change", args=[version.pk])).content.decode()
    assert "It has no part that was learned from findings: there are 10 confirmed and 20 cleared, it takes 200 and 200." in page
    assert "<td>Anomaly alone</td>" in page and "0.5" in page
    assert "Anomaly alone" in owner.get(reverse("admin:loans_modelversion_changelist")).content.decode()


def test_nothing_to_learn_from_is_a_failed_run_that_says_what_is_missing(artifacts, starter):
    make_pending(10, status="open")
    run = training.run_training(training.start_training("fraud", by=None, wake=False).pk)
    assert run.state == "failed" and "10 applications are too few" in run.error and "0 confirmed and 0 cleared" in run.error
    assert not ModelVersion.objects.filter(kind="fraud").exists()


def test_the_clock_trains_only_where_there_is_something_to_learn(artifacts, starter):
    train_fraud()
    assert not TrainingRun.objects.exists()
    make_pending(250)
    train_fraud()
    train_fraud()
    assert TrainingRun.objects.get().kind == "fraud"


def test_a_second_version_waits_for_promotion_and_is_followed_at_once(artifacts, many):
    first, second = train(), train(seed=1)
    assert first.is_champion and second.state == "candidate"
    last = LoanApplication.objects.last()
    assess(last)
    assert FraudAssessment.objects.get(application=last).model == first
    promoted(second)
    assess(last)
    assert FraudAssessment.objects.get(application=last).model == second


def test_a_forged_artifact_is_refused_and_leaves_applications_unassessed(artifacts, many):
    version = train()
    registry._loaded.clear()
    path = next((artifacts / version.artifact).glob("*.json")) if (artifacts / version.artifact).is_dir() else artifacts / version.artifact
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(stored.ArtifactError):
        registry.champion("fraud")
    last = LoanApplication.objects.last()
    assess(last)
    assert FraudAssessment.objects.get(application=last).state == "failed"


def test_one_of_the_sample_stands_for_many(settings):
    settings.FRAUD_SAMPLE_SHARE = 0.02
    rows = findings(3)
    assert learning.ripe_labels() == {rows[0].pk: (True, 1.0), rows[1].pk: (False, 50.0), rows[2].pk: (False, 1.0)}
