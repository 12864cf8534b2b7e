"""How many loans have an outcome that a model may learn from today."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import connection

# With an outcome window, a loan is a label when its window has closed, whatever its state; without one, when its end is reported.
_CLOSED = (
    "SELECT count(*) FROM loans_loanoutcome outcome JOIN loans_loanapplication application ON application.id = outcome.application_id"
    " WHERE application.submitted_at + make_interval(months => %s) <= %s"
)
_FINISHED = "SELECT count(*) FROM loans_loanoutcome WHERE state <> 'immature'"


def labels_of(now: datetime) -> int:
    months = settings.OUTCOME_WINDOW_MONTHS
    with connection.cursor() as cursor:
        cursor.execute(*((_CLOSED, [months, now]) if months else (_FINISHED,)))
        return cursor.fetchone()[0]
