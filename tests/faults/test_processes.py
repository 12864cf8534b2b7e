"""What a single process can do wrong, and what it costs the others: nothing."""

from __future__ import annotations

import json
import time

import psycopg
import pytest

from tests.factories import make_application, make_pending
from tests.faults.client import Caller, bodies
from tests.services import wait_until

pytestmark = pytest.mark.faults


def _waiting(desk, count: int, *references: str) -> int:
    """So many applications that wait, those with these references in their midst; returns how many there are in all."""
    from loans.models import ScoringJob

    with desk.orm():
        make_pending(count // 2)
        for reference in references:
            ScoringJob.objects.create(application=make_application(external_reference=reference))
        make_pending(count - count // 2)
    return count + len(references)


def _job_of(desk, reference: str) -> tuple[str, int, str]:
    with psycopg.connect(desk.database.url) as connection:
        return connection.execute(
            "SELECT job.state, job.attempts, app.status FROM loans_scoringjob job JOIN loans_loanapplication app"
            " ON app.id = job.application_id WHERE app.external_reference = %s",
            [reference],
        ).fetchone()


def _most_attempts_of_the_others(desk) -> int:
    with psycopg.connect(desk.database.url) as connection:
        return connection.execute(
            "SELECT max(attempts) FROM loans_scoringjob job JOIN loans_loanapplication app ON app.id = job.application_id"
            " WHERE app.external_reference LIKE 'T-%'"
        ).fetchone()[0]


def test_an_application_that_kills_its_worker_goes_to_a_person_and_costs_the_others_nothing(open_desk):
    desk = open_desk(FAULTS_POISON="1", SCORING_LEASE_SECONDS="2")
    desk.fill()
    submitted = _waiting(desk, 300, "POISON-1", "POISON-2")
    desk.start("worker", "sweeper")
    sweeper = desk.processes["sweeper"]
    books = desk.settle(submitted=submitted, to_person=2)
    assert books.scored_once == 300
    assert desk.processes["sweeper"] is sweeper, "it scores in a child where it must, and does not die of it"
    assert _job_of(desk, "POISON-1") == _job_of(desk, "POISON-2") == ("failed", 5, "needs_review")
    assert _most_attempts_of_the_others(desk) <= 3, "twice beside the poison in a batch, then on their own"


def test_an_application_whose_score_never_comes_back_goes_to_a_person(open_desk):
    desk = open_desk(FAULTS_HANG="1", SCORING_LEASE_SECONDS="2")
    desk.fill()
    submitted = _waiting(desk, 100, "HANGS-1")
    desk.start("worker", "sweeper")
    desk.settle(submitted=submitted, to_person=1)
    assert _job_of(desk, "HANGS-1") == ("failed", 5, "needs_review")
    _waiting(desk, 50)
    desk.settle(submitted=submitted + 50, to_person=1)  # the worker is not lost to the one that hung


def test_an_application_that_kills_the_site_which_scores_it_at_once_goes_to_a_person(open_desk):
    from django.contrib.auth.models import User

    from loans.models import ApiKey

    desk = open_desk(FAULTS_POISON="1", SCORING_LEASE_SECONDS="2")
    desk.fill()
    with desk.orm():
        key = ApiKey.issue(user=User.objects.create_user("sender"), name="faults", scopes=("submit", "read"))[1]
    desk.start("web", "worker", "sweeper")
    wait_until(desk.serves, 60, "the site")
    caller = Caller(lambda: desk.port, key)
    body = next(iter(bodies(1))) | {"external_reference": "POISON-1"}
    answers = []
    while not answers or answers[-1][0] != 201:
        assert len(answers) < 5, answers
        answers.append(caller.post("/api/v1/applications/?wait=1", body))
        time.sleep(1)
    assert len(answers) == 2, "one process is lost to it, and no other"
    assert json.loads(answers[-1][1])["prediction"] is None
    desk.settle(submitted=1, to_person=1)
    assert _job_of(desk, "POISON-1") == ("failed", 5, "needs_review")
    caller.close()  # kept open for longer than the site keeps it
    assert json.loads(caller.post("/api/v1/applications/?wait=1", next(iter(bodies(1, "C"))))[1])["prediction"] is not None


def test_a_batch_that_kills_the_site_which_scores_it_goes_to_the_workers(open_desk):
    from django.contrib.auth.models import User

    from loans.models import ApiKey

    desk = open_desk(FAULTS_POISON="1", SCORING_LEASE_SECONDS="2")
    desk.fill()
    with desk.orm():
        key = ApiKey.issue(user=User.objects.create_user("sender"), name="faults", scopes=("submit", "read"))[1]
    desk.start("web", "worker", "sweeper")
    wait_until(desk.serves, 60, "the site")
    caller = Caller(lambda: desk.port, key)
    rows = [*bodies(30, "B")]
    rows[7] |= {"external_reference": "POISON-1"}
    answers = []
    while not answers or answers[-1][0] != 200:
        assert len(answers) < 5, answers
        answers.append(caller.post("/api/v1/applications/batch/", {"applications": rows}))
        time.sleep(1)
    assert len(answers) == 2, "one process is lost to it, and no other"
    desk.settle(submitted=30, to_person=1)
    assert _job_of(desk, "POISON-1") == ("failed", 5, "needs_review")


def test_poison_and_a_score_that_never_comes_back_where_only_the_sweeper_scores(open_desk):
    desk = open_desk(FAULTS_POISON="1", FAULTS_HANG="1", SCORING_LEASE_SECONDS="1", BROKER_AWAY_SECONDS="0")
    desk.fill()
    submitted = _waiting(desk, 200, "POISON-1", "HANGS-1")
    desk.start("sweeper")
    sweeper = desk.processes["sweeper"]
    desk.settle(submitted=submitted, to_person=2)
    assert desk.processes["sweeper"] is sweeper


def test_a_worker_that_froze_past_its_lease_stores_nothing_twice(open_desk):
    desk = open_desk(FAULTS_SLOW="0.5", SCORING_LEASE_SECONDS="1")
    desk.fill(applications=1_500)
    desk.start("worker-1", "worker-2", "sweeper")
    desk.after(100)
    for name in ("worker-1", "worker-2", "worker-1"):
        desk.processes[name].pause()
        time.sleep(2.5)
        desk.processes[name].resume()
    books = desk.settle(submitted=1_500)
    assert books.most_attempts > 1


def test_two_sweepers_and_two_schedulers_do_no_more_than_one(open_desk):
    desk = open_desk()
    desk.fill()
    desk.start("worker", "sweeper-1", "sweeper-2", "beat-1", "beat-2")
    for _ in range(4):
        _waiting(desk, 150)
        desk.kill(desk.any_of("sweeper"))
        desk.kill(desk.any_of("beat"))
    desk.settle(submitted=600)
    # Without worker and broker both sweepers score; each application is one's alone.
    desk.processes.pop("worker").kill()
    desk.broker.pause()
    _waiting(desk, 400)
    desk.settle(submitted=1_000)
    desk.broker.resume()


def test_a_clock_three_hours_ahead_takes_no_job_from_anybody(open_desk):
    desk = open_desk(FAULTS_SLOW="0.3", SCORING_LEASE_SECONDS="20")
    desk.fill()
    ahead = desk.clock_ahead(3 * 3600)
    clock = desk.shell("from django.utils import timezone; import time; print(timezone.now().timestamp() - time.monotonic())", **ahead)
    right = desk.shell("from django.utils import timezone; import time; print(timezone.now().timestamp() - time.monotonic())")
    assert 3 * 3600 - 60 < float(clock) - float(right) < 3 * 3600 + 60, "the fault itself must work"
    submitted = _waiting(desk, 1_000)
    desk.start("worker-right")
    desk.start("worker-ahead", "sweeper-ahead", "beat-ahead", **ahead)
    books = desk.settle(submitted=submitted)
    assert books.most_attempts == 1, "a lease that holds by the database's clock was taken over"
    with psycopg.connect(desk.database.url) as connection:
        late = "SELECT count(*) FROM loans_scoringjob WHERE greatest(finished_at, created_at) > clock_timestamp()"
        assert connection.execute(late).fetchone()[0] == 0
        scored = "SELECT count(DISTINCT claimed_by) FROM loans_scoringjob"
        assert connection.execute(scored).fetchone()[0] >= 2, "the one with the wrong clock must have scored too"


def test_the_database_restarted_again_and_again(open_desk):
    desk = open_desk()
    desk.fill(applications=1_500)
    desk.start("worker-1", "worker-2", "sweeper")
    for _ in range(5):
        desk.after(min(desk.scored() + desk.chance.randrange(50, 200), 1_400))
        desk.do("restart database")
    desk.settle(submitted=1_500)
    wait_until(lambda: all(process.running for process in desk.processes.values()), 1, "every process survived")
