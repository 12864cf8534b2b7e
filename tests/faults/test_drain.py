"""SIGTERM drains: what is under way is finished, and a deploy loses nothing."""

from __future__ import annotations

import signal
import threading
import time

import psycopg
import pytest
from django.contrib.auth.models import User

from loans.models import ApiKey
from tests.faults.books import one_number
from tests.faults.client import Caller, Submitters, bodies
from tests.services import wait_until

pytestmark = pytest.mark.faults
_RUNNING = "SELECT count(*) FROM loans_scoringjob WHERE state = 'running'"


def _key(desk) -> str:
    with desk.orm():
        return ApiKey.issue(user=User.objects.create_user("sender"), name="faults")[1]


def test_the_site_answers_what_it_has_begun(open_desk):
    desk = open_desk(FAULTS_SLOW="4", WEB_CONCURRENCY="1")
    desk.fill()
    key = _key(desk)
    desk.start("web")
    wait_until(desk.serves, 60, "the site")
    answers = []

    def ask() -> None:
        answers.append(Caller(lambda: desk.port, key).post("/api/v1/applications/?wait=1", next(iter(bodies(1)))))

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(1.5)  # it is under way by now, and takes four seconds
    assert thread.is_alive()
    assert desk.processes.pop("web").stop(timeout=30) == 0
    thread.join(5)
    ((status, body),) = answers
    assert status == 201 and b'"probability"' in body
    assert Caller(lambda: desk.port, key).ask("GET", "/healthz")[0] == 0, "and takes nothing new"
    desk.settle(submitted=1)


def test_a_worker_finishes_its_batch_and_claims_no_other(open_desk):
    desk = open_desk(FAULTS_SLOW="2", SCORING_LEASE_SECONDS="60")
    desk.fill(applications=500)  # five batches of 100
    desk.start("worker", "sweeper")
    wait_until(lambda: one_number(desk.database.url, _RUNNING) == 100, 60, "a batch under way")
    desk.processes.pop("sweeper").stop()
    before, began = desk.scored(), time.monotonic()
    assert desk.processes.pop("worker").stop(timeout=30) == 0
    assert time.monotonic() - began < 10
    assert one_number(desk.database.url, _RUNNING) == 0, "nothing waits for a lease to end"
    assert desk.scored() == before + 100
    with psycopg.connect(desk.database.url) as connection:
        assert connection.execute("SELECT max(attempts), count(*) FILTER (WHERE attempts = 0) FROM loans_scoringjob").fetchone() == (
            1,
            400 - before,
        )


def test_a_sweeper_that_scores_finishes_its_batch(open_desk):
    desk = open_desk(FAULTS_SLOW="2", SCORING_LEASE_SECONDS="60", BROKER_AWAY_SECONDS="0")
    desk.fill(applications=500)
    desk.start("sweeper")
    wait_until(lambda: one_number(desk.database.url, _RUNNING) == 100, 60, "a batch under way")
    assert desk.processes.pop("sweeper").stop(timeout=30) == 0
    assert one_number(desk.database.url, _RUNNING) == 0
    assert desk.scored() in (100, 200)
    assert one_number(desk.database.url, "SELECT count(*) FROM loans_heartbeat") == 0, "it has taken its leave"


def test_a_rolling_restart_under_load_loses_nothing(open_desk):
    """New code in every process while clients send: `kill -HUP` for the site, SIGTERM and anew for the rest."""
    desk = open_desk()
    desk.fill()
    key = _key(desk)
    desk.start("web", "worker-1", "worker-2", "sweeper")
    wait_until(desk.serves, 60, "the site")
    with Submitters(lambda: desk.port, key, bodies(1_000_000), threads=3) as submitters:
        for number in range(2):
            wait_until(lambda number=number: len(submitters.accepted) > 100 * (number + 1), 60, "submissions")
            desk.processes["web"].popen.send_signal(signal.SIGHUP)
            for name in ("worker-1", "worker-2", "sweeper"):
                desk.roll(name)
        wait_until(lambda: len(submitters.accepted) > 400, 60, "submissions")
    print(submitters.answers)
    assert not submitters.refused
    assert not {"ConnectionRefusedError", "500", "502", "503"} & set(submitters.answers), submitters.answers
    assert desk.unfinished() is not None
    submitted = one_number(desk.database.url, "SELECT count(*) FROM loans_loanapplication")
    assert submitted >= len(submitters.accepted)
    books = desk.settle(submitted=submitted)
    assert books.most_attempts == 1, "nothing was killed, so nothing had to be tried twice"
