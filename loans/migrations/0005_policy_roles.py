"""Who may write policies and rules; and a policy, once written, is not edited: what was in force stays known."""

from importlib import import_module

from django.contrib.auth.management import create_permissions
from django.db import migrations

guards = import_module("loans.migrations.0002_guards")

ROLES = {
    "Model owners": ["view_policy", "add_policy", "view_knockoutrule", "add_knockoutrule", "change_knockoutrule"],
    "Loan officers": ["view_policy", "view_knockoutrule"],
    "Auditors": ["view_policy", "view_knockoutrule"],
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
    dependencies = [("loans", "0004_policy"), ("loans", "0003_roles")]

    operations = [
        migrations.RunPython(grant, migrations.RunPython.noop),
        migrations.RunSQL(
            guards.guard("loans_policy", "kept"),
            "DROP TRIGGER loans_policy_append_only ON loans_policy; DROP TRIGGER loans_policy_no_truncate ON loans_policy",
        ),
    ]
