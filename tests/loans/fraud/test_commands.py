"""Commands: from nothing to linked and assessed, and what training lacks."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import call_command

from loans.models import ApplicationLink, FraudAssessment, FraudRule
from loans.models.fraud import known_features
from loans.services.fraud import rules
from mlcore.fraud.rules import parse
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


def test_the_starter_set_is_valid_dated_and_keeps_what_a_lender_changed(db):
    made = rules.install_pack()
    assert made == FraudRule.objects.count() >= 10
    assert all("2026-11-01" in rule.source for rule in FraudRule.objects.all())
    FraudRule.objects.filter(code="hub_burst").update(active=False)
    assert rules.install_pack() == 0 and not FraudRule.objects.get(code="hub_burst").active


def test_starter_rules_look_at_features_that_exist(db):
    for rule in rules.read_pack():
        parse(rule.conditions, known=known_features())
