from __future__ import annotations

import os
import signal
import time

import pytest

from loans.services import apart


@pytest.fixture(autouse=True)
def _connections_stay(monkeypatch):
    monkeypatch.setattr(apart.connections, "close_all", lambda: None)


def _fail() -> None:
    raise RuntimeError("boom")


@pytest.mark.parametrize(
    ("work", "well"),
    [
        (lambda: None, True),
        (_fail, False),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), False),
        (lambda: time.sleep(60), False),
    ],
    ids=["done", "failed", "killed", "hung"],
)
def test_whatever_becomes_of_the_child_the_parent_goes_on(work, well):
    began = time.monotonic()
    assert apart.run_apart(work, seconds=0.3) is well
    assert time.monotonic() - began < 10


def test_a_child_is_told_to_stop(monkeypatch):
    before = signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    try:
        assert apart.run_apart(lambda: time.sleep(60), seconds=30, stop=lambda: True)
    finally:
        signal.signal(signal.SIGTERM, before)
