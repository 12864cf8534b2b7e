"""Training, promoting, imports, keys, people and the first page."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from loans.models import ApiKey, AttributeDefinition, ImportBatch, ImportRowError, KnockOutRule, ModelVersion, Policy, TrainingRun
from tests.loans.admin.conftest import make_application, make_version, score

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_broker(monkeypatch):
    """Waking a worker is the queue's own test; here it would only wait for a broker."""
    monkeypatch.setattr("loans.services.training.wake_training", lambda run: True)


def test_train_starts_one_run_and_leads_to_its_page(as_, people):
    client, url = as_("owner"), reverse("admin:loans_modelversion_train")
    answer = client.post(url, {"kind": "default_risk"}, follow=True)
    run = TrainingRun.objects.get()
    assert (
        run.started_by == people["owner"]
        and f"Training {run.pk}" in answer.content.decode()
        and "data-progress-url" in answer.content.decode()
    )
    again = client.post(url, {"kind": "default_risk"}, follow=True)
    assert TrainingRun.objects.count() == 1 and "is under way" in again.content.decode()
    assert client.post(url, {"kind": "no_such"}, follow=True).status_code == 200
    assert "Watch it" in client.get(reverse("admin:loans_modelversion_changelist")).content.decode()


def test_progress_is_told_as_json_to_who_may_see_it(as_):
    run = TrainingRun.objects.create(kind="default_risk", state="running", share_done=0.42, step="Fitting", cancel_requested=True)
    url = reverse("admin:loans_trainingrun_progress", args=[run.pk])
    told = as_("owner").get(url).json()
    assert told == {"state": "running", "label": "Running", "active": True, "percent": 42, "step": "Fitting", "cancelling": True}
    assert as_("officer").get(url).status_code == 403
    assert as_("owner").get(reverse("admin:loans_trainingrun_progress", args=[9999])).status_code == 404


def test_cancel(as_):
    run = TrainingRun.objects.create(kind="default_risk")
    client, url = as_("owner"), reverse("admin:loans_trainingrun_cancel", args=[run.pk])
    assert "Asked to stop" in client.post(url, follow=True).content.decode()
    run.refresh_from_db()
    assert run.state == "cancelled"
    assert "over already" in client.post(url, follow=True).content.decode()


def test_a_failed_run_says_why(as_):
    run = TrainingRun.objects.create(
        kind="default_risk", state="failed", error="There are 0 loans with a known outcome: <b>", step="Reading"
    )
    page = as_("owner").get(reverse("admin:loans_trainingrun_change", args=[run.pk])).content.decode()
    assert "There are 0 loans with a known outcome: &lt;b&gt;" in page and "It failed at “Reading”" in page


def test_promotion_takes_a_reason_a_check_and_a_second_person(as_, people, artifacts):
    from loans.models import PromotionPolicy
    from tests.factories import make_outcomes
    from tests.loans.services.test_promotion import register

    make_outcomes(700, seed=1)
    PromotionPolicy.objects.create(shadow_days=0, shadow_scores=0, least_rows=300, reasons_agreement=0.5, reason="For this test.")
    version, second = register(1), register(1, by=people["owner"])
    client, url = as_("owner"), reverse("admin:loans_modelversion_promote", args=[second.pk])
    assert "Say why this version should serve" in client.post(url, {"reason": " "}).content.decode()
    page = client.post(url, {"reason": "Better on later loans"}, follow=True).content.decode()
    for text in ("Passed, waits for approval", "AUC not worse", "To look at", "You trained this", "Who would be decided differently"):
        assert text in page, text
    assert "Approve…" not in page and "Refuse…" in page
    check = second.checks.get()
    approve = reverse("admin:loans_promotioncheck_approve", args=[check.pk])
    page = client.post(approve, {"reason": "I like it"}, follow=True).content.decode()
    assert "second person has to approve" in page and ModelVersion.objects.champion() == version
    assert "Models to approve" not in client.get(reverse("admin:index")).content.decode()
    other = as_("owner2")
    assert "Models to approve" in other.get(reverse("admin:index")).content.decode()
    page = other.get(reverse("admin:loans_promotioncheck_change", args=[check.pk])).content.decode()
    assert "Approve…" in page
    assert "Say why" in other.post(approve, {"reason": ""}, follow=True).content.decode()
    page = other.post(approve, {"reason": "Looks right"}, follow=True).content.decode()
    second.refresh_from_db()
    assert second.is_champion and second.promoted_by == people["owner2"] and "serves from now on" in page and "Looks right" in page
    assert "serves already" in client.post(url, {"reason": "again"}).content.decode()


