"""The gate: what a version has to show, whose approval it takes, and that the database holds the same."""

from __future__ import annotations

import copy
import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from loans.models import (
    Alert,
    CheckState,
    LoanApplication,
    ModelEvent,
    ModelVersion,
    Prediction,
    PromotionCheck,
    PromotionPolicy,
)
from loans.services import promotion, registry, scoring, shadow, training
from tests.factories import fit_model, make_champion, make_outcomes, make_pending

LEARNED = datetime(2019, 12, 1, tzinfo=UTC)
"""Before all that `make_outcomes` makes."""


def register(seed, by=None, until=LEARNED, **report):
    return registry.register(
        kind="default_risk",
        model=fit_model(seed=seed),
        algorithm="logistic",
        report=report,
        fingerprint="",
        synthetic=False,
        created_by=by,
        learned_until=until,
    )


def policy(**fields):
    return PromotionPolicy.objects.create(
        **{"shadow_days": 0, "shadow_scores": 0, "least_rows": 300, "least_defaults": 20, "reason": "For this test.", **fields}
    )


@pytest.fixture
def people(django_user_model):
    return {name: django_user_model.objects.create_user(name) for name in ("trainer", "second")}


@pytest.fixture
def twins(artifacts, people, db):
    """(champion, a challenger that answers the same), trained before 700 loans whose outcome is known."""
    make_outcomes(700, seed=1)
    return register(1), register(1, by=people["trainer"])


def statuses(found):
    return dict(found.findings.values_list("code", "status"))


@pytest.mark.django_db
def test_a_version_as_good_passes_and_a_second_person_lets_it_serve(twins, people):
    champion, second = twins
    policy(reasons_agreement=0.5)
    found = promotion.check(second, by=people["trainer"], reason="As good.")
    assert found.state == CheckState.OPEN and found.against == champion
    made = statuses(found)
    assert set(made) == {"artifact", "data", "rows", "auc", "brier", "oe", "fairness", "reasons", "shadow"}
    assert made.pop("fairness") == "look" and set(made.values()) == {"passed"}
    assert found.evidence["known"] == 700 and found.limits["auc_margin"] == 0.005
    with pytest.raises(promotion.NotApprovable, match="You trained this version"):
        promotion.approve(found, by=people["trainer"], reason="Mine.")
    assert registry.champion().version == champion
    (waits,) = Alert.objects.filter(metric="approval")
    assert waits.is_unclosed and "waits for a second person" in waits.text and waits.model_version == second
    serving = promotion.approve(found, by=people["second"], reason="Looks right.")
    waits.refresh_from_db()
    assert not waits.is_unclosed and waits.note == "It was approved."
    assert registry.champion().version == serving == second and serving.promoted_how == "approved"
    assert serving.promoted_by == people["second"] and serving.predecessor == champion
    told = list(ModelEvent.objects.filter(version=second).order_by("pk").values_list("action", flat=True))
    assert told == ["trained", "checked", "approved", "promoted"]
    with pytest.raises(promotion.NotApprovable, match="over"):
        promotion.approve(found, by=people["second"], reason="Again.")


@pytest.mark.django_db
def test_too_few_later_loans_too_little_shadow_and_worse_reasons_stop_it(artifacts, people):
    make_outcomes(200, seed=1)
    champion, second = register(1), register(2, by=people["trainer"])
    found = promotion.check(second, by=people["trainer"], reason="Try.")
    assert found.state == CheckState.FAILED
    assert statuses(found) == {"artifact": "passed", "data": "passed", "rows": "failed", "shadow": "failed"}
    with pytest.raises(promotion.NotApprovable, match="did not pass"):
        promotion.approve(found, by=people["second"], reason="All the same.")
    assert registry.champion().version == champion


@pytest.mark.django_db
def test_loans_that_either_version_learned_from_do_not_judge(artifacts, people):
    make_outcomes(700, seed=1)
    policy()
    days = LoanApplication.objects.order_by("submitted_at").values_list("submitted_at", flat=True)
    register(1), register(2, until=days[499])
    found = promotion.check(ModelVersion.objects.get(version=2), by=people["trainer"], reason="Try.")
    assert found.evidence["known"] == 200 and found.evidence["from"] > days[499].isoformat()


@pytest.mark.django_db
def test_a_model_that_ranks_worse_does_not_pass(artifacts, people):
    """One that gives everybody the same probability."""
    make_outcomes(700, seed=1)
    policy(reasons_agreement=0)
    register(1)
    worse = copy.deepcopy(fit_model(seed=1))
    worse.rung.coefficients_ = worse.rung.coefficients_ * 0
    version = registry.register(
        kind="default_risk", model=worse, algorithm="x", report={}, fingerprint="", synthetic=False, created_by=None, learned_until=LEARNED
    )
    found = promotion.check(version, by=people["trainer"], reason="Try.")
    assert found.state == CheckState.FAILED and statuses(found)["auc"] == "failed"
    assert found.evidence["figures"]["auc"]["difference"]["high"] < 0


