"""Made-up defaults: only in what is learned from, and only where they help."""

from __future__ import annotations

import numpy as np
import pytest

from mlcore.risk import augment
from mlcore.risk.train import train_default_risk
from tests.mlcore.risk_eval.world import make_world


def test_they_lie_between_two_real_ones_and_behind_the_real_rows():
    data, _ = make_world(600, seed=1)
    frame, default, dates, _ = augment.with_made_up(data.frame, data.default, data.submitted_at, data.schema, 0)
    n, bad = len(data), int(data.default.sum())
    assert len(frame) == len(default) == len(dates) == n + bad
    assert frame.iloc[:n].equals(data.frame) and (default[n:] == 1).all()
    real = data.frame["debt"][data.default == 1]
    made = frame["debt"].iloc[n:]
    assert real.min() <= made.min() and made.max() <= real.max() and not set(made) & set(real)
    assert set(frame["purpose"].iloc[n:]) <= set(data.frame["purpose"])


@pytest.fixture(scope="module")
def plain():
    """(data, a training without)"""
    data, _ = make_world(700, seed=2)
    return data, train_default_risk(data, rungs=["prior", "logistic"])


@pytest.mark.parametrize("helps", [False, True], ids=["no help", "help"])
def test_they_are_used_only_where_they_help_on_later_loans(monkeypatch, plain, helps):
    data, without = plain
    seen = []
    whole = augment.with_made_up

    def watched(frame, default, submitted_at, schema, seed):
        seen.append(len(frame))
        return whole(frame, default, submitted_at, schema, seed)

    monkeypatch.setattr(augment, "with_made_up", watched)
    if helps:
        monkeypatch.setattr(augment, "auc_difference", lambda *scores: type("Found", (), {"value": 0.02, "se": 0.01})())
    result = train_default_risk(data, rungs=["prior", "logistic"], augment=True)
    found = result.report["augmentation"]
    assert found["tried"] and found["helped"] == helps and ("was not used" in found["in_words"]) != helps
    judged = result.report["split"]["test"]["rows"]
    assert max(seen[:2]) == len(data) - judged, "a judged loan was learned from"
    assert len(seen) == (3 if helps else 2) and (len(data) in seen) == helps
    same = np.allclose(result.model.probability(data.frame, data.submitted_at), without.model.probability(data.frame, data.submitted_at))
    assert same != helps and without.report["augmentation"] is None
