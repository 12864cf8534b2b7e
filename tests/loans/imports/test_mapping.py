from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loans.models.fields import APPLICATION_FIELDS
from loans.services.imports import ImportProblem, MappingProblem, available_mappings, load_mapping, parse_mapping
from loans.services.imports.mapping import FOLDER
from tests.loans.imports.conftest import HEADER, TOML, relaxed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = ", "is not TOML"),
        ("a = [" * 500, "is not TOML"),
        ("name = 'Big Bank'\n[fields]\namount = 'a'", "name must be lower-case"),
        ("", "[fields] needs `amount`"),
        ("[field]\namount = 'a'", "[field] is not a table of a mapping"),
        ("fields = 3", "[fields] must be a table"),
        ("[fields]\namount = 'a'\nincome = 'b'", "[fields] has 'income', which is not a field"),
        ("[fields]\namount = { unit = 'x' }", "[fields.amount] needs a `column`"),
        ("[fields]\namount = 7", "[fields.amount] must be a column's name"),
        ("[fields]\namount = { column = 'a', factor = 3 }", "[fields.amount] has the key 'factor'"),
        ("[fields]\namount = { column = 'a', scale = -1 }", "[fields.amount] scale must be a positive number"),
        (
            "[fields]\namount = 'a'\nterm_months = { column = 't', from = 'decades' }",
            "[fields.term_months] from must be one of months, years",
        ),
        ("[fields]\namount = 'a'\nsubmitted_at = { column = 'd', format = 'DD/MM/YYYY' }", "[fields.submitted_at] format is 'DD/MM/YYYY'"),
        ("[fields]\namount = 'a'\nsubmitted_at = { column = 'd', timezone = 'Mars' }", "[fields.submitted_at] timezone is 'Mars'"),
        ("[fields]\namount = 'a'\nhome_ownership = { column = 'h', values = { R = 'castle' } }", "values['R'] must be one of own"),
        ("[fields]\namount = 'a'\nregion = { column = 'h', values = { R = 'x', r = 'y' } }", "has 'r' twice"),
        ("[fields]\namount = 'a'\ncredit_history_months = { column = 'c', from = 'date' }", "needs `submitted_at`"),
        ("[constants]\namount = -3", "[constants] amount is less than 0.01"),
        ("[constants]\namount = 3\nchannel = 'pigeon'", "[constants] channel is not one of branch"),
        ("[constants]\namount = 3\n[fields]\namount = 'a'", "[constants] amount stands in [fields] too"),
        ("[constants]\nexternal_reference = 'x'", "[constants] external_reference can't be a constant"),
        ("[fields]\namount = 'a'\n[attributes.Savings]\ncolumn = 's'\nkind = 'number'", "[attributes.Savings] needs another name"),
        ("[fields]\namount = 'a'\n[attributes.email]\ncolumn = 's'\nkind = 'category'", "[attributes.email] needs another name"),
        ("[fields]\namount = 'a'\n[attributes.s]\ncolumn = 's'", "[attributes.s] kind must be one of number"),
        ("[fields]\namount = 'a'\n[attributes.s]\ncolumn = 's'\nkind = 'number'\ndirection = 2", "[attributes.s] direction must be 1"),
        ("[fields]\namount = 'a'\n[outcome]\ncolumn = 'o'\ndefault = ['x']", "[outcome] repaid must list"),
        ("[fields]\namount = 'a'\n[outcome]\ncolumn = 'o'\ndefault = ['x']\nrepaid = ['X']", "lists 'x' under default and under repaid"),
        (
            "[fields]\namount = 'a'\n[outcome]\ncolumn = 'a'\ndefault = ['x']\nrepaid = ['y']",
            "[fields.amount] uses 'a', which tells the outcome",
        ),
        ("[fields]\namount = 'a'\n[ignored]\nb = ''", "[ignored] 'b' needs the reason"),
        ("[fields]\namount = 'a'\n[ignored]\na = 'why'", "[ignored] 'a' is also used, in [fields.amount]"),
        ("[file]\nencoding = 'klingon'\n[fields]\namount = 'a'", "[file] encoding must be one of"),
    ],
    ids=range(31),
)
def test_what_is_wrong_with_a_mapping_is_named_by_table_and_key(text, words):
    with pytest.raises(MappingProblem) as caught:
        parse_mapping(text, name="test")
    assert words in str(caught.value)


def test_all_problems_are_told_at_once():
    with pytest.raises(MappingProblem, match="3 problems") as caught:
        parse_mapping("[fields]\nfoo = 'a'\n[ignored]\nb = 1", name="test")
    assert str(caught.value).count("\n- ") == 3


