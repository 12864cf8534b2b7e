"""What the database itself refuses, whoever asks: changing what is append-only, and skipping a step of an application's status."""

from django.db import migrations

# UPDATE is never allowed. DELETE only inside `SET LOCAL loandesk.maintenance = 'on'`, for the undo of an import batch (predictions that
# nobody decided on); decisions have no such door. TRUNCATE only in a database that was set up for it, which a test database is.
APPEND_ONLY = """
CREATE FUNCTION loandesk_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND TG_ARGV[0] = 'purgeable' AND current_setting('loandesk.maintenance', true) = 'on' THEN
        RETURN OLD;
    END IF;
    IF TG_OP = 'TRUNCATE' AND current_setting('loandesk.maintenance_truncate', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '% on % is refused: its rows are append-only', TG_OP, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
"""

TABLES = {"loans_decision": "kept", "loans_prediction": "purgeable", "loans_featuresnapshot": "purgeable"}

TRANSITIONS = """
CREATE FUNCTION loandesk_status_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.status, NEW.status) NOT IN (
        ('received', 'open'), ('received', 'needs_review'), ('received', 'withdrawn'),
        ('needs_review', 'received'), ('needs_review', 'open'), ('needs_review', 'referred'), ('needs_review', 'approved'),
        ('needs_review', 'declined'), ('needs_review', 'withdrawn'),
        ('open', 'referred'), ('open', 'approved'), ('open', 'declined'), ('open', 'withdrawn'),
        ('referred', 'approved'), ('referred', 'declined'), ('referred', 'withdrawn')
    ) THEN
        RAISE EXCEPTION 'an application can not go from % to %', OLD.status, NEW.status USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER application_status_step BEFORE UPDATE OF status ON loans_loanapplication
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION loandesk_status_step();
"""


def guard(table: str, kind: str) -> str:
    return f"""
    CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}
        FOR EACH ROW EXECUTE FUNCTION loandesk_append_only('{kind}');
    CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}
        FOR EACH STATEMENT EXECUTE FUNCTION loandesk_append_only('{kind}');
    """


class Migration(migrations.Migration):
    dependencies = [("loans", "0001_initial")]

    operations = [
        migrations.RunSQL(APPEND_ONLY, "DROP FUNCTION loandesk_append_only CASCADE"),
        *(
            migrations.RunSQL(guard(table, kind), f"DROP TRIGGER {table}_append_only ON {table}; DROP TRIGGER {table}_no_truncate ON {table}")
            for table, kind in TABLES.items()
        ),
        migrations.RunSQL(TRANSITIONS, "DROP FUNCTION loandesk_status_step CASCADE"),
    ]
