"""Fraud outside of scoring: what was missed, and models anew."""

from __future__ import annotations

import logging

from celery import shared_task

from loans.models import ModelKind
from loans.services import fraud, training
from loans.services.fraud import learning

logger = logging.getLogger(__name__)


@shared_task(name="loans.sweep_fraud", acks_late=True, ignore_result=True)
def sweep_fraud() -> None:
    fraud.sweep()


@shared_task(name="loans.train_fraud", acks_late=False, ignore_result=True)
def train_fraud() -> None:
    """A candidate by the clock: what is usual changes slowly, and findings become labels after weeks. A person promotes it."""
    if not learning.enough_to_learn():
        logger.info("No training for fraud: too few applications yet.")
        return
    try:
        training.start_training(ModelKind.FRAUD, by=None)
    except training.TrainingAlreadyActive as error:
        logger.info("%s", error)
