from __future__ import annotations

import pytest
from celery import current_app

from loans.services import wakeups


@pytest.fixture(autouse=True)
def _no_hint_waits(monkeypatch):
    monkeypatch.setattr(wakeups, "hints_waiting", lambda: 0)


def test_one_wait_for_a_broker_that_hangs_is_enough(monkeypatch):
    clock = [100.0]
    tries = []

    def hang(name, **more):
        tries.append(name)
        clock[0] += 5.0
        raise wakeups.OperationalError("timed out")

    monkeypatch.setattr(wakeups, "_silent_until", 0.0)
    monkeypatch.setattr(wakeups.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(wakeups.current_app, "send_task", hang)
    assert [wakeups.wake_scoring() for _ in range(10)] == [False] * 10
    assert len(tries) == 1
    clock[0] += wakeups.SILENT_SECONDS + 1
    wakeups.wake_scoring()
    assert len(tries) == 2


def test_a_broker_that_refuses_at_once_is_asked_each_time(monkeypatch):
    tries = []

    def refuse(name, **more):
        tries.append(name)
        raise wakeups.OperationalError("refused")

    monkeypatch.setattr(wakeups, "_silent_until", 0.0)
    monkeypatch.setattr(wakeups.current_app, "send_task", refuse)
    assert not wakeups.wake_scoring() and not wakeups.wake_scoring()
    assert len(tries) == 2


def test_one_hint_waits_however_many_applications_come_in(settings, monkeypatch):
    monkeypatch.undo()
    settings.QUEUE_PREFIX = current_app.conf.broker_transport_options["global_keyprefix"]
    monkeypatch.setattr(wakeups, "_silent_until", 0.0)
    current_app.control.purge()
    assert [wakeups.wake_scoring() for _ in range(20)] == [True] * 20
    assert wakeups.hints_waiting() == 1
    current_app.control.purge()
