"""Lift by tenths and vintage curves, against what can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mlcore.risk import curves


def days(*texts: str) -> np.ndarray:
    return np.array(texts, dtype="datetime64[ns]")


def test_the_riskiest_tenth_holds_what_it_holds():
    probability = np.linspace(0.01, 0.5, 100)
    default = np.zeros(100, dtype=np.int8)
    default[[99, 98, 97, 96, 95, 50, 30, 10]] = 1  # five of the riskiest ten, three further down
    rows = curves.lift(default, probability)
    first, last = rows[0], rows[-1]
    assert len(rows) == 10 and sum(row["rows"] for row in rows) == 100
    assert (first["defaults"], first["rate"]["value"]) == (5, 0.5)
    assert first["lift"]["value"] == pytest.approx(0.5 / 0.08) and first["lift"]["low"] < 0.5 / 0.08 < first["lift"]["high"]
    assert (first["looked_at"], first["caught"]["value"]) == (0.1, pytest.approx(5 / 8))
    assert (last["looked_at"], last["caught"]["value"], last["predicted"]) == (1.0, 1.0, pytest.approx(probability[:10].mean()))
    assert curves.lift(np.zeros(5), np.arange(5) / 10) == []


def test_a_vintage_counts_defaults_in_the_month_on_book_in_which_they_came():
    began = days("2025-01-05", "2025-01-20", "2025-01-10", "2025-01-31", "2025-02-03", "2025-02-04")
    defaulted = days("2025-02-01", "2025-07-19", "NaT", "NaT", "2025-02-04", "NaT")
    default = np.array([1, 1, 0, 0, 1, 0])
    made = curves.vintages(default, np.full(6, 0.3), began, defaulted, window_months=6)
    january, february = made["rows"]
    assert (made["by"], january["start"], january["rows"], january["defaults"]) == ("month", "2025-01-01", 4, 2)
    # 27 days are the first month on book, 180 of them the sixth
    assert list(january["cumulative"]) == [0.25, 0.25, 0.25, 0.25, 0.25, 0.5]
    assert january["predicted"] == pytest.approx(0.3) and january["rate"]["low"] < 0.5 < january["rate"]["high"]
    assert list(february["cumulative"]) == [0.5] * 6


def test_final_outcomes_are_followed_only_as_far_as_the_youngest_loan():
    began, defaulted = days("2025-01-01", "2025-01-31"), days("2025-09-03", "NaT")
    [row] = curves.vintages(np.array([1, 0]), np.array([0.2, 0.2]), began, defaulted, as_of=np.datetime64("2025-06-02"))["rows"]
    assert len(row["cumulative"]) == 4 and row["defaults"] == 0  # its default came after that age
    made = curves.vintages(np.array([1, 0]), np.array([0.2, 0.2]), began, defaulted)["rows"]
    assert len(made[0]["cumulative"]) == 7


def test_undated_defaults_are_said_not_drawn():
    began = days(*["2025-01-01"] * 40)
    defaulted = days(*["2025-03-01"] * 20, *["NaT"] * 20)
    default = np.repeat([1, 0], 20)
    default[39] = 1
    made = curves.vintages(default, np.full(40, 0.5), began, defaulted, window_months=12)
    assert made["undated"] == 1 and made["rows"][0]["cumulative"][-1] == pytest.approx(21 / 40)
    default[38] = 1
    assert curves.vintages(default, np.full(40, 0.5), began, defaulted, window_months=12) == {
        "rows": [],
        "why": "2 of 22 defaults have no date.",
    }


def test_many_months_become_quarters():
    began = np.arange("2020-01", "2023-01", dtype="datetime64[M]").astype("datetime64[ns]")
    made = curves.vintages(np.zeros(36), np.full(36, 0.1), began, np.full(36, np.datetime64("NaT", "ns")), window_months=3)
    assert made["by"] == "quarter" and len(made["rows"]) == 12
