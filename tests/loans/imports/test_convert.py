from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loans.models.fields import APPLICATION_FIELDS, BadText, clean_text
from loans.services.imports.convert import ColumnConverter, Months, forbidden_pattern
from loans.services.imports.convert import given as given_texts
from loans.services.imports.rules import ColumnRule
from tests.loans.imports.conftest import relaxed

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)


def converter(name: str, **more) -> ColumnConverter:
    spec = APPLICATION_FIELDS[name]
    return ColumnConverter(ColumnRule(target=f"fields.{name}", kind=spec.kind, column="c", spec=spec, **more), now=NOW)


def convert(name: str, texts: list, **more):
    return converter(name, **more)(pa.array(texts, pa.string()))


def test_percentages_become_fractions():
    assert convert("debt_to_income", ["14.04", "", "0.0", None], source="percent").values.to_pylist() == [0.1404, None, 0.0, None]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("amount", "-5", "less than 0.01"),
        ("amount", "0", "less than 0.01"),
        ("amount", "nan", "not a finite number"),
        ("amount", "-inf", "not a finite number"),
        ("amount", "2e9", "more than 1,000,000,000"),
        ("annual_income", "-5", "is negative"),
        ("term_months", "36.5", "whole number"),
        ("term_months", "700", "more than 600"),
        ("purpose_text", "x" * 4_001, "4,001 characters"),
        ("purpose", "a\u202eb", "U+202E"),
        ("purpose", "a\0b", "U+0000"),
    ],
)
def test_limits_hold_on_the_fast_way_and_on_the_slow(name, text, words):
    for others in (["1", ""], ["1 ", "?"]):  # "?" in a column of numbers sends all of it the slow way
        found = convert(name, [*others, text])
        assert words in found.bad[2]
        assert found.values[2].as_py() is None


def test_months_between_a_date_and_the_application():
    texts = pa.array(["1999-10-01", "2024-03-05", "2024-03-06", "", "2024-02-29"])
    submitted = Months(np.full(5, 2024 * 12 + 3), np.full(5, 5))
    found = converter("credit_history_months", source="date")(texts, submitted)
    assert found.values.to_pylist() == [293, 0, None, None, 0]
    assert found.bad == {2: "is a day after the application's"}


def test_missing_words_are_missing_and_nothing_else_is():
    assert given_texts(pa.array([" a ", "", "  ", "n/a", None]), {"n/a"}).to_pylist() == ["a", None, None, None, None]


def test_texts_are_trimmed_and_remembered_texts_stay_right():
    column = converter("home_ownership", values={"rent": "rent", "own": "own"})
    for texts, values in ((["RENT", " own"], ["rent", "own"]), (["igloo", "Own"], [None, "own"]), (["igloo"], [None])):
        assert column(pa.array(texts)).values.to_pylist() == values


def test_the_pattern_refuses_what_clean_text_refuses():
    import pyarrow.compute as pc

    for code in (0, 7, 0x1F, 0x7F, 0x202E, 0x2066, 0xFEFF, 0x20, 0x41, 0x200F, 0x4E2D):
        text = f"a{chr(code)}a"
        try:
            clean_text(text)
            refused = False
        except BadText:
            refused = True
        assert pc.match_substring_regex(pa.array([text]), forbidden_pattern())[0].as_py() is refused


NUMBERS = st.one_of(
    st.floats(width=64).map(repr),
    st.integers(-(10**20), 10**20).map(str),
    st.decimals(allow_nan=True, places=3).map(str),
    st.text(alphabet="0123456789.,+-eE%$ nafi", max_size=12),
)


@relaxed
@given(
    st.lists(NUMBERS, min_size=1, max_size=6),
    st.sampled_from(["amount", "annual_income", "debt_to_income", "open_accounts", "term_months"]),
)
@example(["nan(1)"], "amount")
@example(["1e-400"], "debt_to_income")
@example(["+1"], "amount")
def test_whole_columns_mean_what_single_cells_mean(texts, name):
    """The fast way is taken for all texts together or not at all; alone, with a companion that forces the slow way, each means the same."""
    source = "percent" if name == "debt_to_income" else ""
    together = convert(name, texts, source=source)
    for row, text in enumerate(texts):
        alone = convert(name, [text, "?"], source=source)  # "?" is no number: all goes the slow way
        one, other = together.values[row].as_py(), alone.values[0].as_py()
        assert one == other, (text, one, other)
        assert (row in together.bad) == (0 in alone.bad)
        assert one is None or math.isfinite(one)


@relaxed
@given(st.lists(st.text(max_size=30), max_size=8), st.sampled_from(sorted(APPLICATION_FIELDS)))
def test_no_column_crashes_and_every_row_is_answered(texts, name):
    try:
        column = pa.array(texts, pa.string())
    except UnicodeEncodeError:
        return  # a lone surrogate never gets past the reader
    found = converter(name)(column)
    assert len(found.values) == len(texts)
    assert all(found.values[row].as_py() is None for row in found.bad)
