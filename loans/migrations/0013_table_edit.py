"""Edits of a model's tables: what is proposed never changes, and is decided once, by somebody else."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


# A row is born as a proposal. Later it is decided, once; nothing else of it ever changes, and it is never deleted.
STEP = """
CREATE FUNCTION loandesk_table_edit_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'proposed' THEN
            RAISE EXCEPTION 'an edit of tables begins as a proposal' USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF OLD.state <> 'proposed' THEN
        RAISE EXCEPTION 'edit % is decided already', OLD.id USING ERRCODE = 'restrict_violation';
    END IF;
    IF (OLD.id, OLD.base_id, OLD.cells, OLD.reason, OLD.keep_level, OLD.effect, OLD.proposed_by_id, OLD.created_at)
        IS DISTINCT FROM (NEW.id, NEW.base_id, NEW.cells, NEW.reason, NEW.keep_level, NEW.effect, NEW.proposed_by_id, NEW.created_at) THEN
        RAISE EXCEPTION 'what edit % proposes can not be changed; propose another', OLD.id USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER tableedit_step BEFORE INSERT OR UPDATE ON loans_tableedit FOR EACH ROW EXECUTE FUNCTION loandesk_table_edit_step();
CREATE TRIGGER loans_tableedit_kept BEFORE DELETE ON loans_tableedit FOR EACH ROW EXECUTE FUNCTION loandesk_append_only('kept');
CREATE TRIGGER loans_tableedit_no_truncate BEFORE TRUNCATE ON loans_tableedit
    FOR EACH STATEMENT EXECUTE FUNCTION loandesk_append_only('kept');
"""
UNDO = """
DROP TRIGGER tableedit_step ON loans_tableedit; DROP TRIGGER loans_tableedit_kept ON loans_tableedit;
DROP TRIGGER loans_tableedit_no_truncate ON loans_tableedit; DROP FUNCTION loandesk_table_edit_step;
"""
ROLES = {"Model owners": ["view_tableedit", "add_tableedit"], "Auditors": ["view_tableedit"]}


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
        ('loans', '0012_fraud_registry'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='TableEdit',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('cells', models.JSONField()),
                ('reason', models.CharField(max_length=300)),
                ('keep_level', models.BooleanField(default=True, help_text='The intercept moves so that the mean probability stays what it was.')),
                ('effect', models.JSONField()),
                ('state', models.CharField(choices=[('proposed', 'Waits for a second person'), ('approved', 'Approved'), ('rejected', 'Rejected'), ('withdrawn', 'Withdrawn')], default='proposed', max_length=9)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('decided_at', models.DateTimeField(blank=True, null=True)),
                ('decision_reason', models.CharField(blank=True, max_length=300)),
                ('base', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='table_edits', to='loans.modelversion')),
                ('decided_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('proposed_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('result', models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='made_by_edit', to='loans.modelversion')),
            ],
            options={
                'ordering': ['-pk'],
                'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['proposed', 'approved', 'rejected', 'withdrawn'])), name='tableedit_state_known'), models.CheckConstraint(condition=models.Q(('reason', ''), _negated=True), name='tableedit_reason_given'), models.CheckConstraint(condition=models.Q(models.Q(('decided_at', None), ('decided_by', None), ('state', 'proposed')), models.Q(models.Q(('state', 'proposed'), _negated=True), ('decided_at__isnull', False), ('decided_by__isnull', False)), _connector='OR'), name='tableedit_decided_by_somebody'), models.CheckConstraint(condition=models.Q(models.Q(('state__in', ['approved', 'rejected']), _negated=True), models.Q(('decided_by', models.F('proposed_by')), _negated=True), _connector='OR'), name='tableedit_second_person'), models.CheckConstraint(condition=models.Q(models.Q(('result__isnull', False), ('state', 'approved')), models.Q(models.Q(('state', 'approved'), _negated=True), ('result', None)), _connector='OR'), name='tableedit_result_if_approved')],
            },
        ),
        migrations.RunSQL(STEP, UNDO),
        migrations.RunPython(grant, migrations.RunPython.noop),
    ]
