"""Who sees all branches, who assigns, and the senior officers' group. Officers themselves see their branch and what is assigned to them."""

from django.contrib.auth.management import create_permissions
from django.db import migrations

ROLES = {
    "Senior officers": [
        "view_loanapplication",
        "view_all_applications",
        "decide_loanapplication",
        "assign_loanapplication",
        "view_personal_data",
        "view_applicant",
        "view_loanproduct",
        "view_prediction",
        "view_decision",
        "view_modelversion",
        "view_loanoutcome",
        "view_policy",
        "view_knockoutrule",
        "view_fraudflag",
        "view_fraudassessment",
        "view_segmentassignment",
        "view_demandforecast",
        "view_branch",
    ],
    "Fraud investigators": ["view_all_applications"],
    "Model owners": ["view_all_applications"],
    "Auditors": ["view_all_applications", "view_branch", "view_officerprofile"],
    "Administrators": ["view_branch", "add_branch", "change_branch", "view_officerprofile", "add_officerprofile", "change_officerprofile"],
}
USER_PERMISSIONS = {"Auditors": ["view_user", "view_group"]}


def grant(apps, schema_editor):
    from django.apps import apps as installed

    for label in ("auth", "loans"):
        create_permissions(installed.get_app_config(label), verbosity=0, using=schema_editor.connection.alias)
    groups, permissions = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    for name, codenames in ROLES.items():
        group, _ = groups.objects.get_or_create(name=name)
        group.permissions.add(*permissions.objects.filter(content_type__app_label="loans", codename__in=codenames))
        extra = USER_PERMISSIONS.get(name, [])
        group.permissions.add(*permissions.objects.filter(content_type__app_label="auth", codename__in=extra))


class Migration(migrations.Migration):
    dependencies = [("loans", "0014_branches")]

    operations = [migrations.RunPython(grant, migrations.RunPython.noop)]
