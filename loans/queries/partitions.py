"""Which partitions the growing tables have, as PostgreSQL's catalogue knows them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Q

from loans.models import months


@dataclass(frozen=True)
class Growing:
    """A table by month. key: the id that its partitions go by; of predictions and snapshots that of their job, whose month they share."""

    name: str
    table: str
    key: str


TABLES = (
    Growing("predictions", "loans_prediction", "scoring_job_id"),
    Growing("snapshots", "loans_featuresnapshot", "scoring_job_id"),
    Growing("events", "loans_auditevent", "id"),
)


@dataclass(frozen=True)
class Part:
    """low, high: the keys that it holds, from and to below; None for the default partition, which takes what no other does."""

    growing: Growing
    name: str
    low: int | None
    high: int | None

    @property
    def is_default(self) -> bool:
        return self.high is None


_PARTS = """
    SELECT parent.relname, part.relname, pg_get_expr(part.relpartbound, part.oid)
    FROM pg_inherits JOIN pg_class parent ON parent.oid = inhparent JOIN pg_class part ON part.oid = inhrelid
    WHERE parent.relname = ANY(%s) AND parent.relkind = 'p' AND pg_table_is_visible(parent.oid)
"""
_BOUND = re.compile(r"FOR VALUES FROM \((?:'(\d+)'|MINVALUE)\) TO \('(\d+)'\)")


def parts(only: str | None = None) -> list[Part]:
    """Of all growing tables (or one, by table name), each table's by their keys, the default one last."""
    known = {growing.table: growing for growing in TABLES if only in (None, growing.table)}
    with connection.cursor() as cursor:
        cursor.execute(_PARTS, [list(known)])
        found = [_part(known[table], *rest) for table, *rest in cursor.fetchall()]
    return sorted(found, key=lambda part: (list(known).index(part.growing.table), part.is_default, part.low or 0))


def _part(growing: Growing, name: str, bound: str) -> Part:
    found = _BOUND.fullmatch(bound)
    return Part(growing, name, int(found[1] or 0) if found else None, int(found[2]) if found else None)


def sizes() -> dict[str, tuple[int, int]]:
    """{partition: (rows as the planner estimates them, -1 where nobody has counted yet; bytes with indexes)}."""
    names = [part.name for part in parts()]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, reltuples::bigint, pg_total_relation_size(oid) FROM pg_class WHERE oid = ANY(%s::regclass[])", [names]
        )
        return {name: (rows, size) for name, rows, size in cursor.fetchall()}


def covering(found: list[Part], growing: Growing, key: int) -> Part | None:
    return next((part for part in found if part.growing == growing and not part.is_default and part.low <= key < part.high), None)


def stray(growing: Growing) -> tuple[int, int, int] | None:
    """(rows, smallest key, largest key) in the default partition; None where it is empty, as it should be."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*), min({growing.key}), max({growing.key}) FROM {growing.table}_default")  # noqa: S608 - our own names
        rows, low, high = cursor.fetchone()
    return (rows, low, high) if rows else None


@dataclass(frozen=True)
class Outlook:
    """ahead: table → months after this one that have their partition, without a gap. stray: tables with rows in the default partition."""

    ahead: dict[str, int]
    stray: list[str]

    @property
    def missing(self) -> list[str]:
        """Tables whose coming month has no partition."""
        return [name for name, number in self.ahead.items() if number < 1]


def outlook() -> Outlook:
    found = parts()
    with connection.cursor() as cursor:
        asked = ", ".join(f"EXISTS (SELECT FROM {growing.table}_default)" for growing in TABLES)
        cursor.execute(f"SELECT now(), {asked}")
        now, *strays = cursor.fetchone()
    this = months.base(now)
    ahead = {}
    for growing in TABLES:
        number = 0
        while covering(found, growing, this + (number + 1) * months.FIRST):
            number += 1
        ahead[growing.name] = number
    return Outlook(ahead, [growing.name for growing, there in zip(TABLES, strays, strict=True) if there])


def written(since: datetime | None = None, before: datetime | None = None) -> Q:
    """A range of prediction ids that holds all that were written from `since` to before `before`, so that an index on the id ends the
    search where the time does. Wider than asked by up to a month: the times themselves are to be asked for too.
    """
    wanted = Q()
    if before is not None and before.year >= 2000:
        wanted &= Q(id__lt=months.base(before) + months.FIRST)
    if since is not None and since.year >= 2000:
        first = min((part.low for part in parts("loans_prediction") if part.low), default=0)
        # In the month that partitions began with, and before, ids may be such as say no month.
        if months.base(since) > first:
            wanted &= Q(id__gte=months.base(since))
    return wanted
