"""`make faults`: 100,000 applications through the API under gunicorn, 200 faults of every kind, and the books afterwards."""

from __future__ import annotations

import math
import os
import sys

import pytest
from django.contrib.auth.models import User

from benchmarks.report import Figure, show, table, write
from loans.models import ApiKey
from tests.faults.campaign import Campaign, shown
from tests.services import wait_until

APPLICATIONS = int(os.environ.get("FAULTS_APPLICATIONS", "100000"))
FAULTS = int(os.environ.get("FAULTS_COUNT", "200"))
RECOVERY_LIMIT = 30.0  # seconds, for 99 of 100 faults


@pytest.mark.faults
def test_a_hundred_thousand_applications_through_two_hundred_faults(open_desk, capfd) -> None:
    def say(text: str) -> None:
        with capfd.disabled():
            print(text, file=sys.stdout, flush=True)

    desk = open_desk(quick=False)
    say(f"\nFAULTS_SEED={desk.seed} repeats these choices; logs in {desk.folder}; Ctrl-C ends it.")
    desk.fill()
    with desk.orm():
        sender = User.objects.create_user("sender")
        officer = User.objects.create_superuser("officer", "", "officer")
        keys = [ApiKey.issue(user=user, name="faults")[1] for user in (sender, officer)]
    poison = {"FAULTS_POISON": "1"}
    desk.start("web", "worker-1", "sweeper-1", "sweeper-2", "beat-1", "beat-2", **poison)
    desk.start("worker-2", **poison, **desk.clock_ahead(3 * 3600))
    wait_until(lambda: desk.serves(), 120, "the site")
    campaign = Campaign(desk, *keys, total=APPLICATIONS, faults=FAULTS, say=say)
    campaign.run()
    campaign.wait_for_quiet(300)
    books = desk.books()
    struck = campaign.measure_recovery()
    recovery = sorted(each.recovery for each in struck)
    p99 = recovery[math.ceil(0.99 * len(recovery)) - 1]
    assert books is not None
    missing = campaign.missing()
    lost = missing + books.unaccounted
    double = books.scored_twice + books.half_done
    say("\n" + table(("fault", "times", "median recovery, s", "longest, s"), shown(struck)))
    say(f"\n{books}\npoisoned: {campaign.poisons}; ended by themselves: {campaign.restarts}; answers: {dict(campaign.answers)}")
    say(f"approvals: {campaign.officer.approved}, refused ones: {campaign.officer.refused}")
    say(f"submissions refused: {campaign.refused[:3]}\n")
    figures = [
        Figure("faults.applications", books.submitted),
        Figure("faults.faults", len(struck)),
        Figure("faults.lost", lost, against="limit", against_value=0),
        Figure("faults.double", double, against="limit", against_value=0),
        Figure("faults.recovery_p99_s", round(p99, 2), "s", "limit", RECOVERY_LIMIT),
        Figure("faults.recovery_longest_s", round(recovery[-1], 2), "s"),
    ]
    with capfd.disabled():
        show(figures)
    say(str(write("faults", figures)))
    assert not campaign.refused
    assert (lost, double) == (0, 0)
    assert books.balanced
    assert books.submitted == APPLICATIONS + campaign.poisons
    assert books.to_person >= campaign.poisons
    assert books.approved == campaign.officer.approved > 0
    assert p99 <= RECOVERY_LIMIT
