"""What a Celery process does besides tasks: it tells that it lives, and loads the model before the first application waits for it."""

from __future__ import annotations

import logging
import mmap
from typing import Any

from celery.signals import beat_init, task_postrun, task_prerun, worker_process_init, worker_ready, worker_shutting_down
from django.conf import settings
from django.db import DatabaseError

from loans.services import request_id

logger = logging.getLogger(__name__)
_beating: list[Any] = []
_tokens: list[Any] = []
# One byte that parent and children share: SIGTERM reaches the parent alone, and a lock could be held by a child that was killed.
_stopping = mmap.mmap(-1, 1)


def told_to_stop() -> bool:
    """Whether this worker was asked to end (SIGTERM): finish what is claimed, claim no more."""
    return _stopping[0] != 0


@worker_ready.connect
def _worker_lives(sender: Any, **kwargs: Any) -> None:
    from loans.services.heartbeats import keep_beating

    queues = {queue.name for queue in sender.task_consumer.queues}
    _beating.append(
        keep_beating("training-worker" if settings.TRAINING_QUEUE in queues and settings.SCORING_QUEUE not in queues else "worker")
    )


@beat_init.connect
def _beat_lives(**kwargs: Any) -> None:
    from loans.services.heartbeats import keep_beating

    _beating.append(keep_beating("beat"))


@worker_shutting_down.connect
def _worker_leaves(**kwargs: Any) -> None:
    _stopping[0] = 1
    for stop in _beating:
        stop.set()


@task_prerun.connect
def _take_request_id(task: Any = None, **kwargs: Any) -> None:
    said = getattr(task.request, "request_id", None) or (task.request.headers or {}).get("request_id")
    _tokens.append(request_id.current.set(request_id.from_header(said) if said else f"task-{str(task.request.id)[:8]}"))


@task_postrun.connect
def _drop_request_id(**kwargs: Any) -> None:
    if _tokens:
        request_id.current.reset(_tokens.pop())


@worker_process_init.connect
def _load_model(**kwargs: Any) -> None:
    from loans.services import registry
    from mlcore.artifacts import ArtifactError

    try:
        registry.champion()
    except registry.NoChampion:
        pass
    except (ArtifactError, DatabaseError) as error:
        # The worker must come up all the same: the model may be restored, or rolled back, while it runs.
        logger.error("The champion could not be loaded yet: %s", error)
