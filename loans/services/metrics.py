"""Counts of what the site's processes did, for Prometheus.

Under gunicorn they share files (PROMETHEUS_MULTIPROC_DIR, set in config/gunicorn.py), so that a scrape of one process tells of all. Labels
have few values: an address counts under its name in the URL map, never as it was asked.
"""

from __future__ import annotations

import functools
import os

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

_registry = CollectorRegistry()
REQUESTS = Counter("loandesk_http_requests", "Requests answered.", ("view", "method", "status"), registry=_registry)
SECONDS = Histogram(
    "loandesk_http_request_seconds", "Time from the request to its answer.", ("view",), registry=_registry,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)  # fmt: skip
METHODS = ("GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE")


def answered(view: str, method: str, status: int, seconds: float) -> None:
    count, times = _counted(view, method if method in METHODS else "other", status)
    count.inc()
    times.observe(seconds)


@functools.lru_cache(4_096)
def _counted(view: str, method: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(view, method, str(status)), SECONDS.labels(view)


def text() -> str:
    """Prometheus' text format, of all processes of this site."""
    registry = _registry
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    return generate_latest(registry).decode()
