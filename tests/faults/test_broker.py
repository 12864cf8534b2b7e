"""Whatever the broker does, applications are taken in and scored, while it lasts and afterwards."""

from __future__ import annotations

import time

import pytest
from django.contrib.auth.models import User

from loans.models import ApiKey
from tests.faults.client import Submitters, bodies
from tests.services import wait_until

pytestmark = pytest.mark.faults

BEGIN_AND_END = {
    "down": (lambda desk: desk.broker.kill(), lambda desk: desk.broker.start()),
    "hung": (lambda desk: desk.broker.pause(), lambda desk: desk.broker.resume()),
    "emptied": (lambda desk: desk.broker.wipe(), lambda desk: None),
    "out of memory": (lambda desk: desk.memory_limit(1), lambda desk: desk.memory_limit(0)),
}


@pytest.mark.parametrize("fault", list(BEGIN_AND_END))
def test_applications_come_in_and_are_scored_while_the_broker_is(fault, open_desk):
    desk = open_desk()
    desk.fill()
    with desk.orm():
        key = ApiKey.issue(user=User.objects.create_user("sender"), name="faults")[1]
    desk.start("web", "worker", "sweeper")
    wait_until(desk.serves, 60, "the site")
    begin, end = BEGIN_AND_END[fault]

    def submit(prefix: str) -> float:
        """Send in 40, wait until they are scored; returns the longest answer's time."""
        before = desk.scored()
        with Submitters(lambda: desk.port, key, bodies(40, prefix), threads=4) as submitters:
            wait_until(lambda: not submitters.busy, 60, "answers")
        assert len(submitters.accepted) == 40 and not submitters.refused, submitters.answers
        wait_until(lambda: desk.scored() == before + 40 or bool(desk.keep_alive()), 60, f"40 scores {prefix}", interval=0.2)
        desk.after(before + 40)
        return max(each.accepted - each.sent for each in submitters.accepted)

    submit("before")
    begin(desk)
    longest = submit("during")
    assert longest < 10, "an answer must not wait for a broker that does not come"
    end(desk)
    time.sleep(1)
    submit("after")
    desk.settle(submitted=120)
