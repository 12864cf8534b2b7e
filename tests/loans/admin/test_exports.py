"""Lists as files: what the reader sees of them and no more, harmless in a spreadsheet, capped and logged."""

from __future__ import annotations

import csv
import io

import pytest
from openpyxl import load_workbook

from loans.admin import exports
from loans.models import AuditEvent, Branch, LoanApplication
from tests.loans.admin.conftest import make_application, score

pytestmark = pytest.mark.django_db
URL = "/admin/loans/loanapplication/export/{}/"


def read(answer) -> list[list[str]]:
    return list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))


@pytest.fixture
def two(version):
    made = [make_application(name="=HYPERLINK(1)"), make_application(name="Bo Weber")]
    score(made[0], version, 0.4, grade="G")
    score(made[1], version, 0.03, grade="A")
    return made


def test_a_list_as_csv_is_filtered_ordered_and_safe(as_, two):
    client = as_("officer")
    heads, *rows = read(client.get(URL.format("csv")))
    assert heads[:3] == ["Reference", "Applicant", "Amount"] and len(rows) == 2
    assert rows[0][1] == "'=HYPERLINK(1)" and rows[0][5] == "G 40.0%"
    assert [row[0] for row in read(client.get(URL.format("csv"), {"grade": "A"}))[1:]] == [str(two[1])]
    event = AuditEvent.objects.filter(action="list.exported").latest("pk")
    assert (event.facts["list"], event.facts["rows"], event.facts["filters"]) == ("loanapplication", 1, ["grade"])


def test_the_same_as_a_workbook_of_text(as_, two):
    answer = as_("officer").get(URL.format("xlsx"))
    rows = list(load_workbook(io.BytesIO(answer.content)).active.iter_rows(values_only=True))
    assert rows[1][1] == "'=HYPERLINK(1)" and len(rows) == 3
    assert as_("officer").get(URL.format("exe")).status_code == 404


def test_names_and_other_branches_stay_out(as_, people, two):
    heads, *rows = read(as_("owner").get(URL.format("csv")))
    assert "Applicant" not in heads and len(rows) == 2
    LoanApplication.objects.filter(pk=two[0].pk).update(branch=Branch.objects.create(code="north", name="North"))
    assert [row[0] for row in read(as_("officer").get(URL.format("csv")))[1:]] == [str(two[1])]
    assert as_("administrator").get(URL.format("csv")).status_code == 403


def test_it_is_capped_and_says_so(as_, two, settings):
    settings.EXPORT_MAX_ROWS = 1
    answer = as_("officer").get(URL.format("csv"))
    assert len(read(answer)) == 2 and "first-1.csv" in answer["Content-Disposition"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [("=1+1", "'=1+1"), ("+49 30", "'+49 30"), ("-x", "'-x"), ("@a", "'@a"), ("-12.5%", "-12.5%"), ("+3", "+3"), ("a=b", "a=b"), ("", "")],
)
def test_what_would_be_a_formula_is_text(text, shown):
    assert exports.safe(text) == shown
