"""Who may see which page: every page, every role."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.urls import reverse

from loans.models import ApiKey, AttributeDefinition, Decision, FraudFlag, FraudRule, ImportBatch, KnockOutRule, Policy, TrainingRun
from tests.loans.admin.conftest import make_application, score

pytestmark = pytest.mark.django_db

# officer, owner, auditor, administrator, stranger
LISTS = {
    "loans_loanapplication": "yyynn",
    "loans_decision": "yyynn",
    "loans_demandforecast": "yyynn",
    "loans_modelversion": "yyynn",
    "loans_trainingrun": "nyynn",
    "loans_importbatch": "nyyyn",
    "loans_attributedefinition": "nyynn",
    "loans_loanproduct": "yyyyn",
    "loans_policy": "yyynn",
    "loans_knockoutrule": "yyynn",
    "loans_fraudflag": "yyynn",
    "loans_fraudrule": "nyynn",
    "loans_apikey": "nnyyn",
    "auth_user": "nnnyn",
    "auth_group": "nnnyn",
}
ADDS = {
    "loans_attributedefinition": "nynnn",
    "loans_loanproduct": "nnnyn",
    "loans_policy": "nynnn",
    "loans_knockoutrule": "nynnn",
    "loans_fraudflag": "nnnnn",
    "loans_fraudrule": "nynnn",
    "loans_apikey": "nnnyn",
    "auth_user": "nnnyn",
    "auth_group": "nnnnn",
    "loans_loanapplication": "nnnnn",
    "loans_decision": "nnnnn",
    "loans_demandforecast": "nnnnn",
    "loans_modelversion": "nnnnn",
    "loans_trainingrun": "nnnnn",
    "loans_importbatch": "nnnnn",
}
ORDER = ("officer", "owner", "auditor", "administrator", "stranger")


@pytest.fixture
def rows(application, version, people, product):
    """One row of everything that has a page."""
    return {
        "loans_loanapplication": application,
        "loans_modelversion": version,
        "loans_trainingrun": TrainingRun.objects.create(kind="default_risk", state="running", share_done=0.4, step="Fitting"),
        "loans_importbatch": ImportBatch.objects.create(file_name="a.csv", sha256="0" * 64, mapping_name="m", mapping="", state="done"),
        "loans_attributedefinition": AttributeDefinition.objects.create(name="savings", kind="number"),
        "loans_loanproduct": product,
        "loans_policy": Policy.objects.create(approve_below=0.1, decline_from=0.2, reason="First"),
        "loans_knockoutrule": KnockOutRule.objects.create(
            name="Low income", field="annual_income", operator="below", value="12000", reason="income_insufficient"
        ),
        "loans_fraudflag": FraudFlag.objects.create(application=application, severity=2, score=0.1, expected_loss=100),
        "loans_fraudrule": FraudRule.objects.create(code="own", name="Own", conditions=[{"feature": "amount", "operator": "given"}]),
        "loans_apikey": ApiKey.issue(user=people["stranger"], name="shop")[0],
        "auth_user": people["stranger"],
    }


@pytest.mark.parametrize("name", LISTS)
def test_every_list_and_page_by_role(as_, rows, name):
    for role, may in zip(ORDER, LISTS[name], strict=True):
        client = as_(role)
        expected = 200 if may == "y" else 403
        assert client.get(reverse(f"admin:{name}_changelist")).status_code == expected, role
        if name in rows:
            assert client.get(reverse(f"admin:{name}_change", args=[rows[name].pk])).status_code == expected, role


@pytest.mark.parametrize("name", ADDS)
def test_every_add_page_by_role(as_, name):
    for role, may in zip(ORDER, ADDS[name], strict=True):
        assert as_(role).get(reverse(f"admin:{name}_add")).status_code == (200 if may == "y" else 403), role


def test_the_table_names_every_page_of_ours():
    ours = {
        f"{model._meta.app_label}_{model._meta.model_name}" for model in admin.site._registry if model._meta.app_label in ("loans", "auth")
    }
    assert ours == set(LISTS)


@pytest.mark.parametrize("role", ORDER)
def test_home_for_each_role(as_, application, role):
    answer = as_(role).get(reverse("admin:index"))
    assert answer.status_code == 200
    page = answer.content.decode()
    assert ("Riskiest to decide" in page) == (role in ("officer", "owner", "auditor"))
    assert ("Ann Jensen" in page) == (role in ("officer", "auditor"))


def test_nobody_signed_out_sees_anything(client, application):
    for name in LISTS:
        assert client.get(reverse(f"admin:{name}_changelist")).status_code == 302
    assert client.post(reverse("admin:loans_loanapplication_decide", args=[application.pk])).status_code == 302
    assert Decision.objects.count() == 0


POSTS = {
    "loans_loanapplication_decide": "ynnnn",
    "loans_loanapplication_score": "ynnnn",
    "loans_modelversion_promote": "nynnn",
    "loans_trainingrun_cancel": "nynnn",
    "loans_apikey_revoke": "nnnyn",
}


@pytest.mark.parametrize("name", POSTS)
def test_what_changes_state_listens_to_post_and_to_its_role_alone(as_, rows, name):
    obj = rows[name.rsplit("_", 1)[0]]
    url = reverse(f"admin:{name}", args=[obj.pk])
    for role, may in zip(ORDER, POSTS[name], strict=True):
        client = as_(role)
        assert client.get(url).status_code == 405, role
        if may == "n":
            assert client.post(url).status_code == 403, role


def test_training_listens_to_post_and_to_owners_alone(as_, version):
    url = reverse("admin:loans_modelversion_train")
    for role in ORDER:
        client = as_(role)
        assert client.get(url).status_code == 405
        if role != "owner":
            assert client.post(url, {"kind": "default_risk"}).status_code == 403
    assert TrainingRun.objects.count() == 0


def test_superusers_edit_no_application_or_decision_either(admin_client, application, people, version):
    for name in ("loanapplication", "decision", "modelversion"):
        assert admin_client.get(reverse(f"admin:loans_{name}_add")).status_code == 403
    assert admin_client.post(reverse("admin:loans_loanapplication_delete", args=[application.pk]), {"post": "yes"}).status_code == 403
    other = make_application()
    score(other, version)
    answer = admin_client.post(reverse("admin:loans_loanapplication_change", args=[other.pk]), {"status": "approved"})
    other.refresh_from_db()
    assert answer.status_code == 200 and other.status == "open"


def test_the_policy_of_the_page_allows_no_inline_script(as_, application):
    client = as_("officer")
    for url in (
        reverse("admin:index"),
        reverse("admin:loans_loanapplication_changelist"),
        reverse("admin:loans_loanapplication_change", args=[application.pk]),
    ):
        answer = client.get(url)
        script = next(part for part in answer["Content-Security-Policy"].split(";") if "script-src" in part)
        assert "unsafe-inline" not in script
        page = answer.content.decode()
        assert "onclick=" not in page and "<script>" not in page
