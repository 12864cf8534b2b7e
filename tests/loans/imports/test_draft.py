from __future__ import annotations

import csv
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loans.services.imports import ImportProblem, parse_mapping
from loans.services.imports.draft import draft_mapping
from loans.services.imports.draft_words import plain_name
from tests.loans.imports.conftest import relaxed


@pytest.fixture
def draft(tmp_path):
    """draft({column: [cells]}): the mapping drafted for a file of these columns."""

    def go(columns: dict[str, list[str]], **options):
        path = tmp_path / "Big Bank 2024.csv"
        with path.open("w", newline="", encoding=options.get("encoding", "utf-8")) as file:
            writer = csv.writer(file, delimiter=options.get("delimiter", ","))
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
        mapping = parse_mapping(draft_mapping(path), name="x")
        mapping.fit(list(columns), file_name="x")
        return mapping

    return go


N = 200
CHANCE = random.Random(7)
FILE = {
    "LoanID": [f"L-{number}" for number in range(N)],
    "Application Date": [f"{1 + number % 28:02d}/{1 + number % 12:02d}/2023" for number in range(N)],
    "LoanAmount": [str(1000 + number * 10) for number in range(N)],
    "term": [CHANCE.choice([" 36 months", " 60 months"]) for _ in range(N)],
    "AnnualIncome": [f"{30_000 + number:,}" for number in range(N)],
    "DTI": [f"{CHANCE.uniform(1, 40):.2f}" for _ in range(N)],
    "emp_length": [CHANCE.choice(["10+ years", "< 1 year", "3 years", "n/a"]) for _ in range(N)],
    "home": ["x"] * N,
    "HomeOwnership": [CHANCE.choice(["RENT", "OWN", "MORTGAGE", "IGLOO"]) for _ in range(N)],
    "Email": [f"p{number}@example.com" for number in range(N)],
    "first_name": ["Ann"] * N,
    "Gender": [CHANCE.choice("MF") for _ in range(N)],
    "zip_code": ["12345"] * N,
    "int_rate": ["12.5%"] * N,
    "total_paid": [str(number) for number in range(N)],
    "savings": [str(number * 3) for number in range(N)],
    "has_car": [CHANCE.choice(["Y", "N"]) for _ in range(N)],
    "closed_by": [f"{1 + number % 28:02d}/{1 + number % 12:02d}/2024" for number in range(N)],
    "Empty": [""] * N,
    "loan_status": [CHANCE.choice(["Fully Paid", "Charged Off", "Current"]) for _ in range(N)],
}


def test_a_usual_file_is_understood(draft):
    mapping = draft(FILE)
    assert mapping.name == "big-bank-2024"
    columns = {rule.name: rule.column for rule in mapping.fields}
    assert columns == {
        "external_reference": "LoanID",
        "submitted_at": "Application Date",
        "amount": "LoanAmount",
        "term_months": "term",
        "annual_income": "AnnualIncome",
        "debt_to_income": "DTI",
        "employment_months": "emp_length",
        "home_ownership": "HomeOwnership",
    }
    assert mapping.field_rule("submitted_at").formats == ("%d/%m/%Y",)
    assert mapping.field_rule("debt_to_income").source == "percent"
    assert mapping.field_rule("employment_months").missing == {"n/a"}
    assert mapping.field_rule("home_ownership").otherwise == "other"
    assert {rule.name: rule.column for rule in mapping.applicant} == {"email": "Email"}
    kinds = {attribute.name: (attribute.rule.kind, attribute.protected) for attribute in mapping.attributes}
    assert kinds == {"home": ("category", False), "gender": ("category", True), "savings": ("number", False), "has_car": ("boolean", False)}
    assert (mapping.outcome.default, mapping.outcome.repaid) == ({"charged off"}, {"fully paid"})
    assert set(mapping.ignored) == {"first_name", "zip_code", "int_rate", "total_paid", "closed_by", "Empty"}
    assert all("CHECK" in mapping.ignored[name] for name in ("int_rate", "total_paid", "closed_by", "Empty"))


def test_the_outcome_is_never_drafted_as_an_attribute_where_the_head_shows_one_value_only(draft):
    mapping = draft({"amount": ["1", "2"], "loan_status": ["CHGOFF", "CHGOFF"], "defaulted": ["1", "1"]})
    assert mapping.outcome.column == "loan_status"
    assert mapping.outcome.repaid == {"check which value means repaid"}
    assert mapping.attributes == ()
    assert "defaulted" in mapping.ignored


def test_a_european_file_is_read_as_one(draft):
    mapping = draft(
        {"betrag": ["1.250,50", "900,00"] * 9, "Straße": [f"Weg {n}" for n in range(18)], "antrag": ["31.12.2023", "01.02.2024"] * 9},
        delimiter=";",
        encoding="cp1252",
    )
    assert (mapping.file.encoding, mapping.file.decimal) == ("cp1252", ",")
    assert mapping.field_rule("amount").column == "betrag"
    assert mapping.field_rule("submitted_at").formats == ("%d.%m.%Y",)


def test_of_a_workbook_with_several_sheets_the_first_is_drafted(tmp_path):
    import openpyxl

    book = openpyxl.Workbook()
    book.active.title = "Loans"
    for cells in (["amount", "status"], [100, "paid"], [200, "default"]):
        book.active.append(cells)
    book.create_sheet("Notes").append(["nothing"])
    book.save(tmp_path / "loans.xlsx")
    assert parse_mapping(draft_mapping(tmp_path / "loans.xlsx"), name="x").file.sheet == "Loans"


def test_without_an_amount_there_is_no_draft(draft):
    with pytest.raises(ImportProblem, match="no column that could be an amount"):
        draft({"name": ["Ann", "Bea"], "city": ["Ulm", "Bonn"]})


def test_names_are_compared_without_their_spelling():
    assert {plain_name(name) for name in ("AnnualIncome", "annual income", "ANNUAL_INCOME", " Annual-Income ")} == {"annual_income"}


NAMES = st.one_of(
    st.sampled_from(
        ["id", "Date", "amount", "term", "dti", "status", "name", "age", "home_ownership", "emp_length", "default", "dob", 'a"b\\c\n#']
    ),
    st.text(min_size=1, max_size=12),
)
CELLS = st.one_of(
    st.sampled_from(
        ["", "1", "0", "36 months", "12.5%", "2024-01-31", "31/01/2024", "Jan-2020", "yes", "no", "NaN", "n/a", "1,5", "RENT", "x" * 300]
    ),
    st.integers(-5, 10**6).map(str),
    st.text(max_size=10),
)


@relaxed
@given(st.dictionaries(NAMES, st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=6))
def test_every_draft_is_a_mapping_that_fits_its_file(tmp_path, columns):
    path = tmp_path / "any.csv"
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    try:
        text = draft_mapping(path)
    except ImportProblem:
        return
    from loans.services.imports.opening import open_reader

    mapping = parse_mapping(text, name="any")
    with open_reader(path, mapping.file) as reader:
        mapping.fit(reader.header, file_name="any.csv")
