"""Loading, promoting and rolling back."""

from __future__ import annotations

import logging

import pytest

from loans.models import ModelEvent, ModelVersion
from loans.services import registry, scoring
from tests.factories import make_champion, make_pending

pytestmark = pytest.mark.django_db


def test_a_version_knows_what_it_was_made_with_and_tells_its_life(artifacts):
    from mlcore.artifacts import code_digest

    first, second = make_champion(seed=1), make_champion(seed=2)
    assert first.environment["code"] == code_digest() and first.environment["libraries"]["scikit-learn"]
    told = list(ModelEvent.objects.filter(version=first).order_by("pk").values_list("action", flat=True))
    assert told == ["trained", "promoted", "retired"]
    assert second.predecessor == first and first.promoted_how == "first"


def test_what_would_predict_otherwise_is_refused_with_the_command(artifacts, monkeypatch):
    from mlcore import artifacts as stored
    from mlcore.artifacts import ArtifactError
    from mlcore.calibration import Calibrator

    version = make_champion()
    registry._loaded.clear()
    whole = Calibrator.transform
    now = stored.library_versions()
    monkeypatch.setattr(stored, "library_versions", lambda: now | {"scikit-learn": "99.1"})
    monkeypatch.setattr(Calibrator, "transform", lambda self, z: whole(self, z) * 1.001)
    with pytest.raises(ArtifactError) as refusal:
        registry.champion()
    for words in (str(version), "golden rows", "→ 99.1", "manage.py train default_risk"):
        assert words in str(refusal.value)
    (job,) = make_pending(1)
    with pytest.raises(ArtifactError):
        scoring.score_pending()
    job.refresh_from_db()
    assert (job.state, job.attempts) == ("pending", 0)


def test_a_newer_library_that_changes_nothing_is_let_in(artifacts, monkeypatch, caplog):
    from mlcore import artifacts as stored

    version = make_champion()
    registry._loaded.clear()
    now = stored.library_versions()
    monkeypatch.setattr(stored, "library_versions", lambda: now | {"scikit-learn": "99.1"})
    with caplog.at_level(logging.INFO, "loans.services.registry"):
        assert registry.champion().version == version
    assert "→ 99.1" in caplog.text


def test_a_roll_back_returns_to_what_served_before_and_further(artifacts):
    first, second, third = (make_champion(seed=seed) for seed in (1, 2, 3))
    assert registry.predecessor("default_risk") == second
    assert registry.roll_back("default_risk", by=None, reason="Wrong scores.") == second
    assert registry.champion().version == second
    assert registry.roll_back("default_risk", by=None, reason="Still wrong.") == first
    with pytest.raises(registry.NotPromotable, match="nothing to return to"):
        registry.roll_back("default_risk", by=None, reason="Again.")
    states = dict(ModelVersion.objects.values_list("version", "state"))
    assert states == {1: "champion", 2: "retired", 3: "retired"}
    back = ModelEvent.objects.filter(version=second, action="rolled_back").get()
    assert back.reason == "Wrong scores." and back.facts["before"] == str(third)


def test_a_roll_back_to_what_is_gone_changes_nothing(artifacts):
    from mlcore.artifacts import ArtifactError

    first, second = make_champion(seed=1), make_champion(seed=2)
    (artifacts / first.artifact).unlink()
    with pytest.raises(ArtifactError):
        registry.roll_back("default_risk", by=None, reason="Wrong scores.")
    assert registry.champion().version == second


def test_every_single_flipped_byte_is_refused(artifacts):
    """A thousand of them, spread over the whole file and drawn by chance within each thousandth."""
    import random

    from mlcore.artifacts import ArtifactError

    version = make_champion()
    path = artifacts / version.artifact
    good = path.read_bytes()
    chance = random.Random(5)
    for number in range(1000):
        at = min(len(good) - 1, int((number + chance.random()) * len(good) / 1000))
        broken = bytearray(good)
        broken[at] ^= 1 << chance.randrange(8)
        path.write_bytes(broken)
        with pytest.raises(ArtifactError):
            registry.load(version)
    path.write_bytes(good)
    registry.load(version)


def test_a_full_disk_leaves_the_champion_and_no_half_file(artifacts, monkeypatch):
    import errno
    import os

    from mlcore.artifacts import ArtifactNotWritten

    champion = make_champion(seed=1)
    files = sorted(path.name for path in artifacts.iterdir())

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactNotWritten, match="No space left"):
        make_champion(seed=2)
    assert registry.champion().version == champion and ModelVersion.objects.count() == 1
    assert sorted(path.name for path in artifacts.iterdir()) == files
