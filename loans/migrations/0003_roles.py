"""The groups that the desk is used by. Administrators may change them; a new installation starts with these."""

from django.apps import apps as installed
from django.contrib.auth.management import create_permissions
from django.db import migrations

ROLES = {
    "Loan officers": [
        "view_loanapplication", "decide_loanapplication", "view_personal_data", "view_applicant", "view_loanproduct",
        "view_prediction", "view_decision", "view_modelversion", "view_loanoutcome",
    ],
    "Model owners": [
        "view_loanapplication", "view_prediction", "view_loanoutcome", "view_modelversion", "train_modelversion", "promote_modelversion",
        "view_trainingrun", "view_attributedefinition", "add_attributedefinition", "change_attributedefinition", "view_importbatch",
        "add_importbatch", "view_importrowerror", "view_decision", "view_protectedattributes", "view_loanproduct", "view_scoringjob",
    ],
    "Auditors": [
        "view_loanapplication", "view_personal_data", "view_applicant", "view_loanproduct", "view_prediction", "view_featuresnapshot",
        "view_decision", "view_modelversion", "view_trainingrun", "view_importbatch", "view_importrowerror", "view_loanoutcome",
        "view_attributedefinition", "view_scoringjob", "view_apikey",
    ],
    "Administrators": ["view_apikey", "add_apikey", "change_apikey", "view_loanproduct", "add_loanproduct", "change_loanproduct", "view_importbatch"],
}
USER_PERMISSIONS = {"Administrators": ["view_user", "add_user", "change_user", "view_group"]}


def make_roles(apps, schema_editor):
    # Permissions are made after all migrations; on a new database they are needed now.
    for label in ("auth", "loans"):
        config = installed.get_app_config(label)
        config.models_module = config.models_module or True
        create_permissions(config, verbosity=0, using=schema_editor.connection.alias)
    group_model = apps.get_model("auth", "Group")
    permission_model = apps.get_model("auth", "Permission")
    for name, codenames in ROLES.items():
        group, _ = group_model.objects.get_or_create(name=name)
        group.permissions.add(*permission_model.objects.filter(content_type__app_label="loans", codename__in=codenames))
        extra = USER_PERMISSIONS.get(name, [])
        group.permissions.add(*permission_model.objects.filter(content_type__app_label="auth", codename__in=extra))


def remove_roles(apps, schema_editor):
    apps.get_model("auth", "Group").objects.filter(name__in=ROLES).delete()


class Migration(migrations.Migration):
    dependencies = [("loans", "0002_guards"), ("auth", "0012_alter_user_first_name_max_length")]

    operations = [migrations.RunPython(make_roles, remove_roles)]
