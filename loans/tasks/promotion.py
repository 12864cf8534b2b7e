"""Versions that have been in shadow for the set time are checked by the clock."""

from __future__ import annotations

from celery import shared_task

from loans.services import promotion


@shared_task(name="loans.check_promotions", acks_late=False, ignore_result=True)
def check_promotions() -> None:
    promotion.check_due()
