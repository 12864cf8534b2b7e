"""What a model version's pages say: fairness, policy, card, tables, and those of amount models."""

from __future__ import annotations

import csv
import io

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from loans.models import Policy, TrainingRun
from loans.queries.model_fairness import fairness, group_name
from loans.queries.model_policy import policy_page
from loans.services import policy, registry
from tests.factories import make_pairwise
from tests.loans.admin.conftest import REPORT, make_version
from tests.loans.admin.reports import full_report

pytestmark = pytest.mark.django_db
PAGES = ("policy", "policy_csv", "card", "tables")


def at(name: str, version) -> str:
    return reverse(f"admin:loans_modelversion_{name}", args=[version.pk])


@pytest.fixture
def full():
    return make_version(report=full_report(), sha256="ab" * 32)


def test_every_page_by_role(as_, client, full):
    addresses = [at(name, full) for name in PAGES] + [reverse("admin:loans_policy_cut_off")]
    for role, status in (("officer", 200), ("owner", 200), ("auditor", 200), ("administrator", 403), ("stranger", 403)):
        for address in addresses:
            assert as_(role).get(address).status_code == status, (role, address)
    for address in addresses:
        assert as_("owner").post(address).status_code == 405
    client.logout()
    assert {client.get(address).status_code for address in addresses} == {302}


def test_a_version_that_is_gone_leads_back(as_, full):
    for name in PAGES:
        assert as_("owner").get(reverse(f"admin:loans_modelversion_{name}", args=[9999])).status_code == 302


def test_pages_cost_few_queries_and_change_nothing(as_, full):
    client = as_("owner")
    client.get(at("card", full))
    for address in (*(at(name, full) for name in ("policy", "card", "tables", "change")), reverse("admin:loans_policy_cut_off")):
        with CaptureQueriesContext(connection) as queries:
            client.get(address)
        assert len(queries) <= 10, (address, [query["sql"][:110] for query in queries])
        assert all(query["sql"].startswith("SELECT") for query in queries), address
    full.refresh_from_db()
    assert full.report == full_report()


def test_fairness_is_said_in_words_with_every_figure(as_, full):
    page = as_("owner").get(at("change", full)).content.decode()
    for text in (
        "Race: a group is approved less than four fifths as often",
        "look closer",
        "reference",
        "p &lt; 0.001",
        "too few to compare",
    ):
        assert text in page, text
    assert "Is there a less discriminatory way?" in page and "combinations of rung and cut-off were tried" in page
    found = fairness(full)
    race = next(one for one in found.characteristics if one.title == "Race")
    row = next(group for group in race.groups if group.name == "B")
    assert found.flagged == ["Race"] and row.flagged and float(row.ratio) < 0.8 and "–" in row.ratio_range and row.gap.startswith("+")


def test_without_protected_attributes_the_page_says_how_they_come_in(as_, version):
    assert "No protected characteristics were given" in as_("owner").get(at("change", version)).content.decode()


@pytest.mark.parametrize(("code", "name"), [("65_plus", "65 plus"), ("25_34", "25–34"), ("under_25", "Under 25"), ("Black", "Black")])
def test_groups_have_readable_names(code, name):
    assert group_name(code) == name


def test_the_policy_page_marks_the_cut_off_and_claims_only_at_equal_approval(as_, full):
    page = as_("owner").get(at("policy", full)).content.decode()
    assert "Approve below 16.7%" in page and "No policy is written yet" in page
    assert page.count('role="img"') == 4 and page.count("the policy's cut-off</text>") == 4
    assert "fewer bad loans at equal approval than Prior (everyone the same) (95% interval" in page
    assert '<span class="ld-under">the policy\'s</span>' in page


def test_a_policy_of_ones_own_restates_the_money(full):
    other = Policy.objects.create(approve_below=0.1, decline_from=0.3, margin=0.24, loss_given_default=0.3, reason="x")
    before, after = policy_page(full, policy.fallback()), policy_page(full, other)
    assert before.restated == "" and "restated under the policy in force" in after.restated
    old, new = before.points[-1], after.points[-1]
    good = (old.realised_profit + old.realised_loss) / 0.12
    assert new.realised_loss == pytest.approx(old.realised_loss / 2, rel=1e-4)
    assert new.realised_profit == pytest.approx(0.24 * good - new.realised_loss, rel=1e-4)
    assert after.here is not None and after.here.cutoff <= 0.1 and after.nearest


def test_the_table_comes_as_csv_with_numbers_alone(as_, full):
    answer = as_("owner").get(at("policy_csv", full))
    assert answer["Content-Type"].startswith("text/csv") and "attachment" in answer["Content-Disposition"]
    head, *rows = csv.reader(io.StringIO(answer.content.decode("utf-8-sig")))
    assert head[0] == "cut_off" and len(rows) > 20
    for row in rows:
        assert all(cell == "" or float(cell) == float(cell) for cell in row)