def test_unnamed_and_missing_columns_are_all_listed():
    mapping = parse_mapping(TOML, name="tiny")
    with pytest.raises(MappingProblem) as caught:
        mapping.fit([*HEADER[1:], "grade", "fico"], file_name="loans.csv")
    assert "says nothing about 2 columns of loans.csv: 'grade', 'fico'" in str(caught.value)
    assert "lacks 1 column that the mapping 'tiny' names: 'ref' (for fields.external_reference)" in str(caught.value)


def test_a_file_of_new_applications_needs_neither_outcome_nor_its_dates_nor_what_is_ignored_or_optional():
    mapping = parse_mapping(TOML.replace('term_months = "term"', 'term_months = { column = "term", optional = true }'), name="tiny")
    fitted = mapping.fit([name for name in HEADER if name not in ("status", "ended", "note", "term")], file_name="x")
    assert fitted.outcome is None
    assert "term_months" not in {rule.name for rule in fitted.rules}
    with pytest.raises(MappingProblem, match=r"'ended' \(for outcome.defaulted_on\)"):
        mapping.fit([name for name in HEADER if name != "ended"], file_name="x")


@pytest.mark.parametrize("name", ["nothing", "", "../settings", "/nowhere/x.toml", "lendingclub.toml/..", "a\0b"])
def test_a_mapping_that_is_not_there(name):
    with pytest.raises(MappingProblem, match="lendingclub, sba|can't be read"):
        load_mapping(name)


def test_own_mappings_are_read_by_path_and_bad_bytes_are_told(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[fields]\namount = 'sum'\n")
    assert load_mapping(path).name == "mine"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(MappingProblem, match="is not UTF-8 text"):
        load_mapping(path)


@pytest.mark.parametrize("name", available_mappings())
def test_the_mappings_that_come_along_are_complete(name):
    mapping = load_mapping(name)
    assert mapping.outcome is not None
    assert all(len(why) > 10 for why in mapping.ignored.values())
    assert not {attribute.name for attribute in mapping.attributes} & set(APPLICATION_FIELDS)


def test_the_template_is_a_mapping_and_shows_every_field():
    text = (FOLDER / "template.toml").read_text()
    assert parse_mapping(text, name="template").fields
    for field in APPLICATION_FIELDS:
        assert field in text


def test_what_is_known_only_later_is_no_feature_in_our_mappings():
    """The list of the data's README, checked one by one."""
    later = {
        "lendingclub": "funded_amnt funded_amnt_inv total_pymnt total_pymnt_inv total_rec_prncp total_rec_int total_rec_late_fee "
        "out_prncp out_prncp_inv recoveries collection_recovery_fee last_pymnt_d last_pymnt_amnt last_credit_pull_d pymnt_plan "
        "hardship_flag settlement_status settlement_date settlement_amount settlement_percentage settlement_term debt_settlement_flag "
        "debt_settlement_flag_date loan_status int_rate grade sub_grade installment verification_status",
        "sba": "chg_off_date chg_off_prin_gr balance_gross mis_status disbursement_date disbursement_gross term",
    }
    for name, columns in later.items():
        mapping = load_mapping(name)
        features = {rule.column for rule in mapping.application_rules()}
        assert not features & set(columns.split())
        assert set(columns.split()) <= set(mapping.ignored) | mapping.outcome.columns()


SCALARS = st.one_of(st.text(max_size=8), st.integers(-3, 3), st.booleans(), st.floats(allow_nan=False))
KEYS = st.sampled_from(
    [
        "name",
        "file",
        "fields",
        "amount",
        "column",
        "from",
        "values",
        "format",
        "scale",
        "otherwise",
        "attributes",
        "kind",
        "outcome",
        "default",
        "repaid",
        "ignored",
        "constants",
        "first",
        "prefix",
        "missing",
        "loss",
        "minus",
        "applicant",
        "submitted_at",
        "timezone",
        "encoding",
    ]
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)), max_leaves=12
)


def toml_of(value) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml_of(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_of, value)) + "]"
    return {True: "true", False: "false"}.get(value, json.dumps(value)) if not isinstance(value, float) else repr(value)


@relaxed
@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_no_document_crashes_the_parser(document):
    try:
        parse_mapping("\n".join(f"{key} = {toml_of(value)}" for key, value in document.items()), name="any")
    except ImportProblem:
        pass


@relaxed
@given(st.text(max_size=200))
def test_no_text_crashes_the_parser(text):
    try:
        parse_mapping(text, name="any")
    except ImportProblem:
        pass
