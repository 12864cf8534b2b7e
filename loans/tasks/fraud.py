"""Fraud outside of scoring: what was missed, and models anew."""

from __future__ import annotations

import logging

from celery import shared_task

from loans.services import fraud
from loans.services.fraud import model

logger = logging.getLogger(__name__)


@shared_task(name="loans.sweep_fraud", acks_late=True, ignore_result=True)
def sweep_fraud() -> None:
    fraud.sweep()


@shared_task(name="loans.train_fraud", acks_late=False, ignore_result=True)
def train_fraud() -> None:
    try:
        model.train()
    except model.NothingToLearn as error:
        logger.info("No fraud model: %s", error)
