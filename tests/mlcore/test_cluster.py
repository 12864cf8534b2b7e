"""Fits on a Dask cluster: the same model as on one machine, and words where there is none."""

import sys

import numpy as np
import pytest

from mlcore.cluster import ClusterUnavailable, spread
from mlcore.risk.train import train_default_risk

from .risk.conftest import make_world


def test_an_empty_scheduler_changes_nothing():
    from joblib.parallel import get_active_backend

    before = get_active_backend()[1]
    with spread(""):
        assert get_active_backend()[1] == before


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterUnavailable, match="pip install distributed"), spread("tcp://127.0.0.1:8786"):
        pass


def test_a_scheduler_that_does_not_answer_is_named():
    with pytest.raises(ClusterUnavailable, match="No Dask scheduler answers"), spread("tcp://127.0.0.1:9", seconds=1):
        pass


@pytest.mark.slow
def test_a_cluster_gives_the_same_model(monkeypatch):
    import distributed

    monkeypatch.setattr("mlcore.risk.pairwise.FITS", 2)
    monkeypatch.setattr("mlcore.risk.pairwise.MOST_TREES", 20)
    data = make_world(1200)
    rungs = ["prior", "logistic", "pairwise"]
    here = train_default_risk(data, rungs=rungs)
    said = []
    # Threads instead of processes: a process's start would be most of the test.
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        spread(cluster.scheduler_address),
    ):
        there = train_default_risk(data, rungs=rungs, progress=lambda share, step: said.append((share, step)))
    assert there.report["champion"]["figures"] == here.report["champion"]["figures"]
    np.testing.assert_array_equal(
        there.model.probability(data.frame, data.submitted_at), here.model.probability(data.frame, data.submitted_at)
    )
    assert any(step == "Measured pairwise" for _, step in said)
    assert [share for share, _ in said] == sorted(share for share, _ in said)
