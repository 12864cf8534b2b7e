"""Prepared statements: the values arrive as Django would store them, and neither a dead connection nor a stale plan costs a request."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import psycopg
import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from psycopg.types.json import Jsonb

from loans.models.statements import first_row

VALUES = [
    "Ä'\\\"{}%", None, 7, -(2**40), 0.1, float("nan"), True, Decimal("12.50"), datetime(2026, 3, 31, 9, 30, tzinfo=UTC),
    b"\x00\xff'\\", psycopg.Binary(b"\x01"), [b"\x00\\", b"\"'"], [], Jsonb({"a": [1, "ü\""]}),
]  # fmt: skip
_TEXTS, _NUMBERS = ["text", "text"], ["smallint", "bigint", "float8", "float8", "boolean", "numeric", "timestamptz"]
KINDS = [*_TEXTS, *_NUMBERS, "bytea", "bytea", "bytea[]", "bytea[]", "jsonb"]
SELECT = "SELECT " + ", ".join(f"CAST(%s AS {kind})::text" for kind in KINDS)


def _prepared() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        return {row[0] for row in cursor.fetchall()}


@pytest.mark.django_db
def test_values_arrive_as_an_ordinary_cursor_sends_them():
    with connection.cursor() as cursor:
        cursor.execute(SELECT, VALUES)
        assert first_row(SELECT, VALUES) == cursor.fetchone()
    assert any(KINDS[-2] in statement and "$14" in statement for statement in _prepared())


@pytest.mark.django_db
def test_a_value_of_an_unknown_kind_goes_the_ordinary_way():
    assert first_row("SELECT %s::int[]", [[1, 2]]) == ([1, 2],)
    assert not any("int[]" in statement for statement in _prepared())


@pytest.mark.django_db
def test_errors_are_djangos():
    with pytest.raises(IntegrityError), transaction.atomic():
        first_row("INSERT INTO loans_branch (name) VALUES (%s)", [None])


@pytest.mark.django_db(transaction=True)
def test_a_dead_connection_is_found_by_the_first_read_and_replaced(monkeypatch):
    monkeypatch.setattr(connection, "health_check_enabled", True)

    def die() -> None:
        connection.close_if_unusable_or_obsolete()  # as before each request
        with psycopg.connect(connection.connection.info.dsn, autocommit=True, password=connection.settings_dict["PASSWORD"]) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.connection.info.backend_pid])

    connection.ensure_connection()
    die()
    assert first_row("SELECT 1", checks=True) == (1,)
    die()
    monkeypatch.setattr(connection, "health_check_done", True)
    with pytest.raises(OperationalError):  # may have been done: not for us to repeat
        first_row("SELECT 2")
    connection.close()


@pytest.mark.django_db(transaction=True)
def test_a_plan_that_a_migration_outdated_is_made_anew():
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE stale (a integer)")
        try:
            assert first_row("INSERT INTO stale VALUES (1) RETURNING *") == (1,)
            assert any("stale" in statement for statement in _prepared())
            cursor.execute("ALTER TABLE stale ADD b integer DEFAULT 5")
            assert first_row("INSERT INTO stale VALUES (1) RETURNING *") == (1, 5)
        finally:
            cursor.execute("DROP TABLE stale")
            connection.close()
