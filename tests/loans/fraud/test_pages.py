"""Who sees and does what with flags: pages, forms and API, role by role."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse

from loans.models import FraudAssessment, FraudFlag, FraudRule
from loans.services.fraud import rules
from tests.factories import make_application
from tests.loans.api.conftest import Api, key_of

pytestmark = pytest.mark.django_db

ROLES = {
    "investigator": "Fraud investigators", "officer": "Loan officers", "owner": "Model owners", "auditor": "Auditors",
    "administrator": "Administrators", "stranger": None,
}  # fmt: skip
SEES = {"investigator", "officer", "owner", "auditor"}


def user_of(role: str) -> User:
    user = User.objects.create_user(role, is_staff=True)
    if ROLES[role]:
        user.groups.add(Group.objects.get(name=ROLES[role]))
    return user


def client_of(role: str) -> Client:
    client = Client()
    client.force_login(user_of(role))
    return client


@pytest.fixture
def flag(ring) -> FraudFlag:
    return FraudFlag.objects.get()


def url(name: str, *args: object) -> str:
    return reverse(f"admin:loans_fraudflag_{name}", args=args)


@pytest.mark.parametrize("role", ROLES)
def test_who_sees_the_queue_and_who_works_on_it(flag, role):
    client = client_of(role)
    listed, page = client.get(url("changelist")), client.get(url("change", flag.pk))
    assert (listed.status_code, page.status_code) == ((200, 200) if role in SEES else (403, 403))
    steps = {"assign": {"to": ""}, "snooze": {"days": "3"}, "reopen": {}, "clear": {"note": "Family"}}
    for step, data in steps.items():
        assert client.get(url(step, flag.pk)).status_code == 405
        assert client.post(url(step, flag.pk), data).status_code == (302 if role == "investigator" else 403)
    flag.refresh_from_db()
    assert flag.state == ("cleared" if role == "investigator" else "open")


def test_the_page_shows_evidence_graph_and_keyboard_forms(flag, ring):
    text = client_of("investigator").get(url("change", flag.pk)).content.decode()
    assert "Two or more identifiers are those of another applicant" in text
    assert "same device, phone number" in text.lower() or "same phone number, device" in text.lower()
    assert ring[0].external_reference in text
    for key in "cxsa":
        assert f'data-key="{key}"' in text
    assert "Suspicion" in text and "too few confirmed cases" in text
    assert "Ann Able" not in text and "Bob Baker" not in text


def test_the_list_is_in_the_queue_s_order_and_says_what_its_order_is(flag, settings):
    settings.FRAUD_SAMPLE_CAPACITY = 0.5
    drawn = FraudFlag.objects.create(
        application=make_application(status="open", synthetic=True), kind="sample", severity=0, score=0, expected_loss=0
    )
    small = FraudFlag.objects.create(application=make_application(status="open"), severity=2, score=0.1, expected_loss=1)
    client = client_of("investigator")
    text = client.get(url("changelist")).content.decode()
    places = [text.index(url("change", each.pk)) for each in (flag, drawn, small)]
    assert places == sorted(places)
    assert "every 2th place is a" not in text and "every second place is a" in text
    assert "Today 0 of about 20 worked off, 0 of them random reviews; 3 wait, 1 of them random reviews." in text
    assert "Made up by the demo generator" in text
    by_severity = client.get(url("changelist"), {"o": "1"}).content.decode()
    places = [by_severity.index(url("change", each.pk)) for each in (drawn, small, flag)]
    assert places == sorted(places)


def test_a_refused_step_is_said_and_keeps_what_was_written(flag):
    client = client_of("investigator")
    answer = client.post(url("confirm", flag.pk), {"note": ""})
    assert answer.status_code == 200 and "in a few words" in answer.content.decode()
    assert client.post(url("confirm", flag.pk), {"note": "Forged"}, follow=True).status_code == 200
    again = client.post(url("clear", flag.pk), {"note": "kept words"})
    assert "somebody was faster" in again.content.decode()


@pytest.mark.parametrize("role", ["officer", "stranger", "owner"])
def test_the_application_page_has_the_panel_for_whom_it_concerns(flag, role):
    page = client_of(role).get(reverse("admin:loans_loanapplication_change", args=[flag.application_id]))
    if role == "stranger":
        assert page.status_code == 403
    else:
        assert 'id="fraud"' in page.content.decode()


def test_what_was_not_assessed_says_so(db):
    application = make_application(status="open")
    client = client_of("officer")
    address = reverse("admin:loans_loanapplication_change", args=[application.pk])
    assert "Not assessed yet" in client.get(address).content.decode() or "not assessed yet" in client.get(address).content.decode()
    FraudAssessment.objects.update(state="failed", attempts=2, error="OperationalError")
    assert "failed 2 times" in client.get(address).content.decode()


def test_the_inbox_is_filtered_by_flag(flag, ring):
    address = reverse("admin:loans_loanapplication_changelist")
    shown = client_of("officer").get(address, {"view": "all", "flag": "open"}).content.decode()
    assert ring[1].external_reference in shown and ring[0].external_reference not in shown


def test_rules_are_changed_by_their_next_version(starter):
    rule = FraudRule.objects.get(code="hub_burst")
    client = client_of("owner")
    address = reverse("admin:loans_fraudrule_change", args=[rule.pk])
    assert client.get(address).status_code == 200
    body = {
        "name": rule.name, "severity": "2", "family": "velocity", "active": "on", "source": "ours",
        "conditions": '[{"feature": "device_1h", "operator": "at_least", "value": 20}]',
    }  # fmt: skip
    assert client.post(address, body).status_code == 302
    versions = FraudRule.objects.filter(code="hub_burst").order_by("version")
    assert [(each.version, each.active, each.conditions[0]["value"]) for each in versions] == [(1, False, 10), (2, True, 20)]
    bad = client.post(address, {**body, "conditions": '[{"feature": "device_1h", "operator": "eval", "value": 1}]'})
    assert bad.status_code == 200 and "operator must be one of" in bad.content.decode()
    assert client_of("officer").get(address).status_code == 403


def test_a_rule_about_what_does_not_exist_is_refused_by_form_and_service(starter, device):
    client = client_of("owner")
    body = {"code": "mine", "name": "Mine", "severity": "2", "active": "on", "family": "", "source": ""}
    address = reverse("admin:loans_fraudrule_add")
    assert "phone_24h" in client.get(address).content.decode(), "the form says what there is"
    for feature, value, said in (("phone_24hh", 3, "Did you mean phone_24h"), ("device_id", 3, "is a text")):
        conditions = json.dumps([{"feature": feature, "operator": "is", "value": value}])
        answer = client.post(address, {**body, "conditions": conditions})
        assert answer.status_code == 200 and said in answer.content.decode()
    rule = FraudRule.objects.get(code="hub_burst")
    with pytest.raises(ValidationError, match="no feature 'age'"):
        rules.new_version(rule, by=None, conditions=[{"feature": "age", "operator": "below", "value": 25}])
    assert FraudRule.objects.filter(code="hub_burst").get().version == 1
    conditions = json.dumps([{"feature": "device_id", "operator": "one_of", "value": ["d1"]}])
    assert client.post(address, {**body, "conditions": conditions}).status_code == 302
    assert FraudRule.objects.get(code="mine").created_by.username == "owner"


def test_an_application_in_the_api_shows_its_flags_to_whom_they_concern(flag, ring):
    sender = User.objects.create_user("sender")
    type(flag.application).objects.update(submitted_by=sender)
    address = f"/api/v1/applications/{flag.application_id}/"
    assert Api(key=key_of(sender, "read")).get(address).json()["fraud"] is None, "who sent it in must not learn that it was flagged"
    officer = Api(key=key_of(user_of("officer"), "read"))
    shown = officer.get(address).json()["fraud"]
    assert (shown["state"], shown["calibrated"]) == ("assessed", False) and 0 < shown["score"] < 1
    (row,) = shown["flags"]
    assert (row["id"], row["state"], row["severity"]) == (flag.pk, "open", 3) and "Two or more identifiers" in row["in_words"]
    assert officer.get(row["url"]).json()["evidence"]
    calm = officer.get(f"/api/v1/applications/{ring[0].pk}/").json()["fraud"]
    assert calm["state"] == "assessed" and calm["flags"] == []
    FraudAssessment.objects.filter(application=ring[0]).update(state="failed")
    assert officer.get(f"/api/v1/applications/{ring[0].pk}/").json()["fraud"]["state"] == "failed", "no pass"


def test_the_api_answers_whom_it_may(flag):
    address = "/api/v1/fraud-flags/"
    assert Api().get(address).status_code == 401
    sender = User.objects.create_user("sender")
    FraudFlag.objects.get().application.__class__.objects.update(submitted_by=sender)
    # Who sent it in must not learn that it was flagged: he would learn what to send instead.
    assert Api(key=key_of(sender, "read")).get(address).status_code == 403
    investigator = user_of("investigator")
    assert Api(key=key_of(investigator, "submit")).get(address).status_code == 403
    api = Api(key=key_of(investigator, "read"))
    (row,) = api.get(address).json()["results"]
    assert row["id"] == flag.pk and row["severity"] == 3 and row["evidence"][0]["code"] == "two_identifiers_of_another"
    assert api.get(f"{address}{flag.pk}/").json() == row
    assert api.get(f"{address}{flag.pk + 1}/").status_code == 404
    assert api.get(f"{address}?severity=4").json()["results"] == []
    assert len(api.get(f"{address}?state=open&kind=alert&application={flag.application_id}").json()["results"]) == 1
    assert api.get(f"{address}?sevrity=4").status_code == 400
    assert Api(user=user_of("stranger")).get(address).status_code == 403
    assert Api(user=user_of("officer")).get(address).status_code == 200
