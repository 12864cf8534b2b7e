"""Migrations 0039 and 0040 on a database that is in use: every row stays, the guards go on, and an interrupted one is started again."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from django.db import connections

from config.embedded import PROJECT
from loans.models import months

pytestmark = [pytest.mark.slow, pytest.mark.django_db]

FILL = """
SET session_replication_role = 'replica';
INSERT INTO loans_scoringjob (application_id, state, attempts, created_at, due_at, claimed_by, error)
    SELECT g, 'done', 1, now() - g * interval '1 hour', now(), '', '' FROM generate_series(1, 500) g;
INSERT INTO loans_prediction (application_id, scoring_job_id, model_version_id, kind, probability, log_odds, baseline, grade, points,
    contributions, reasons, advice, knock_outs, shadow, created_at)
    SELECT application_id, id, 1, 'default_risk', 0.1, -2.2, 0, 'A', 600, '{}', '[]', '', '[]', false, created_at FROM loans_scoringjob;
INSERT INTO loans_featuresnapshot (scoring_job_id, application_id, "values", created_at) SELECT id, application_id, '{"amount": 1}', now()
    FROM loans_scoringjob;
SET session_replication_role = 'origin';
"""
EVENTS = """INSERT INTO loans_auditevent (action, actor_kind, actor_name, subject_type, subject_id, request_id, facts)
    SELECT 'thing.done', 'system', '', '', '', '', '{}' FROM generate_series(1, 50)"""
SUMS = """SELECT (SELECT md5(string_agg(t::text, '|' ORDER BY id)) FROM loans_prediction t),
    (SELECT md5(string_agg(t::text, '|' ORDER BY scoring_job_id)) FROM loans_featuresnapshot t),
    (SELECT md5(string_agg(t::text, '|' ORDER BY id)) FROM loans_auditevent t),
    (SELECT md5(string_agg(t::text, '|' ORDER BY event_id)) FROM loans_auditseal t),
    (SELECT md5(string_agg(t::text, '|' ORDER BY id)) FROM loans_scoringjob t)"""


@pytest.fixture
def database(monkeypatch) -> Iterator[str]:
    """The address of an empty database of this server."""
    known = connections["default"].get_connection_params()
    server = {key: known[key] for key in ("user", "password", "host", "port") if known.get(key)}
    name = f"loandesk_migration_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(**server, dbname="postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        try:
            yield f"postgresql://{server.get('user', '')}@/{name}?host={server['host']}" + (
                f"&port={server['port']}" if "port" in server else ""
            )
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def manage(database: str, *arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=PROJECT, env=os.environ | {"DATABASE_URL": database}, capture_output=True, text=True
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("prepared", [True, False], ids=["prepared", "as it is"])
def test_every_row_stays_and_new_ones_go_on(database, prepared):
    manage(database, "migrate", "loans", "0038", "-v0")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(FILL)
        connection.execute(EVENTS)
        before = connection.execute(SUMS).fetchone()
        files = _files(connection)
        if prepared:
            assert "loans_prediction_before_pk" in manage(database, "partitions", "prepare")
            assert "Nothing to do" in manage(database, "partitions", "prepare")
            index = connection.execute("SELECT pg_relation_filenode('loans_prediction_before_pk')").fetchone()
        # Somebody holds the third table for longer than the migration may wait: what was done before stays done.
        with psycopg.connect(database) as other:
            other.execute("LOCK TABLE loans_prediction IN ACCESS SHARE MODE")
            manage(f"{database}&options=-c%20lock_timeout%3D1s", "migrate", "loans", "0039", "-v0", code=1)
        assert connection.execute(SUMS).fetchone() == before
        manage(database, "migrate", "-v0")
        assert connection.execute(SUMS).fetchone() == before
        assert _files(connection) == files, "no row was moved: the files are the same"
        if prepared:
            assert connection.execute("SELECT pg_relation_filenode('loans_prediction_before_pk')").fetchone() == index
        assert not connection.execute("SELECT conname FROM pg_constraint WHERE conname LIKE '%before_below'").fetchall()
        # Old code's own statements: none of them names a column that is new.
        connection.execute(EVENTS)
        connection.execute("SET session_replication_role = 'replica'")
        (job,) = connection.execute(
            "INSERT INTO loans_scoringjob (application_id, state, attempts, claimed_by, error) VALUES (1, 'done', 0, '', '') RETURNING id"
        ).fetchone()
        connection.execute("SET session_replication_role = 'origin'")
        assert job // months.FIRST > 300 and job % months.FIRST == 501
        (events, seals) = connection.execute("SELECT count(*), (SELECT count(*) FROM loans_auditseal) FROM loans_auditevent").fetchone()
        assert events == seals == 100
        kept = connection.execute("SELECT DISTINCT tableoid::regclass::text FROM loans_auditevent ORDER BY 1").fetchall()
        assert len(kept) == 2 and ("loans_auditevent_before",) in kept
        for table in ("loans_prediction", "loans_auditevent", "loans_featuresnapshot"):
            with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
                connection.execute(f"DELETE FROM {table}")
    assert "all as they were written" in manage(database, "audit_verify")
    assert "No changes detected" in manage(database, "makemigrations", "--check", "--dry-run")
    assert "loans_prediction_before" in manage(database, "partitions")


def _files(connection: psycopg.Connection) -> set[int]:
    """Of the heaps that had rows before."""
    names = ("loans_prediction", "loans_featuresnapshot", "loans_auditevent")
    found = set()
    for name in names:
        (number,) = connection.execute(
            "SELECT coalesce(pg_relation_filenode(to_regclass(%s || '_before')), pg_relation_filenode(%s))", [name, name]
        ).fetchone()
        found.add(number)
    return found