@pytest.mark.django_db
def test_a_blocking_finding_stops_the_rule_and_not_the_person(artifacts, people):
    make_outcomes(700, seed=1)
    policy(automatic=True, reasons_agreement=0.0)
    register(1)
    leaking = register(1, by=people["trainer"], leakage={"blocking": True, "findings": [{"severity": "leak", "message": "Knows it."}]})
    found = promotion.check(leaking, by=people["trainer"], reason="Try.")
    assert found.state == CheckState.OPEN and not found.automatic and statuses(found)["data"] == "look"
    with pytest.raises(promotion.NotApprovable, match="person has to approve"):
        promotion.approve(found, by=None, reason="By rule.")
    assert promotion.approve(found, by=people["second"], reason="Explained.").is_champion


@pytest.mark.django_db
def test_what_is_stale_is_asked_again(twins, people):
    champion, second = twins
    third = register(1, by=people["trainer"])
    policy(reasons_agreement=0.5)
    one, other = (promotion.check(version, by=people["trainer"], reason="Try.") for version in (second, third))
    promotion.approve(one, by=people["second"], reason="First come.")
    with pytest.raises(promotion.NotApprovable, match="does not serve any more"):
        promotion.approve(other, by=people["second"], reason="Me too.")
    again = promotion.check(third, by=people["trainer"], reason="Try.")
    again.created_at = timezone.now() - timedelta(days=8)
    assert "older than 7 days" in promotion.why_not(again, people["second"])


@pytest.mark.django_db
def test_nobody_approves_alone_what_the_schedule_trained(artifacts, people):
    make_outcomes(700, seed=1)
    policy(reasons_agreement=0.5)
    register(1)
    found = promotion.check(register(1), by=people["trainer"], reason="Try.")
    with pytest.raises(promotion.NotApprovable, match="you asked for its promotion"):
        promotion.approve(found, by=people["trainer"], reason="Alone.")
    assert promotion.refuse(found, by=people["trainer"], reason="No, after all.").state == CheckState.REFUSED
    assert Alert.objects.get(metric="approval").note == "It was refused."


@pytest.mark.django_db
def test_the_database_refuses_what_the_service_would_not_do(twins, people):
    champion, second = twins
    policy(reasons_agreement=0.5)
    found = promotion.check(second, by=people["trainer"], reason="Try.")

    def refused(what, **fields):
        with pytest.raises(IntegrityError, match=what), transaction.atomic():
            PromotionCheck.objects.filter(pk=found.pk).update(decided_at=timezone.now(), **fields)

    refused("second person", state="approved", decided_by=people["trainer"])
    refused("by a person, or by a policy", state="approved")
    refused("approved or refused once", evidence={})
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        PromotionCheck.objects.filter(pk=found.pk)._raw_delete(using="default")
    with pytest.raises(IntegrityError, match="begins as open"), transaction.atomic():
        PromotionCheck.objects.create(version=second, against=champion, state="approved", reason="x", decided_at=timezone.now())
    ModelVersion.objects.filter(pk=champion.pk).update(state="retired")
    for how in ("approved", "automatic", "first", "rolled_back", ""):
        with pytest.raises(IntegrityError, match="approved promotion check"), transaction.atomic():
            ModelVersion.objects.filter(pk=second.pk).update(state="champion", promoted_how=how)
    with pytest.raises(IntegrityError, match="approved promotion check"), transaction.atomic():
        ModelVersion.objects.create(kind="default_risk", version=9, state="champion", algorithm="x", artifact="x", sha256="x")


@pytest.mark.django_db
def test_by_the_clock_and_by_rule(artifacts, people):
    make_outcomes(700, seed=1)
    from loans.models import ProtectedAttributes

    ids = LoanApplication.objects.values_list("pk", flat=True)
    ProtectedAttributes.objects.bulk_create([ProtectedAttributes(application_id=pk, values={"sex": "fm"[pk % 2]}) for pk in ids])
    policy(shadow_days=2, shadow_scores=3, reasons_agreement=0.5, automatic=True)
    _, second = register(1), register(1)
    shadow.start(second, by=None, reason="Let us see.")
    make_pending(3)
    scoring.score_pending()
    assert promotion.check_due() == 0
    ModelVersion.objects.filter(pk=second.pk).update(shadow_since=timezone.now() - timedelta(days=2))
    assert promotion.check_due() == 1
    found = PromotionCheck.objects.get()
    assert set(statuses(found).values()) == {"passed"} and found.state == CheckState.APPROVED and found.decided_by is None
    assert not Alert.objects.filter(metric="approval").exists(), "nobody is asked for what a rule decides"
    serving = registry.champion().version
    assert serving == second and serving.promoted_how == "automatic" and serving.shadow_seconds > 2 * 86_400 - 60
    assert promotion.check_due() == 0


