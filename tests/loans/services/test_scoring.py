"""The hand-off's sentences, one by one, on a real database."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now

from loans.models import FeatureSnapshot, LoanApplication, Prediction, ScoringJob, Status
from loans.services import scoring
from tests.factories import make_application, make_champion, make_pending

pytestmark = pytest.mark.django_db


@pytest.fixture
def champion(artifacts):
    return make_champion()


def test_each_due_job_gets_one_prediction_with_the_facts_it_rests_on(champion):
    make_pending(30)
    done = scoring.score_pending()
    assert (done.claimed, done.stored, done.released) == (30, 30, 0)
    assert scoring.score_pending().claimed == 0
    assert Prediction.objects.count() == FeatureSnapshot.objects.count() == 30
    assert set(LoanApplication.objects.values_list("status", flat=True)) == {Status.OPEN}
    prediction = Prediction.objects.select_related("application").first()
    assert prediction.application.default_probability == prediction.probability
    assert prediction.application.grade == prediction.grade != ""
    assert abs(prediction.baseline + sum(prediction.contributions.values()) - prediction.log_odds) < 1e-6
    assert prediction.scoring_job.snapshot.values["amount"] == float(prediction.application.amount)
    assert [reason["text"] for reason in prediction.reasons]


def test_the_same_application_alone_and_in_a_batch_scores_the_same(champion):
    one, *others = make_pending(40)
    assert scoring.score_now(one.pk)
    alone = Prediction.objects.get(application=one.application)
    ScoringJob.objects.create(application=one.application)
    scoring.score_pending()
    again = Prediction.objects.filter(application=one.application).latest("pk")
    assert again.pk != alone.pk
    assert again.probability == alone.probability
    assert again.contributions == alone.contributions


def test_without_a_champion_jobs_wait_and_lose_no_attempt(artifacts):
    (job,) = make_pending(1)
    assert scoring.score_pending().claimed == 0
    job.refresh_from_db()
    assert (job.state, job.attempts) == ("pending", 0)


def test_a_lease_that_ended_is_taken_over_and_the_late_result_is_dropped(champion, monkeypatch):
    (job,) = make_pending(1)
    serving = scoring.registry.champion()
    late = scoring._claim(least=0, most=4, limit=10)
    ScoringJob.objects.filter(pk=job.pk).update(lease_until=Now() - timedelta(seconds=1))
    assert scoring.score_pending().stored == 1
    assert scoring._score_and_store(late, serving) == 0
    assert Prediction.objects.count() == 1


def test_a_lease_that_holds_is_left_alone(champion):
    make_pending(1)
    assert scoring._claim(least=0, most=4, limit=10)
    assert scoring.score_pending().claimed == 0


def test_one_bad_application_takes_no_other_down_and_goes_to_a_person(champion, monkeypatch):
    jobs = make_pending(60)
    poison = jobs[17].application_id
    LoanApplication.objects.filter(pk=poison).update(amount=777_777)
    model = scoring.registry.champion().model
    honest = model.score

    def poisoned(frame, submitted_at=None):
        if (frame["amount"] == 777_777).any():
            raise RuntimeError("boom")
        return honest(frame, submitted_at)

    monkeypatch.setattr(model, "score", poisoned)
    for _ in range(12):
        scoring.score_pending()
        ScoringJob.objects.filter(state="pending").update(due_at=Now())
    assert Prediction.objects.count() == 59
    job = ScoringJob.objects.get(application_id=poison)
    assert (job.state, job.attempts, job.error) == ("failed", 5, "RuntimeError")
    assert LoanApplication.objects.get(pk=poison).status == Status.NEEDS_REVIEW
    assert not Prediction.objects.filter(application_id=poison).exists()


def test_a_batch_goes_back_at_once_and_a_job_that_failed_alone_waits_longer_each_time(champion):
    jobs = make_pending(3)
    scoring._release(scoring._claim(least=0, most=0, limit=3), error="boom")
    assert ScoringJob.objects.due().count() == 3
    ScoringJob.objects.filter(pk=jobs[0].pk).update(attempts=3)
    scoring._release(scoring._claim(least=3, most=3, limit=1), error="boom")
    job = ScoringJob.objects.annotate(wait=F("due_at") - Now()).get(pk=jobs[0].pk)
    assert (job.state, job.attempts, job.error) == ("pending", 4, "boom")
    assert timedelta(seconds=10) < job.wait < timedelta(seconds=20), "2 to the power of its attempts"


def test_a_lost_batch_is_tried_again_in_one_round_and_told_to_stop_claims_nothing(champion):
    make_pending(60)
    ScoringJob.objects.update(attempts=1)
    assert scoring.score_pending(stop=lambda: True).claimed == 0
    told = iter([False, True])
    assert scoring.score_pending(stop=lambda: next(told, True)).stored == 0, "asked before the first class of attempts, then stopped"
    assert scoring.score_pending().stored == 60, "in batches of 25, yet not one a round"


def test_a_claim_takes_no_more_than_its_limit_however_the_planner_joins(champion):
    make_pending(60)
    with connection.cursor() as cursor:
        # The plan that a small or freshly filled table gets, and that ran the choice of rows anew for each row.
        cursor.execute("SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_material = off")
        cursor.execute("SET LOCAL enable_hashagg = off; SET LOCAL enable_sort = off; SET LOCAL enable_memoize = off")
    assert len(scoring._claim(least=0, most=4, limit=1)) == 1
    assert len(scoring._claim(least=0, most=4, limit=25)) == 25


def test_a_score_that_does_not_add_up_is_never_stored(champion, monkeypatch):
    make_pending(1)
    model = scoring.registry.champion().model
    honest = model.score

    def off(frame, submitted_at=None):
        scores = honest(frame, submitted_at)
        scores.contributions[:, 0] += 1e-3
        return scores

    monkeypatch.setattr(model, "score", off)
    assert scoring.score_pending().stored == 0
    assert not Prediction.objects.exists()


def test_a_repeated_request_for_a_score_finds_the_waiting_job(champion):
    application = make_application(status=Status.NEEDS_REVIEW)
    first, second = scoring.request_score(application), scoring.request_score(application)
    assert first.pk == second.pk


@pytest.mark.parametrize(
    "sql", ["UPDATE loans_prediction SET probability = 0", "DELETE FROM loans_prediction", "DELETE FROM loans_featuresnapshot"]
)
def test_the_database_refuses_to_change_what_was_said(champion, sql):
    from django.db import DatabaseError, transaction

    make_pending(1)
    scoring.score_pending()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)


def test_transitions_in_code_and_in_the_database_agree():
    from django.db import DatabaseError, transaction

    from loans.models.application import TRANSITIONS

    for before, allowed in TRANSITIONS.items():
        for after in Status.values:
            if after == before:
                continue
            application = make_application(status=before)
            try:
                with transaction.atomic():
                    LoanApplication.objects.filter(pk=application.pk).update(status=after)
                held = True
            except DatabaseError:
                held = False
            assert held == (after in allowed), f"{before} → {after}"


def test_what_a_dead_process_of_this_machine_held_is_due_at_once(champion):
    jobs = make_pending(4)
    assert len(scoring._claim(least=0, most=0, limit=4)) == 4
    if not scoring._place():
        pytest.skip("this system does not say which processes share their numbers")
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    host = scoring.worker_name().rpartition(":")[0]
    names = [f"{host}:{child.pid}{scoring._place()}", f"{host}:{child.pid}@1", f"elsewhere:{child.pid}{scoring._place()}"]
    for job, name in zip(jobs, names, strict=False):  # the fourth is this process's own
        ScoringJob.objects.filter(pk=job.pk).update(claimed_by=name)
    assert scoring.release_of_the_dead() == 1
    assert list(ScoringJob.objects.due().values_list("pk", flat=True)) == [jobs[0].pk]
    assert scoring.score_pending().stored == 1
