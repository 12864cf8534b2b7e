from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from loans.models import ImportBatch, LoanApplication, ScoringJob, Status
from loans.services import sweeping
from tests.factories import make_champion, make_pending

pytestmark = pytest.mark.django_db


@pytest.fixture
def broker(monkeypatch):
    """A broker of which only the length of its queue and what was sent is real to the sweeper."""
    state = {"length": 0, "sent": 0}
    monkeypatch.setattr(sweeping.Sweeper, "_queue_length", lambda self: state["length"])
    monkeypatch.setattr(sweeping, "wake_scoring", lambda: state.update(sent=state["sent"] + 1))
    return state


@pytest.fixture
def clock(monkeypatch):
    """The sweeper's clock, moved by hand."""
    now = [100.0]
    monkeypatch.setattr(sweeping.time, "monotonic", lambda: now[0])
    return now


def test_due_work_is_sent_for_and_hints_back_off(broker, settings, clock):
    settings.SWEEP_INTERVAL_SECONDS = 1
    make_pending(3)
    sweeper = sweeping.Sweeper()
    for _ in range(60):
        assert sweeper.sweep_once() == 3
        clock[0] += 1
    assert 4 <= broker["sent"] <= 8, "once at first, then after 1, 2, 4, 8 … seconds"


def test_nothing_is_sent_while_the_queue_is_long_or_nothing_is_due(broker, settings):
    sweeper = sweeping.Sweeper()
    sweeper.sweep_once()
    make_pending(1)
    broker["length"] = settings.SWEEP_LONG_QUEUE
    sweeper.sweep_once()
    assert broker["sent"] == 0


@pytest.mark.parametrize("length", [None, 0, 10_000], ids=["broker away", "broker that takes no message", "worker that takes none"])
def test_the_sweeper_scores_itself_when_nobody_else_does(length, broker, artifacts, clock, settings):
    make_champion()
    make_pending(3)
    broker["length"] = length
    sweeper = sweeping.Sweeper()
    for _ in range(3):
        sweeper.sweep_once()
        clock[0] += settings.BROKER_AWAY_SECONDS / 3
    assert ScoringJob.objects.unfinished().count() == 3
    sweeper.sweep_once()
    assert ScoringJob.objects.unfinished().count() == 0
    make_pending(3)
    clock[0] += 1
    sweeper.sweep_once()
    assert ScoringJob.objects.unfinished().count() == 0, "while nobody else scores, what comes next does not wait again"


def test_the_sweeper_leaves_scoring_to_a_worker_that_is_back(broker, artifacts, clock, settings):
    make_champion()
    make_pending(3)
    sweeper = sweeping.Sweeper()
    sweeper.sweep_once()
    clock[0] += settings.BROKER_AWAY_SECONDS
    sweeper.sweep_once()
    assert sweeper.scores_here
    make_pending(3)
    sweeping.scoring.score_pending()  # the worker
    make_pending(3)
    clock[0] += 1
    sweeper.sweep_once()
    assert ScoringJob.objects.unfinished().count() == 3 and not sweeper.scores_here


def test_exhausted_jobs_go_to_a_person_without_a_model_or_a_worker(broker):
    (job,) = make_pending(1)
    ScoringJob.objects.filter(pk=job.pk).update(attempts=5)
    sweeping.Sweeper().sweep_once()
    assert LoanApplication.objects.get().status == Status.NEEDS_REVIEW


def test_a_look_that_fails_does_not_end_the_sweeper(monkeypatch, settings):
    settings.SWEEP_INTERVAL_SECONDS = 0.01
    stop, looks = threading.Event(), []

    def fail(self):
        looks.append(1)
        if len(looks) == 3:
            stop.set()
        raise RuntimeError("boom")

    monkeypatch.setattr(sweeping.Sweeper, "sweep_once", fail)
    monkeypatch.setattr(sweeping, "close_old_connections", lambda: None)
    sweeping.run(stop)
    assert len(looks) == 3


def test_an_import_whose_process_died_is_ended(broker):
    batch = ImportBatch.objects.create(file_name="x.csv", sha256="0" * 64, mapping_name="m", mapping="", state="running", lease_until=Now())
    ImportBatch.objects.update(lease_until=Now() - timedelta(seconds=1))
    sweeping.Sweeper().sweep_once()
    batch.refresh_from_db()
    assert batch.state == "failed"


def test_the_queue_is_read_where_workers_read_it(settings):
    from celery import current_app

    settings.QUEUE_PREFIX = current_app.conf.broker_transport_options["global_keyprefix"]
    before = sweeping.Sweeper()._queue_length()
    current_app.send_task("loans.score_pending")
    assert sweeping.Sweeper()._queue_length() == before + 1
    current_app.control.purge()


def test_a_broker_that_is_not_there_reads_as_away(settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert sweeping.Sweeper()._queue_length() is None
