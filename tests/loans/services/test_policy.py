from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from loans.models import KnockOutRule, Policy, Prediction, Status
from loans.services import decisions, policy, scoring
from tests.factories import make_application, make_champion

pytestmark = pytest.mark.django_db


def _policy(low, high, **more):
    return Policy.objects.create(approve_below=low, decline_from=high, reason="test", **more)


def test_until_one_is_written_the_break_even_holds():
    terms = policy.in_force()
    assert terms.policy.pk is None
    assert terms.advise(0.16, {}).advice == "approve"
    assert terms.advise(0.17, {}).advice == "decline"


def test_the_latest_policy_that_has_begun_is_in_force():
    _policy(0.1, 0.2, effective_from=timezone.now() - timedelta(days=2))
    newer = _policy(0.05, 0.3, effective_from=timezone.now() - timedelta(days=1))
    _policy(0.5, 0.6, effective_from=timezone.now() + timedelta(days=1))
    assert policy.in_force().policy == newer
    assert [newer.advice(p) for p in (0.0499, 0.05, 0.2999, 0.3)] == ["approve", "refer", "refer", "decline"]


def test_bands_out_of_order_are_refused():
    with pytest.raises(IntegrityError), transaction.atomic():
        _policy(0.4, 0.3)


@pytest.mark.parametrize(
    ("operator", "value", "given", "hit"),
    [
        ("below", "600", 599, True),
        ("below", "600", 600, False),
        ("below", "600", None, None),
        ("above", "0.5", 0.51, True),
        ("is", "rent", "RENT", True),
        ("is", "rent", "own", False),
        ("is_not", "rent", "own", True),
        ("missing", "", None, True),
        ("missing", "", float("nan"), True),
        ("missing", "", 0, False),
    ],
)
def test_a_rule_hits_misses_or_does_not_apply(operator, value, given, hit):
    assert KnockOutRule(operator=operator, value=value).hits(given) is hit


def test_a_rule_that_can_not_work_is_refused_where_it_is_written():
    with pytest.raises(ValidationError, match="not a number"):
        KnockOutRule(name="x", field="credit_score", operator="below", value="low", reason="other").full_clean()
    with pytest.raises(ValidationError, match="is one of"):
        KnockOutRule(name="x", field="home_ownership", operator="is", value="castle", reason="other").full_clean()


def test_a_knock_out_is_named_with_the_score_and_makes_an_approval_an_override(artifacts):
    make_champion()
    _policy(0.99, 0.995)
    KnockOutRule.objects.create(name="No income", field="annual_income", operator="below", value="1000", reason="income_insufficient")
    application = make_application(annual_income=500, status=Status.RECEIVED)
    scoring.request_score(application)
    scoring.score_pending()
    prediction = Prediction.objects.get()
    assert prediction.advice == "decline"
    assert prediction.knock_outs == [
        {
            "rule": "No income",
            "in_words": "Annual income is below $1,000",
            "value": 500.0,
            "code": "income_insufficient",
            "text": "Income insufficient for amount of credit requested",
        }
    ]
    officer = get_user_model().objects.create_user("olga")
    proposal = decisions.decide(
        application.pk, officer=officer, outcome="approve", reason="meets_policy", note="Pension", override_reason="verified_information"
    )
    assert proposal.needs == ["advice"]
