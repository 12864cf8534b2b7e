"""Ids that say their month: of scoring jobs, predictions and audit events (migration 0039).

An id is its month's base plus a running number. What is older than the migration has a plain running number, below FIRST.
"""

from __future__ import annotations

from datetime import UTC, datetime

FIRST = 10**13
"""Ids a month, and where the first month's begin."""
_YEAR = 2000


def number(at: datetime) -> int:
    """The month of a time, counted from January 2000, in UTC."""
    at = at.astimezone(UTC)
    return (at.year - _YEAR) * 12 + at.month - 1


def base(at: datetime) -> int:
    """The id from which those of this time's month begin: the database's `loandesk_month_base`."""
    return number(at) * FIRST


def start(base: int) -> datetime:
    """When the month of an id began. Raises ValueError for an id that says none."""
    if base < FIRST:
        raise ValueError(f"{base} is older than ids that say their month.")
    return datetime(_YEAR + base // FIRST // 12, base // FIRST % 12 + 1, 1, tzinfo=UTC)
