"""Limits per key and scope."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from loans.models import ApiKey, LoanApplication
from loans.services import throttling
from tests.loans.api.conftest import URL, Api


@pytest.fixture(autouse=True)
def _own_counts(settings, request):
    """Other tests, and this one's last run, count under other names."""
    import uuid

    settings.QUEUE_PREFIX = f"{uuid.uuid4().hex}:"
    throttling._silent_until = 0.0


def test_beyond_the_limit_is_429_with_retry_after_for_that_key_and_scope_alone(db, settings):
    settings.THROTTLES = {"submit": 2, "read": 100}
    user = User.objects.create_user("shop")
    busy, other = (Api(key=ApiKey.issue(user=user, name="x")[1]) for _ in range(2))
    assert [busy.post(body={"amount": 1}).status_code for _ in range(3)] == [201, 201, 429]
    refused = busy.post(body={"amount": 1})
    assert 1 <= int(refused["Retry-After"]) <= 60 and refused.json()["type"].endswith("/throttled/")
    assert LoanApplication.objects.count() == 2
    assert busy.get(URL).status_code == 200 and other.post(body={"amount": 1}).status_code == 201


def test_the_turn_of_a_minute_gives_no_second_helping():
    start = 60_000_000.0
    assert [throttling.count("a", 10, now=start + 59) for _ in range(11)][-2:] == [None, 1.0]
    wait = throttling.count("a", 10, now=start + 61)
    assert wait is not None and throttling.count("b", 10, now=start + 61) is None
    assert throttling.count("a", 10, now=start + 61 + wait + 60) is None


def test_without_the_broker_nothing_is_limited_and_nothing_waits(settings, monkeypatch):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert [throttling.count("a", 1) for _ in range(3)] == [None] * 3
    asked = []
    monkeypatch.setattr(throttling, "_redis", lambda: asked.append(1))
    assert throttling.count("a", 1) is None and not asked, "it is left alone for a while"


@pytest.mark.parametrize(
    "error", [ValueError("I/O operation on closed file."), AttributeError("'NoneType' object has no attribute 'recv'")]
)
def test_whatever_the_broker_s_client_fails_with_no_request_does(db, settings, monkeypatch, error):
    def fails(*args, **options):
        raise error

    settings.THROTTLES = {"submit": 1, "read": 1}
    monkeypatch.setattr(throttling.Redis, "pipeline", fails)
    api = Api(key=ApiKey.issue(user=User.objects.create_user("shop"), name="x")[1])
    assert [api.get(URL).status_code for _ in range(2)] == [200, 200]


def test_no_limit_asks_nobody(db, settings, monkeypatch):
    settings.THROTTLES = {"submit": 0, "read": 0}
    monkeypatch.setattr(throttling, "count", lambda *args: 1 / 0)
    assert Api(key=ApiKey.issue(user=User.objects.create_user("shop"), name="x")[1]).get(URL).status_code == 200
