"""The promise under fire: real worker, sweeper, broker and database, killed and emptied while applications are scored."""

from __future__ import annotations

import pytest

EVERY_FAULT = ("kill worker", "broker emptied", "restart database", "kill sweeper", "kill worker child")


@pytest.mark.parametrize(
    ("applications", "faults"),
    [
        # each process that must start again costs seconds: the default suite keeps one of them and both servers
        pytest.param(1_200, ("kill worker child", "broker emptied", "restart database"), id="some"),
        pytest.param(2_000, EVERY_FAULT, id="every fault", marks=pytest.mark.faults),
    ],
)
def test_every_application_is_scored_exactly_once_whatever_dies(open_desk, applications, faults) -> None:
    desk = open_desk(SCORING_LEASE_SECONDS="2", SCORING_BATCH_SIZE="50")
    desk.fill(applications=applications)
    desk.start("worker", "sweeper")
    for fault in faults:
        desk.after(min(desk.scored() + desk.chance.randrange(applications // 40, applications // 8), applications - 100))
        desk.do(fault)
    books = desk.settle(submitted=applications)
    assert books.most_attempts > 1, "no fault hit a running job: this run proved nothing"
