"""A coming release, made out of today's code: its database has columns and a table that today's code does not know.

`prepare_database` does what its migration would, by the rule of docs/RELIABILITY.md: it only adds, and what it adds has a default in
the database. `become_new_code` turns a process into the release's code. Today's code is then the old one, and both run side by side.
"""

from __future__ import annotations

import psycopg

RELEASE = "next"
# Each a transaction of its own: one that locks several tables that are being written to is a deadlock with their writers.
_MIGRATION = (
    "ALTER TABLE loans_loanapplication ADD COLUMN follows_up boolean NOT NULL DEFAULT false",
    "ALTER TABLE loans_scoringjob ADD COLUMN priority smallint NOT NULL DEFAULT 0",
    "ALTER TABLE loans_prediction ADD COLUMN made_by_release text NOT NULL DEFAULT ''",
    "CREATE TABLE loans_followup (id bigserial PRIMARY KEY, application_id bigint NOT NULL)",
    "CREATE INDEX CONCURRENTLY followup_ix ON loans_loanapplication (follows_up) WHERE follows_up",
)


def prepare_database(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in _MIGRATION:
            connection.execute(statement)


def become_new_code() -> None:
    from django.db import models

    from loans.models import LoanApplication, Prediction, ScoringJob
    from loans.services import scoring

    LoanApplication.add_to_class("follows_up", models.BooleanField(default=False, db_default=False))
    ScoringJob.add_to_class("priority", models.SmallIntegerField(default=0, db_default=0))
    Prediction.add_to_class("made_by_release", models.TextField(default=RELEASE, db_default=""))
    scoring.AS_COLUMNS_FROM = 1_000_000  # what goes in as columns names them one by one; a release would name its own there
