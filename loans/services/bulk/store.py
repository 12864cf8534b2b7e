"""Scored columns into their tables by COPY, and one set-based UPDATE for each table that shows the outcome.

What is append-only goes straight into its table: a staging table in between would write it twice, which costs a third of the time and adds
nothing, since the transaction is all or nothing anyway. What changes rows that are there already goes by a temporary table.
"""

# ruff: noqa: S608 - the names in these statements are our own; whatever an application says travels as data

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import connection

from loans.services.bulk import text

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

STAGED = {"job": "int8", "application": "int8", "probability": "float8", "grade": "text", "segment": "int4"}


def copy_in(table: str, columns: dict[str, Any]) -> None:
    """columns: {name: (n,) texts, or one str for all rows}. At least one is an array."""
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({', '.join(_quoted(name) for name in columns)}) FROM STDIN") as copy:
        copy.write(text.lines(list(columns.values())))


def _quoted(name: str) -> str:
    return connection.ops.quote_name(name)


def staged(name: str, kinds: dict[str, str], columns: dict[str, Any]) -> None:
    """The columns in a temporary table of this transaction."""
    with connection.cursor() as cursor:
        made_of = ", ".join(f"{each} {kind}" for each, kind in kinds.items())
        cursor.execute(f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} ({made_of}) ON COMMIT DELETE ROWS")
        cursor.execute(f"DELETE FROM pg_temp.{name}")
    copy_in(f"pg_temp.{name}", columns)


def prepare() -> None:
    """For this transaction: foreign keys statement by statement, since a queue of a hundred thousand checks would stall the commit;
    the quicker compression of large values where the server has it, since compressing is a fifth of what a stored score costs it; and no
    statement compiled by the server, which takes longer than any of these runs.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL jit = off")
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(
            "SELECT set_config('default_toast_compression', 'lz4', true) FROM pg_settings"
            " WHERE name = 'default_toast_compression' AND 'lz4' = ANY(enumvals)"
        )


def show(
    jobs: np.ndarray,
    applications: np.ndarray,
    probability: np.ndarray,
    grade: np.ndarray,
    segment: pa.StringArray | None,
    *,
    attempts: int,
) -> None:
    """Scores on their applications, and the jobs done, with so many attempts more. Before the rows that refer to them: a row that is ours
    already needs no lock of its own when a foreign key looks at it.
    """
    import pyarrow as pa

    columns = {
        "job": text.integers(jobs),
        "application": text.integers(applications),
        "probability": text.floats(probability),
        "grade": pa.array(grade.tolist(), type=pa.string()),
        "segment": segment if segment is not None else pa.nulls(len(jobs), pa.string()),
    }
    staged("loandesk_bulk", STAGED, columns)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE loans_loanapplication app SET default_probability = score.probability, grade = score.grade,"
            " segment = COALESCE(score.segment, app.segment),"
            " status = CASE WHEN app.status IN ('received', 'needs_review') THEN 'open' ELSE app.status END"
            " FROM pg_temp.loandesk_bulk score WHERE app.id = score.application"
        )
        cursor.execute(
            "UPDATE loans_scoringjob job SET state = 'done', attempts = job.attempts + %s, claimed_by = %s,"
            " finished_at = clock_timestamp(), lease_until = NULL, error = '' FROM pg_temp.loandesk_bulk score WHERE job.id = score.job",
            [attempts, _worker()],
        )


def _worker() -> str:
    from loans.services.scoring import claimant

    return claimant()
