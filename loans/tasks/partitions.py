"""The growing tables, kept by the clock: partitions for the months to come, and what the policy says goes to the archive."""

from __future__ import annotations

import logging

from celery import shared_task

from loans.services import archiving, partitions

logger = logging.getLogger(__name__)


@shared_task(name="loans.keep_partitions", acks_late=False, ignore_result=True)
def keep_partitions() -> None:
    partitions.keep_ahead()
    partitions.analyse()
    for kept in archiving.archive_due().kept_back:
        logger.info("Not archived: %s", kept)
