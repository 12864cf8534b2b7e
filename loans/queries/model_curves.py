"""The numbers behind a default-risk version's charts, as rows to draw, to list and to take away. From the report that its training wrote.

Shares are fractions; what an older report lacks is None, or no row at all.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from loans.queries.report import Interval, dig, number_of, rows_of

Row = tuple[Any, ...]


def calibration_rows(curve: Any) -> list[Row]:
    """(loans, predicted, observed, low, high) a tenth, the safest first."""
    names = ("rows", "predicted", "observed", "low", "high")
    return [tuple(number_of(row.get(name)) for name in names) for row in rows_of(curve) if row.get("predicted") is not None]


def roc_rows(report: dict[str, Any]) -> list[Row]:
    """(share of the repaid flagged, share of the defaults caught)."""
    wrong, right = (dig(report, "roc", f"{name}_positive_rate") or [] for name in ("false", "true"))
    return list(zip(wrong, right, strict=True)) if len(wrong) == len(right) else []


def distribution_rows(report: dict[str, Any]) -> list[Row]:
    """(from, to, repaid, defaulted)."""
    edges, repaid, defaulted = (dig(report, "distribution", name) or [] for name in ("edges", "repaid", "defaulted"))
    return [(low, high, good, bad) for (low, high), good, bad in zip(pairwise(edges), repaid, defaulted, strict=False)]


def lift_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """A tenth each, the riskiest first: rows, defaults, predicted, looked_at, and as `Interval` rate, lift and caught."""
    return [
        {
            "rows": number_of(row.get("rows")),
            "defaults": number_of(row.get("defaults")),
            "predicted": number_of(row.get("predicted")),
            "looked_at": number_of(row.get("looked_at")),
            **{name: Interval.of(row.get(name)) for name in ("rate", "lift", "caught")},
        }
        for row in rows_of(report.get("lift"))
        if Interval.of(row.get("lift")).known and Interval.of(row.get("caught")).known
    ]


def quarter_rows(report: dict[str, Any]) -> list[Row]:
    """(first day, loans, defaults, expected, O/E, low, high)."""
    made = []
    for row in rows_of(report.get("by_quarter")):
        oe = Interval.of(row.get("oe"))
        figures = (number_of(row.get(name)) for name in ("rows", "defaults", "expected"))
        made.append((str(row.get("period", "")), *figures, oe.value, oe.low, oe.high))
    return made


def family_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """title, share and mean of what moves the scores, and as `Interval` named and first: of how many applicants it is a reason."""
    titles = {row.get("column"): row.get("title") for row in rows_of(report.get("importance"))}
    made = []
    for row in rows_of(report.get("families")) or rows_of(report.get("importance")):
        columns = [str(titles.get(name) or name) for name in row.get("columns") or []]
        made.append(
            {
                "title": ", ".join(columns) or str(row.get("title") or row.get("family") or "?"),
                "share": number_of(row.get("share")),
                "mean": number_of(row.get("mean")),
                **{name: Interval.of(row.get(name)) for name in ("named", "first")},
            }
        )
    return made


def vintage_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """start, rows, defaults, predicted, rate (`Interval`), cumulative: share that had defaulted by each month on book from the first on."""
    return [
        {
            "start": str(row.get("start", "")),
            "rows": number_of(row.get("rows")) or 0,
            "defaults": number_of(row.get("defaults")) or 0,
            "predicted": number_of(row.get("predicted")),
            "rate": Interval.of(row.get("rate")),
            "cumulative": [float(value) for value in row.get("cumulative") or [] if number_of(value) is not None],
        }
        for row in rows_of(dig(report, "vintages", "rows"))
        if row.get("cumulative")
    ]
