"""The audit trail in the admin, and what the desk's pages leave in it."""

from __future__ import annotations

import pytest
from django.urls import reverse

from loans.models import AuditEvent, WebhookDelivery, WebhookEndpoint
from loans.services import audit

pytestmark = pytest.mark.django_db


def actions() -> list[str]:
    return list(AuditEvent.objects.exclude(action__startswith="login.").order_by("pk").values_list("action", flat=True))


def test_looking_is_noted_and_says_whether_the_person_was_seen(as_, application, people):
    page, inbox = reverse("admin:loans_loanapplication_change", args=[application.pk]), reverse("admin:loans_loanapplication_changelist")
    as_("owner").get(page)
    as_("owner").get(inbox)
    assert actions() == ["application.viewed"]
    as_("officer").get(page)
    as_("officer").get(inbox)
    assert actions() == ["application.viewed", "applicant.viewed", "applicants.listed"]
    viewed, listed = AuditEvent.objects.filter(action__startswith="applicant").order_by("pk")
    assert (viewed.actor_id, viewed.subject_type, viewed.subject_id) == (people["officer"].pk, "loanapplication", str(application.pk))
    assert listed.facts["applications"] == [application.pk]


def test_a_decision_is_noted_with_it(as_, application):
    url = reverse("admin:loans_loanapplication_decide", args=[application.pk])
    as_("officer").post(url, {"outcome": "refer", "reason": "second_opinion"})
    event = AuditEvent.objects.get(action="decision.made")
    assert event.facts["outcome"] == "refer" and "note" not in event.facts and event.request_id


def test_the_admin_s_own_forms_are_noted_by_field(as_, product):
    as_("administrator").post(
        reverse("admin:loans_loanproduct_change", args=[product.pk]), {"code": product.code, "name": "Other", "active": "on"}
    )
    assert AuditEvent.objects.get(action="loanproduct.changed").facts["fields"]


def test_a_refused_login_keeps_no_word_that_was_typed(client, people):
    officer = people["officer"]
    client.post(reverse("admin:login"), {"username": "ann.jensen@example.com", "password": "x"})
    client.post(reverse("admin:login"), {"username": officer.username, "password": "x"})
    unknown, known = AuditEvent.objects.filter(action="login.refused").order_by("pk")
    assert (unknown.subject_id, unknown.facts) == ("", {}) and known.subject_id == str(officer.pk)


def test_an_object_s_page_leads_an_auditor_to_its_events(as_, application):
    audit.record("thing.done", subject=application)
    auditor = as_("auditor")
    page = auditor.get(reverse("admin:loans_loanapplication_change", args=[application.pk])).content.decode()
    link = f"{reverse('admin:loans_auditevent_changelist')}?subject=loanapplication%3A{application.pk}"
    assert link in page
    listed = auditor.get(link).content.decode()
    assert "thing done" in listed and "applicant viewed" in listed and "login succeeded" not in listed
    assert link not in as_("officer").get(reverse("admin:loans_loanapplication_change", args=[application.pk])).content.decode()


@pytest.mark.parametrize("query", ["what=login", "what=nonsense", "subject=", "subject=:", "actor_kind__exact=user", "q=officer"])
def test_filters_take_anything(as_, people, query):
    assert as_("auditor").get(reverse("admin:loans_auditevent_changelist") + "?" + query).status_code == 200


def test_a_webhook_s_secret_is_shown_once(as_, people):
    administrator = as_("administrator")
    form = {"name": "Shop", "url": "https://example.com/hook", "user": people["stranger"].pk, "active": "on"}
    form["events"] = ["application.scored"]
    refused = administrator.post(reverse("admin:loans_webhookendpoint_add"), form | {"url": "https://10.0.0.1/"})
    assert "not a public address" in refused.content.decode() and not WebhookEndpoint.objects.exists()
    shown = administrator.post(reverse("admin:loans_webhookendpoint_add"), form)
    made = WebhookEndpoint.objects.get()
    assert made.secret in shown.content.decode() and "no-store" in shown["Cache-Control"]
    again = administrator.get(reverse("admin:loans_webhookendpoint_change", args=[made.pk]))
    assert made.secret not in again.content.decode()


def test_a_delivery_s_page_and_sending_it_again(as_, people):
    hook = WebhookEndpoint.objects.create(name="Shop", user=people["stranger"], url="https://example.com/", events=["application.scored"])
    delivery = WebhookDelivery.objects.create(
        endpoint=hook, event="application.scored", payload={"data": {"id": 1}}, state="failed", attempts=10,
        log=[{"at": "2026-01-01T00:00:00+00:00", "status": 500, "error": "It answered 500.", "ms": 12}],
    )  # fmt: skip
    administrator = as_("administrator")
    page = administrator.get(reverse("admin:loans_webhookdelivery_change", args=[delivery.pk])).content.decode()
    assert "It answered 500." in page and "Send again" in page
    administrator.post(reverse("admin:loans_webhookdelivery_replay", args=[delivery.pk]))
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == ("pending", 0) and AuditEvent.objects.filter(action="webhook.replayed").exists()
