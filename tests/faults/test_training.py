"""A worker killed at every step of a training: what served goes on serving, and the run is taken up again."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.utils import timezone

from loans.models import ModelVersion, TrainingRun
from loans.services import registry, training
from tests.factories import make_outcomes

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]
ROOT = Path(__file__).parents[2]

PROGRAM = """
import os, signal, sys
import django
django.setup()
from loans.services import training
from mlcore import artifacts
from mlcore.risk import train
whole = train.train_default_risk
train.train_default_risk = lambda data, **more: whole(data, rungs=["prior", "logistic"], **more)
training.REPORT_EVERY_SECONDS = 0
run, at = int(sys.argv[1]), sys.argv[2]
def die():
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)
def watch(share, step):
    print(step, flush=True)
    if step == at:
        die()
if at in ("half a file", "a whole file"):
    write = artifacts._write_once
    def cut(path, chunks):
        if at == "half a file":
            path.with_name(f".{path.name}.cut.tmp").write_bytes(b"".join(chunks)[:1000])
        else:
            write(path, chunks)
        die()
    artifacts._write_once = cut
print("ended as", training.run_training(run, progress=watch).state, flush=True)
"""


@pytest.fixture
def worker(tmp_path, settings):
    """Runs one training in a process of its own; its last words, and whether it was killed."""
    settings.ARTIFACTS_DIR = tmp_path / "artifacts"
    registry._loaded.clear()
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    environment = {**os.environ, "DATABASE_URL": url, "ARTIFACTS_DIR": str(settings.ARTIFACTS_DIR), "PYTHONPATH": str(ROOT)}

    def run(run_id: int, at: str) -> tuple[list[str], bool]:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(run_id), at], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode in (0, -9), done.stderr[-3000:]
        return done.stdout.splitlines(), done.returncode == -9

    yield run
    registry._loaded.clear()


def test_killed_at_every_step_the_champion_serves_on_and_the_run_is_reclaimed(worker):
    make_outcomes(600, seed=1)
    first = training.start_training("default_risk", by=None, wake=False)
    steps, killed = worker(first.pk, "")
    assert not killed and steps[-1] == "ended as done"
    champion = ModelVersion.objects.get(state="champion")
    places = list(dict.fromkeys(steps[:-1])) + ["half a file", "a whole file"]
    assert len(places) > 10 and "Storing the model" in places
    for at in places:
        run = training.start_training("default_risk", by=None, wake=False)
        _, killed = worker(run.pk, at)
        assert killed, at
        run.refresh_from_db()
        assert (run.state, run.model_version) == ("running", None), at
        assert registry.champion().version == champion and ModelVersion.objects.count() == 1, at
        assert training.orphaned_runs() == [], "its lease has not run out yet"
        TrainingRun.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
        assert training.orphaned_runs() == [run.pk], at
        TrainingRun.objects.filter(pk=run.pk).update(state="cancelled", lease_until=None)
    run = training.start_training("default_risk", by=None, wake=False)
    assert worker(run.pk, "Storing the model")[1]
    TrainingRun.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    steps, killed = worker(run.pk, "")
    assert not killed and steps[-1] == "ended as done"
    run.refresh_from_db()
    assert run.attempts == 2 and registry.champion().version == champion
    assert registry.load(run.model_version).name == registry.load(champion).name
    assert ModelVersion.objects.count() == 2
    kept = {path.name for path in Path(django_settings.ARTIFACTS_DIR).iterdir() if not path.name.startswith(".")}
    assert {version.artifact for version in ModelVersion.objects.all()} <= kept


def test_a_full_disk_fails_the_run_in_words_and_leaves_the_champion(worker, monkeypatch, tmp_path):
    """A real one where the machine allows it: the file's size is limited, and the write fails half way."""
    import resource

    from mlcore.risk import train

    whole = train.train_default_risk
    monkeypatch.setattr(train, "train_default_risk", lambda data, **more: whole(data, rungs=["prior", "logistic"], **more))
    make_outcomes(600, seed=1)
    assert training.run_training(training.start_training("default_risk", by=None, wake=False).pk).state == "done"
    champion = registry.champion().version
    import signal

    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    run = training.start_training("default_risk", by=None, wake=False)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2048, before[1]))
        failed = training.run_training(run.pk)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert failed.state == "failed" and "could not be written" in failed.error
    assert registry.champion().version == champion and ModelVersion.objects.count() == 1
    assert [path.name for path in Path(django_settings.ARTIFACTS_DIR).iterdir()] == [champion.artifact]


FOLLOWS = """
import sys, time
import django
django.setup()
from loans.services import registry
last = None
while True:
    version = registry.champion().version.version
    if version != last:
        print(version, flush=True)
        last = version
    if not sys.stdin.readline():
        break
"""


def test_every_process_follows_a_promotion_and_a_roll_back(worker, settings):
    """Two processes that have loaded the champion are asked again: the next answer is by what serves now, without a restart."""
    from tests.factories import make_champion

    make_champion(seed=1)
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    environment = {**os.environ, "DATABASE_URL": url, "ARTIFACTS_DIR": str(settings.ARTIFACTS_DIR), "PYTHONPATH": str(ROOT)}
    others = [
        subprocess.Popen(
            [sys.executable, "-c", FOLLOWS], cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]

    def said() -> list[str]:
        for other in others:
            other.stdin.write("again\n")
            other.stdin.flush()
        return [other.stdout.readline().strip() for other in others]

    try:
        assert [other.stdout.readline().strip() for other in others] == ["1", "1"]
        make_champion(seed=2)
        assert said() == ["2", "2"]
        registry.roll_back("default_risk", by=None, reason="Worse.")
        assert said() == ["1", "1"]
    finally:
        for other in others:
            other.kill()
            other.communicate()
