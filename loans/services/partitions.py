"""Partitions for the months to come, and what to do where one was missing.

Rows whose month has no partition go into the default one: nothing is ever refused. No row is moved out of it again (an event would be
sealed twice): the default partition itself becomes that month's, and an empty one takes its place.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from django.conf import settings
from django.db import OperationalError, connection, transaction

from loans.models import months
from loans.queries.partitions import TABLES, Growing, covering, parts, stray

logger = logging.getLogger(__name__)

LOCK = 0x10AD9A87
# Below PostgreSQL's deadlock_timeout of a second: this gives way before anybody who waits for it could be chosen to end.
PATIENCE = "900ms"
TRIES = 20


@dataclass
class Kept:
    """made: partitions that are new. tidied: those that the default one became. left: tables whose strays need a person."""

    made: list[str] = field(default_factory=list)
    tidied: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def keep_ahead(ahead: int | None = None) -> Kept:
    """Partitions for this month and the `ahead` next ones (PARTITIONS_AHEAD). Does nothing where another process is at it."""
    ahead = settings.PARTITIONS_AHEAD if ahead is None else ahead
    kept = Kept()
    with alone() as mine:
        if not mine:
            return kept
        for growing in TABLES:
            _tidy(growing, kept)
            for key in _months(ahead):
                if covering(parts(growing.table), growing, key) is None and growing.name not in kept.left:
                    name = _name(growing, key)
                    patiently(lambda growing=growing, name=name, key=key: _add(growing, name, key))
                    kept.made.append(name)
    if kept.tidied or kept.left:
        logger.warning("Rows had no partition of their month: %s; left: %s", kept.tidied, kept.left)
    return kept


def analyse() -> None:
    """The planner's figures of whole tables: autovacuum keeps those of partitions alone, and joins are planned by the whole."""
    only = "ONLY " if connection.pg_version >= 180000 else ""  # before, the partitions are looked at again too
    with connection.cursor() as cursor:
        for growing in TABLES:
            cursor.execute(f"ANALYZE {only}{growing.table}")


class alone:
    """A lock of this connection for as long as the block lasts; False where another process has it."""

    def __enter__(self) -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
            self.mine = cursor.fetchone()[0]
        return self.mine

    def __exit__(self, *exc_info: object) -> None:
        if self.mine and connection.connection is not None and not connection.connection.closed and not connection.needs_rollback:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])


def patiently(change: Callable[[], None]) -> None:
    """Run a change of the schema in a transaction, and again where a lock is not to be had at once: nobody is to queue behind it."""
    for attempt in range(TRIES):
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute("SELECT set_config('lock_timeout', %s, true)", [PATIENCE])
                change()
                with connection.cursor() as cursor:
                    cursor.execute("SET LOCAL lock_timeout = 0")
            return
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", "") != "55P03" or attempt == TRIES - 1:
                raise
        time.sleep(0.2)


def _months(ahead: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT loandesk_month_base(now())")
        this = cursor.fetchone()[0]
    return [this + number * months.FIRST for number in range(ahead + 1)]


def _name(growing: Growing, key: int) -> str:
    return f"{growing.table}_{months.start(key):%Y_%m}"


def _add(growing: Growing, name: str, key: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT loandesk_add_partition(%s, %s, %s, %s)", [growing.table, name, key, key + months.FIRST])


def _tidy(growing: Growing, kept: Kept) -> None:
    found = stray(growing)
    if found is None:
        return
    rows, smallest, largest = found
    low, high = smallest // months.FIRST * months.FIRST, (largest // months.FIRST + 1) * months.FIRST
    overlap = [part.name for part in parts(growing.table) if not part.is_default and part.low < high and low < part.high]
    if overlap:
        logger.error("%d rows of %s_default are from months around %s: they stay where they are.", rows, growing.table, overlap)
        kept.left.append(growing.name)
        return
    name = _name(growing, low)
    patiently(lambda: _becomes(growing, name))
    kept.tidied.append(name)


def _becomes(growing: Growing, name: str) -> None:
    """The default partition under another name, with the bounds of what it holds, and an empty one in its place."""
    default = f"{growing.table}_default"
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {growing.table} DETACH PARTITION {default}")
        cursor.execute(
            f"SELECT min({growing.key}) / %(one)s * %(one)s, (max({growing.key}) / %(one)s + 1) * %(one)s FROM {default}",  # noqa: S608
            {"one": months.FIRST},
        )
        low, high = cursor.fetchone()  # anew: more may have come in since
        cursor.execute(f"ALTER TABLE {default} RENAME TO {name}")
        cursor.execute("SELECT loandesk_dress_partition(%s, %s, %s, %s)", [growing.table, name, low, high])
        cursor.execute(f"ALTER TABLE {growing.table} ATTACH PARTITION {name} FOR VALUES FROM ({low}) TO ({high})")
        cursor.execute("SELECT loandesk_add_partition(%s, %s, NULL, NULL)", [growing.table, default])


_INDEXES = {
    "loans_prediction": {
        "loans_prediction_before_pk": "CREATE UNIQUE INDEX CONCURRENTLY {} ON loans_prediction (id, scoring_job_id)",
        "loans_prediction_before_time": "CREATE INDEX CONCURRENTLY {} ON loans_prediction USING brin (created_at)",
    },
    "loans_auditevent": {"loans_auditevent_before_time": "CREATE INDEX CONCURRENTLY {} ON loans_auditevent USING brin (at)"},
}


def prepare() -> list[str]:
    """What migration 0039 would otherwise do while it holds the tables, done while the desk works. Returns what was done; [] afterwards.

    To be run with the new code, before its migrations. Takes as long as reading the tables once; run it again where it was interrupted.
    """
    done = []
    with connection.cursor() as cursor:
        for growing in TABLES:
            cursor.execute("SELECT relkind = 'r' FROM pg_class WHERE oid = to_regclass(%s)", [growing.table])
            if cursor.fetchone() != (True,):
                continue
            name = f"{growing.table}_before_below"
            cursor.execute("SELECT convalidated FROM pg_constraint WHERE conname = %s", [name])
            known = cursor.fetchone()
            if known is None:
                cursor.execute(f"ALTER TABLE {growing.table} ADD CONSTRAINT {name} CHECK ({growing.key} < {months.FIRST}) NOT VALID")
            if known != (True,):
                cursor.execute(f"ALTER TABLE {growing.table} VALIDATE CONSTRAINT {name}")
                done.append(name)
            for index, statement in _INDEXES.get(growing.table, {}).items():
                cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [index])
                known = cursor.fetchone()
                if known == (False,):  # of an earlier attempt that was interrupted
                    cursor.execute(f"DROP INDEX {index}")
                if known != (True,):
                    cursor.execute(statement.format(index))
                    done.append(index)
    return done
