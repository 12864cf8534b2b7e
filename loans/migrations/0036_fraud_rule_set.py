"""What assessments keep in short refers to the rules in force, which are kept in full, for good."""

from importlib import import_module

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

guards = import_module("loans.migrations.0002_guards")


class Migration(migrations.Migration):

    dependencies = [
        ('loans', '0035_document'),
    ]

    operations = [
        migrations.CreateModel(
            name='FraudRuleSet',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('digest', models.CharField(help_text='SHA-256 of the terms.', max_length=64, unique=True)),
                ('terms', models.JSONField()),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
        ),
        migrations.AddField(
            model_name='fraudassessment',
            name='rule_set',
            field=models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='loans.fraudruleset'),
        ),
        migrations.RunSQL(
            guards.guard("loans_fraudruleset", "kept"),
            "DROP TRIGGER loans_fraudruleset_append_only ON loans_fraudruleset;"
            " DROP TRIGGER loans_fraudruleset_no_truncate ON loans_fraudruleset",
        ),
    ]
