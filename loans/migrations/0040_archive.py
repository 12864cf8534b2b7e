"""What was archived, kept like the events it speaks of; jobs of some weeks, and those given to a person, by an index."""

from importlib import import_module

import django.contrib.postgres.indexes
import django.db.models.functions.datetime
from django.db import migrations, models

guards = import_module("loans.migrations.0002_guards")

class Migration(migrations.Migration):

    dependencies = [
        ('loans', '0039_partitions'),
    ]

    operations = [
        migrations.CreateModel(
            name='TableArchive',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('table', models.CharField(max_length=63)),
                ('part', models.CharField(help_text="The partition's name; for rows of an undivided table, as one would be called.", max_length=63, unique=True)),
                ('low', models.BigIntegerField()),
                ('high', models.BigIntegerField()),
                ('rows', models.BigIntegerField()),
                ('file', models.CharField(max_length=200)),
                ('sha256', models.CharField(max_length=64)),
                ('content', models.CharField(help_text='SHA-256 over the rows themselves, whatever file holds them.', max_length=64)),
                ('event_id', models.BigIntegerField(help_text='The audit event that says so, with the same digest.')),
                ('made_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'verbose_name': 'archive',
                'ordering': ['table', 'low'],
                'default_permissions': (),
            },
        ),
        migrations.AddIndex(
            model_name='scoringjob',
            index=models.Index(condition=models.Q(('state', 'failed')), fields=['id'], name='scoringjob_failed_ix'),
        ),
        migrations.AddIndex(
            model_name='scoringjob',
            index=django.contrib.postgres.indexes.BrinIndex(autosummarize=True, fields=['created_at'], name='scoringjob_created_ix', pages_per_range=32),
        ),
        *(
            migrations.AddIndex(
                model_name=model,
                index=django.contrib.postgres.indexes.BrinIndex(autosummarize=True, fields=[field], name=name, pages_per_range=32),
            )
            for model, field, name in (("prediction", "created_at", "prediction_created_ix"), ("auditevent", "at", "auditevent_at_ix"))
        ),
        migrations.RunSQL(
            guards.guard("loans_tablearchive", "kept"),
            "DROP TRIGGER loans_tablearchive_append_only ON loans_tablearchive; DROP TRIGGER loans_tablearchive_no_truncate ON loans_tablearchive",
        ),
    ]
