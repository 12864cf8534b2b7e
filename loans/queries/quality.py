"""A data quality report to read: findings in words, and what was done with each column's missing and extreme values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from loans.queries.report import number_of, rows_of
from loans.queries.words import number, percent

TONES = {"error": "danger", "leak": "danger", "suspect": "warning", "warning": "warning", "info": "default"}
WORDS = {"error": "Stops", "leak": "Leak", "suspect": "Look", "warning": "Look", "info": "Note"}


@dataclass(frozen=True)
class QualityPage:
    """findings: the gravest first. columns: none in an older report. prepared: only where a model was fitted."""

    rows: str
    duplicates: str
    rate: str
    findings: list[dict[str, str]]
    columns: list[dict[str, str]]
    prepared: list[dict[str, str]]
    months: str


def quality_page(report: Any) -> QualityPage | None:
    """None where there is no report."""
    if not isinstance(report, dict) or not report.get("rows"):
        return None
    gaps = [str(month) for month in report.get("months_without_applications") or []]
    return QualityPage(
        rows=number(int(report["rows"])),
        duplicates=number(int(number_of(report.get("duplicates")) or 0)),
        rate=percent(number_of(report.get("default_rate"))),
        findings=[
            {
                "tone": TONES.get(str(row.get("severity")), "default"),
                "label": WORDS.get(str(row.get("severity")), "Note"),
                "message": str(row.get("message", "")),
            }
            for row in rows_of(report.get("findings"))
        ],
        columns=[_column(row) for row in rows_of(report.get("columns"))],
        prepared=[_prepared(row) for row in rows_of(report.get("preparation"))],
        months=", ".join(gaps[:12]) + (f" and {len(gaps) - 12} more" if len(gaps) > 12 else ""),
    )


def _column(row: dict[str, Any]) -> dict[str, str]:
    low, middle, high = (row.get(name) for name in ("min", "median", "max"))
    spread = "–" if low is None else f"{_short(low)} to {_short(high)}" + (f", middle {_short(middle)}" if middle is not None else "")
    return {
        "title": str(row.get("title", "")),
        "kind": str(row.get("kind", "")),
        "missing": percent(number_of(row.get("missing"))),
        "distinct": number(int(number_of(row.get("distinct")) or 0)),
        "spread": spread,
    }


def _prepared(row: dict[str, Any]) -> dict[str, str]:
    missing, extreme = (int(number_of(row.get(name)) or 0) for name in ("missing_rows", "outlier_rows"))
    rates = [percent(number_of(row.get(name))) for name in ("missing_rate", "known_rate")]
    words = str(row.get("imputation", ""))
    if missing:
        words += _(" (%(missing)s rows; %(rates)s of them defaulted, %(rates_2)s of the others") % {
            "missing": number(missing),
            "rates": rates[0],
            "rates_2": rates[1],
        }
        words += _(": that it is missing tells something)") if row.get("informative") else ")"
    return {"title": str(row.get("title", "")), "missing": words, "outliers": str(row.get("outliers", "")), "rows": number(extreme)}


def _short(value: Any) -> str:
    found = number_of(value)
    return str(value) if found is None else f"{found:,.4g}"
