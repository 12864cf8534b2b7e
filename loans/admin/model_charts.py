"""The charts of a default-risk version: each a card with its picture, its table and its CSV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from loans.admin import charts, curves
from loans.admin.chart_card import ChartCard, decimal, share, text, whole
from loans.admin.charts import BOTTOM, LEFT, RIGHT, TOP, Chart, Tick, share_label
from loans.models import ModelVersion
from loans.queries import model_curves as found
from loans.queries.model_fairness import fairness
from loans.queries.model_page import ModelPage
from loans.queries.report import dig
from loans.queries.words import percent
from loans.queries.words import whole as figure

WIDE, TALL = 900, 260
MOST_DRAWN = 6
FEWEST_LOANS = 30
"""A vintage of fewer loans jumps by whole per cents; it is in the table, not in the picture."""
MOST_REASONS = 15


def risk_cards(version: ModelVersion, page: ModelPage) -> list[ChartCard]:
    """In the order of the page; a card of what an older report lacks says how to get it."""
    report = version.report if isinstance(version.report, dict) else {}
    return [
        *(
            [calibration_card("calibration", _("Calibration"), page.reliability, beside=page.calibration_method)]
            if page.reliability
            else []
        ),
        *([_roc(report, page)] if found.roc_rows(report) else []),
        *([_distribution(report)] if found.distribution_rows(report) else []),
        _lift(report),
        _caught(report),
        _reasons(report),
        *([_quarters(report, page)] if found.quarter_rows(report) else []),
        vintages_card(report),
    ]


def calibration_card(name: str, title: str, curve: list[dict[str, Any]], *, beside: str = "") -> ChartCard:
    return ChartCard(
        name,
        title,
        _("Each point a tenth of the judged loans, with its 95% interval. On the dashed line a promised 10% is a true 10%."),
        [whole(_("Loans")), share(_("Predicted")), share(_("Observed")), share(_("Low 95%")), share(_("High 95%"))],
        found.calibration_rows(curve),
        charts.calibration(curve),
        "loans/charts/calibration.html",
        _("predicted"),
        beside,
    )


def _roc(report: dict[str, Any], page: ModelPage) -> ChartCard:
    return ChartCard(
        "roc",
        _("ROC curve"),
        _("Upwards the share of defaults caught, to the right the share of good loans flagged with them. The dashed line is a coin."),
        [share(_("Repaid loans flagged")), share(_("Defaults caught"))],
        found.roc_rows(report),
        charts.roc(page.roc),
        "loans/charts/diagonal.html",
        _("repaid loans flagged"),
        f"AUC {page.worth.auc}",
    )


def _distribution(report: dict[str, Any]) -> ChartCard:
    return ChartCard(
        "distribution",
        _("Who gets which probability"),
        _("Judged loans by their probability: those that defaulted at the foot, in orange; repaid ones above."),
        [share(_("From")), share(_("To")), whole(_("Repaid")), whole(_("Defaulted"))],
        found.distribution_rows(report),
        charts.distribution(dig(report, "distribution")),
        "loans/charts/distribution.html",
        _("default probability"),
    )


def train_again() -> str:
    return _("This version was trained before this was kept. Train again, and the new version shows it.")


def _lift(report: dict[str, Any]) -> ChartCard:
    rows = found.lift_rows(report)
    columns = [
        *(whole(_("Tenth")), whole(_("Loans")), whole(_("Defaults")), share(_("Predicted")), share(_("Default rate"))),
        *(decimal(_("Lift"), 2), decimal(_("Low 95%"), 2), decimal(_("High 95%"), 2)),
    ]
    cells = [
        (place, row["rows"], row["defaults"], row["predicted"], row["rate"].value, row["lift"].value, row["lift"].low, row["lift"].high)
        for place, row in enumerate(rows, start=1)
    ]
    says = _("How many times the average default rate each tenth of the judged loans has, the riskiest first. 1 is the average.")
    drawn = charts.lift(rows)
    return ChartCard(
        *("lift", _("Lift"), says, columns, cells, drawn, "loans/charts/lift.html", _("tenth, the riskiest first")),
        why="" if drawn else train_again(),
    )


def _caught(report: dict[str, Any]) -> ChartCard:
    rows = found.lift_rows(report)
    columns = [share(_("Riskiest loans"), 0), share(_("Defaults among them")), share(_("Low 95%")), share(_("High 95%"))]
    cells = [(row["looked_at"], row["caught"].value, row["caught"].low, row["caught"].high) for row in rows]
    beside = ""
    if len(rows) > 1:
        beside = _("the riskiest {looked} hold {caught}").format(
            looked=percent(rows[1]["looked_at"], 0), caught=percent(rows[1]["caught"].value, 0)
        )
    drawn = charts.gains(rows)
    return ChartCard(
        *(
            "gains",
            _("Defaults caught"),
            _("Which share of all defaults is among the riskiest loans, with its 95% interval. The dashed line is a coin."),
        ),
        *(columns, cells, drawn, "loans/charts/diagonal.html", _("share of loans, the riskiest first"), beside),
        why="" if drawn else train_again(),
    )


def fairness_cards(version: ModelVersion) -> list[ChartCard]:
    """A table a characteristic; their pictures are bars in the page's own table."""
    made = []
    for one in fairness(version).characteristics:
        heads = [
            *(_("Group"), _("Judged"), _("Approved"), _("Interval"), _("Adverse impact ratio"), _("Interval"), _("By chance")),
            *(_("Good ones missed"), _("Predicted"), _("Came"), _("O/E")),
        ]
        rows = [
            [
                *(each.name, each.rows, each.approval, each.approval_range, each.ratio, each.ratio_range, each.chance),
                *(each.gap, each.predicted, each.observed, each.oe),
            ]
            for each in one.groups
        ]
        made.append(ChartCard(one.chart, one.title, one.verdict, [text(head) for head in heads], rows))
    return made


