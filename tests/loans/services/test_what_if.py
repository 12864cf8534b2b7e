from __future__ import annotations

import pytest

from loans.models import KnockOutRule, LoanApplication, Policy
from loans.services import registry, scoring, what_if
from tests.factories import make_application, make_champion

pytestmark = pytest.mark.django_db


@pytest.fixture
def risky(artifacts):
    make_champion()
    Policy.objects.create(approve_below=0.25, decline_from=0.25, reason="test")
    application = make_application(debt_to_income=0.45, amount=15_000, annual_income=50_000)
    scoring.request_score(application)
    scoring.score_pending()
    application.refresh_from_db()
    assert application.default_probability > 0.25
    return application


def test_every_proposed_change_holds_when_the_application_comes_in_with_it(risky):
    found = what_if.what_if(risky)
    assert found.probability == pytest.approx(risky.default_probability)
    assert found.proposals
    for proposal in found.proposals:
        fields = {"debt_to_income": 0.45, "amount": 15_000, "annual_income": 50_000}
        by_title = {"Debt to income": "debt_to_income", "Amount requested": "amount", "Term": "term_months"}
        for change in proposal["changes"]:
            fields[by_title[change["title"]]] = round(change["new"], 6)
        changed = make_application(**fields, home_ownership=risky.home_ownership, submitted_at=risky.submitted_at)
        scoring.request_score(changed)
        scoring.score_pending()
        changed.refresh_from_db()
        assert changed.default_probability < 0.25
        assert changed.default_probability == pytest.approx(proposal["probability"], abs=1e-3)


def test_one_who_would_be_approved_needs_no_change(risky):
    safe = make_application(debt_to_income=0.01, amount=1_000, annual_income=150_000)
    found = what_if.what_if(safe)
    assert found.proposals == []
    assert "as it stands" in found.in_words


def test_a_rule_that_holds_is_named_and_one_that_would_hold_is_not_walked_into(risky):
    KnockOutRule.objects.create(name="Ratio", field="debt_to_income", operator="below", value="0.44", reason="other")
    KnockOutRule.objects.create(name="Income", field="annual_income", operator="below", value="60000", reason="income_insufficient")
    found = what_if.what_if(risky)
    assert [hit["rule"] for hit in found.knock_outs] == ["Income"]
    assert all("Debt to income" not in [change["title"] for change in proposal["changes"]] for proposal in found.proposals)


def test_without_a_model_there_is_nothing_to_ask(artifacts, db):
    with pytest.raises(registry.NoChampion):
        what_if.what_if(make_application())
    assert LoanApplication.objects.count() == 1
