"""Training has a queue and a worker of its own: it acknowledges early, for the run's row keeps the promise."""

from __future__ import annotations

from celery import shared_task

from loans.services import training


@shared_task(name="loans.train", acks_late=False, ignore_result=True)
def train(*, run_id: int) -> None:
    training.run_training(run_id)
