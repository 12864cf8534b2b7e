from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loans.models.fields import APPLICATION_FIELDS
from loans.services.imports.rules import ColumnRule
from loans.services.imports.scalars import BadValue, Scalar, parse_moment, parse_months, parse_number, parse_ratio, product_code
from tests.loans.imports.conftest import relaxed

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1200", 1200),
        ("-3.5", -3.5),
        ("1,234,567.89", 1234567.89),
        ("$ 1,200", 1200),
        ("12 €", 12),
        ("1e3", 1000),
        ("97601.0", 97601),
        (".5", 0.5),
    ],
)
def test_numbers(text, number):
    assert parse_number(text) == number


@pytest.mark.parametrize(("text", "number"), [("1.234,56", 1234.56), ("0,14", 0.14), ("1200", 1200), ("-1.000", -1000)])
def test_numbers_with_a_decimal_comma(text, number):
    assert parse_number(text, ",") == number


@pytest.mark.parametrize("text", ["nan", "NaN", "inf", "-Infinity", "1e999", "12x", "1,23,4", "١٢", "1_000", "0x10", "", "--1", "$", "1 2"])
def test_what_is_no_number(text):
    with pytest.raises(BadValue):
        parse_number(text)


@pytest.mark.parametrize(
    ("text", "unit", "months"),
    [
        ("36", "months", 36),
        ("36 months", "months", 36),
        ("10+ years", "months", 120),
        ("10+ years", "years", 120),
        ("< 1 year", "months", 0),
        ("<5 yrs", "years", 48),
        ("2 years 3 months", "months", 27),
        ("2yrs 11mon", "months", 35),
        ("2.5", "years", 30),
        ("36.5", "months", 36.5),
        ("730", "days", 24),
        ("1 y", "months", 12),
    ],
)
def test_durations(text, unit, months):
    assert parse_months(text, unit) == months


def test_percent_signs_mean_hundredths_whatever_the_rule_says():
    assert parse_ratio("14.04", ".", percent=True) == 0.1404
    assert parse_ratio("14.04%", ".", percent=True) == 0.1404
    assert parse_ratio("53.7 %", ".", percent=False) == 0.537
    assert parse_ratio("0.537", ".", percent=False) == 0.537


@pytest.mark.parametrize(
    ("text", "formats", "zone", "moment"),
    [
        ("2024-03-05", (), "UTC", datetime(2024, 3, 5, tzinfo=UTC)),
        ("2024-03-05 14:30:00", (), "UTC", datetime(2024, 3, 5, 14, 30, tzinfo=UTC)),
        ("2024-03-05T14:30:00.123456789Z", (), "UTC", datetime(2024, 3, 5, 14, 30, 0, 123456, tzinfo=UTC)),
        ("2024-03-05T14:30:00+02:00", (), "UTC", datetime(2024, 3, 5, 12, 30, tzinfo=UTC)),
        ("2024-03-05", (), "Europe/Berlin", datetime(2024, 3, 4, 23, tzinfo=UTC)),
        ("05/03/2024", ("%d/%m/%Y",), "UTC", datetime(2024, 3, 5, tzinfo=UTC)),
        ("Mar-2024", ("%Y-%m-%d", "%b-%Y"), "UTC", datetime(2024, 3, 1, tzinfo=UTC)),
        ("Nov-54", ("%b-%y",), "UTC", datetime(1954, 11, 1, tzinfo=UTC)),  # strptime alone says 2054
        ("2024-03-05", ("%d/%m/%Y",), "UTC", datetime(2024, 3, 5, tzinfo=UTC)),  # a real date of a workbook
    ],
)
def test_dates(text, formats, zone, moment):
    assert parse_moment(text, formats, zone, now=NOW) == moment


@pytest.mark.parametrize(
    "text", ["2024-02-30", "2024-13-01", "05/03/2024", "20240305", "yesterday", "0000-00-00", "9999-12-31T23:59-23:59", "２０２４-03-05"]
)
def test_what_is_no_date(text):
    with pytest.raises(BadValue):
        parse_moment(text, ())


def scalar(name: str, **more) -> Scalar:
    spec = APPLICATION_FIELDS[name]
    return Scalar(ColumnRule(target=f"fields.{name}", kind=spec.kind, column="c", spec=spec, **more), now=NOW)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("submitted_at", "1949-12-31", "before 1950"),
        ("submitted_at", "2026-06-17", "future"),
        ("home_ownership", "castle", "not one of own, mortgage, rent, other"),
        ("channel", "o\u202eline", "U+202E"),
        ("external_reference", "x" * 65, "65 characters"),
        ("region", "a\0b", "U+0000"),
        ("product", "贷款", "product code"),
    ],
)
def test_what_is_wrong_is_said_without_the_value(name, text, words):
    with pytest.raises(BadValue) as caught:
        scalar(name)(text)
    assert words in str(caught.value)
    assert text not in str(caught.value)


def test_codes_written_as_numbers_are_codes_again():
    assert scalar("external_reference", whole_number=True, prefix="sba-")("1846335005.0") == "sba-1846335005"
    assert scalar("region", whole_number=True, first=2)("722110.0") == "72"
    with pytest.raises(BadValue):
        scalar("region", whole_number=True)("72.5")


def test_value_maps_ignore_case_and_otherwise_takes_the_rest():
    home = scalar("home_ownership", values={"r": "rent"}, otherwise="other")
    assert [home("R"), home("r"), home("igloo")] == ["rent", "rent", "other"]
    assert product_code("Personal Loan!") == "personal-loan"


@relaxed
@given(st.text(max_size=60))
@example("1e400")
@example("9" * 400)
@example("<999999 years")
@example("0001-01-01T00:00:00+23:59")
def test_no_text_gets_through_as_something_unfit(text):
    """Whatever stands in a cell: a finite number, a date, clean text, or BadValue."""
    text = text.strip()
    for name in ("amount", "debt_to_income", "term_months", "submitted_at", "purpose", "product", "home_ownership"):
        try:
            value = scalar(name)(text)
        except BadValue:
            continue
        if isinstance(value, float):
            assert math.isfinite(value)
        elif isinstance(value, datetime):
            assert value.tzinfo is not None
        else:
            value.encode()
            assert "\0" not in value


@relaxed
@given(
    st.sampled_from(["%d/%m/%Y", "%b-%y", "%Y", "%H", "%j", "%d.%m.%Y %H:%M"]), st.text(alphabet="0123456789/.-: JanFebMarDec", max_size=20)
)
def test_no_format_crashes(pattern, text):
    try:
        parse_moment(text, (pattern,), "America/New_York")
    except BadValue:
        pass


@pytest.mark.parametrize("text", ["1e308", "9" * 308])
def test_a_duration_beyond_all_numbers_is_refused_in_words(text):
    with pytest.raises(BadValue, match="too large"):
        parse_months(text, "years")
