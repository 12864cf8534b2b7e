"""A small lender of our own: his file, and the mapping for it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from loans.services.imports import Mapping, parse_mapping

# a machine under load is slow, not wrong
relaxed = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
HEADER = ("ref", "date", "sum", "term", "income", "dti", "home", "job", "who", "savings", "sex", "status", "ended", "note")
TOML = """
name = "tiny"
[constants]
product = "personal-loan"
channel = "branch"
[fields]
external_reference = "ref"
submitted_at = "date"
amount = "sum"
term_months = "term"
annual_income = "income"
debt_to_income = { column = "dti", from = "percent" }
home_ownership = { column = "home", values = { R = "rent", O = "own" } }
employment_months = { column = "job", from = "years" }
[applicant]
name = "who"
[attributes.savings]
column = "savings"
kind = "number"
direction = -1
[attributes.sex]
column = "sex"
kind = "category"
protected = true
[outcome]
column = "status"
default = ["bad"]
repaid = ["good"]
defaulted_on = "ended"
[ignored]
note = "Free text of the clerk."
"""
GOOD = {
    "ref": "A-1",
    "date": "2024-03-05",
    "sum": "1000.50",
    "term": "36 months",
    "income": "40,000",
    "dti": "14.04",
    "home": "R",
    "job": "10+ years",
    "who": "Ann Example",
    "savings": "1200",
    "sex": "f",
    "status": "good",
    "ended": "",
    "note": "",
}


def row(**changed: str) -> dict[str, str]:
    return {**GOOD, **changed}


def rows(count: int, **changed: str) -> list[dict[str, str]]:
    """Distinct good rows, one a day from 2024-01-01 on (28 days a month); every third is a default."""
    return [
        row(
            ref=f"A-{number}",
            date=f"2024-{1 + number // 28 % 12:02d}-{1 + number % 28:02d}",
            who=f"Person {number}",
            status="bad" if number % 3 == 0 else "good",
            ended="2025-06-01" if number % 3 == 0 else "",
            **changed,
        )
        for number in range(count)
    ]


@pytest.fixture(scope="session")
def mapping() -> Mapping:
    return parse_mapping(TOML, name="tiny")


@pytest.fixture
def file_of(tmp_path: Path) -> Callable[..., Path]:
    """file_of(rows, name="loans.csv", header=HEADER): a CSV with these rows."""

    def write(lines: Iterable[dict[str, str]], name: str = "loans.csv", header: Sequence[str] = HEADER) -> Path:
        path = tmp_path / name
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, header, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(lines)
        return path

    return write
