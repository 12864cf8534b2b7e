"""Predictions, feature snapshots and audit events by month; ids that say their month; what a decision rests on held by triggers.

Each table in a transaction of its own, and skipped where it is done: an interrupted migration is started again. No row moves: the table as it
was becomes the first partition. docs/PERFORMANCE.md says what that costs on a large database and how to prepare it.
"""

# ruff: noqa: S608 - the names in these statements are the catalogue's or our own

import django.db.models.deletion
from django.db import migrations, models, transaction

# An id is its month's base plus a running number: 10^13 a month, counted from January 2000, stays below 2^53 until the year 2074. So a job's
# id says its month, and what is unique by job is unique in a partition, which is all that PostgreSQL can promise. Statement time, like the
# default of `created_at`: the two never name different months.
MONTHS = """
CREATE OR REPLACE FUNCTION loandesk_month_base(at timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ((date_part('year', at AT TIME ZONE 'UTC') - 2000) * 12 + date_part('month', at AT TIME ZONE 'UTC') - 1)::bigint * 10000000000000
$$;
CREATE OR REPLACE FUNCTION loandesk_month_start(base bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT make_timestamptz((2000 + base / 10000000000000 / 12)::int, (1 + base / 10000000000000 % 12)::int, 1, 0, 0, 0, 'UTC')
$$;
"""

# A partition that holds ids from `low` to below `high`, made beside its parent and then attached: that lets readers go on. Attaching gives it
# indexes, foreign keys and row triggers. What no key says is said by checks, which let the planner leave it out: an event is not dated
# after it was written, and a prediction is not older than its job.
ADD = """
CREATE OR REPLACE FUNCTION loandesk_dress_partition(parent text, part text, low bigint, high bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF parent = 'loans_auditevent' THEN
        EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I CHECK (at < %L)', part, part || '_until', loandesk_month_start(high));
    ELSIF parent = 'loans_prediction' THEN
        EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I CHECK (id >= %L)', part, part || '_from', low);
    END IF;
END $$;
CREATE OR REPLACE FUNCTION loandesk_add_partition(parent text, part text, low bigint, high bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    kind constant text := CASE parent WHEN 'loans_auditevent' THEN 'kept' ELSE 'purgeable' END;
BEGIN
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING COMPRESSION)', part, parent);
    EXECUTE format('CREATE TRIGGER %I BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION loandesk_append_only(%L)',
        parent || '_no_truncate', part, kind);
    IF low IS NULL THEN
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I DEFAULT', parent, part);
    ELSE
        PERFORM loandesk_dress_partition(parent, part, low, high);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, part, low, high);
    END IF;
END $$;
"""

# In place of foreign keys, which would need a key of the partitioned table that names its month: the same locks, the same error.
RESTS_ON = """
CREATE OR REPLACE FUNCTION loandesk_rests_on_prediction() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM loans_prediction WHERE id = NEW.prediction_id FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'prediction % is not there for % to rest on', NEW.prediction_id, TG_TABLE_NAME USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION loandesk_prediction_rested_on() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM loans_decision WHERE prediction_id = OLD.id) OR EXISTS (SELECT FROM loans_decisionproposal WHERE prediction_id = OLD.id) THEN
        RAISE EXCEPTION 'a decision rests on prediction %', OLD.id USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER decision_prediction_there AFTER INSERT OR UPDATE OF prediction_id ON loans_decision
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.prediction_id IS NOT NULL) EXECUTE FUNCTION loandesk_rests_on_prediction();
CREATE CONSTRAINT TRIGGER proposal_prediction_there AFTER INSERT OR UPDATE OF prediction_id ON loans_decisionproposal
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.prediction_id IS NOT NULL) EXECUTE FUNCTION loandesk_rests_on_prediction();
CREATE CONSTRAINT TRIGGER prediction_rested_on AFTER DELETE ON loans_prediction
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION loandesk_prediction_rested_on();
"""

FIRST = 10**13  # every id from before is below
AHEAD = 4
# table → column that the partitions go by
KEYS = {"loans_auditevent": "id", "loans_featuresnapshot": "scoring_job_id", "loans_prediction": "scoring_job_id"}


def own_ids(cursor, table):
    """An id of the month in place of a plain running number, which goes on from where it was."""
    cursor.execute("SELECT pg_get_serial_sequence(%s, 'id')", [table])
    sequence = cursor.fetchone()[0]
    cursor.execute(f"SELECT CASE WHEN is_called THEN last_value + 1 ELSE last_value END FROM {sequence}")
    following = cursor.fetchone()[0]
    cursor.execute(f"ALTER TABLE {table} ALTER COLUMN id DROP IDENTITY")
    cursor.execute(f"CREATE SEQUENCE {table}_id_seq START {following} OWNED BY {table}.id")
    set_default(cursor, table)


def set_default(cursor, table):
    cursor.execute(
        f"ALTER TABLE {table} ALTER COLUMN id SET DEFAULT"
        f" nextval('{table}_id_seq') % {FIRST} + loandesk_month_base(statement_timestamp())"
    )


def functions(apps, schema_editor):
    with transaction.atomic(schema_editor.connection.alias), schema_editor.connection.cursor() as cursor:
        cursor.execute(MONTHS)
        cursor.execute(ADD)


