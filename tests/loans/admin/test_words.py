"""Numbers in words: no locale, no rounding to a lie."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from loans.admin import charts
from loans.queries import words


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        (0.12, "of 100 applicants like this about 12 default"),
        (0.0096, "of 100 applicants like this about 1 defaults"),
        (0.004, "of 1,000 applicants like this about 4 default"),
        (0.0003, "of 10,000 applicants like this about 3 default"),
        (0.0, "of 10,000 applicants like this fewer than 1 defaults"),
        (1.0, "of 100 applicants like this about 100 default"),
    ],
)
def test_frequency(probability, text):
    assert words.frequency(probability) == text


def test_money_in_the_settings_currency(settings):
    assert words.money(Decimal("12000.00")) == "$12,000" and words.money(Decimal("0.50")) == "$0.50" and words.money(None) == "not given"
    settings.CURRENCY = "CHF"
    assert words.money(1200) == "1,200 CHF"


def test_percent_never_rounds_something_to_nothing():
    assert (
        words.percent(0.1234) == "12.3%" and words.percent(0.00001) == "<0.1%" and words.percent(0) == "0.0%" and words.percent(None) == "–"
    )


def test_points_have_a_sign():
    assert words.points(0.0312) == "+3.1" and words.points(-0.004) == "−0.4" and words.points(0.00001) == "±0.0"


def test_age_and_months():
    now = datetime(2026, 3, 1, tzinfo=UTC)
    assert words.age(now - timedelta(days=1), now) == "1 day" and words.age(now - timedelta(hours=5), now) == "5 hours"
    assert words.age(now + timedelta(hours=1), now) == "just now"
    assert words.months(1) == "1 month" and words.months(140) == "140 months (11 years 8 months)" and words.months(None) == "not given"


def test_a_dot_a_person():
    for many, of in ((12, 100), (4, 1000), (0, 10_000)):
        picture = charts.dots(many, of)
        assert picture.filled.count("M") == many and picture.empty.count("M") == of - many


def test_charts_stay_inside_their_frame_and_survive_nothing():
    assert charts.calibration([]) is None and charts.distribution({}) is None and charts.roc({"false_positive_rate": [0]}) is None
    made = charts.calibration([{"predicted": 0.9, "observed": 1.0, "low": 0.7, "high": 1.0, "rows": 10}])
    assert all(made.left <= float(mark["x"]) <= made.right and made.top <= float(mark["high"]) <= made.bottom for mark in made.marks)
    bars = charts.distribution({"edges": [0, 0.5, 1], "repaid": [0, 0], "defaulted": [0, 0]})
    assert len(bars.marks) == 2