def test_what_can_not_be_read_does_not_serve_and_the_page_says_so(as_, version, artifacts):
    second = make_version(2, "candidate", artifact="gone")
    page = as_("owner").post(reverse("admin:loans_modelversion_promote", args=[second.pk]), {"reason": "Try"}).content.decode()
    assert 'role="alert"' in page and "Try" in page
    assert ModelVersion.objects.champion() == version


def test_a_versions_page_shows_every_figure_beside_its_baseline(as_, version):
    page = as_("owner").get(reverse("admin:loans_modelversion_change", args=[version.pk])).content.decode()
    for text in (
        "0.709 (0.640–0.760)",
        "0.5 for a coin",
        "Logistic regression",
        "chosen",
        "Only 94 defaults",
        "A column looks too good",
        "platt",
        "Champion",
    ):
        assert text in page, text
    assert "Promote this version" not in page
    assert "Synthetic" not in page
    assert page.count('role="img"') == 3


def test_the_list_of_versions_leaves_the_reports_where_they_are(as_, version):
    for number in range(2, 6):
        make_version(number, "retired", synthetic=True)
    client = as_("owner")
    with CaptureQueriesContext(connection) as queries:
        page = client.get(reverse("admin:loans_modelversion_changelist")).content.decode()
    assert "0.709" in page and "synthetic" in page and len(queries) <= 9
    assert not any('"loans_modelversion"."report",' in query["sql"] for query in queries)


def test_an_imports_page_lists_what_was_refused(as_):
    batch = ImportBatch.objects.create(
        file_name="march.csv", sha256="0" * 64, mapping_name="own", mapping="x", state="done", rows_read=5, rows_rejected=1
    )
    ImportRowError.objects.create(batch=batch, line=1204, column="amount", value="-5", message="is below 0.01")
    url = reverse("admin:loans_importbatch_change", args=[batch.pk])
    ImportRowError.objects.create(batch=batch, line=7, column="amount", value="=2+2", message="is no number")
    errors = as_("owner").get(reverse("admin:loans_importbatch_errors", args=[batch.pk])).content.decode("utf-8-sig")
    assert errors.splitlines() == ["line,column,value,why", "1204,amount,-5,is below 0.01", "7,amount,'=2+2,is no number"]
    assert as_("administrator").get(reverse("admin:loans_importbatch_errors", args=[batch.pk])).status_code == 403
    waiting = ImportBatch.objects.create(file_name="b.csv", sha256="0" * 64, mapping_name="m", mapping="", state="queued")
    assert as_("auditor").post(reverse("admin:loans_importbatch_cancel", args=[waiting.pk])).status_code == 403
    as_("owner").post(reverse("admin:loans_importbatch_cancel", args=[waiting.pk]))
    waiting.refresh_from_db()
    assert waiting.state == "cancelled"
    page = as_("owner").get(url).content.decode()
    assert "1,204" in page and "is below 0.01" in page
    assert "is below 0.01" not in as_("administrator").get(url).content.decode()
    assert as_("owner").get(url, {"p": "x"}).status_code == 200


def test_a_key_is_shown_once_and_kept_as_a_digest(as_, people):
    client = as_("administrator")
    data = {"name": "shop", "user": people["stranger"].pk, "scopes": ["submit", "read"], "expires_at_0": "", "expires_at_1": ""}
    answer = client.post(reverse("admin:loans_apikey_add"), data)
    text = re.search(r'id="issued-key"[^>]*>([^<]+)<', answer.content.decode()).group(1)
    key = ApiKey.objects.get()
    assert text.startswith("ld_") and key.scopes == ["submit", "read"] and text not in (key.digest, key.prefix)
    assert "no-store" in answer["Cache-Control"]
    for url in (reverse("admin:loans_apikey_change", args=[key.pk]), reverse("admin:loans_apikey_changelist"), reverse("admin:index")):
        assert text not in client.get(url).content.decode()
    assert "is revoked" in client.post(reverse("admin:loans_apikey_revoke", args=[key.pk]), follow=True).content.decode()
    key.refresh_from_db()
    assert key.revoked_at is not None and not ApiKey.objects.valid().exists()


def test_an_administrator_gets_no_superusers_powers(as_, people):
    root = User.objects.create_superuser("root")
    client = as_("administrator")
    assert client.post(reverse("admin:loans_apikey_add"), {"name": "x", "user": root.pk, "scopes": ["read"]}).status_code == 200
    assert ApiKey.objects.count() == 0
    assert client.get(reverse("admin:auth_user_password_change", args=[root.pk])).status_code == 403
    me = people["administrator"]
    data = {"username": me.username, "is_active": "on", "is_staff": "on", "is_superuser": "on", "groups": ["1", "2", "3"]}
    client.post(reverse("admin:auth_user_change", args=[me.pk]), data)
    me.refresh_from_db()
    assert not me.is_superuser and [group.name for group in me.groups.all()] == ["Administrators"]


