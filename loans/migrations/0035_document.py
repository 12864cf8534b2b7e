"""Papers of an application, and who may add, open and delete them."""

import django.db.models.deletion
import django.db.models.functions.datetime
import loans.models.crypto
from django.apps import apps as installed
from django.conf import settings
from django.contrib.auth.management import create_permissions
from django.db import migrations, models


ROLES = {
    "Loan officers": ["view_document", "add_document"],
    "Senior officers": ["view_document", "add_document", "delete_document"],
    "Fraud investigators": ["view_document"],
    "Auditors": ["view_document"],
}


def grant(apps, schema_editor):
    create_permissions(installed.get_app_config("loans"), verbosity=0, using=schema_editor.connection.alias)
    groups, permissions = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    for name, codenames in ROLES.items():
        group, _ = groups.objects.get_or_create(name=name)
        group.permissions.add(*permissions.objects.filter(content_type__app_label="loans", codename__in=codenames))


class Migration(migrations.Migration):
    dependencies = [
        ("loans", "0034_approval_alert"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Document",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("identity", "Identity"),
                            ("income", "Proof of income"),
                            ("statement", "Statement of account"),
                            ("contract", "Contract"),
                            ("other", "Other"),
                        ],
                        max_length=9,
                    ),
                ),
                ("name", loans.models.crypto.EncryptedTextField()),
                ("content_type", models.CharField(max_length=40)),
                ("size", models.PositiveBigIntegerField(help_text="Bytes, unencrypted.")),
                ("sha256", models.CharField(help_text="Of the unencrypted bytes.", max_length=64)),
                ("stored_as", models.CharField(max_length=40, unique=True)),
                ("key", models.CharField(max_length=8)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("added_by", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL)),
                (
                    "application",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="documents", to="loans.loanapplication"),
                ),
            ],
            options={
                "ordering": ["-pk"],
                "default_permissions": ("add", "view", "delete"),
                "indexes": [models.Index(fields=["key"], name="document_key_ix")],
                "constraints": [
                    models.UniqueConstraint(fields=("application", "sha256"), name="document_once_an_application"),
                    models.CheckConstraint(condition=models.Q(("size__gt", 0)), name="document_not_empty"),
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["identity", "income", "statement", "contract", "other"])),
                        name="document_kind_known",
                    ),
                ],
            },
        ),
        migrations.RunPython(grant, migrations.RunPython.noop),
    ]
