"""Celery entry points: each takes ids and keywords and makes one call."""
