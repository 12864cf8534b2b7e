from __future__ import annotations

import socket
import threading
import time
from datetime import timedelta

import pytest
from django.db import DatabaseError
from django.db.models.functions import Now

from loans.models import Heartbeat, ScoringJob
from loans.services import health
from tests.factories import make_champion, make_pending
from tests.loans.api.conftest import Api, key_of, make_user


@pytest.fixture
def probes(monkeypatch):
    """Fresh probes of the given looks: the real ones use connections of their own, which see no test's transaction."""

    def put(*looks):
        monkeypatch.setattr(health, "_PROBES", tuple(health._Probe(look) for look in looks))

    return put


def states(checks) -> dict[str, str]:
    return {check.name: check.state for check in checks}


def test_healthz_looks_at_nothing(client):
    """No database is marked for this test: a query would fail it."""
    answer = client.get("/healthz")
    assert answer.status_code == 200 and answer.json() == {"status": "alive"} and "no-store" in answer["Cache-Control"]
    assert client.post("/healthz").status_code == 405


def test_all_is_well_with_heartbeats_and_a_champion(db, artifacts):
    make_champion()
    for role in health.ROLES:
        Heartbeat.objects.create(role=role, process=f"host:{role}")
    assert set(states(health.database_checks()).values()) == {"ok"}


def test_what_has_never_run_or_fell_silent_is_degraded_by_name(db):
    Heartbeat.objects.create(role="worker", process="host:1", at=Now() - timedelta(minutes=5))
    Heartbeat.objects.create(role="sweeper", process="host:2", at=Now() - timedelta(minutes=5))
    Heartbeat.objects.create(role="sweeper", process="host:3")
    checks = health.database_checks()
    assert states(checks) == {
        "database": "ok", "worker": "degraded", "sweeper": "ok", "training-worker": "degraded", "beat": "degraded", "champion": "degraded",
        "partitions": "ok",
    }  # fmt: skip
    words = {check.name: check.words for check in checks}
    assert words["worker"].startswith("Last heard of 5 minutes ago.") and words["beat"].startswith("None has ever run.")


def test_a_site_that_can_serve_is_ready_and_names_what_is_degraded(client, probes):
    probes(lambda: [health.Check("database", "ok", "")], lambda: [health.Check("broker", "degraded", "It does not answer.")])
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded" and answer.json()["degraded"] == ["broker"]
    assert answer.json()["checks"]["broker"] == {"state": "degraded", "detail": "It does not answer."}


def test_without_its_database_the_site_is_not_ready(client, probes, monkeypatch):
    def away(*args, **kwargs):
        raise DatabaseError("connection refused at 10.0.0.7")

    monkeypatch.setattr(health.transaction, "atomic", away)
    checks = health.database_checks()
    assert states(checks)["database"] == "down" and states(checks)["champion"] == "unknown"
    probes(lambda: checks, lambda: [health.Check("broker", "ok", "")])
    answer = client.get("/readyz")
    assert answer.status_code == 503 and answer.json()["status"] == "down" and b"10.0.0.7" not in answer.content


def test_what_hangs_costs_the_deadline_and_one_thread(client, probes, monkeypatch):
    monkeypatch.setattr(health, "DEADLINE_SECONDS", 0.3)
    release = threading.Event()
    entered = []

    def hang():
        entered.append(1)
        release.wait(20)
        return [health.Check("database", "ok", "It answers.")]

    probes(hang, lambda: [health.Check("broker", "ok", "")])
    started = time.monotonic()
    answers = [client.get("/readyz"), client.get("/readyz")]
    assert time.monotonic() - started < 2 * (health.DEADLINE_SECONDS + 0.5)
    assert [answer.status_code for answer in answers] == [503, 503] and entered == [1]
    release.set()
    assert client.get("/readyz").status_code == 200


def test_a_broker_that_accepts_and_never_answers_is_told_apart_in_time(settings):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        settings.REDIS_URL = f"redis://:hunter2@127.0.0.1:{mute.getsockname()[1]}/0"
        started = time.monotonic()
        (check,) = health.broker_checks()
    assert time.monotonic() - started < health.DEADLINE_SECONDS
    assert (check.name, check.state) == ("broker", "degraded") and "hunter2" not in check.words


def test_a_broker_that_is_not_there(settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert states(health.broker_checks()) == {"broker": "degraded"}


@pytest.mark.django_db(transaction=True)
def test_the_real_checks_answer_in_time(client):
    started = time.monotonic()
    answer = client.get("/readyz")
    assert time.monotonic() - started < 2
    assert answer.status_code == 200 and answer.json()["checks"]["database"]["state"] == "ok"
    assert set(answer.json()["checks"]) == {"database", "broker", "champion", "partitions", *health.ROLES}


def test_metrics_count_the_work(client, artifacts, db):
    version = make_champion()
    make_pending(3)
    ScoringJob.objects.filter(pk=ScoringJob.objects.first().pk).update(created_at=Now() - timedelta(seconds=90))
    answer = client.get("/metrics")
    assert answer["Content-Type"].startswith("text/plain; version=0.0.4")
    values = dict(line.rsplit(" ", 1) for line in answer.content.decode().splitlines() if not line.startswith("#"))
    assert values['loandesk_scoring_jobs{state="pending"}'] == "3"
    assert 90 <= float(values["loandesk_scoring_oldest_waiting_seconds"]) < 120
    assert values['loandesk_champion_version{kind="default_risk"}'] == str(version.version)


def test_metrics_are_for_this_machine_and_for_staff(db, client):
    assert client.get("/metrics", REMOTE_ADDR="10.0.0.5").status_code == 401
    assert client.get("/metrics", headers={"X-Forwarded-For": "10.0.0.5"}).status_code == 401
    assert client.get("/metrics", REMOTE_ADDR="::1").status_code == 200
    staff, plain = make_user("staff", is_staff=True), make_user("plain")
    assert Api(key=key_of(staff, "read")).get("/metrics", REMOTE_ADDR="10.0.0.5").status_code == 200
    assert Api(key=key_of(staff, "submit")).get("/metrics", REMOTE_ADDR="10.0.0.5").status_code == 403
    assert Api(key=key_of(plain, "read")).get("/metrics", REMOTE_ADDR="10.0.0.5").status_code == 403
    assert Api(user=staff).get("/metrics", REMOTE_ADDR="10.0.0.5").status_code == 200


def test_metrics_count_requests_by_the_name_of_their_address(client, db):
    client.get("/api/v1/applications/7/")
    client.get("/nothing/here/7/")
    text = client.get("/metrics").content.decode()
    assert 'loandesk_http_requests_total{method="GET",status="401",view="api:application"}' in text
    assert 'view="none"' in text and "/7/" not in text and "loandesk_http_request_seconds_bucket" in text
    assert 'loandesk_webhook_deliveries{state="failed"} 0' in text


def test_processes_of_the_site_share_their_counts(tmp_path):
    """As gunicorn's workers do: each counts in a file of its own, and any of them tells the sum."""
    import os
    import subprocess
    import sys

    from config.embedded import PROJECT

    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    count = "from loans.services import metrics; metrics.answered('api:jobs', 'GET', 200, 0.1); print(metrics.text())"
    said = [
        subprocess.run([sys.executable, "-c", count], cwd=PROJECT, env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert 'loandesk_http_requests_total{method="GET",status="200",view="api:jobs"} 2.0' in said[1]
