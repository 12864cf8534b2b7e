"""Two people: what one may not decide alone, in the service and in the database."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError, transaction

from loans.models import AuditEvent, Decision, DecisionProposal, LoanApplication, ModelVersion, OfficerProfile, ProposalState
from loans.services import decisions, proposals
from loans.services.decisions import DecisionRefused, Offer
from tests.loans.admin.conftest import make_application, make_version, score

pytestmark = pytest.mark.django_db
AGAINST = {"reason": "compensating_factors", "note": "Guarantor", "override_reason": "security"}


def model():
    return ModelVersion.objects.first() or make_version()


@pytest.fixture
def officer():
    return get_user_model().objects.create_user("olga", first_name="Olga", last_name="Berg")


@pytest.fixture
def senior():
    return get_user_model().objects.create_user("sam", first_name="Sam", last_name="Lund")


@pytest.fixture
def declined_by_model():
    application = make_application(amount=12_000)
    score(application, model(), advice="decline")
    return application


@pytest.fixture
def fine():
    application = make_application(amount=12_000, term_months=36)
    score(application, model(), 0.05, advice="approve", grade="A")
    return application


def limit(user, amount):
    OfficerProfile.objects.update_or_create(user=user, defaults={"approval_limit": amount})
    return get_user_model().objects.get(pk=user.pk)


def test_against_the_advice_it_is_proposed_and_another_confirms(declined_by_model, officer, senior):
    made = decisions.decide(declined_by_model.pk, officer=officer, outcome="approve", **AGAINST)
    assert isinstance(made, DecisionProposal) and made.needs == ["advice"] and not Decision.objects.exists()
    with pytest.raises(decisions.AlreadyDecided, match="Olga Berg proposed .* waits for a second person"):
        decisions.decide(declined_by_model.pk, officer=senior, outcome="decline", reason="bankruptcy")
    with pytest.raises(DecisionRefused, match="You proposed this yourself"):
        proposals.confirm(made.pk, checker=officer)
    decision = proposals.confirm(made.pk, checker=senior, answer="Agreed")
    assert (decision.officer, decision.second, decision.override, decision.override_reason) == (officer, senior, True, "security")
    made.refresh_from_db()
    assert made.state == ProposalState.CONFIRMED and made.decision == decision
    assert LoanApplication.objects.get(pk=declined_by_model.pk).status == "approved"
    assert [event.action for event in AuditEvent.objects.order_by("pk")] == ["decision.proposed", "decision.made", "proposal.confirmed"]
    with pytest.raises(DecisionRefused, match="confirmed by Sam Lund meanwhile"):
        proposals.give_back(made.pk, checker=senior, answer="No")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"override_reason": ""}, "override_reason"),
        ({"override_reason": "mood"}, "override_reason"),
        ({"reason": "meets_policy", "note": " "}, "note"),
    ],
)
def test_against_the_advice_takes_a_reason_from_the_list_and_words(declined_by_model, officer, change, field):
    with pytest.raises(DecisionRefused) as refused:
        decisions.decide(declined_by_model.pk, officer=officer, outcome="approve", **{**AGAINST, **change})
    assert refused.value.field == field and not DecisionProposal.objects.exists()


def test_above_the_limit_it_is_proposed_and_whoever_confirms_must_reach_it(fine, officer, senior, settings):
    settings.APPROVAL_LIMIT = Decimal(20_000)
    officer, senior = limit(officer, 10_000), limit(senior, 11_000)
    made = decisions.decide(fine.pk, officer=officer, outcome="approve", reason="meets_policy")
    assert made.needs == ["limit"]
    with pytest.raises(DecisionRefused, match="above your own limit of 11,000.00"):
        proposals.confirm(made.pk, checker=senior)
    decision = proposals.confirm(made.pk, checker=limit(senior, None))
    assert (decision.amount, decision.officer_limit) == (12_000, 10_000)


def test_within_the_limit_one_person_is_enough_and_declining_has_no_limit(fine, officer, settings):
    settings.APPROVAL_LIMIT = Decimal(12_000)
    assert decisions.decide(fine.pk, officer=officer, outcome="approve", reason="meets_policy").second is None
    other = make_application(amount=50_000)
    score(other, model(), 0.4)
    assert isinstance(decisions.decide(other.pk, officer=officer, outcome="decline", reason="income_insufficient"), Decision)


def test_returned_or_withdrawn_it_is_free_to_be_decided_again(declined_by_model, officer, senior):
    first = decisions.decide(declined_by_model.pk, officer=officer, outcome="approve", **AGAINST)
    with pytest.raises(DecisionRefused, match="Say why"):
        proposals.give_back(first.pk, checker=senior, answer=" ")
    proposals.give_back(first.pk, checker=senior, answer="Which guarantor?")
    second = decisions.decide(declined_by_model.pk, officer=officer, outcome="approve", **AGAINST)
    with pytest.raises(DecisionRefused, match="Only who proposed it"):
        proposals.withdraw(second.pk, maker=senior)
    proposals.withdraw(second.pk, maker=officer)
    assert isinstance(decisions.decide(declined_by_model.pk, officer=officer, outcome="decline", reason="bankruptcy"), Decision)
    assert [row.state for row in DecisionProposal.objects.order_by("pk")] == ["returned", "withdrawn"]


def test_a_new_score_stops_a_confirmation(declined_by_model, officer, senior):
    made = decisions.decide(declined_by_model.pk, officer=officer, outcome="approve", **AGAINST)
    score(declined_by_model, declined_by_model.predictions.get().model_version, 0.5)
    with pytest.raises(decisions.ScoreChanged):
        proposals.confirm(made.pk, checker=senior)


def test_the_database_holds_the_second_person_and_the_limit(declined_by_model, fine, officer, senior):
    def write(application, **fields):
        prediction = application.predictions.get()
        with transaction.atomic():
            Decision.objects.create(
                application=application, outcome="approve", officer=officer, reason="x", reason_text="x", prediction=prediction, **fields
            )

    with pytest.raises(DatabaseError, match="against the advice"):
        write(declined_by_model)
    with pytest.raises(DatabaseError, match="decision_second_is_another"):
        write(declined_by_model, second=officer)
    limit(officer, 11_999)
    with pytest.raises(DatabaseError, match="above the officer's limit"):
        write(fine)
    with pytest.raises(DatabaseError, match="accept an offer on the same application"):
        write(
            fine,
            accepts=Decision.objects.create(application=declined_by_model, outcome="refer", officer=officer, reason="x", reason_text="x"),
        )
    write(fine, second=senior)
    proposal = DecisionProposal.objects.create(application=declined_by_model, outcome="approve", maker=officer, reason="x")
    with pytest.raises(DatabaseError, match="proposal_checker_is_another"), transaction.atomic():
        DecisionProposal.objects.filter(pk=proposal.pk).update(state="returned", checker=officer)
    with pytest.raises(DatabaseError, match="never edited"), transaction.atomic():
        DecisionProposal.objects.filter(pk=proposal.pk).update(note="another")
    with pytest.raises(DatabaseError, match="never edited"), transaction.atomic():
        proposal.delete()


def test_an_offer_is_made_taken_or_not(fine, officer):
    offered = decisions.decide(fine.pk, officer=officer, outcome="counter", reason="smaller_amount", offer=Offer(Decimal(8_000), 48))
    fine.refresh_from_db()
    assert fine.status == "offered" and (offered.amount, offered.offered_term_months) == (8_000, 48)
    with pytest.raises(DecisionRefused, match="what the applicant accepted"):
        decisions.decide(fine.pk, officer=officer, outcome="approve", reason="meets_policy")
    taken = decisions.decide(fine.pk, officer=officer, outcome="approve", reason="offer_accepted")
    assert taken.accepts == offered and taken.amount == 8_000


def test_an_offer_against_the_advice_is_confirmed_once_and_then_simply_taken(declined_by_model, officer, senior):
    made = decisions.decide(
        declined_by_model.pk, officer=officer, outcome="counter", reason="smaller_amount", note="Half", override_reason="security",
        offer=Offer(Decimal(6_000)),
    )  # fmt: skip
    proposals.confirm(made.pk, checker=senior)
    taken = decisions.decide(declined_by_model.pk, officer=officer, outcome="approve", reason="offer_accepted")
    assert not taken.override and taken.second is None


@pytest.mark.parametrize(
    ("offer", "field"),
    [
        (None, "offered_amount"),
        (Offer(Decimal(0)), "offered_amount"),
        (Offer(Decimal(12_000), 36), "offered_amount"),
        (Offer(Decimal(9_000), 999), "offered_term_months"),
        (Offer(Decimal(9_000), 36, Decimal(11)), "offered_rate"),
    ],
)
def test_an_offer_that_is_none_is_refused(fine, officer, offer, field):
    with pytest.raises(DecisionRefused) as refused:
        decisions.decide(fine.pk, officer=officer, outcome="counter", reason="smaller_amount", offer=offer)
    assert refused.value.field == field and not Decision.objects.exists()
