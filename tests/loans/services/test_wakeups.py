from __future__ import annotations

from loans.services import wakeups


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
