"""The disk fills up while a model is stored: no half file, no version, a training that says why, and the champion serves on."""

from __future__ import annotations

import contextlib
import errno
import resource
import shutil
import subprocess

import pytest

from loans.models import ModelKind, ModelVersion, RunState
from loans.services import registry, training
from mlcore import artifacts
from tests.factories import fit_model, make_champion

KEY = b"k" * 32


@contextlib.contextmanager
def full_after(count: int):
    """No file of this process may grow beyond `count` bytes: writing further fails as on a full disk (Python ignores the signal)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_artifact_that_does_not_fit_leaves_nothing(tmp_path):
    with full_after(20_000), pytest.raises(artifacts.ArtifactNotWritten, match=r"could not be written"):
        artifacts.save({"weights": bytes(100_000)}, tmp_path, kind="test", name="model-1", key=KEY)
    assert list(tmp_path.iterdir()) == []
    artifacts.save({"weights": bytes(100_000)}, tmp_path, kind="test", name="model-1", key=KEY)
    assert len(artifacts.load(tmp_path / "model-1.model", key=KEY)[0]["weights"]) == 100_000


@pytest.mark.django_db
def test_a_training_on_a_full_disk_fails_with_the_reason_and_the_champion_serves_on(artifacts, monkeypatch):
    champion = make_champion()
    before = sorted(path.name for path in artifacts.iterdir())
    monkeypatch.setitem(training._FITS, ModelKind.DEFAULT_RISK, lambda run, progress: training._Fitted(fit_model(seed=1), "logistic", {}))
    with full_after(1_000):
        run = training.run_training(training.start_training(ModelKind.DEFAULT_RISK, by=None, wake=False).pk)
    assert run.state == RunState.FAILED and "could not be written" in run.error and run.model_version is None
    assert sorted(path.name for path in artifacts.iterdir()) == before
    assert ModelVersion.objects.get() == champion
    registry._loaded.clear()
    assert registry.champion().version == champion
    again = training.run_training(training.start_training(ModelKind.DEFAULT_RISK, by=None, wake=False).pk)
    assert again.state == RunState.DONE and again.model_version is not None, "with room again, the next training is stored"


@pytest.mark.faults
def test_an_artifact_on_a_file_system_without_room(tmp_path):
    """A real one: a tmpfs of 64 kB, where this user may mount one."""
    small = tmp_path / "small"
    small.mkdir()
    mount = shutil.which("mount")
    done = subprocess.run([mount or "false", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system of 64 kB can be mounted here: {done.stderr.strip()}")
    try:
        with pytest.raises(artifacts.ArtifactNotWritten) as refused:
            artifacts.save({"weights": bytes(200_000)}, small, kind="test", name="model-1", key=KEY)
        assert refused.value.__cause__.errno == errno.ENOSPC
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)
