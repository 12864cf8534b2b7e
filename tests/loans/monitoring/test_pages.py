from __future__ import annotations

from datetime import date, timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse
from django.utils import timezone

from loans.models import Alert, AlertRule, MonitoringFigure, MonitoringWindow
from loans.queries import monitoring as found
from loans.services import monitoring, wakeups
from tests.loans.monitoring.conftest import NOW, make_history

pytestmark = pytest.mark.django_db


@pytest.fixture
def as_(client):
    def login(group):
        user = User.objects.create_user(group.lower(), is_staff=True)
        user.groups.add(Group.objects.get(name=group))
        client.force_login(user)
        return client

    return login


@pytest.fixture
def looked(champion, monkeypatch):
    monkeypatch.setattr("loans.services.training.wake_training", lambda run_id: True)
    make_history(1500, drift_from=820)
    return monitoring.refresh(["default_risk"], period="quarter", as_of=NOW)


def test_the_pages_show_what_was_found(looked, as_, champion):
    client = as_("Model owners")
    page = client.get(reverse("admin:loans_monitoringwindow_model", args=[champion.pk])).content.decode()
    assert page.count("<polyline") > 4
    assert "Debt to income" in page and "What rings" in page and "Retrainings that monitoring asked for" in page
    assert 'class="mark off"' in page
    window = client.get(reverse("admin:loans_monitoringwindow_change", args=[looked[1].pk])).content.decode()
    assert "What is off" in window and "Stability index" in window and "What could not be said" in window.replace("what", "What")
    assert 'class="now"' in window
    figure = MonitoringFigure.objects.get(window=looked[1], metric="psi", feature="debt_to_income")
    assert f"{figure.value:.3f}" in window
    assert "<0.0001" in window.replace("&lt;", "<")
    listed = client.get(reverse("admin:loans_monitoringwindow_changelist")).content.decode()
    assert "Needs a look" in listed and "Look now" in listed
    assert client.get(reverse("admin:loans_monitoringwindow_model", args=[champion.pk + 999])).status_code == 404


def test_pages_without_anything_to_show(as_, champion):
    client = as_("Model owners")
    assert b"No window has been looked at yet" in client.get(reverse("admin:loans_monitoringwindow_changelist")).content
    assert b"No window has been looked at yet" in client.get(reverse("admin:loans_monitoringwindow_model", args=[champion.pk])).content
    empty = MonitoringWindow.objects.create(
        model_version=champion, start=date(2026, 1, 1), end=date(2026, 2, 1), rows=0, notes=["The window has 0 applications."]
    )
    page = client.get(reverse("admin:loans_monitoringwindow_change", args=[empty.pk])).content.decode()
    assert "The window has 0 applications." in page and "Nothing is off" in page


def test_an_alert_is_worked_on_by_post_with_a_reason(as_, champion):
    alert = Alert.objects.create(model_version=champion, metric="psi", feature="amount", text="Amounts are off")
    client = as_("Model owners")
    page, acknowledge, close = (reverse(f"admin:loans_alert_{name}", args=[alert.pk]) for name in ("change", "acknowledge", "close"))
    assert b"Amounts are off" in client.get(page).content
    assert client.get(close).status_code == 405
    assert client.post(acknowledge).status_code == 302
    assert b"Say what it was" in client.post(close, {"note": " "}).content
    assert client.post(close, {"note": "x" * 3000}).status_code == 200
    assert client.post(close, {"note": "A campaign; expected."}).status_code == 302
    alert.refresh_from_db()
    assert (alert.state, alert.closed_by.username, alert.note) == ("closed", "model owners", "A campaign; expected.")
    assert b"A campaign; expected." in client.get(page).content
    assert b"closed already" in client.post(close, {"note": "Again"}).content


