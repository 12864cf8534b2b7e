"""docs/PERMISSIONS.md against the admin: every address by every role, and every address by an officer of another branch."""

from __future__ import annotations

import pytest
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from loans.models import (
    AdverseActionNotice,
    Alert,
    AlertRule,
    ApiKey,
    AttributeDefinition,
    AuditEvent,
    Branch,
    BulkRun,
    Decision,
    DemandForecast,
    FraudFlag,
    FraudRule,
    ImportBatch,
    ImportUpload,
    InboxRun,
    KnockOutRule,
    LoanApplication,
    ModelComparison,
    MonitoringWindow,
    OfficerProfile,
    Policy,
    PromotionCheck,
    PromotionPolicy,
    TableEdit,
    TrainingRun,
    WebhookDelivery,
    WebhookEndpoint,
)
from loans.queries.fraud import ELSEWHERE, link_graph
from loans.services import audit
from tests.loans.admin import walk
from tests.loans.admin.conftest import REPORT, make_application, make_document, make_version, score

pytestmark = pytest.mark.django_db


def watched(version) -> MonitoringWindow:
    """A window with one figure that is drawn."""
    window = MonitoringWindow.objects.create(pk=version.pk, model_version=version, start="2026-01-01", end="2026-02-01", rows=0)
    detail = {"labels": ["low", "high"], "window": [0.4, 0.6], "reference": [0.5, 0.5]}
    window.figures.create(group="inputs", metric="psi", feature="amount", title="Amount", value=0.04, detail=detail)
    return window


def undone_from(batch: ImportBatch) -> ImportBatch:
    """With an undo that waits for its worker."""
    batch.undos.create()
    return batch


@pytest.fixture
def rows(application, version, people, product, uploads):
    """One row of what has a page; the application is decided by nobody yet."""
    other = make_application()
    score(other, version)
    hook = WebhookEndpoint.objects.create(name="Shop", user=people["stranger"], url="https://example.com/", events=["application.scored"])
    decision = Decision.objects.create(application=other, outcome="refer", officer=people["officer"], reason="x", reason_text="x")
    return {
        "loans_loanapplication": application,
        "loans_decision": decision,
        "loans_document": make_document(application, people["officer"]),
        "loans_branch": Branch.objects.create(code="north", name="North"),
        "loans_modelversion": version,
        "loans_modelcomparison": ModelComparison.objects.create(
            first=version, second=make_version(3, "candidate"), result={"calibration": [REPORT["calibration"]["curve"]] * 2}
        ),
        "loans_promotioncheck": PromotionCheck.objects.create(
            version=make_version(2, "candidate"), against=version, state="open", reason="Better", requested_by=people["stranger"]
        ),
        "loans_promotionpolicy": PromotionPolicy.objects.create(reason="First"),
        "loans_trainingrun": TrainingRun.objects.create(kind="default_risk", state="running", share_done=0.4, step="Fitting"),
        "loans_bulkrun": BulkRun.objects.create(kind="pending", state="running"),
        "loans_importbatch": undone_from(ImportBatch.objects.create(file_name="a.csv", sha256="0" * 64, mapping_name="m", state="done")),
        "loans_importupload": ImportUpload.objects.create(
            stored_as="x", file_name="a.csv", size=1, sha256="0" * 64, uploaded_by=people["owner"], mapping="", mapping_from="", head="{}"
        ),
        "loans_attributedefinition": AttributeDefinition.objects.create(name="savings", kind="number"),
        "loans_loanproduct": product,
        "loans_policy": Policy.objects.create(approve_below=0.1, decline_from=0.2, reason="First"),
        "loans_knockoutrule": KnockOutRule.objects.create(
            name="Low income", field="annual_income", operator="below", value="12000", reason="income_insufficient"
        ),
        "loans_fraudflag": FraudFlag.objects.create(application=application, severity=2, score=0.1, expected_loss=100),
        "loans_fraudrule": FraudRule.objects.create(code="own", name="Own", conditions=[{"feature": "amount", "operator": "given"}]),
        "loans_apikey": ApiKey.issue(user=people["stranger"], name="shop")[0],
        "loans_auditevent": audit.record("thing.done", actor=people["owner"], subject=application, fields=["amount"]),
        "loans_webhookendpoint": hook,
        "loans_webhookdelivery": WebhookDelivery.objects.create(
            endpoint=hook, event="application.scored", payload={"data": {"id": 1}}, state="failed"
        ),
        "loans_inboxrun": InboxRun.objects.create(action="score", applications=[application.pk], started_by=people["officer"]),
        "loans_adverseactionnotice": AdverseActionNotice.objects.create(
            decision=decision, application=other, reasons=["x"], rule_pack="x", due_on=timezone.now().date()
        ),
        "loans_demandforecast": DemandForecast.objects.create(
            frequency="daily", measure="count", as_of=timezone.now(), horizon=28, data={"series": []}, seconds=1
        ),
        # The page of a model's course is asked for with this row's number, which therefore has to be the version's.
        "loans_monitoringwindow": watched(version),
        "loans_alert": Alert.objects.create(model_version=version, metric="oe", text="O/E 1.4"),
        "loans_alertrule": AlertRule.objects.first(),
        "django_celery_beat_periodictask": PeriodicTask.objects.create(
            name="Nightly", task="loans.forecast", interval=IntervalSchedule.objects.create(every=1, period="days")
        ),
        "loans_tableedit": TableEdit.objects.create(base=version, cells=[], reason="Why", effect={}, proposed_by=people["owner"]),
        "auth_user": people["stranger"],
        "auth_group": people["officer"].groups.get(),
    }


