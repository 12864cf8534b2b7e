"""Looking at the serving models by the clock, and at the queue every few minutes."""

from __future__ import annotations

import logging

from celery import shared_task

from loans.services import alerts, monitoring, monitoring_desk

logger = logging.getLogger(__name__)


@shared_task(name="loans.monitor", acks_late=False, ignore_result=True)
def monitor() -> None:
    try:
        monitoring.refresh()
    except monitoring.MonitoringRefused as refusal:
        logger.info("Nothing monitored: %s", refusal)


@shared_task(name="loans.watch_queue", acks_late=False, ignore_result=True)
def watch_queue() -> None:
    monitoring_desk.watch_queue()
    alerts.tell()