@dataclass(frozen=True)
class Bars:
    """bars: dicts of title, width (a per cent of the longest) and cells (text, text below it)."""

    heads: list[str]
    bars: list[dict[str, Any]]


def _reasons(report: dict[str, Any]) -> ChartCard:
    rows = found.family_rows(report)
    known = any(row["named"].known for row in rows)
    columns = [
        *(text(_("Reason")), share(_("Among the reasons of")), share(_("Low 95%")), share(_("High 95%")), share(_("First reason of"))),
        *(decimal(_("Mean effect (log-odds)")), share(_("Share of all effects"))),
    ]
    cells = [
        (row["title"], row["named"].value, row["named"].low, row["named"].high, row["first"].value, row["mean"], row["share"])
        for row in rows
    ]
    if known:
        rows = sorted(rows, key=lambda row: -(row["named"].value or 0.0))
    length = [(row["named"].value if known else row["share"]) or 0.0 for row in rows]
    most = max(length, default=0.0) or 1.0
    bars = [
        {
            "title": row["title"],
            "width": f"{100 * value / most:.1f}",
            "cells": [
                *([(percent(row["named"].value), ""), (percent(row["first"].value), "")] if known else []),
                (percent(row["share"]), ""),
            ],
        }
        for row, value in zip(rows[:MOST_REASONS], length, strict=False)
    ]
    heads = [*([_("Among the reasons"), _("The first")] if known else []), _("Of all effects")]
    says = (
        _(
            "Of the latest applicants: for how many it is among the four main reasons against them, for how many the first, and its share "
            "of all that moves scores (mean absolute log-odds)."
        )
        if known
        else _("Share of all that moves the latest applicants' scores (mean absolute log-odds).")
    )
    return ChartCard(
        *("reasons", _("Reasons overall"), says, columns, cells, Bars(heads, bars) if bars else None, "loans/charts/bars.html"),
        beside=_("by family: inputs that tell one story"),
        why="" if known else _("For how many applicants each is a reason was not kept then. Train again, and the new version shows it."),
    )