def test_limits_are_added_never_changed(as_, champion):
    client = as_("Model owners")
    add = reverse("admin:loans_alertrule_add")
    rule = {"metric": "psi", "feature": "amount", "limit": "0.3", "active": "on", "owner": "Ann", "reason": "A campaign"}
    rule |= {"effective_from_0": "2026-01-01", "effective_from_1": "00:00:00"}
    assert client.post(add, rule | {"metric": "level", "feature": "", "limit": "0.5"}).status_code == 200
    assert client.post(add, rule | {"reason": ""}).status_code == 200
    assert client.post(add, rule | {"limit": "nan"}).status_code == 200
    answer = client.post(add, rule)
    assert answer.status_code == 302, answer.context["errors"]
    made = AlertRule.objects.get(owner="Ann")
    assert made.created_by.username == "model owners"
    assert client.post(reverse("admin:loans_alertrule_change", args=[made.pk]), rule | {"limit": "0.4"}).status_code == 403
    listed = client.get(reverse("admin:loans_alertrule_changelist")).content.decode()
    assert "A campaign" in listed and listed.count("In force") >= 20


def test_looking_now_takes_a_post_and_the_permission(as_, champion, monkeypatch):
    sent = []
    monkeypatch.setattr(wakeups, "_send", lambda name, **more: sent.append(name) or True)
    url = reverse("admin:loans_monitoringwindow_run")
    assert as_("Auditors").post(url).status_code == 403
    client = as_("Model owners")
    assert client.get(url).status_code == 405
    assert client.post(url).status_code == 302
    assert sent == ["loans.monitor"]


def test_how_a_model_stands(champion):
    (young,) = found.health()
    assert (young.state, young.window) == ("unwatched", None)
    today = timezone.now().date()
    start, end = today - timedelta(days=40), today - timedelta(days=10)
    look = MonitoringWindow.objects.create(model_version=champion, start=start, end=end, rows=500)
    (fine,) = found.health()
    assert (fine.state, fine.window, fine.alerts) == ("ok", look, 0)
    Alert.objects.create(model_version=champion, metric="oe", text="O/E 1.4", grave=True)
    (off,) = found.health()
    assert (off.state, off.alerts, off.grave) == ("off", 1, 1)
    (stale,) = found.health(now=timezone.now() + timedelta(days=90))
    assert stale.state == "unwatched"
    assert "scheduler" in stale.in_words


def test_the_home_page_says_how_the_models_stand(champion, as_):
    Alert.objects.create(model_version=champion, metric="oe", text="O/E 1.4", grave=True)
    home = as_("Model owners").get("/admin/").content.decode()
    assert "How the models stand" in home and "Needs a look" in home and "1 grave" in home
    assert "How the models stand" not in as_("Loan officers").get("/admin/").content.decode()


def test_the_api_shows_windows_and_alerts_to_whom_they_concern(champion, client):
    from django.contrib.auth.models import Permission

    from loans.models import ApiKey

    window = MonitoringWindow.objects.create(
        model_version=champion, start=date(2026, 1, 1), end=date(2026, 2, 1), rows=500, notes=["Said."]
    )
    MonitoringFigure.objects.create(window=window, group="inputs", metric="psi", feature="amount", value=0.3, breach=True)
    Alert.objects.create(model_version=champion, window=window, metric="psi", feature="amount", text="Amounts are off")
    user = User.objects.create_user("system")
    _, key = ApiKey.issue(user=user, name="k", scopes=("read",))
    headers = {"Authorization": f"Bearer {key}"}
    for url in ("/api/v1/monitoring/", f"/api/v1/monitoring/{window.pk}/", "/api/v1/alerts/"):
        assert client.get(url, headers=headers).status_code == 403
    user.user_permissions.add(*Permission.objects.filter(codename__in=("view_monitoringwindow", "view_alert")))
    (row,) = client.get(f"/api/v1/monitoring/?model_version={champion.pk}", headers=headers).json()["results"]
    assert (row["id"], row["rows"], row["model_version"]) == (window.pk, 500, champion.pk)
    one = client.get(f"/api/v1/monitoring/{window.pk}/", headers=headers).json()
    assert one["notes"] == ["Said."]
    assert [(figure["metric"], figure["value"], figure["breach"]) for figure in one["figures"]] == [("psi", 0.3, True)]
    assert [alert["text"] for alert in client.get("/api/v1/alerts/?state=open", headers=headers).json()["results"]] == ["Amounts are off"]
    assert client.get("/api/v1/alerts/?state=closed", headers=headers).json()["results"] == []
    assert client.get("/api/v1/monitoring/999999/", headers=headers).status_code == 404
    assert client.get("/api/v1/monitoring/?modle=1", headers=headers).status_code == 400
