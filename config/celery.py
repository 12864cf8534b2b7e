"""The Celery app. Queues, limits and time-outs are in `config.settings` under `CELERY_…`."""

from __future__ import annotations

import os

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("loandesk")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def _use_django_logging(**kwargs: object) -> None:
    """Celery would install handlers of its own, which know nothing of what must stay out of our logs."""
    from logging.config import dictConfig

    from django.conf import settings

    dictConfig(settings.LOGGING)
