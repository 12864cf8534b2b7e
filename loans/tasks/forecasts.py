"""The demand forecast, made anew by the clock. It shares the training queue: nobody waits for it."""

from __future__ import annotations

from celery import shared_task

from loans.services import forecasts


@shared_task(name="loans.forecast", acks_late=False, ignore_result=True)
def forecast() -> None:
    forecasts.refresh()
