"""Answers kept for Idempotency-Keys; references are unique among one client's, so that a clash tells nobody of another's."""

import django.db.models.deletion
import django.db.models.functions.datetime
import loans.models.crypto
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('loans', '0017_segment_follow_up'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='IdempotentAnswer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(help_text="SHA-256 of the client's key.", max_length=64)),
                ('fingerprint', models.CharField(help_text='SHA-256 of what was asked: method, address and body.', max_length=64)),
                ('status', models.PositiveSmallIntegerField()),
                ('body', loans.models.crypto.EncryptedTextField()),
                ('location', models.CharField(blank=True, max_length=200)),
                ('applications', models.JSONField(default=list, help_text='Ids that the answer quotes: an erasure takes it with them.')),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
        ),
        migrations.AddField(
            model_name='loanapplication',
            name='reference_scope',
            field=models.BigIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AlterField(
            model_name='loanapplication',
            name='external_reference',
            field=models.CharField(db_index=True, max_length=64, verbose_name='reference'),
        ),
        migrations.RunSQL(
            "UPDATE loans_loanapplication application SET reference_scope = submitted_by_id FROM auth_user"
            " WHERE auth_user.id = submitted_by_id AND NOT auth_user.is_staff",
            migrations.RunSQL.noop,
        ),
        migrations.AddConstraint(
            model_name='loanapplication',
            constraint=models.UniqueConstraint(fields=('reference_scope', 'external_reference'), name='application_external_reference_once'),
        ),
        migrations.AddField(
            model_name='idempotentanswer',
            name='client',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddIndex(
            model_name='idempotentanswer',
            index=models.Index(fields=['created_at'], name='idempotency_age_ix'),
        ),
        migrations.AddConstraint(
            model_name='idempotentanswer',
            constraint=models.UniqueConstraint(fields=('client', 'key'), name='idempotency_one_answer'),
        ),
    ]
