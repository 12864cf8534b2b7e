"""The books of a desk: what came in against what became of it. They must balance after every fault."""

from __future__ import annotations

from dataclasses import dataclass, fields

import psycopg

_BOOKS = """
    WITH scores AS (SELECT application_id, count(*) AS number FROM loans_prediction WHERE NOT shadow GROUP BY application_id),
         applications AS (SELECT app.id, app.status, coalesce(scores.number, 0) AS number
                          FROM loans_loanapplication app LEFT JOIN scores ON scores.application_id = app.id)
    SELECT count(*) AS submitted,
           count(*) FILTER (WHERE number = 1) AS scored_once,
           count(*) FILTER (WHERE number = 0 AND status = 'needs_review') AS to_person,
           count(*) FILTER (WHERE number > 1) AS scored_twice,
           count(*) FILTER (WHERE number = 0 AND status <> 'needs_review') AS unaccounted,
           (SELECT count(*) FROM loans_scoringjob WHERE state IN ('pending', 'running')) AS unfinished,
           (SELECT count(*) FROM loans_scoringjob job
            LEFT JOIN loans_prediction prediction ON prediction.scoring_job_id = job.id AND NOT prediction.shadow
            LEFT JOIN loans_featuresnapshot snapshot ON snapshot.scoring_job_id = job.id
            WHERE (job.state = 'done') <> (prediction.id IS NOT NULL)
               OR (prediction.id IS NULL) <> (snapshot.scoring_job_id IS NULL)) AS half_done,
           (SELECT count(*) FROM loans_loanapplication app WHERE app.status = 'approved' AND NOT EXISTS (
                SELECT FROM loans_decision decision JOIN loans_prediction prediction ON prediction.id = decision.prediction_id
                WHERE decision.application_id = app.id AND decision.outcome = 'approve' AND prediction.application_id = app.id)
           ) + (SELECT count(*) FROM loans_decision WHERE outcome = 'approve' AND prediction_id IS NULL) AS approved_blindly,
           (SELECT count(*) FROM loans_loanapplication WHERE status = 'approved') AS approved,
           coalesce((SELECT max(attempts) FROM loans_scoringjob), 0) AS most_attempts
    FROM applications
"""


@dataclass(frozen=True)
class Books:
    """half_done: jobs whose state, prediction and snapshot don't agree. approved_blindly: approvals without a score of that application."""

    submitted: int
    scored_once: int
    to_person: int
    scored_twice: int
    unaccounted: int
    unfinished: int
    half_done: int
    approved_blindly: int
    approved: int
    most_attempts: int

    @property
    def balanced(self) -> bool:
        wrong = self.scored_twice + self.unaccounted + self.unfinished + self.half_done + self.approved_blindly
        return self.submitted == self.scored_once + self.to_person and wrong == 0


def read_books(url: str) -> Books | None:
    """None while the database is starting anew."""
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            row = connection.execute(_BOOKS).fetchone()
    except psycopg.OperationalError:
        return None
    assert row is not None and len(row) == len(fields(Books))
    return Books(*row)


def one_number(url: str, sql: str, *arguments: object) -> int | None:
    """The first cell of the first row; None while the database is starting anew."""
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            row = connection.execute(sql, arguments).fetchone()
            return row[0] if row else None
    except psycopg.OperationalError:
        return None
