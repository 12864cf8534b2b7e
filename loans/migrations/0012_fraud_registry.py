"""Fraud models become a kind of the one registry's: their rows and what points to them move, and their own table goes."""

import django.db.models.deletion
from django.db import migrations, models

KINDS = [("default_risk", "Default risk"), ("loan_amount", "Loan amount"), ("segments", "Segments"), ("fraud", "Fraud")]

# The artifacts stay where they are: what is stored of a fraud model has not changed.
MOVE = """
INSERT INTO loans_modelversion (kind, version, state, algorithm, artifact, sha256, report, data_fingerprint, synthetic, created_at,
                                promoted_at, promotion_reason, promoted_how, environment, shadow_seconds)
    SELECT 'fraud', version, CASE WHEN serving THEN 'champion' ELSE 'retired' END,
           CASE WHEN report ? 'supervised' THEN 'anomaly+supervised' ELSE 'anomaly' END, artifact, sha256, report, '', synthetic, created_at,
           created_at, 'Served as soon as it was trained, before fraud models were promoted.', 'automatic', '{}', 0
    FROM loans_fraudmodelversion;
UPDATE loans_modelversion champion SET predecessor_id = (
    SELECT earlier.id FROM loans_modelversion earlier WHERE earlier.kind = 'fraud' AND earlier.version < champion.version
    ORDER BY earlier.version DESC LIMIT 1)
    WHERE champion.kind = 'fraud' AND champion.state = 'champion';
UPDATE loans_fraudassessment assessment SET model_id = version.id
    FROM loans_fraudmodelversion old JOIN loans_modelversion version ON version.kind = 'fraud' AND version.version = old.version
    WHERE assessment.old_model_id = old.id
"""
BACK = """
INSERT INTO loans_fraudmodelversion (version, serving, artifact, sha256, report, synthetic, created_at)
    SELECT version, state = 'champion', artifact, sha256, report, synthetic, created_at FROM loans_modelversion WHERE kind = 'fraud';
UPDATE loans_fraudassessment assessment SET old_model_id = old.id, model_id = NULL
    FROM loans_fraudmodelversion old JOIN loans_modelversion version ON version.kind = 'fraud' AND version.version = old.version
    WHERE assessment.model_id = version.id;
DELETE FROM loans_trainingrun WHERE kind = 'fraud';
UPDATE loans_modelversion SET predecessor_id = NULL WHERE kind = 'fraud';
DELETE FROM loans_modelversion WHERE kind = 'fraud'
"""


def forget_permissions(apps, schema_editor):
    """Django leaves the permissions of a model that is gone; groups would go on listing them."""
    apps.get_model("contenttypes", "ContentType").objects.filter(app_label="loans", model="fraudmodelversion").delete()


class Migration(migrations.Migration):
    dependencies = [("loans", "0011_registry"), ("contenttypes", "0002_remove_content_type_name")]

    operations = [
        migrations.RemoveConstraint("modelversion", "modelversion_kind_known"),
        migrations.AlterField("modelversion", "kind", models.CharField(choices=KINDS, max_length=20)),
        migrations.AlterField("prediction", "kind", models.CharField(choices=KINDS, default="default_risk", max_length=20)),
        migrations.AlterField("trainingrun", "kind", models.CharField(choices=KINDS, max_length=20)),
        migrations.AddConstraint(
            "modelversion",
            models.CheckConstraint(
                condition=models.Q(("kind__in", ["default_risk", "loan_amount", "segments", "fraud"])), name="modelversion_kind_known"
            ),
        ),
        migrations.RenameField("fraudassessment", "model", "old_model"),
        migrations.AddField(
            "fraudassessment",
            "model",
            models.ForeignKey(
                blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="loans.modelversion"
            ),
        ),
        migrations.RunSQL(MOVE, BACK),
        # A foreign key that is checked at the end of the transaction would stand in the way of altering its table within it.
        migrations.RunSQL("SET CONSTRAINTS ALL IMMEDIATE", "SET CONSTRAINTS ALL IMMEDIATE"),
        migrations.RemoveField("fraudassessment", "old_model"),
        migrations.RunPython(forget_permissions, migrations.RunPython.noop),
        migrations.DeleteModel("FraudModelVersion"),
    ]
