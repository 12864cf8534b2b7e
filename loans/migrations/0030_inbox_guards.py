"""Names that were here before are found by their words too; who reads inbox runs."""

from django.contrib.auth.management import create_permissions
from django.db import migrations

from loans.models.crypto import name_tokens

ROLES = {"Auditors": ["view_inboxrun"]}
CHUNK = 2_000


def index_names(apps, schema_editor):
    applicants = apps.get_model("loans", "Applicant")
    last = 0
    while rows := list(applicants.objects.filter(pk__gt=last, name__isnull=False).only("pk", "name").order_by("pk")[:CHUNK]):
        last = rows[-1].pk
        for row in rows:
            row.name_tokens = name_tokens(row.name)
        applicants.objects.bulk_update(rows, ["name_tokens"])


def grant(apps, schema_editor):
    from django.apps import apps as installed

    create_permissions(installed.get_app_config("loans"), verbosity=0, using=schema_editor.connection.alias)
    groups, permissions = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    for name, codenames in ROLES.items():
        group, _ = groups.objects.get_or_create(name=name)
        group.permissions.add(*permissions.objects.filter(content_type__app_label="loans", codename__in=codenames))


class Migration(migrations.Migration):
    dependencies = [("loans", "0029_inbox")]

    operations = [
        migrations.RunPython(index_names, migrations.RunPython.noop),
        migrations.RunPython(grant, migrations.RunPython.noop),
    ]
