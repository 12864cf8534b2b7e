"""How the segments fare, worked out by the clock."""

from __future__ import annotations

from celery import shared_task

from loans.services import segment_follow_up


@shared_task(name="loans.follow_segments", acks_late=False, ignore_result=True)
def follow_segments() -> None:
    segment_follow_up.follow_up()
