"""Log lines: JSON, under the request's id, also in the worker that the request woke."""

from __future__ import annotations

import json
import logging
import sys
from types import SimpleNamespace

from celery.signals import task_postrun, task_prerun

from loans.services import request_id, wakeups
from loans.services.json_log import JsonFormatter


def test_a_line_is_one_object_without_an_exception_s_own_words():
    try:
        raise ValueError("Ann Jensen, 739-10-4655")
    except ValueError:
        record = logging.LogRecord("loans.x", logging.ERROR, __file__, 1, "It failed: %s\nsecond line", ("why",), sys.exc_info())
    record.request_id = "trace-1"
    line = JsonFormatter().format(record)
    entry = json.loads(line)
    assert "\n" not in line and (entry["level"], entry["request_id"], entry["exception"]) == ("ERROR", "trace-1", "ValueError")
    assert entry["message"] == "It failed: why\nsecond line" and "Jensen" not in line and entry["trace"]


def test_the_request_s_id_goes_with_the_wake_up_and_comes_up_in_the_worker(monkeypatch):
    sent = {}
    monkeypatch.setattr(wakeups, "_silent_until", 0.0)
    monkeypatch.setattr(wakeups, "hints_waiting", lambda: 0)
    monkeypatch.setattr(wakeups, "current_app", SimpleNamespace(send_task=lambda name, **options: sent.update(options)))
    token = request_id.current.set("trace-2")
    try:
        assert wakeups.wake_scoring()
    finally:
        request_id.current.reset(token)
    assert sent["headers"] == {"request_id": "trace-2"}
    task = SimpleNamespace(request=SimpleNamespace(request_id="trace-2", headers=None, id="abcdefgh-1"))
    task_prerun.send(sender=None, task=task, task_id="1")
    assert request_id.current.get() == "trace-2"
    task_postrun.send(sender=None, task=task, task_id="1")
    assert request_id.current.get() == "-"