@pytest.mark.django_db
def test_a_version_that_did_not_pass_is_asked_again_after_a_day(artifacts, monkeypatch):
    policy(shadow_days=0)
    register(1)
    shadow.start(register(2), by=None, reason="Let us see.")
    assert promotion.check_due() == 1 and promotion.check_due() == 0
    later = timezone.now() + timedelta(hours=25)
    monkeypatch.setattr(promotion.timezone, "now", lambda: later)
    assert promotion.check_due() == 1


@pytest.mark.django_db
def test_a_new_training_leaves_the_latest_loans_to_judge_and_goes_into_shadow(artifacts, monkeypatch):
    from mlcore.risk import train

    whole = train.train_default_risk
    monkeypatch.setattr(train, "train_default_risk", lambda data, **more: whole(data, rungs=["prior", "logistic"], **more))
    make_outcomes(600, seed=1)
    policy(least_rows=100, least_defaults=5, shadow_days=1)
    first = training.run_training(training.start_training("default_risk", by=None, wake=False).pk).model_version
    assert first.is_champion and first.report["held_back"]["rows"] == 0
    LoanApplication.objects.update(submitted_at=timezone.now() - timedelta(days=900))
    ModelVersion.objects.update(learned_until=timezone.now() - timedelta(days=899))
    make_outcomes(400, seed=2)
    newer = list(LoanApplication.objects.filter(external_reference__startswith="H-2"))
    for number, application in enumerate(newer):
        application.submitted_at = timezone.now() - timedelta(days=800 - number)
    LoanApplication.objects.bulk_update(newer, ["submitted_at"])
    run = training.run_training(training.start_training("default_risk", by=None, wake=False).pk)
    assert run.state == "done", run.error
    second = run.model_version
    second.refresh_from_db()
    assert second.report["held_back"]["rows"] == 200 and run.rows == 800
    assert second.state == "shadow"
    found = promotion.check(second, by=None, reason="Try.")
    assert found.evidence["known"] == 200 and found.evidence["learned_from"] == []
    third = training.run_training(training.start_training("default_risk", by=None, wake=False).pk).model_version
    third.refresh_from_db()
    assert third.state == "candidate"


@pytest.mark.django_db(transaction=True)
def test_twenty_promotions_at_once_leave_one_champion(artifacts, django_user_model):
    first = make_champion(seed=1)
    second = django_user_model.objects.create_user("second")
    versions = [register(1) for _ in range(20)]
    checks = [PromotionCheck.objects.create(version=version, against=first, state="open", reason="x") for version in versions]
    start, ended = threading.Barrier(20), []

    def approve(check):
        try:
            start.wait()
            promotion.approve(check, by=second, reason="Me.")
            ended.append("serves")
        except registry.NotPromotable:
            ended.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=approve, args=[check]) for check in checks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ended) == ["refused"] * 19 + ["serves"]
    serving = ModelVersion.objects.get(state="champion")
    assert registry.champion().version == serving and serving.predecessor == first
    assert ModelVersion.objects.filter(state="retired").count() == 1 and Prediction.objects.count() == 0


@pytest.mark.django_db
def test_an_amount_model_is_judged_by_what_was_carried_later(artifacts, people):
    from mlcore.amount.train import train_amount
    from tests.mlcore.risk_eval.world import make_world

    make_outcomes(700, seed=1)
    policy(kind="loan_amount", least_rows=200)
    data, _ = make_world(400, seed=3)
    model = train_amount(data).model
    worse = copy.deepcopy(model)
    worse.intercepts = worse.intercepts + 2.0

    def amounts(made):
        return registry.register(
            kind="loan_amount", model=made, algorithm="quantiles", report={}, fingerprint="", synthetic=False, created_by=None,
            learned_until=LEARNED,
        )  # fmt: skip

    first, twin, off = amounts(model), amounts(model), amounts(worse)
    passed = promotion.check(twin, by=people["trainer"], reason="The same.")
    assert passed.state == CheckState.OPEN and statuses(passed) == {"artifact": "passed", "data": "passed", "amounts": "passed"}
    assert passed.evidence["rows"] > 500 and passed.evidence["difference"]["value"] == 0.0
    failed = promotion.check(off, by=people["trainer"], reason="Higher.")
    assert statuses(failed)["amounts"] == "failed" and failed.evidence["second"] > failed.evidence["first"]
    assert promotion.approve(passed, by=people["second"], reason="Fine.").is_champion and first.pk != twin.pk
