"""A comparison of two versions, in words and figures: what its page, its table as CSV and a promotion check show of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from loans.queries.report import Interval, dig, number_of, rows_of
from loans.queries.words import code, number, percent, signed

FIGURES = (
    ("auc", "AUC", 4, gettext_lazy("How often a defaulter scores above a repayer; .5 is a coin.")),
    ("ks", "KS", 3, gettext_lazy("The most that the two groups are apart.")),
    ("brier", gettext_lazy("Brier score"), 4, gettext_lazy("Mean squared error; less is better.")),
    ("log_loss", "Log-loss", 4, gettext_lazy("Less is better.")),
    ("oe", "Observed / expected", 2, "1 is exact."),
    ("slope", gettext_lazy("Calibration slope"), 2, gettext_lazy("1 is exact; below, the probabilities are too extreme.")),
    ("profit", "Profit", 4, gettext_lazy("As a share of all that was applied for, under the margin and loss of the policy.")),
)
ADVICE = {"approve": "approve", "refer": "look closer", "decline": "decline"}


@dataclass(frozen=True)
class FigureRow:
    label: str
    first: str
    second: str
    difference: str
    clear: bool
    help: str


@dataclass(frozen=True)
class ComparisonPage:
    """figures: none where too few outcomes are known. learned_from: versions that some of these rows were learned from, which flatters."""

    first: str
    second: str
    rows: str
    known: str
    defaults: str
    window: str
    left_out: str
    learned_from: list[str]
    figures: list[FigureRow]
    calibration: list[dict[str, Any]]
    reliability: list[list[dict[str, Any]]]
    swaps: list[dict[str, Any]]
    swapped: list[dict[str, Any]]
    different: str
    approval: str
    grades: list[dict[str, Any]]
    reasons: str
    families: list[dict[str, Any]]
    agreement: str


def comparison_page(found: dict[str, Any]) -> ComparisonPage:
    names = [*(str(name) for name in found.get("names") or []), "?", "?"]
    start, end = (str(found.get(name) or "")[:10] for name in ("from", "until"))
    swap = found.get("swap") or {}
    rows, different = number_of(found.get("rows")) or 0, number_of(swap.get("different")) or 0
    rates = [percent(number_of(rate)) for rate in swap.get("approval_rate") or [None, None]]
    bad = [percent(number_of(rate)) for rate in swap.get("bad_rate") or [None, None]]
    reasons, agreement = found.get("reasons") or {}, found.get("agreement") or {}
    calibration = found.get("calibration") or []
    return ComparisonPage(
        first=names[0],
        second=names[1],
        rows=number(int(rows)),
        known=number(int(number_of(found.get("known")) or 0)),
        defaults=number(int(number_of(found.get("defaults")) or 0)),
        window=f"{start} to {end}" if start and end else "no applications",
        left_out=number(int(number_of(found.get("left_out")) or 0)) if found.get("left_out") else "",
        learned_from=[
            _("%(row)s learned from %(number)s of these") % {"row": row.get("name"), "number": number(row.get("rows"))}
            for row in rows_of(found.get("learned_from"))
        ],
        figures=[
            _figure(dig(found, "figures", name), label, digits, help)
            for name, label, digits, help in FIGURES
            if dig(found, "figures", name)
        ],
        calibration=_calibration(calibration),
        reliability=[rows_of(curve) for curve in calibration] if len(calibration) == 2 else [],
        swaps=[_cell(row) for row in rows_of(swap.get("cells")) if row.get("rows")],
        swapped=[
            _fared(_("Approved by %(names)s alone") % {"names": names[1]}, swap.get("swapped_in")),
            _fared(_("Approved by %(names)s alone") % {"names": names[0]}, swap.get("swapped_out")),
        ]
        if swap
        else [],
        different=f"{number(int(different))} of {number(int(rows))} ({percent(different / rows if rows else None)})",
        approval=_("%(names)s would approve %(rates)s (bad rate where known %(bad)s), %(names_2)s %(rates_2)s (%(bad_2)s).")
        % {"names": names[0], "rates": rates[0], "bad": bad[0], "names_2": names[1], "rates_2": rates[1], "bad_2": bad[1]},
        grades=[_grade(row) for row in rows_of(found.get("grades"))],
        reasons=(
            _(
                "Of the main reasons of %(names)s, %(share)s are among the four of %(names_2)s; the first reason is the "
                "same in %(share_2)s of the applications."
            )
            % {
                "names": names[0],
                "share": percent(number_of(reasons.get("overlap"))),
                "names_2": names[1],
                "share_2": percent(number_of(reasons.get("first_same"))),
            }
        ),
        families=[
            {
                "family": code(str(row.get("family"))),
                "first": percent(number_of(row.get("first"))),
                "second": percent(number_of(row.get("second"))),
            }
            for row in rows_of(reasons.get("families"))
        ],
        agreement=(
            _(
                "Rank correlation %(number)s; on average the probabilities are %(share)s apart, and %(share_2)s of the "
                "applications move by more than five percentage points."
            )
            % {
                "number": number(number_of(agreement.get("rank_correlation"))),
                "share": percent(number_of(agreement.get("mean_difference")), 2),
                "share_2": percent(number_of(agreement.get("moved"))),
            }
        ),
    )


def csv_rows(page: ComparisonPage) -> Iterator[list[str]]:
    """Everything that the page shows, one table after another, each under its name."""
    yield ["Comparison", page.first, page.second]
    yield ["Window", page.window]
    yield ["Applications", page.rows]
    yield [_("Outcome known"), page.known]
    yield ["Defaults", page.defaults]
    yield []
    yield ["Figure", page.first, page.second, "Difference"]
    yield from ([row.label, row.first, row.second, row.difference] for row in page.figures)
    yield []
    yield ["Calibration: tenth", f"{page.first} predicted", "observed", f"{page.second} predicted", "observed"]
    yield from ([str(row["tenth"]), *row["cells"]] for row in page.calibration)
    yield []
    yield ["Advice", "Applications", _("Outcome known"), "Defaults", _("Bad rate"), "95% interval"]
    yield from (
        [row["title"], row["rows"], row["known"], row["defaults"], row["bad_rate"], row["interval"]] for row in (*page.swapped, *page.swaps)
    )
    yield []
    yield ["Grade", page.first, page.second, "same", "better", "worse", _("Bad rate")]
    yield from (
        [row["grade"], row["rows"], row["second"], row["same"], row["better"], row["worse"], row["bad_rate"]] for row in page.grades
    )
    yield []
    yield [_("Reason among the four"), page.first, page.second]
    yield from ([row["family"], row["first"], row["second"]] for row in page.families)


def _figure(found: dict[str, Any], label: str, digits: int, help: str) -> FigureRow:
    gap = Interval.of(found.get("difference"))
    clear = gap.low is not None and gap.high is not None and (gap.low > 0 or gap.high < 0)
    ends = f" ({_signed(gap.low, digits)} to {_signed(gap.high, digits)})" if gap.low is not None and gap.high is not None else ""
    return FigureRow(
        label,
        Interval.of(found.get("first")).words(digits),
        Interval.of(found.get("second")).words(digits),
        _signed(gap.value, digits) + ends,
        clear,
        help,
    )


def _signed(value: float | None, digits: int) -> str:
    return "–" if value is None else signed(value, digits)


def _calibration(curves: list[Any]) -> list[dict[str, Any]]:
    if len(curves) != 2:
        return []
    pairs = zip(rows_of(curves[0]), rows_of(curves[1]), strict=False)
    return [
        {"tenth": place, "cells": [percent(number_of(row.get(name))) for row in pair for name in ("predicted", "observed")]}
        for place, pair in enumerate(pairs, start=1)
    ]


def _fared(title: str, found: Any) -> dict[str, Any]:
    found = found if isinstance(found, dict) else {}
    low, high = number_of(found.get("low")), number_of(found.get("high"))
    return {
        "title": title,
        "rows": number(int(number_of(found.get("rows")) or 0)),
        "known": number(int(number_of(found.get("known")) or 0)),
        "defaults": number(int(number_of(found.get("defaults")) or 0)),
        "bad_rate": percent(number_of(found.get("bad_rate"))),
        "interval": f"{percent(low)}–{percent(high)}" if low is not None and high is not None else "",
    }


def _cell(row: dict[str, Any]) -> dict[str, Any]:
    one, other = (ADVICE.get(str(row.get(side)), "?") for side in ("first", "second"))
    title = f"Both: {one}" if one == other else f"{one.capitalize()} → {other}"
    return _fared(title, row) | {"moved": one != other}


def _grade(row: dict[str, Any]) -> dict[str, Any]:
    counts = {name: number(int(number_of(row.get(name)) or 0)) for name in ("second", "same", "better", "worse")}
    return _fared(str(row.get("grade")), row) | counts | {"grade": str(row.get("grade"))}
