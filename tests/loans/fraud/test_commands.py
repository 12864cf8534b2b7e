"""Commands: from nothing to linked and assessed, and what training lacks."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import call_command

from loans.models import ApplicationLink, FraudAssessment, FraudRule
from loans.services.fraud import rules
from tests.loans.fraud.conftest import apply

pytestmark = pytest.mark.django_db


def test_link_applications_links_and_assesses(device):
    apply(0, name="Ann", phone="1", device="d")
    apply(10, name="Bob", phone="1", device="d")
    out = StringIO()
    call_command("link_applications", stdout=out)
    assert "Linked 2 applications, assessed 2." in out.getvalue()
    assert ApplicationLink.objects.count() == 6 and FraudAssessment.objects.filter(state="assessed").count() == 2
    out = StringIO()
    call_command("link_applications", "--anew", stdout=out)
    assert "Linked 2 applications, assessed 2." in out.getvalue()


def test_train_fraud_says_what_is_missing_and_exits_with_2(db, capsys):
    err = StringIO()
    with pytest.raises(SystemExit) as exit_:
        call_command("train_fraud", stderr=err)
    assert exit_.value.code == 2 and "too few" in err.getvalue()


def test_the_starter_set_is_valid_dated_and_keeps_what_a_lender_changed(db):
    made = rules.install_pack()
    assert made == FraudRule.objects.count() >= 10
    assert all("2026-11-01" in rule.source for rule in FraudRule.objects.all())
    FraudRule.objects.filter(code="hub_burst").update(active=False)
    assert rules.install_pack() == 0 and not FraudRule.objects.get(code="hub_burst").active


def test_starter_rules_look_at_features_that_exist():
    from loans.models.fields import FEATURE_FIELDS
    from mlcore.fraud.facts import LINK_NAMES
    from mlcore.fraud.rules import parse

    for rule in rules.read_pack():
        parse(rule.conditions, known={*LINK_NAMES, *FEATURE_FIELDS})