def _quarters(report: dict[str, Any], page: ModelPage) -> ChartCard:
    return ChartCard(
        "quarters",
        _("Observed / expected by quarter"),
        _("Defaults that came over those promised, with 95% intervals. On the dashed line the level was right."),
        [
            *(text(_("From")), whole(_("Loans")), whole(_("Defaults")), decimal(_("Expected"), 1)),
            *(decimal(_("O/E"), 2), decimal(_("Low 95%"), 2), decimal(_("High 95%"), 2)),
        ],
        found.quarter_rows(report),
        curves.by_quarter(page.quarters),
        "loans/quarters.html",
    )


def vintages_card(report: dict[str, Any]) -> ChartCard:
    rows = found.vintage_rows(report)
    columns = [
        *(text(_("Originated from")), whole(_("Month on book")), share(_("Defaulted by then")), whole(_("Loans"))),
        *(share(_("Came in all")), share(_("Low 95%")), share(_("High 95%")), share(_("Predicted"))),
    ]
    cells = [
        (row["start"], month, value, row["rows"], row["rate"].value, row["rate"].low, row["rate"].high, row["predicted"])
        for row in rows
        for month, value in enumerate(row["cumulative"], start=1)
    ]
    drawn = [row for row in rows if row["rows"] >= FEWEST_LOANS][-MOST_DRAWN:]
    legend = [
        (
            opacity(place, len(drawn)),
            _("{start}: {rate} came ({low}–{high}), {predicted} predicted, {loans} loans").format(
                start=row["start"],
                rate=percent(row["rate"].value),
                low=percent(row["rate"].low),
                high=percent(row["rate"].high),
                predicted=percent(row["predicted"]),
                loans=figure(row["rows"]),
            ),
        )
        for place, row in enumerate(drawn)
    ]
    why = ""
    if not drawn:
        why = str(dig(report, "vintages", "why") or "") or (_("Too few loans a month to draw.") if rows else train_again())
    by = _("quarter") if dig(report, "vintages", "by") == "quarter" else _("month")
    return ChartCard(
        *(
            "vintages",
            _("Vintages"),
            _("Share of the judged loans that had defaulted by each month on book; dashed at the right edge the predicted level."),
        ),
        *(
            columns,
            cells,
            vintages(drawn),
            "loans/charts/vintages.html",
            _("months on book"),
            _("by {by} of origination, the latest strongest").format(by=by) if drawn else "",
            why,
        ),
        legend=legend,
        wide=True,
    )


def opacity(number: int, of: int) -> str:
    """From a third for the oldest to 1 for the latest."""
    return f"{1 - 0.67 * (of - 1 - number) / max(of - 1, 1):.2f}"


def vintages(rows: list[dict[str, Any]]) -> Chart | None:
    """One line a vintage from nothing on, and a dash at the right edge at its predicted level."""
    if not rows:
        return None
    longest = max(len(row["cumulative"]) for row in rows)
    most = max(max(*row["cumulative"], row["predicted"] or 0.0) for row in rows)
    y, y_ticks = curves.axis(0.0, max(most, 1e-6), TALL - BOTTOM, TOP, share_label, whole=True)
    right = WIDE - RIGHT - 40

    def x(month: int) -> str:
        return f"{LEFT + (right - LEFT) * month / longest:.1f}"

    marks = []
    for place, row in enumerate(rows):
        level = y(row["predicted"] or 0.0)
        marks.append(
            {
                "points": " ".join([f"{x(0)},{y(0.0)}", *(f"{x(month)},{y(value)}" for month, value in enumerate(row["cumulative"], 1))]),
                "promised": f"{right + 6},{level} {WIDE - RIGHT},{level}" if row["predicted"] is not None else "",
                "opacity": opacity(place, len(rows)),
                "title": f"{row['start']}: {percent(row['rate'].value)}, {percent(row['predicted'])} {_('predicted')}",
            }
        )
    every = max(-(-longest // 12), 1)
    ticks = [Tick(x(month), str(month)) for month in range(0, longest + 1, every)]
    return Chart(marks, ticks, y_ticks, width=WIDE, height=TALL, right=WIDE - RIGHT, bottom=TALL - BOTTOM)
