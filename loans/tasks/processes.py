"""What a Celery process does besides tasks: it tells that it lives, and loads the model before the first application waits for it."""

from __future__ import annotations

import logging
from typing import Any

from celery.signals import beat_init, worker_process_init, worker_ready, worker_shutting_down
from django.conf import settings
from django.db import DatabaseError

logger = logging.getLogger(__name__)
_beating: list[Any] = []


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
    for stop in _beating:
        stop.set()


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
