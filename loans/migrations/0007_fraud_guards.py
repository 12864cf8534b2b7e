"""No application without an assessment row, no event rewritten, rows that go with their application; and who may do what."""

from importlib import import_module

from django.contrib.auth.management import create_permissions
from django.db import migrations

guards = import_module("loans.migrations.0002_guards")

# A statement-level trigger: COPY of a million rows costs one INSERT … SELECT, and no way of bringing applications in can forget it.
OUTBOX = """
CREATE FUNCTION loandesk_fraud_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO loans_fraudassessment (application_id, state, attempts, due_at, calibrated, features, trace, error)
        SELECT id, 'waiting', 0, statement_timestamp(), false, '{}'::jsonb, '[]'::jsonb, '' FROM added ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER application_fraud_outbox AFTER INSERT ON loans_loanapplication
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION loandesk_fraud_outbox();
INSERT INTO loans_fraudassessment (application_id, state, attempts, due_at, calibrated, features, trace, error)
    SELECT id, 'waiting', 0, statement_timestamp(), false, '{}'::jsonb, '[]'::jsonb, '' FROM loans_loanapplication;
"""
NO_OUTBOX = "DROP TRIGGER application_fraud_outbox ON loans_loanapplication; DROP FUNCTION loandesk_fraud_outbox;"

ROLES = {
    "Fraud investigators": [
        "view_fraudflag", "investigate_fraudflag", "view_fraudflagevent", "view_fraudrule", "view_fraudassessment", "view_loanapplication",
        "view_personal_data", "view_applicant", "view_loanproduct", "view_prediction", "view_decision",
    ],
    "Loan officers": ["view_fraudflag", "view_fraudassessment"],
    "Model owners": ["view_fraudflag", "view_fraudassessment", "view_fraudrule", "add_fraudrule", "change_fraudrule", "view_fraudmodelversion"],
    "Auditors": ["view_fraudflag", "view_fraudflagevent", "view_fraudassessment", "view_fraudrule", "view_fraudmodelversion"],
}


def grant(apps, schema_editor):
    from django.apps import apps as installed

    config = installed.get_app_config("loans")
    create_permissions(config, verbosity=0, using=schema_editor.connection.alias)
    groups, permissions = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    for name, codenames in ROLES.items():
        group, _ = groups.objects.get_or_create(name=name)
        group.permissions.add(*permissions.objects.filter(content_type__app_label="loans", codename__in=codenames))


class Migration(migrations.Migration):
    dependencies = [("loans", "0006_fraud")]

    operations = [
        migrations.RunSQL(OUTBOX, NO_OUTBOX),
        migrations.RunSQL(
            guards.guard("loans_fraudflagevent", "purgeable"),
            "DROP TRIGGER loans_fraudflagevent_append_only ON loans_fraudflagevent; "
            "DROP TRIGGER loans_fraudflagevent_no_truncate ON loans_fraudflagevent",
        ),
        migrations.RunPython(grant, migrations.RunPython.noop),
    ]
