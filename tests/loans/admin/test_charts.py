"""Every chart with its table and its CSV: of default-risk versions, comparisons and monitoring; what an older version lacks; who may."""

from __future__ import annotations

import csv
import io
import re

import pytest
from django.urls import reverse

from loans.admin.chart_card import ChartCard, text
from loans.models import AttributeDefinition, AuditEvent, Branch, LoanApplication, ModelComparison
from loans.queries.fraud import ELSEWHERE
from loans.services.fraud import rules
from tests.loans.admin.conftest import REPORT, make_version
from tests.loans.admin.reports import full_report
from tests.loans.admin.test_permissions import watched
from tests.loans.fraud.conftest import apply, assess

pytestmark = pytest.mark.django_db
CHARTS = ("calibration", "roc", "distribution", "lift", "gains", "reasons", "quarters", "vintages", "fairness-race")


@pytest.fixture
def full():
    return make_version(report=full_report())


def chart(version, name: str) -> str:
    return reverse("admin:loans_modelversion_chart", args=[version.pk, name])


def read(answer) -> list[list[str]]:
    assert answer.status_code == 200 and answer["Content-Type"].startswith("text/csv")
    return list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))


def test_every_chart_of_the_page_has_its_table_and_its_csv(as_, full):
    client = as_("owner")
    page = client.get(reverse("admin:loans_modelversion_change", args=[full.pk])).content.decode()
    linked = re.findall(r'href="([^"]+/chart/[^"]+\.csv)"', page)
    assert {address.rsplit("/", 1)[1][:-4] for address in linked} >= set(CHARTS)
    for card in re.findall(r'<section class="ld-card" id="chart-([\w-]+)">(.*?)</section>', page, re.DOTALL):
        name, body = card
        assert "<details" in body and "<caption" in body and chart(full, name) in body, name
        assert name == "reasons" or re.search(r'<svg class="ld-chart"[^>]*role="img"><title>[^<]+</title><desc>[^<]+</desc>', body), name
    for address in linked:
        heads, *rows = read(client.get(address))
        assert rows and all(len(row) == len(heads) for row in rows), address


def test_the_csv_holds_the_numbers_of_the_report(as_, full):
    report = full_report()
    rows = read(as_("auditor").get(chart(full, "lift")))[1:]
    assert [float(row[5]) for row in rows] == [each["lift"]["value"] for each in report["lift"]]
    vintages = read(as_("auditor").get(chart(full, "vintages")))[1:]
    january = [float(row[2]) for row in vintages if row[0] == "2025-01-01"]
    assert january == report["vintages"]["rows"][0]["cumulative"] and len(january) == 12 and january == sorted(january)
    reasons = read(as_("auditor").get(chart(full, "reasons")))[1]
    assert reasons[:4] == ["credit_score", "0.62", "0.6", "0.64"]
    events = AuditEvent.objects.filter(action="chart.exported")
    assert events.count() == 3 and events.latest("pk").facts == {"chart": "reasons", "rows": 1}


def test_an_older_version_says_what_to_do(as_, version):
    page = as_("owner").get(reverse("admin:loans_modelversion_change", args=[version.pk])).content.decode()
    for name in ("lift", "gains", "reasons", "vintages"):
        body = page.split(f'id="chart-{name}"')[1].split("</section>")[0]
        assert "Train again" in body, name
    assert len(read(as_("owner").get(chart(version, "lift")))) == 1
    # What moves its scores was kept then, too.
    assert read(as_("owner").get(chart(version, "reasons")))[1][6] == "0.23"
    make_version(2, "candidate", report={})
    assert as_("owner").get(reverse("admin:loans_modelversion_change", args=[version.pk + 1])).status_code in (200, 302)


def test_who_may_see_the_page_may_take_its_data_and_nobody_else(as_, full):
    assert [as_(role).get(chart(full, "roc")).status_code for role in ("officer", "auditor", "administrator", "stranger")] == [
        200,
        200,
        403,
        403,
    ]
    assert as_("owner").post(chart(full, "roc")).status_code == 405
    assert as_("owner").get(chart(full, "no-such")).status_code == 404
    assert as_("owner").get(reverse("admin:loans_modelversion_chart", args=[9999, "roc"])).status_code == 302


def test_monitoring_and_comparisons_do_the_same(as_, version):
    client = as_("owner")
    window = watched(version)
    address = reverse("admin:loans_monitoringwindow_chart", args=[window.pk, "psi-amount"])
    assert address in client.get(reverse("admin:loans_monitoringwindow_change", args=[window.pk])).content.decode()
    assert read(client.get(address)) == [["Bin", "This window", "Reference"], ["low", "0.4", "0.5"], ["high", "0.6", "0.5"]]
    address = reverse("admin:loans_monitoringwindow_model_chart", args=[version.pk, "psi-amount"])
    assert address in client.get(reverse("admin:loans_monitoringwindow_model", args=[version.pk])).content.decode()
    assert read(client.get(address))[1] == ["2026-01-01", "2026-02-01", "0.04", "", "", ""]
    course = reverse("admin:loans_monitoringwindow_model", args=[version.pk])
    assert f'href="{course}"' in client.get(reverse("admin:loans_modelversion_change", args=[version.pk])).content.decode()
    assert as_("officer").get(address).status_code == 403
    curve = REPORT["calibration"]["curve"]
    found = ModelComparison.objects.create(first=version, second=make_version(3, "candidate"), result={"calibration": [curve, curve]})
    address = reverse("admin:loans_modelcomparison_chart", args=[found.pk, "calibration-second"])
    assert address in as_("owner").get(reverse("admin:loans_modelcomparison_change", args=[found.pk])).content.decode()
    assert [float(cell) for cell in read(as_("owner").get(address))[1]] == [100, 0.1, 0.09, 0.05, 0.16]


def test_the_links_of_a_fraud_flag_go_out_without_what_is_out_of_scope(as_, db, settings):
    settings.FRAUD_SAMPLE_SHARE = 0.0
    rules.install_pack()
    AttributeDefinition.objects.create(name="device_id", kind="category", link_kind="device")
    ring = [apply(1440 * day, name=f"Person {day}", phone="555-0100", device="d1") for day in range(3)]
    assess(*ring)
    flag = ring[-1].fraud_flags.get()
    address = reverse("admin:loans_fraudflag_chart", args=[flag.pk, "links"])
    assert address in as_("investigator").get(reverse("admin:loans_fraudflag_change", args=[flag.pk])).content.decode()
    rows = read(as_("investigator").get(address))[1:]
    assert {row[0] for row in rows} == {str(each) for each in ring[:2]} and "phone" in rows[0][1].lower()
    LoanApplication.objects.filter(pk=ring[0].pk).update(branch=Branch.objects.create(code="north", name="North"))
    assert sorted(row[0] for row in read(as_("officer").get(address))[1:]) == sorted([str(ring[1]), ELSEWHERE])


def test_no_cell_of_a_chart_is_a_formula(rf, people, version):
    from loans.admin.chart_card import card_csv

    request = rf.get("/")
    request.user = people["owner"]
    card = ChartCard("bins", "Bins", "", [text("=Head"), text("Share")], [("=HYPERLINK(1)", -0.5), ("@x", None)])
    assert read(card_csv(request, version, [card], "bins")) == [["'=Head", "Share"], ["'=HYPERLINK(1)", "-0.5"], ["'@x", ""]]
