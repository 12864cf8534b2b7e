"""A bulk job and those who work on it: shared, paused, cancelled, failed and killed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db.models.functions import Now

from loans.management.commands import score
from loans.models import BulkChunk, BulkRun, LoanApplication, Prediction, ScoringJob
from loans.services import scoring
from loans.services.bulk import chunk, run
from tests.factories import make_champion, make_pending

pytestmark = pytest.mark.django_db


@pytest.fixture
def waiting(artifacts, settings):
    settings.BULK_CHUNK_ROWS = 10
    make_champion()
    return make_pending(45)


def states(job: BulkRun) -> list[str]:
    return list(job.chunks.order_by("first").values_list("state", flat=True))


def test_every_application_is_scored_once_whoever_takes_part(waiting, settings):
    job = run.start("pending", by=None, wake=False)
    taken = iter(range(2))
    assert run.work(job.pk, stop=lambda: next(taken, None) is None) == 20, "it stops after two chunks"
    assert run.work(job.pk) == 25
    assert run.work(job.pk) == 0
    job.refresh_from_db()
    assert (job.state, job.rows, job.stored, job.share_done, states(job)) == ("done", 45, 45, 1.0, ["done"] * 5)
    assert Prediction.objects.count() == 45 and not ScoringJob.objects.unfinished().exists()
    assert set(ScoringJob.objects.values_list("attempts", flat=True)) == {1}
    assert run.unattended() == []


def test_open_applications_are_scored_again_and_others_left_alone(waiting):
    scoring.score_pending()
    LoanApplication.objects.filter(pk=waiting[3].application_id).update(status="withdrawn")
    job = run.start("rescore", by=None, wake=False)
    assert run.work(job.pk) == 44
    assert Prediction.objects.count() == 89
    assert Prediction.objects.filter(application=waiting[3].application_id).count() == 1


def test_one_of_a_kind_at_a_time(waiting):
    run.start("pending", by=None, wake=False)
    with pytest.raises(run.BulkRefused, match="under way"):
        run.start("pending", by=None, wake=False)
    with pytest.raises(run.BulkRefused, match="no bulk job"):
        run.start("nonsense", by=None, wake=False)


def test_paused_nothing_is_taken_and_resumed_it_goes_on(waiting):
    job = run.start("pending", by=None, wake=False)
    run.work(job.pk, stop=lambda: True)
    run.pause(job, by=None)
    assert run.work(job.pk) == 0 and run.unattended() == []
    run.resume(job, by=None)
    assert run.unattended() == [job.pk]
    assert run.work(job.pk) == 45


def test_cancelled_what_is_scored_stays_and_the_rest_waits(waiting):
    job = run.start("pending", by=None, wake=False)
    once = iter([False])
    run.work(job.pk, stop=lambda: next(once, True))
    run.cancel(job, by=None)
    job.refresh_from_db()
    assert (job.state, job.stored) == ("cancelled", 10)
    assert run.work(job.pk) == 0 and ScoringJob.objects.due().count() == 35
    with pytest.raises(run.BulkRefused, match="over already"):
        run.pause(job, by=None)


def test_a_dead_worker_s_chunk_is_taken_when_its_lease_is_over(waiting):
    job = run.start("pending", by=None, wake=False)
    run.work(job.pk, stop=lambda: True)
    dead = run._claim(job.pk)
    assert run.work(job.pk) == 35 and run.unattended() == []
    BulkChunk.objects.filter(pk=dead.pk).update(lease_until=Now() - timedelta(seconds=1))
    assert run.unattended() == [job.pk]
    assert run.work(job.pk) == 10
    late = chunk.score_range(dead.first, dead.end)
    assert late == 0 and Prediction.objects.count() == 45, "who comes late finds nothing to do"
    job.refresh_from_db()
    assert (job.state, job.chunks.get(pk=dead.pk).attempts) == ("done", 2)


def test_a_chunk_that_fails_is_left_to_ordinary_scoring_and_holds_up_no_other(waiting, monkeypatch):
    poison = waiting[17].application_id
    honest = chunk.rate

    def poisoned(applications, *rest):
        if poison in applications.ids:
            raise RuntimeError("boom")
        return honest(applications, *rest)

    monkeypatch.setattr(chunk, "rate", poisoned)
    job = run.start("pending", by=None, wake=False)
    assert run.work(job.pk) == 35
    job.refresh_from_db()
    left = job.chunks.get(state="left")
    assert (job.state, left.attempts, left.error, left.stored) == ("done", 3, "RuntimeError", 0)
    assert "1 chunks left" in job.step
    assert ScoringJob.objects.due().count() == 10 and set(ScoringJob.objects.due().values_list("attempts", flat=True)) == {0}
    assert scoring.score_pending().stored == 10


def test_the_command_scores_many_in_bulk_and_the_rest_one_batch_after_the_other(waiting, monkeypatch, capsys):
    monkeypatch.setattr(score, "BULK_FROM", 20)
    ScoringJob.objects.filter(pk__in=[job.pk for job in waiting[:3]]).update(attempts=1)
    call_command("score")
    assert "45 scored with Default risk v1; 0 still waiting" in capsys.readouterr().out
    assert BulkRun.objects.get().stored == 42 and Prediction.objects.count() == 45
    call_command("score", "--again")
    assert BulkRun.objects.get(kind="rescore").stored == 45 and Prediction.objects.count() == 90


def test_pages_show_it_and_only_whom_it_concerns_controls_it(waiting, client, settings):
    settings.SECURE_SSL_REDIRECT = False
    owner = get_user_model().objects.create_user("owner", is_staff=True)
    owner.groups.add(Group.objects.get(name="Model owners"))
    client.force_login(owner)
    assert client.get("/admin/loans/bulkrun/start/").status_code == 405
    answer = client.post("/admin/loans/bulkrun/start/", {"kind": "pending"})
    job = BulkRun.objects.get()
    assert answer.url == f"/admin/loans/bulkrun/{job.pk}/change/" and job.started_by == owner
    assert b"Waits for a worker" in client.get(answer.url).content
    run.work(job.pk, stop=iter([False, True]).__next__)
    page = client.get(answer.url).content.decode()
    assert "10 of 45 applications scored" in page and scoring.worker_name() in page
    client.post(f"/admin/loans/bulkrun/{job.pk}/pause/")
    assert "Paused" in client.get(answer.url).content.decode()
    client.post(f"/admin/loans/bulkrun/{job.pk}/resume/")
    client.post(f"/admin/loans/bulkrun/{job.pk}/cancel/")
    job.refresh_from_db()
    assert job.state == "cancelled" and client.get("/admin/loans/bulkrun/").status_code == 200
    auditor = get_user_model().objects.create_user("auditor", is_staff=True)
    auditor.groups.add(Group.objects.get(name="Auditors"))
    client.force_login(auditor)
    assert client.get(answer.url).status_code == 200
    assert client.post("/admin/loans/bulkrun/start/", {"kind": "pending"}).status_code == 403
