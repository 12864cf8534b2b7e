"""Statements that every request sends, kept parsed and planned by the server: psycopg's prepared statements, each connection its own.

Django's cursor writes the values into the text, so that PostgreSQL parses and plans every statement anew; for those of a submission
that is most of what they cost. Here values go beside the statement, all as text, and the server takes each column's own type: a
statement is prepared once, whatever the sizes of its numbers. Where a pooler does not keep connections apart (DATABASE_PREPARED=0),
and while queries are watched (`execute_wrapper`, captured queries), it is an ordinary one.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import errors
from psycopg.types.json import Jsonb

_STALE = (errors.FeatureNotSupported, errors.InvalidSqlStatementName, errors.DuplicatePreparedStatement)
_SMALL = {str: lambda value: value, int: str, float: repr, bool: lambda value: "t" if value else "f", Decimal: str}


def first_row(sql: str, parameters: Sequence[Any] = (), *, checks: bool = False) -> tuple | None:
    """The first row that this statement gives, None where it gives none. Raises what Django's cursor would.

    sql: with %s for each parameter and no other percent sign, the same text each time. checks: it only reads, and is a request's first:
    where a kept connection is dead it is sent once more over a new one, and the SELECT 1 before it (CONN_HEALTH_CHECKS) is saved.
    """
    own = connections[DEFAULT_DB_ALIAS]
    if checks and own.connection is not None and own.health_check_enabled and not own.health_check_done and not own.in_atomic_block:
        own.health_check_done = True
        try:
            return _row(own, sql, parameters)
        except (OperationalError, InterfaceError):
            if not own.connection.closed:
                raise
            own.close()
    return _row(own, sql, parameters)


def _row(own: BaseDatabaseWrapper, sql: str, parameters: Sequence[Any]) -> tuple | None:
    texts = None if own.execute_wrappers or own.queries_logged else _texts(parameters)
    if texts is not None:
        own.close_if_health_check_failed()
        own.ensure_connection()
        own.validate_thread_sharing()
        own.validate_no_broken_transaction()
        try:
            with own.wrap_database_errors, psycopg.RawCursor(own.connection) as cursor:
                return cursor.execute(_numbered(sql), texts, prepare=True).fetchone()
        except DatabaseError as error:
            if own.in_atomic_block or not isinstance(error.__cause__, _STALE):
                raise
            # What was prepared is no longer so: a migration changed a table, or a pooler gave us another connection. Nothing was done yet.
            own.connection.prepare_threshold = None
    with own.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchone()


@functools.lru_cache(256)
def _numbered(sql: str) -> bytes:
    """PostgreSQL's own places for parameters: $1, $2."""
    first, *others = sql.split("%s")
    return (first + "".join(f"${number}{text}" for number, text in enumerate(others, start=1))).encode()


def _texts(values: Sequence[Any]) -> list[str | None] | None:
    """Each value as PostgreSQL reads it; None where one is of a kind that is not known here."""
    texts: list[str | None] = []
    for value in values:
        small = _SMALL.get(value.__class__)
        if small is not None:
            texts.append(small(value))
        elif value is None:
            texts.append(None)
        else:
            text = _text(value)
            if text is None:
                return None
            texts.append(text)
    return texts


def _text(value: Any) -> str | None:
    if isinstance(value, Jsonb):
        return (value.dumps or json.dumps)(value.obj)
    if isinstance(value, str):  # a choice
        return str.__str__(value)
    if isinstance(value, date):  # a datetime too
        return value.isoformat()
    if isinstance(value, psycopg.Binary):
        value = value.obj
    if isinstance(value, bytes | memoryview):
        return f"\\x{value.hex()}"
    if isinstance(value, list | tuple):
        texts = [_text(each) for each in value]
        return None if None in texts else "{" + ",".join('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts) + "}"
    return None
