"""The audit trail, sealed by the database at commit; webhooks with their outbox; who may see them."""

from importlib import import_module

import django.db.models.deletion
import django.db.models.functions.datetime
import loans.models.crypto
import loans.models.webhook
import uuid
from django.conf import settings
from django.db import migrations, models


guards = import_module("loans.migrations.0002_guards")

# Deferred: it runs at commit, so its lock is held only while this transaction commits. The chain follows from the connection's process
# number: a transaction has one chain and can't deadlock with another over two. Each statement in a function sees what was committed
# before the lock was granted. `sha256` and jsonb's one way of writing a value are PostgreSQL's; loans/services/audit.py checks the same.
SEAL = """
CREATE FUNCTION loandesk_audit_seal() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    mine constant smallint := pg_backend_pid() % 16;
    before_position bigint;
    before_digest bytea;
    body text;
BEGIN
    PERFORM pg_advisory_xact_lock(1818321256, mine);
    SELECT position, digest INTO before_position, before_digest FROM loans_auditseal WHERE chain = mine ORDER BY position DESC LIMIT 1;
    before_position := coalesce(before_position, 0);
    before_digest := coalesce(before_digest, decode(repeat('00', 32), 'hex'));
    body := jsonb_build_array(NEW.id, to_char(NEW.at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'), NEW.action, NEW.actor_kind,
        NEW.actor_id, NEW.actor_name, NEW.user_id, NEW.subject_type, NEW.subject_id, NEW.request_id, NEW.facts)::text;
    INSERT INTO loans_auditseal (event_id, chain, position, previous, digest) VALUES (NEW.id, mine, before_position + 1, before_digest,
        sha256(convert_to(mine || ':' || (before_position + 1) || ':' || encode(before_digest, 'hex') || ':' || body, 'UTF8')));
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER auditevent_seal AFTER INSERT ON loans_auditevent DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION loandesk_audit_seal();
"""
NO_SEAL = "DROP TRIGGER auditevent_seal ON loans_auditevent; DROP FUNCTION loandesk_audit_seal;"

ROLES = {
    "Auditors": ["view_auditevent", "view_webhookendpoint", "view_webhookdelivery"],
    "Administrators": ["view_webhookendpoint", "add_webhookendpoint", "change_webhookendpoint", "view_webhookdelivery", "replay_webhookdelivery"],
}


def grant(apps, schema_editor):
    from django.apps import apps as installed
    from django.contrib.auth.management import create_permissions

    create_permissions(installed.get_app_config("loans"), verbosity=0, using=schema_editor.connection.alias)
    groups, permissions = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    for name, codenames in ROLES.items():
        group, _ = groups.objects.get_or_create(name=name)
        group.permissions.add(*permissions.objects.filter(content_type__app_label="loans", codename__in=codenames))


class Migration(migrations.Migration):

    dependencies = [
        ('loans', '0015_desk_roles'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='AuditEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('action', models.CharField(max_length=64)),
                ('actor_kind', models.CharField(choices=[('user', 'Person'), ('key', 'API key'), ('system', 'System')], max_length=6)),
                ('actor_id', models.BigIntegerField(null=True)),
                ('actor_name', models.CharField(blank=True, max_length=150)),
                ('user_id', models.BigIntegerField(help_text='Whom a key acts as; else the person.', null=True)),
                ('subject_type', models.CharField(blank=True, max_length=64)),
                ('subject_id', models.CharField(blank=True, max_length=64)),
                ('request_id', models.CharField(blank=True, max_length=64)),
                ('facts', models.JSONField(default=dict)),
            ],
            options={
                'verbose_name': 'audit event',
                'ordering': ['-pk'],
            },
        ),
        migrations.CreateModel(
            name='WebhookDelivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uid', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('event', models.CharField(max_length=32)),
                ('payload', models.JSONField()),
                ('state', models.CharField(choices=[('pending', 'Waiting'), ('delivered', 'Delivered'), ('failed', 'Given up')], default='pending', max_length=9)),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('due_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('lease_until', models.DateTimeField(blank=True, null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
                ('status_code', models.PositiveSmallIntegerField(blank=True, null=True, verbose_name='answer')),
                ('error', models.CharField(blank=True, max_length=200)),
                ('log', models.JSONField(default=list, help_text='Each attempt: when, what was answered, in how many milliseconds.')),
            ],
            options={
                'verbose_name': 'webhook delivery',
                'verbose_name_plural': 'webhook deliveries',
                'permissions': [('replay_webhookdelivery', 'Can have a webhook delivered again')],
                'ordering': ['-pk'],
            },
        ),
        migrations.CreateModel(
            name='WebhookEndpoint',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('url', models.URLField(help_text='https://…; private and local addresses are refused.', max_length=500, verbose_name='address')),
                ('events', models.JSONField(default=list, validators=[loans.models.webhook._check_events])),
                ('secret', loans.models.crypto.EncryptedTextField(default=loans.models.webhook.new_secret, editable=False)),
                ('active', models.BooleanField(default=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'verbose_name': 'webhook',
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='AuditSeal',
            fields=[
                ('event', models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name='seal', serialize=False, to='loans.auditevent')),
                ('chain', models.PositiveSmallIntegerField()),
                ('position', models.BigIntegerField()),
                ('previous', models.BinaryField(max_length=32)),
                ('digest', models.BinaryField(max_length=32)),
            ],
        ),
        migrations.AddIndex(
            model_name='auditevent',
            index=models.Index(fields=['subject_type', 'subject_id', '-id'], name='auditevent_subject_ix'),
        ),
        migrations.AddIndex(
            model_name='auditevent',
            index=models.Index(fields=['user_id', '-id'], name='auditevent_user_ix'),
        ),
        migrations.AddIndex(
            model_name='auditevent',
            index=models.Index(fields=['action', '-id'], name='auditevent_action_ix'),
        ),
        migrations.AddField(
            model_name='webhookendpoint',
            name='user',
            field=models.ForeignKey(help_text='It hears of applications that this account may see.', on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='webhookdelivery',
            name='endpoint',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='loans.webhookendpoint'),
        ),
        migrations.AddConstraint(
            model_name='auditseal',
            constraint=models.UniqueConstraint(fields=('chain', 'position'), name='auditseal_place'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(condition=models.Q(('state', 'pending')), fields=['due_at', 'id'], name='webhookdelivery_due_ix'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(fields=['endpoint', '-id'], name='webhookdelivery_endpoint_ix'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['pending', 'delivered', 'failed'])), name='webhookdelivery_state_known'),
        ),
        *(
            migrations.RunSQL(
                guards.guard(table, "kept"), f"DROP TRIGGER {table}_append_only ON {table}; DROP TRIGGER {table}_no_truncate ON {table}"
            )
            for table in ("loans_auditevent", "loans_auditseal")
        ),
        migrations.RunSQL(SEAL, NO_SEAL),
        migrations.RunPython(grant, migrations.RunPython.noop),
    ]
