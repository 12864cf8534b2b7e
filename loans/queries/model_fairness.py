"""Whom a model would turn away, in words: the fairness part of a training's report (layout: `mlcore.risk.fairness.fairness_report`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from django.utils.text import slugify
from django.utils.translation import gettext as _

from loans.models import ModelVersion
from loans.queries.report import Interval, dig, number_of, rows_of
from loans.queries.words import code, number, percent, signed

FOUR_FIFTHS = 0.8


@dataclass(frozen=True)
class GroupRow:
    """ratio: approval rate over the reference group's. width: the approval rate in per cent, for its bar."""

    name: str
    rows: str
    small: bool
    reference: bool
    approval: str
    approval_range: str
    width: str
    ratio: str
    ratio_range: str
    chance: str
    gap: str
    predicted: str
    observed: str
    oe: str
    flagged: bool


@dataclass(frozen=True)
class Characteristic:
    """chart: the name under which its figures are had as CSV."""

    chart: str
    title: str
    verdict: str
    flagged: bool
    groups: list[GroupRow]


@dataclass(frozen=True)
class Alternative:
    """A rung at a cut-off that is less discriminatory within the stated loss of profit."""

    rung: str
    cutoff: str
    ratio: str
    ratio_now: str
    approval: str
    bad_rate: str
    cost: str
    halves: str


@dataclass(frozen=True)
class Fairness:
    """characteristics: none where the report compares nothing; `text` then says why."""

    text: str
    cutoff: str
    characteristics: list[Characteristic]
    flagged: list[str]
    search: str
    alternative: Alternative | None


def fairness(version: ModelVersion) -> Fairness:
    found = dig(version.report, "fairness")
    if not isinstance(found, dict):
        return Fairness(
            _(
                "No protected characteristics were given with these loans, so nothing can be said of how groups fare. "
                "They come in with an import (attributes declared as protected), stay out of every model, and are read "
                "for this report alone."
            ),
            "",
            [],
            [],
            "",
            None,
        )
    names = set(found.get("flagged") or [])
    made = [_characteristic(row, row.get("name") in names) for row in rows_of(found.get("characteristics"))]
    flagged = [one.title for one in made if one.flagged]
    if not any(group.ratio != "–" for one in made for group in one.groups):
        text = _("No characteristic has two groups that are large enough to compare.")
    elif flagged:
        text = _(
            "%(flagged)s: a group is approved less than four fifths as often as the reference group, by more than "
            "chance explains. Look at why before this version serves; it is a reason to ask, not yet a proof of "
            "discrimination."
        ) % {"flagged": _listed(flagged)}
    else:
        text = _("No group is approved less than four fifths as often as its reference group by more than chance explains.")
    search, alternative = _search(found.get("alternatives"))
    return Fairness(text, percent(number_of(found.get("cutoff"))), made, flagged, search, alternative)


def _characteristic(row: dict[str, Any], flagged: bool) -> Characteristic:
    reference = row.get("reference")
    groups = [_group(each, reference) for each in rows_of(row.get("groups"))]
    ratio = number_of(row.get("adverse_impact_ratio"))
    if ratio is None:
        verdict = _("No two groups are large enough to compare.")
    else:
        lowest, against = group_name(row.get("lowest")), group_name(reference)
        verdict = _("For every 100 approvals among “%(against)s” there are %(what)s among as many of “%(lowest)s”") % {
            "against": against,
            "what": f"{100 * ratio:.0f}",
            "lowest": lowest,
        }
        if ratio >= FOUR_FIFTHS:
            verdict += _(": within four fifths.")
        else:
            verdict += (
                _(": below four fifths, more than chance explains.") if flagged else _(": below four fifths, which chance can explain.")
            )
    chart = f"fairness-{slugify(str(row.get('name', '')))}"
    return Characteristic(chart, str(row.get("title") or code(str(row.get("name", "?")))), verdict, flagged, groups)


def _group(row: dict[str, Any], reference: Any) -> GroupRow:
    approval, ratio, p = (number_of(row.get(name)) for name in ("approval_rate", "adverse_impact_ratio", "p"))
    low, high = number_of(row.get("approval_low")), number_of(row.get("approval_high"))
    gap = number_of(row.get("equal_opportunity_gap"))
    return GroupRow(
        name=group_name(row.get("group")),
        rows=number(int(number_of(row.get("rows")) or 0)),
        small=bool(row.get("small")),
        reference=reference is not None and row.get("group") == reference,
        approval=percent(approval),
        approval_range=f"{percent(low)}–{percent(high)}" if low is not None and high is not None else "",
        width=f"{100 * (approval or 0.0):.1f}",
        ratio=number(ratio, 2),
        ratio_range=Interval(ratio, number_of(row.get("ratio_low")), number_of(row.get("ratio_high"))).range(2),
        chance="" if p is None else "p < 0.001" if p < 0.001 else f"p = {p:.3f}",
        gap="–" if gap is None else signed(100 * gap, 1),
        predicted=percent(number_of(row.get("predicted"))),
        observed=percent(number_of(row.get("observed"))),
        oe=Interval.of(row.get("oe")).words(2),
        flagged=ratio is not None and p is not None and ratio < FOUR_FIFTHS and p < 0.05,
    )


def _search(found: Any) -> tuple[str, Alternative | None]:
    if not isinstance(found, dict):
        return "", None
    searched, within = number(found.get("searched")), percent(number_of(found.get("profit_loss")), 0)
    best, now = found.get("found"), found.get("chosen") or {}
    if not isinstance(best, dict):
        return (
            _("%(searched)s combinations of rung and cut-off were tried; none is clearly fairer within %(within)s of the profit.")
            % {"searched": searched, "within": within},
            None,
        )
    profit, profit_now = number_of(best.get("realised_profit")), number_of(now.get("realised_profit"))
    change = (profit - profit_now) / abs(profit_now) if profit is not None and profit_now else None
    halves = [number(number_of(each), 2) for each in found.get("halves") or []]
    return (
        _("%(searched)s combinations of rung and cut-off were tried; this one is fairer and costs at most %(within)s of the profit.")
        % {"searched": searched, "within": within},
        Alternative(
            rung=code(str(best.get("rung", "?"))),
            cutoff=percent(number_of(best.get("cutoff"))),
            ratio=number(number_of(best.get("adverse_impact_ratio")), 2),
            ratio_now=number(number_of(now.get("adverse_impact_ratio")), 2),
            approval=f"{percent(number_of(best.get('approval_rate')))} instead of {percent(number_of(now.get('approval_rate')))}",
            bad_rate=f"{percent(number_of(best.get('bad_rate')))} instead of {percent(number_of(now.get('bad_rate')))}",
            cost="not known" if change is None else f"{percent(abs(change))} {'less' if change < 0 else 'more'}",
            halves=" and ".join(halves),
        ),
    )


def group_name(value: Any) -> str:
    """`65_plus` → `65 plus`, `25_34` → `25–34`, `under_25` → `Under 25`."""
    return code(re.sub(r"(?<=\d)_(?=\d)", "–", str(value))).replace("_", " ")


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