def test_the_policy_page_without_a_model_or_a_curve(as_, db):
    page = as_("owner").get(reverse("admin:loans_policy_cut_off")).content.decode()
    assert "No model serves yet" in page
    made = make_version()
    assert "has no curve over the cut-offs" in as_("owner").get(at("policy", made)).content.decode()
    assert "What a cut-off earns" in as_("owner").get(reverse("admin:loans_policy_changelist")).content.decode()


def test_the_card_says_what_for_of_what_and_what_not(as_, full):
    page = as_("auditor").get(at("card", full)).content.decode()
    for text in (
        "Model card: Default risk v1",
        "What it must not be used for",
        "Default within 24 months.",
        "Declined here: no outcome, never taken for good",
        "Not decided yet",
        "State a default window.",
        "A column looks too good.",
        "0.709 (0.640–0.760)",
        "by always saying the more frequent",
        "Why this rung: the simplest within one standard error",
        "Race: a group is approved",
        "ab" * 32,
        "Q1 2026",
        "Credit score.",
    ):
        assert text in page, text


def test_a_report_of_another_age_breaks_no_page(as_, db):
    for number, report in enumerate(
        ({}, {"version": 1}, {"fairness": {"characteristics": "?"}, "policy": {"curve": [{"cutoff": 0.1}, 3]}}), 1
    ):
        version = make_version(number, "candidate", report=report)
        for name in (*PAGES, "change"):
            assert as_("owner").get(at(name, version)).status_code == 200, (name, report)


def test_observed_over_expected_by_quarter_is_drawn(as_, full):
    page = as_("owner").get(at("change", full)).content.decode()
    assert "Observed / expected by quarter" in page and "Q3 2026" in page and page.count('class="dot"') == 3


@pytest.fixture
def pairwise(artifacts):
    return make_pairwise(report=REPORT)


def test_a_pairwise_model_prints_its_tables(as_, pairwise):
    client = as_("auditor")
    page = client.get(at("tables", pairwise)).content.decode()
    assert "Debt to income" in page and "missing" in page and "log-odds" in page and "≤" in page
    assert at("tables", pairwise) in client.get(at("change", pairwise)).content.decode()
    assert not registry._loaded, "reading the tables of an old version must not push a serving model out of memory"


def test_tables_that_are_not_there_are_explained(as_, pairwise, settings):
    other = make_version(2, "candidate")
    assert "is not a sum of tables" in as_("owner").get(at("tables", other)).content.decode()
    assert at("tables", other) not in as_("owner").get(at("change", other)).content.decode()
    pairwise.sha256 = "1" * 64
    pairwise.save()
    assert "not what was stored" in as_("owner").get(at("tables", pairwise)).content.decode()


AMOUNTS = {
    "version": 1,
    "kind": "loan_amount",
    "rows": 2472,
    "quantiles": [0.1, 0.5, 0.9],
    "rule": {"most_debt_to_income": 0.43, "annual_rate": 0.15, "term_months": 36.0},
    "split": {"how": "time", "train": {"rows": 1953, "from": "2022-11-22", "until": "2025-04-30"}, "test": {"rows": 519}},
    "figures": {
        "model": {"pinball": {"value": 2754.2, "low": 2460.0, "high": 3095.0}, "mae": {"value": 6888.0, "low": 6162.0, "high": 7768.0}},
        "asked_capped": {"pinball": {"value": 1408.0}, "mae": {"value": 2815.0}},
        "portfolio": {"pinball": {"value": 3403.0}, "mae": {"value": 9215.0}},
    },
    "coverage": {"value": 0.644, "low": 0.607, "high": 0.682},
    "coverage_wanted": 0.8,
    "in_words": "The middle of the range misses the amount carried by 6,888 on average.",
}


def test_an_amount_model_is_shown_beside_what_was_asked_for(as_, db):
    version = make_version(kind="loan_amount", algorithm="quantiles", report=AMOUNTS)
    page = as_("owner").get(at("change", version)).content.decode()
    for text in (
        "$2,754",
        "$2,460–$3,095",
        "What was asked for, capped",
        "portfolio&#x27;s quantiles",
        "64.4% (60.7%–68.2%)",
        "80% are meant",
    ):
        assert text in page, text
    assert "Fairness" not in page and at("policy", version) not in page
    assert "$6,888" in as_("owner").get(at("card", version)).content.decode()
    assert "2,472 loans" in as_("owner").get(reverse("admin:loans_modelversion_changelist")).content.decode()
    empty = make_version(2, "candidate", kind="loan_amount", report={})
    assert "has no figures" in as_("owner").get(at("change", empty)).content.decode()


def test_each_kind_has_its_button_while_none_of_it_is_trained(as_, db):
    TrainingRun.objects.create(kind="default_risk", state="running", share_done=0.4)
    page = as_("owner").get(reverse("admin:loans_modelversion_changelist")).content.decode()
    assert "Train loan amount" in page and "Train default risk" not in page and "Watch it" in page
    assert "Train loan amount" not in as_("officer").get(reverse("admin:loans_modelversion_changelist")).content.decode()