def test_an_attribute_keeps_its_name_and_its_protection(as_):
    row = AttributeDefinition.objects.create(name="age_years", kind="number", protected=True)
    client, url = as_("owner"), reverse("admin:loans_attributedefinition_change", args=[row.pk])
    data = {"name": "other", "kind": "date", "label": "Age", "direction": "0", "known_at_application": "on"}
    assert "stay there" in client.post(url, data).content.decode()
    assert client.post(url, data | {"protected": "on"}).status_code == 302
    row.refresh_from_db()
    assert (row.name, row.kind, row.label, row.protected) == ("age_years", "number", "Age", True)


def test_a_policy_is_written_once_and_checked_kindly(as_, people):
    client, url = as_("owner"), reverse("admin:loans_policy_add")
    data = {
        "approve_below": "0.3",
        "decline_from": "0.1",
        "margin": "0.12",
        "loss_given_default": "0.6",
        "effective_from_0": "2026-01-01",
        "effective_from_1": "00:00:00",
        "reason": "Start",
    }
    assert "can not begin below" in client.post(url, data).content.decode()
    assert "write 0.1 for 10 %" in client.post(url, data | {"approve_below": "12"}).content.decode()
    assert client.post(url, data | {"decline_from": "0.4"}).status_code == 302
    policy = Policy.objects.get()
    assert policy.created_by == people["owner"]
    assert "In force" in client.get(reverse("admin:loans_policy_changelist")).content.decode()
    assert client.post(reverse("admin:loans_policy_change", args=[policy.pk]), data).status_code == 403


def test_a_rule_names_fields_and_reasons_that_exist(as_):
    client, url = as_("owner"), reverse("admin:loans_knockoutrule_add")
    data = {
        "name": "Poor",
        "field": "annual_income",
        "operator": "below",
        "value": "12000",
        "reason": "income_insufficient",
        "active": "on",
    }
    for wrong in ({"field": "nothing"}, {"reason": "nothing"}, {"value": "abc"}, {"value": ""}):
        assert client.post(url, data | wrong).status_code == 200, wrong
    assert client.post(url, data).status_code == 302
    assert "Annual income is below $12,000" in client.get(reverse("admin:loans_knockoutrule_changelist")).content.decode()
    assert KnockOutRule.objects.get().created_by.username == "owner"


@pytest.mark.parametrize("role", ["officer", "owner", "auditor", "administrator"])
def test_home_costs_a_dozen_queries(as_, version, role):
    for number in range(8):
        score(make_application(), version, 0.1 + number / 20)
    TrainingRun.objects.create(kind="default_risk", state="running", share_done=0.3)
    client = as_(role)
    client.get("/admin/")
    with CaptureQueriesContext(connection) as queries:
        page = client.get("/admin/").content.decode()
    # Five of them are signing in; who watches models has their health too, and an auditor's look is recorded.
    assert len(queries) <= {"owner": 15, "auditor": 16}.get(role, 12), [query["sql"][:110] for query in queries]
    assert ("45.0%" in page) == (role != "administrator")
    assert ("Running now" in page) == (role in ("owner", "auditor"))


def test_home_tells_when_there_is_nothing(as_):
    page = as_("officer").get("/admin/").content.decode()
    assert "Nothing waits for a decision" in page and "None yet" in page


def test_one_click_rolls_back_and_the_page_tells_the_life_of_a_version(as_, people, artifacts):
    from tests.factories import make_champion

    first, second = make_champion(seed=1), make_champion(seed=2)
    client = as_("owner")
    page = client.get(reverse("admin:loans_modelversion_change", args=[second.pk])).content.decode()
    assert f"Roll back to {first}" in page and "scikit-learn" in page
    url = reverse("admin:loans_modelversion_rollback", args=[second.pk])
    assert "Say what is wrong" in client.post(url, {"reason": " "}, follow=True).content.decode()
    assert ModelVersion.objects.champion() == second
    page = client.post(url, {"reason": "Too many declined"}, follow=True).content.decode()
    assert f"{first} serves again" in page and "Too many declined" in page and "Rolled back" in page
    assert ModelVersion.objects.champion() == first
    page = client.post(url, {"reason": "Again"}, follow=True).content.decode()
    assert "does not serve any more" in page and ModelVersion.objects.champion() == first
