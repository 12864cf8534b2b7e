"""Loandesk's composition root: settings, the Celery app, URLs, and how the parts are started together."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