def test_every_address_is_open_to_the_roles_that_the_page_says(people, rows):
    seen, said = walk.observed(people, rows), walk.documented()
    wrong = {name: letters for name, letters in seen.items() if said.get(name) != letters}
    gone = sorted(set(said) - set(seen))
    assert not wrong and not gone, f"docs/PERMISSIONS.md: these lines should read\n{walk.table(wrong)}\nand these name nothing: {gone}"


@pytest.fixture
def hidden(people, version, uploads):
    """An application of another branch, with all that hangs on one. The officer works in the north."""
    north, south = Branch.objects.create(code="north", name="North"), Branch.objects.create(code="south", name="South")
    OfficerProfile.objects.create(user=people["officer"], branch=north)
    made = make_application(external_reference="HIDDEN-1", name="Hidden Person", branch=south)
    score(made, version)
    FraudFlag.objects.create(application=made, severity=2, score=0.1, expected_loss=100, in_words="HIDDEN-1")
    Decision.objects.create(application=made, outcome="refer", officer=people["senior"], reason="x", reason_text="HIDDEN-1")
    make_document(made, people["senior"], name="HIDDEN-1.pdf")
    return made


def test_nothing_of_another_branch_shows_anywhere(as_, people, hidden, version):
    mine = make_application(branch=people["officer"].officer_profile.branch)
    score(mine, version)
    client = as_("officer")
    flag, decision = hidden.fraud_flags.get(), hidden.decisions.get()
    rows = {"loans_loanapplication": hidden, "loans_fraudflag": flag, "loans_decision": decision, "loans_modelversion": version}
    looked = 0
    for name, arguments in walk.names():
        try:
            url = walk.address(name, arguments, rows)
        except LookupError:
            continue
        answer = client.get(url, {"view": "all", "queue": "all"} if not arguments else {})
        if answer.status_code == 200:
            looked += 1
            assert "HIDDEN-1" not in _text(answer) and "Hidden Person" not in _text(answer), name
        if arguments and not name.endswith("_export") and name.split("_")[1] in ("loanapplication", "fraudflag", "decision"):
            assert answer.status_code != 200, name
            if answer.status_code == 405:
                assert client.post(url).status_code in (302, 403), name
    assert looked > 5
    for query in ({"q": "HIDDEN"}, {"q": "Hidden Person"}, {"q": str(mine), "view": "all"}):
        page = _text(client.get(reverse("admin:loans_loanapplication_changelist"), query))
        assert "HIDDEN-1" not in page and (str(mine) in page) == (query["q"] == str(mine))
    assert "HIDDEN-1" not in _text(client.get("/admin/"))
    hidden.refresh_from_db()
    assert (hidden.status, hidden.decisions.count(), hidden.scoring_jobs.count()) == ("open", 1, 1)
    assert hidden.documents.count() == 1 and not AuditEvent.objects.filter(action="document.opened").exists()


def _text(answer) -> str:
    return b"".join(answer.streaming_content).decode() if answer.streaming else answer.content.decode()


@pytest.mark.parametrize(
    ("role", "sees"), [("officer", False), ("senior", True), ("investigator", True), ("owner", True), ("auditor", True)]
)
def test_whose_applications_each_role_sees(people, hidden, role, sees):
    assert LoanApplication.objects.visible_to(people[role]).filter(pk=hidden.pk).exists() == sees


def test_what_is_assigned_is_seen_wherever_it_belongs(as_, people, hidden):
    LoanApplication.objects.filter(pk=hidden.pk).update(assigned_to=people["officer"], assigned_at=hidden.submitted_at)
    assert as_("officer").get(reverse("admin:loans_loanapplication_change", args=[hidden.pk])).status_code == 200


def test_an_officer_without_a_branch_works_on_what_belongs_to_none(people, hidden, application):
    people["officer"].officer_profile.delete()
    people["officer"].refresh_from_db()
    seen = LoanApplication.objects.visible_to(type(people["officer"]).objects.get(pk=people["officer"].pk))
    assert set(seen) == {application}


def test_the_link_graph_does_not_name_what_is_out_of_scope(people, hidden, application, monkeypatch):
    monkeypatch.setattr("loans.queries.fraud._neighbours", lambda pk: [(hidden.pk, "HIDDEN-1", [0], True, 3.0)])
    seen = link_graph(application, LoanApplication.objects.visible_to(people["senior"]))
    assert seen.nodes[0].label == "HIDDEN-1" and seen.nodes[0].application_id == hidden.pk
    masked = link_graph(application, LoanApplication.objects.visible_to(people["officer"]))
    assert masked.nodes[0].label == ELSEWHERE and masked.nodes[0].application_id is None and "HIDDEN-1" not in masked.nodes[0].title
