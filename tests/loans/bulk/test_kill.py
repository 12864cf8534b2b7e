"""A worker that is killed in the middle of a chunk costs that chunk's work, and nothing else."""

from __future__ import annotations

import os
import signal
import time

import pytest
from django.db import connection
from django.db.models.functions import Now

from loans.models import Prediction, ScoringJob
from loans.services.bulk import chunk, run
from tests.factories import make_champion, make_pending


@pytest.mark.django_db(transaction=True)
def test_a_killed_worker_costs_only_its_chunk(artifacts, settings):
    settings.BULK_CHUNK_ROWS = 10
    make_champion()
    make_pending(35)
    job = run.start("pending", by=None, wake=False)
    told, tell = os.pipe()
    worker = os.fork()
    if not worker:
        _work_until_killed(job.pk, tell)
    assert os.read(told, 1) == b"!", "the worker is in the middle of its second chunk"
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    assert Prediction.objects.count() == 10, "of the chunk that was under way nothing is stored"
    assert ScoringJob.objects.filter(state="pending", attempts=0).count() == 25, "and no job lost an attempt"
    assert run.work(job.pk) == 15, "what nobody holds can be taken at once"
    assert run.unattended() == [], "its lease still runs"
    job.chunks.filter(state="running").update(lease_until=Now())
    assert run.unattended() == [job.pk] and run.work(job.pk) == 10
    job.refresh_from_db()
    assert (job.state, job.stored, sorted(job.chunks.values_list("attempts", flat=True))) == ("done", 35, [1, 1, 1, 2])
    assert Prediction.objects.count() == Prediction.objects.values("scoring_job").distinct().count() == 35


def _work_until_killed(job_id: int, tell: int) -> None:
    """In the forked process: one chunk, and the next one up to where its predictions are written but not committed."""
    try:
        connection.connection = None  # the parent's; it must not be closed from here
        honest, done = chunk.store.copy_in, []

        def copy_in(table, columns):
            honest(table, columns)
            done.append(table)
            if done.count("loans_prediction") == 2:
                os.write(tell, b"!")
                time.sleep(60)

        chunk.store.copy_in = copy_in
        run.work(job_id)
    finally:
        os._exit(1)
