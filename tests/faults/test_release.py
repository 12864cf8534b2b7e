"""Old and new code side by side: a migration has run, some processes are new, others not yet."""

from __future__ import annotations

import psycopg
import pytest
from django.db import models
from django.db.migrations import operations
from django.db.migrations.loader import MigrationLoader

from tests.faults.deploy_rule import breaks_old_code
from tests.faults.release import RELEASE, prepare_database

# The last migration of the latest release: what comes after it has to keep the rule. Before the first: where a desk may first have run.
RELEASED = "0033_import_upload"
# "model.field" or "model" that the latest release no longer uses: those, and no others, may go.
RETIRED: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("operation", "kept"),
    [
        (operations.AddField("Prediction", "note", models.TextField(default="")), False),
        (operations.AddField("Prediction", "note", models.TextField(default="", db_default="")), True),
        (operations.AddField("Prediction", "note", models.TextField(null=True)), True),
        (operations.RemoveField("Prediction", "shadow"), False),
        (operations.RenameField("Prediction", "shadow", "silent"), False),
        (operations.DeleteModel("Prediction"), False),
        (operations.CreateModel("Note", [("text", models.TextField())]), True),
    ],
    ids=["unfilled column", "column with a default", "empty column", "removed", "renamed", "deleted table", "new table"],
)
def test_the_rule_tells_what_old_code_survives(operation, kept):
    assert (not breaks_old_code([operation])) == kept


def test_what_a_release_has_retired_may_go():
    assert not breaks_old_code([operations.RemoveField("Prediction", "shadow")], retired=frozenset({"prediction.shadow"}))


def test_migrations_since_the_release_keep_the_rule():
    loader = MigrationLoader(None)
    assert ("loans", RELEASED) in loader.disk_migrations
    later = [m for (app, name), m in sorted(loader.disk_migrations.items()) if app == "loans" and name > RELEASED]
    assert {m.name: broken for m in later if (broken := breaks_old_code(m.operations, retired=RETIRED))} == {}


@pytest.mark.faults
def test_old_and_new_code_score_side_by_side(open_desk):
    desk = open_desk()
    desk.fill(applications=1_500)
    desk.start("worker-old", "sweeper")
    desk.after(150)
    prepare_database(desk.database.url)
    desk.start("worker-new", FAULTS_NEW_CODE="1")
    desk.after(700)
    desk.kill("worker-new")
    desk.kill("worker-old")
    desk.settle(submitted=1_500)
    with desk.orm():
        from tests.factories import make_pending

        make_pending(600)  # the old code's own INSERTs
    desk.settle(submitted=2_100)
    with psycopg.connect(desk.database.url) as connection:
        made = dict(connection.execute("SELECT made_by_release, count(*) FROM loans_prediction GROUP BY 1").fetchall())
    print(made)
    assert set(made) == {"", RELEASE} and made[RELEASE] >= 100 and made[""] >= 250, "both must have worked"
