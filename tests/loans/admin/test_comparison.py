"""Two versions beside each other: the form, the page, the table as CSV."""

from __future__ import annotations

import csv
import io

import pytest
from django.urls import reverse

from loans.models import ModelComparison, Policy
from tests.factories import make_outcomes, make_pending
from tests.loans.services.test_promotion import register

pytestmark = pytest.mark.django_db
COMPARE = "admin:loans_modelcomparison_compare"


@pytest.fixture
def pair(artifacts, people):
    make_outcomes(500, seed=1)
    make_pending(40)
    Policy.objects.create(approve_below=0.12, decline_from=0.3, reason="For this test.")
    return register(1), register(2)


def test_any_two_versions_on_any_window(as_, pair):
    first, second = pair
    client = as_("owner")
    page = client.get(reverse("admin:loans_modelcomparison_changelist"), {"first": first.pk, "second": second.pk}).content.decode()
    assert f'value="{second.pk}" selected' in page and "Compare" in page
    page = client.post(reverse(COMPARE), {"first": first.pk, "second": second.pk, "since": "", "until": ""}, follow=True).content.decode()
    for text in ("540 applications", "the outcome of 500 is known", "Who would be decided differently", "By grade", "Among the four"):
        assert text in page, text
    made = ModelComparison.objects.get()
    cells = made.result["swap"]["cells"]
    assert sum(cell["rows"] for cell in cells) == 540 and made.result["swap"]["different"] > 0
    rows = list(csv.reader(io.StringIO(client.get(reverse("admin:loans_modelcomparison_csv", args=[made.pk])).content.decode())))
    assert ["Applications", "540"] in rows and any(row[:1] == ["AUC"] for row in rows)
    window = {"first": first.pk, "second": second.pk, "since": "2021-01-01", "until": "2021-06-30"}
    client.post(reverse(COMPARE), window)
    half = ModelComparison.objects.first().result
    assert 0 < half["rows"] < 200 and half["from"] >= "2021-01-01" and half["until"] < "2021-07-01"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"since": "2021-13-01"}, "write days as"),
        ({"since": "2021-02-01", "until": "2021-01-01"}, "before it begins"),
        ({"since": "2035-01-01"}, "no applications in this window"),
        ({"second": ""}, "Choose two versions"),
        ({"second": "first"}, "two different versions"),
    ],
    ids=["no day", "wrong order", "empty", "one only", "the same"],
)
def test_what_can_not_be_compared_is_said(as_, pair, given, said):
    first, second = pair
    form = {"first": first.pk, "second": second.pk, "since": "", "until": "", **given}
    form["second"] = first.pk if form["second"] == "first" else form["second"]
    page = as_("owner").post(reverse(COMPARE), form, follow=True).content.decode()
    assert said in page and not ModelComparison.objects.exists()


def test_auditors_read_and_do_not_compare(as_, pair):
    client = as_("auditor")
    assert "Compare</button>" not in client.get(reverse("admin:loans_modelcomparison_changelist")).content.decode()
    assert client.post(reverse(COMPARE), {}).status_code == 403


def test_a_promotion_policy_is_written_once_by_its_owner(as_, people):
    from loans.models import PromotionPolicy
    from loans.services import promotion

    client, url = as_("owner"), reverse("admin:loans_promotionpolicy_add")
    page = client.get(url).content.decode()
    assert "AUC margin" in page and "O/E margin" in page and "By rule, without a person" in page
    form = {
        "kind": "default_risk", "effective_from_0": "2026-01-01", "effective_from_1": "00:00:00", "reason": "We lend little.",
        "auc_margin": "0.01", "brier_margin": "0.02", "oe_margin": "0.05", "impact_margin": "0.05", "reasons_agreement": "0.5",
        "least_rows": "200", "least_defaults": "20", "shadow_days": "7", "shadow_scores": "50", "shadow_at_once": "on", "held_back": "0.4",
        "valid_days": "5",
    }  # fmt: skip
    for wrong in ({"auc_margin": "0.5"}, {"held_back": "1"}, {"reason": ""}, {"shadow_days": "-1"}):
        assert client.post(url, form | wrong).status_code == 200 and not PromotionPolicy.objects.exists(), wrong
    assert client.post(url, form).status_code == 302
    found = promotion.policy_for("default_risk")
    assert (found.created_by, found.auc_margin, found.shadow_days, found.automatic) == (people["owner"], 0.01, 7.0, False)
    assert promotion.policy_for("loan_amount").auc_margin == 0.005
    assert client.post(reverse("admin:loans_promotionpolicy_change", args=[found.pk]), form).status_code in (403, 302)
    found.refresh_from_db()
    assert found.least_rows == 200
