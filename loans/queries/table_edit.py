"""An edit of a model's tables in words: which cells, and what it does to the loans with an outcome and the latest applicants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from loans.models import ModelVersion, TableEdit
from loans.queries import words
from loans.queries.model_fairness import group_name
from loans.queries.report import Interval, Line, dig, number_of, rows_of
from loans.queries.words import code, number, percent, points


@dataclass(frozen=True)
class CellChange:
    """tone: raises or lowers the risk."""

    table: str
    cell: str
    before: str
    after: str
    tone: str


@dataclass(frozen=True)
class Compared:
    """A figure before and after the edit, and by how much it moved, with its 95 % interval where there is one."""

    label: str
    before: str
    after: str
    change: str
    help: str


@dataclass(frozen=True)
class EditPage:
    cells: list[CellChange]
    level: str
    outcomes: list[Compared]
    judged: str
    applicants: list[Line]
    seen: str


@dataclass(frozen=True)
class Edited:
    """An edit as a version that was made by it keeps it."""

    pk: int | None
    of: str
    reason: str
    page: EditPage


def edit_page(edit: TableEdit) -> EditPage:
    return _page(edit.cells, edit.effect, edit.keep_level)


def edits_of(version: ModelVersion) -> list[Edited]:
    """The edits that made this version what it is, the oldest first; none where it is as it was trained."""
    report = version.report if isinstance(version.report, dict) else {}
    return [
        Edited(
            int(pk) if (pk := number_of(row.get("edit"))) is not None else None,
            str(row.get("of") or "?"),
            str(row.get("reason") or ""),
            _page(rows_of(row.get("cells")), row.get("effect") or {}, bool(row.get("keep_level"))),
        )
        for row in rows_of(report.get("edits"))
    ]


def _page(cells: list[dict[str, Any]], effect: dict[str, Any], keep_level: bool) -> EditPage:
    outcomes, applicants = effect.get("outcomes") or {}, effect.get("applicants") or {}
    level = number_of(effect.get("level"))
    return EditPage(
        cells=[_cell(row) for row in cells],
        level=_("The level is kept: the intercept moves by %(level)s log-odds, so that the mean probability stays as it was.")
        % {"level": signed(level)}
        if keep_level
        else _("The level is not kept: the mean probability moves with the cells."),
        outcomes=_outcomes(outcomes) if outcomes else [],
        judged=_judged(outcomes) if outcomes else "",
        applicants=_applicants(applicants, number_of(effect.get("cutoff"))) if applicants else [],
        seen=_("the %(number)s applicants who were scored last") % {"number": number(int(number_of(applicants.get("rows")) or 0))}
        if applicants
        else "",
    )


def _cell(row: dict[str, Any]) -> CellChange:
    before, after = number_of(row.get("from")), number_of(row.get("to"))
    tone = "" if before is None or after is None or before == after else "raises" if after > before else "lowers"
    return CellChange(str(row.get("table")), str(row.get("cell")), signed(before), signed(after), tone)


def _judged(outcomes: dict[str, Any]) -> str:
    rows, defaults = (number(int(number_of(outcomes.get(name)) or 0)) for name in ("rows", "defaults"))
    dates = f", submitted {outcomes['from']} to {outcomes['until']}" if outcomes.get("from") else ""
    return _("%(rows)s loans with an outcome%(dates)s; %(defaults)s defaulted") % {"rows": rows, "dates": dates, "defaults": defaults}


def _outcomes(outcomes: dict[str, Any]) -> list[Compared]:
    made: list[Compared] = []
    for label, name, digits, help in (
        ("AUC", "auc", 4, _("How often a loan that defaulted is ranked above one that was repaid.")),
        (_("Brier score"), "brier", 5, _("Less is better.")),
        ("Observed / expected", "oe", 3, "1 is exact."),
    ):
        before, after = (Interval.of(dig(outcomes, side, name)) for side in ("before", "after"))
        change = Interval.of(outcomes.get(f"{name}_change"))
        if change.value is None and before.value is not None and after.value is not None:
            change = Interval(after.value - before.value)
        made.append(Compared(label, before.words(digits), after.words(digits), _moved(change, digits), help))
    return made + [_fairness(row) for row in rows_of(outcomes.get("fairness"))]


def _fairness(row: dict[str, Any]) -> Compared:
    before, after = (number_of(dig(row, side, "ratio")) for side in ("before", "after"))
    flagged = dig(row, "after", "flagged")

    def said(side: str, ratio: float | None) -> str:
        lowest = dig(row, side, "lowest")
        return "–" if ratio is None else f"{number(ratio, 2)}{f' ({group_name(str(lowest))})' if lowest else ''}"

    return Compared(
        _("Adverse impact ratio, %(lower)s") % {"lower": code(str(row.get("name"))).lower()},
        said("before", before),
        said("after", after),
        "–" if before is None or after is None else signed(after - before, 2),
        _("The group that is approved least, against the reference.")
        + (_(" Below four fifths, by more than chance.") if flagged else _(" Four fifths are the usual line.")),
    )


def _moved(change: Interval, digits: int) -> str:
    if change.value is None:
        return "–"
    range_ = "" if change.low is None or change.high is None else f" ({signed(change.low, digits)} to {signed(change.high, digits)})"
    return signed(change.value, digits) + range_


def _applicants(applicants: dict[str, Any], cutoff: float | None) -> list[Line]:
    found = {name: number_of(value) for name, value in applicants.items()}

    def count(name: str) -> str:
        return number(int(found.get(name) or 0))

    cut = percent(cutoff)
    return [
        Line(_("Reached by the cells"), count("touched"), f"of {count('rows')}", _("Whose score the changed cells themselves move.")),
        Line(
            _("Mean probability"),
            percent(found.get("mean_after"), 2),
            f"before {percent(found.get('mean_before'), 2)}: {points(found.get('mean_shift'))} points",
            _("On average each moves by %(share)s.") % {"share": percent(found.get("mean_absolute_shift"), 2)},
        ),
        Line(
            _("The furthest"),
            f"{points(found.get('largest_rise'))} points",
            f"and {points(found.get('largest_fall'))} points",
            _("Of default probability, for one applicant."),
        ),
        Line(
            _("Would come below the cut-off"),
            count("into_approval"),
            _("the cut-off is %(cut)s") % {"cut": cut},
            _("Not approved before, approved with the edit."),
        ),
        Line(
            _("Would no longer be below it"),
            count("out_of_approval"),
            _("the cut-off is %(cut)s") % {"cut": cut},
            _("Approved before, not with the edit."),
        ),
        Line(_("Below the cut-off"), count("approved_after"), f"before {count('approved_before')}", _("In all.")),
    ]


def signed(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else words.signed(round(value, digits) + 0.0, digits)
