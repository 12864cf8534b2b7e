"""One id for a request, in its answer and in every line that is logged on its way."""

from __future__ import annotations

import logging
import re
import uuid
from contextvars import ContextVar

# What a client's own tracing sends (UUIDs, ULIDs, trace ids). Anything else could forge lines in a log.
_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)

current: ContextVar[str] = ContextVar("request_id", default="-")


def from_header(value: str | None) -> str:
    """The client's id where it is harmless, else one of our own."""
    if value and _SANE.fullmatch(value):
        return value
    return uuid.uuid4().hex


def known() -> str:
    """The request's id, "" outside of one."""
    return "" if current.get() == "-" else current.get()


class RequestIdFilter(logging.Filter):
    """Gives every record a `request_id` ("-" outside a request), for the formatter in settings.LOGGING."""

    def filter(self, record: logging.LogRecord) -> bool:
        # Django logs a request's own failure after our middleware has ended, but hands the request over with the record.
        record.request_id = getattr(getattr(record, "request", None), "request_id", None) or current.get()
        return True
