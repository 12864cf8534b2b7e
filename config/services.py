"""The desk's five processes, as `make run` starts them; compose.yaml starts the same commands."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from config.supervisor import Service

CELERY = [sys.executable, "-m", "celery", "--app", "config.celery:app"]
WORKER = ["--without-gossip", "--without-mingle", "--loglevel", "INFO"]


def services(listener: socket.socket, logs: Path) -> list[Service]:
    """`listener` is the site's port, listened on already. Call after django.setup(): the queues' names come from the settings."""
    from django.conf import settings

    # Pools of threads in every process would fight over the cores; training alone may take them all.
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    handed = listener.fileno()
    common = {"PYTHONUNBUFFERED": "1"}
    if sys.platform == "darwin":
        # Celery forks its pool after libraries have started threads, which macOS answers with a crash otherwise
        common["OBJC_DISABLE_INITIALIZE_FORK_SAFETY"] = "YES"
    who = f"{os.getpid()}@%h"
    commands: dict[str, tuple[list[str], dict[str, str]]] = {
        "web": (
            [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py", "--bind", f"fd://{handed}", "config.wsgi:application"],
            one_thread,
        ),
        "worker": ([*CELERY, "worker", "--queues", settings.SCORING_QUEUE, "--hostname", f"scoring-{who}", *WORKER], one_thread),
        "train-worker": (
            [*CELERY, "worker", "--queues", settings.TRAINING_QUEUE, "--concurrency", "1", "--hostname", f"training-{who}", *WORKER],
            {},
        ),
        "beat": ([*CELERY, "beat", "--pidfile=", "--loglevel", "INFO"], {}),
        "sweeper": ([sys.executable, "manage.py", "sweep"], one_thread),
    }
    return [
        Service(name, command, logs / f"{name}.log", {**common, **more}, files=(handed,) if name == "web" else ())
        for name, (command, more) in commands.items()
    ]
