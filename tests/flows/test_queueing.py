"""The capacity model against what queueing theory knows, and its plain consequences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.queueing import Hosts, Service, simulate

ONE = Service(0.0, 0.01, 0.0, (0.0,), 0.0, 0.0, 0.0, 0.0)
ALONE = Hosts(web=1, database=1, worker=1, processes=1, threads=200, workers=1)


def arrivals(rate: float, count: int) -> list[float]:
    return np.cumsum(np.random.default_rng(5).exponential(1 / rate, count)).tolist()


@pytest.mark.parametrize("load", [0.3, 0.6])
def test_one_shared_processor_answers_as_theory_says(load):
    """M/M/1 with processor sharing: the mean is the service time over what is left of the processor."""
    service = replace(ONE, spread=tuple(np.random.default_rng(1).exponential(1, 3000)))
    made = simulate(service, arrivals(100 * load, 3000), ALONE)
    assert np.mean(made.answered) == pytest.approx(0.01 / (1 - load), rel=0.15)
    assert made.busy["web"] == pytest.approx(load, rel=0.06)


def test_everything_is_answered_and_scored_and_takes_at_least_its_service():
    service = Service(0.001, 0.006, 0.002, (0.003, 0.005), 0.02, 0.001, 0.001, 0.01, (0.8, 1.2))
    made = simulate(service, arrivals(60, 600), Hosts(2, 2, 2, 2, 4, 2, shared=True))
    assert len(made.answered) == len(made.scored) == 600
    assert min(made.answered) > 0.0103 and min(made.scored) >= min(made.answered) + 0.01


def test_more_threads_than_processors_do_not_help_and_more_processors_do():
    due = arrivals(150, 900)
    small, threads, large = (
        np.quantile(simulate(ONE, due, replace(ALONE, threads=count, web=web, processes=web)).answered, 0.99)
        for count, web in ((4, 1), (400, 1), (4, 2))
    )
    assert large < 0.3 * small and threads > 0.8 * small


def test_a_worker_that_falls_behind_takes_more_at_a_time():
    costly = replace(ONE, web=0.001, batch=0.1, score=0.001)
    made = simulate(costly, arrivals(200, 1000), ALONE)
    assert np.quantile(made.scored, 0.99) < 1.0, "one by one it would be 100 s behind"
