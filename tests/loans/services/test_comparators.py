"""What a training's model is held against, and what the settings keep from it."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from loans.models import AttributeDefinition, KnockOutRule, Policy, Prediction, TrainingRun
from loans.queries.frames import outcome_frame, schema_in_force
from loans.queries.model_policy import policy_page
from loans.queries.rules import rules_in_words
from loans.services import policy, registry, scoring, training, training_rows
from loans.services.comparators import comparators
from tests.factories import fit_model, make_application, make_champion, make_outcomes
from tests.loans.admin.conftest import make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def data(db):
    make_outcomes(300)
    schema = schema_in_force()
    return training_rows.labelled(outcome_frame(schema), schema)[0]


def rule(field="annual_income", operator="below", value="40000", **fields):
    return KnockOutRule.objects.create(name=f"{field} {value}", field=field, operator=operator, value=value, reason="other", **fields)


def test_without_rules_and_without_a_model_there_is_nothing_to_compare_with(data):
    assert comparators(data) == []


def test_the_rules_alone_approve_whom_none_rules_out(data):
    rule()
    rule("debt_to_income", "above", "0.5")
    rule("debt_to_income", "above", "0.01", active=False)
    (alone,) = comparators(data)
    wanted = (data.frame["annual_income"] >= 40_000) & (data.frame["debt_to_income"] <= 0.5)
    assert alone.name == "rules" and "(2 rules)" in alone.title
    assert np.array_equal(alone.approved, wanted) and np.array_equal(alone.score, 1.0 - wanted) and 0 < wanted.sum() < 300


def test_the_policies_approve_by_the_model_in_service_and_the_rules(artifacts, data):
    make_champion()
    version = registry.champion().version
    now = timezone.now()
    Policy.objects.create(approve_below=0.10, decline_from=0.2, reason="first", effective_from=now - timedelta(days=9))
    Policy.objects.create(approve_below=0.15, decline_from=0.2, reason="former", effective_from=now - timedelta(days=5))
    Policy.objects.create(approve_below=0.12, decline_from=0.2, reason="now", effective_from=now - timedelta(days=1))
    Policy.objects.create(approve_below=0.5, decline_from=0.6, reason="to come", effective_from=now + timedelta(days=1))
    rule()
    found = {each.name: each for each in comparators(data)}
    assert list(found) == ["rules", "policy", "former_policy"]
    probability = registry.champion().model.probability(data.frame, data.submitted_at)
    kept = (data.frame["annual_income"] >= 40_000).to_numpy()
    for name, cutoff, words in (("policy", 0.12, "12.0%"), ("former_policy", 0.15, "15.0%")):
        assert np.array_equal(found[name].approved, kept & (probability < cutoff)), name
        assert f"{version} below {words}, with the knock-out rules" in found[name].title
        order = np.argsort(found[name].score, kind="stable")
        assert kept[order[: kept.sum()]].all(), "whom a rule rules out comes last"


def test_a_rule_on_what_no_model_sees_compares_with_nothing(data):
    AttributeDefinition.objects.create(name="shoe_size", kind="number")
    rule("shoe_size", value="40")
    assert comparators(data) == []


def test_the_policy_page_states_comparator_share_interval_and_what_could_not_be_compared():
    claims = [
        {
            "against": "rules",
            "title": "the knock-out rules alone (1 rule)",
            "approval_rate": 0.8,
            "bad_rate": 0.05,
            "comparator_bad_rate": 0.1,
            "reduction": {"value": 0.5, "low": 0.3, "high": 0.6},
            "note": "Read with care.",
        },
        {"against": "policy", "title": "the policy in force until now", "why": "would have approved all of the judged loans"},
    ]
    version = make_version(report={"policy": {"fewer_bad_loans": claims}})
    page = policy_page(version, policy.in_force().policy)
    (claim,) = page.claims
    assert claim.text == "50.0% fewer bad loans at equal approval than the knock-out rules alone (1 rule) (95% interval 30.0% to 60.0%)."
    assert claim.beside == "Both approve 80.0%: 5.0% of the approved default, 10.0% there" and claim.note == "Read with care."
    assert page.silent == ["The policy in force until now would have approved all of the judged loans."]


def test_rules_say_their_values_as_people_read_them():
    AttributeDefinition.objects.create(name="rent", kind="number", unit="EUR a month")
    for made, words in (
        (rule(), "Annual income is below $40,000"),
        (rule("debt_to_income", "above", "0.43"), "Debt to income is above 43.0%"),
        (rule("credit_history_months", value="12"), "Length of credit history is below 12 months"),
        (rule("home_ownership", "is", "rent"), "Home ownership is rent"),
        (rule("rent", "above", "1500"), "Rent is above 1,500 EUR a month"),
        (rule("purpose", "missing", ""), "Purpose is missing"),
    ):
        assert rules_in_words([made]) == {made.pk: words}


def test_a_training_is_told_whom_reasons_are_measured_against(data, settings, monkeypatch):
    given = {}

    def trained(data, **more):
        given.update(more)
        raise RuntimeError("far enough")

    monkeypatch.setattr("mlcore.risk.train.train_default_risk", trained)
    for kind in ("all", "at_cutoff"):
        settings.REASON_BASELINE = kind
        with pytest.raises(RuntimeError):
            training._fit_default_risk(TrainingRun(kind="default_risk"), SimpleNamespace(data=data, labels=None, cut=None), lambda *_: None)
        assert given["baseline"] == kind


def test_a_prediction_keeps_whom_its_reasons_compare_with(artifacts, client, admin_user):
    from dataclasses import replace

    from mlcore.risk.model import RiskModel

    plain = fit_model()
    model = RiskModel(plain.rung, plain.calibrator, schema=plain.schema, baseline=replace(plain.baseline, kind="at_cutoff", cutoff=0.2))
    registry.register(kind="default_risk", model=model, algorithm="logistic", report={}, fingerprint="", synthetic=False, created_by=None)
    application = make_application()
    scoring.request_score(application)
    assert scoring.score_pending().stored == 1
    assert Prediction.objects.get().baseline_kind == "at_cutoff"
    client.force_login(admin_user)
    assert client.get("/api/v1/predictions/").json()["results"][0]["baseline_kind"] == "at_cutoff"
    answer = client.post("/api/v1/applications/?wait=1", {"amount": 9000, "annual_income": 40_000}, content_type="application/json")
    assert answer.status_code == 201 and Prediction.objects.latest("pk").baseline_kind == "at_cutoff" and Prediction.objects.count() == 2
    assert "who would only just be approved" in client.get(f"/admin/loans/loanapplication/{application.pk}/change/").content.decode()


def test_fields_can_be_left_out_and_a_slip_is_refused(settings):
    assert "region" in schema_in_force().names
    settings.FIELDS_LEFT_OUT = ("region",)
    assert "region" not in schema_in_force().names and "amount" in schema_in_force().names
    for wrong in ("regoin", "amount"):
        settings.FIELDS_LEFT_OUT = (wrong,)
        with pytest.raises(ImproperlyConfigured, match=f"names {wrong}; it may name: product, "):
            schema_in_force()