def job_ids(apps, schema_editor):
    with transaction.atomic(schema_editor.connection.alias), schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT is_identity FROM information_schema.columns WHERE table_name = 'loans_scoringjob' AND column_name = 'id'")
        if cursor.fetchone()[0] == "YES":
            own_ids(cursor, "loans_scoringjob")


def partition(table):
    def run(apps, schema_editor):
        with transaction.atomic(schema_editor.connection.alias), schema_editor.connection.cursor() as cursor:
            cursor.execute("SELECT relkind FROM pg_class WHERE oid = %s::regclass", [table])
            if cursor.fetchone()[0] == "r":
                convert(cursor, table, KEYS[table])

    return run


def convert(cursor, table, key):
    before = f"{table}_before"
    cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
    cursor.execute(
        "SELECT conname, contype, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass AND contype IN ('p', 'u', 'f')"
        " ORDER BY contype DESC, conname",
        [table],
    )
    constraints = cursor.fetchall()
    cursor.execute(
        "SELECT index.relname, pg_get_indexdef(index.oid) FROM pg_index JOIN pg_class index ON index.oid = indexrelid"
        " LEFT JOIN pg_constraint own ON own.conindid = indexrelid AND own.contype IN ('p', 'u') WHERE indrelid = %s::regclass"
        " AND own.oid IS NULL AND NOT starts_with(index.relname, %s)",
        [table, before],  # those are prepared for what the table becomes
    )
    indexes = cursor.fetchall()
    cursor.execute(
        "SELECT tgname, pg_get_triggerdef(oid), tgtype & 1 = 1 FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal", [table]
    )
    triggers = cursor.fetchall()
    cursor.execute("SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE confrelid = %s::regclass AND contype = 'f'", [table])
    for other, name in cursor.fetchall():
        cursor.execute(f'ALTER TABLE {other} DROP CONSTRAINT "{name}"')
    numbered = key == "id" or table == "loans_prediction"
    if numbered:
        own_ids(cursor, table)
    for name, _, by_row in triggers:
        if by_row:
            cursor.execute(f'DROP TRIGGER "{name}" ON {table}')
    for name in [name for name, kind, _ in constraints if kind != "f"] + [name for name, _ in indexes]:
        cursor.execute(f'ALTER INDEX "{name}" RENAME TO "{name[:56]}_before"')
    cursor.execute(f"ALTER TABLE {table} RENAME TO {before}")
    cursor.execute(
        f"CREATE TABLE {table} (LIKE {before} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING COMPRESSION)"
        f" PARTITION BY RANGE ({key})"
    )
    cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {before}_below")
    if numbered:
        cursor.execute(f"ALTER SEQUENCE {table}_id_seq OWNED BY {table}.id")
        cursor.execute(f"ALTER TABLE {before} ALTER COLUMN id DROP DEFAULT")
    for name, kind, definition in constraints:
        if kind == "p" and key not in definition:
            definition = f"PRIMARY KEY (id, {key})"
            cursor.execute(f'ALTER TABLE {before} DROP CONSTRAINT "{name[:56]}_before"')
            cursor.execute("SELECT to_regclass(%s)", [f"{before}_pk"])
            prepared = cursor.fetchone()[0] is not None
            cursor.execute(
                f"ALTER TABLE {before} ADD CONSTRAINT {before}_pk PRIMARY KEY " + (f"USING INDEX {before}_pk" if prepared else f"(id, {key})")
            )
        cursor.execute(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}')
    for _, definition in indexes:
        cursor.execute(definition)
    for _, definition, _ in triggers:
        cursor.execute(definition)
    if table == "loans_prediction":
        cursor.execute(RESTS_ON)
    cursor.execute(f"ALTER TABLE {table} ATTACH PARTITION {before} FOR VALUES FROM (MINVALUE) TO ({FIRST})")
    cursor.execute(f"ALTER TABLE {before} DROP CONSTRAINT IF EXISTS {before}_below")
    cursor.execute("SELECT loandesk_add_partition(%s, %s, NULL, NULL)", [table, f"{table}_default"])
    cursor.execute(
        "SELECT loandesk_add_partition(%(table)s, %(table)s || to_char(month AT TIME ZONE 'UTC', '_YYYY_MM'), loandesk_month_base(month),"
        " loandesk_month_base(month) + %(one)s) FROM generate_series(date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC',"
        " now() + make_interval(months => %(ahead)s - 1), '1 month') AS month",
        {"table": table, "one": FIRST, "ahead": AHEAD},
    )


def rests_on(model):
    return migrations.AlterField(
        model,
        "prediction",
        models.ForeignKey(
            "loans.Prediction",
            on_delete=django.db.models.deletion.PROTECT,
            null=True,
            blank=True,
            related_name="decisions" if model == "decision" else "+",
            db_constraint=False,
        ),
    )


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("loans", "0038_index_key")]

    operations = [
        migrations.RunPython(functions),
        *(migrations.RunPython(partition(table)) for table in KEYS),
        # Last: until the tables are partitioned, a job has to have an id that fits into what they were.
        migrations.RunPython(job_ids),
        migrations.SeparateDatabaseAndState(state_operations=[rests_on("decision"), rests_on("decisionproposal")]),
    ]
