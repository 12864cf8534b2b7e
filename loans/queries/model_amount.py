"""A loan-amount model's report in words (layout: `mlcore.amount.train.train_amount`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from loans.models import ModelVersion
from loans.queries.model_page import Side
from loans.queries.report import Interval, Line, dates, dig, number_of
from loans.queries.words import money, number, percent, whole

CANDIDATES = (
    ("model", gettext_lazy("This model's range")),
    ("asked_capped", gettext_lazy("What was asked for, capped")),
    ("portfolio", gettext_lazy("The portfolio's quantiles, capped")),
)


@dataclass(frozen=True)
class AmountFigure:
    """pinball: the mean over the three quantiles; mae: of the middle. Both with their 95 % intervals, in money."""

    title: str
    pinball: str
    pinball_range: str
    mae: str
    mae_range: str
    mine: bool


@dataclass(frozen=True)
class AmountModelPage:
    version: ModelVersion
    in_words: str
    figures: list[AmountFigure]
    lines: list[Line]
    rule: list[Line]
    sides: list[Side]
    warnings: list[str]


def amount_model_page(version: ModelVersion) -> AmountModelPage:
    report = version.report if isinstance(version.report, dict) else {}
    coverage = Interval.of(report.get("coverage"))
    quantiles = [percent(number_of(level), 0) for level in report.get("quantiles") or []]
    above = number_of(report.get("above_cap_share"))
    same = number_of(report.get("asked_is_carried_share"))
    rows = number_of(report.get("rows"))
    lines = [
        Line(
            _("Amounts inside the range"),
            _shares(coverage),
            _("%(share)s are meant to lie in it") % {"share": percent(number_of(report.get("coverage_wanted")), 0)},
            _("Of the judged loans: the amount carried was between the range's ends, before the cap.")
            if above is not None
            else _("Of the judged loans: the amount carried was between the range's ends."),
        ),
        *(
            [
                Line(
                    _("Carried above the cap"),
                    percent(above),
                    _("inside the capped range: %(shares)s") % {"shares": _shares(Interval.of(report.get("coverage_capped")))},
                    _("Loans that were made although the affordability rule would not have allowed them in full."),
                )
            ]
            if above is not None
            else []
        ),
        Line(
            _("Carried exactly what was asked for"),
            percent(same),
            "",
            _("There “what was asked for” is right by construction, so its small error says little."),
        ),
        Line(
            _("Cut by the affordability rule"),
            percent(number_of(report.get("capped_share"))),
            "",
            _("Ranges whose upper end the rule lowered."),
        ),
        Line(_("Income not known"), percent(number_of(report.get("no_income_share"))), "", _("There no cap applies.")),
        Line(
            _("Learned from"),
            f"{whole(int(rows))} loans" if rows is not None else "–",
            dates(dig(report, "split", "train"), {}),
            _("Repaid in full."),
        ),
        Line("Quantiles", ", ".join(quantiles) or "–", "", _("One in ten carried less than the lowest, one in ten more than the highest.")),
    ]
    ratio, rate, term = (number_of(dig(report, "rule", name)) for name in ("most_debt_to_income", "annual_rate", "term_months"))
    rule = [
        Line(_("All debt payments together"), percent(ratio, 0), _("of gross income at most"), ""),
        Line(_("Interest reckoned with"), percent(rate), "a year", ""),
        Line(_("Term where none is stated"), f"{number(term, 0)} months", "", ""),
    ]
    sides = []
    for key, title in (("train", _("Learned from")), ("test", _("Judged on"))):
        part = dig(report, "split", key)
        if isinstance(part, dict):
            many = number_of(part.get("rows"))
            sides.append(Side(title, number(None if many is None else int(many)), "", dates(part)))
    warnings = [str(text) for text in dig(report, "labels", "warnings") or []]
    return AmountModelPage(
        version, str(report.get("in_words") or ""), amount_figures(report), lines, rule if ratio else [], sides, warnings
    )


def amount_figures(report: dict[str, Any]) -> list[AmountFigure]:
    made = []
    for name, title in CANDIDATES:
        pinball, mae = (Interval.of(dig(report, "figures", name, figure)) for figure in ("pinball", "mae"))
        if pinball.known or mae.known:
            made.append(AmountFigure(title, _money(pinball.value), _range(pinball), _money(mae.value), _range(mae), name == "model"))
    return made


def _money(value: float | None) -> str:
    return "–" if value is None else money(round(value))


def _range(figure: Interval) -> str:
    return "" if figure.low is None or figure.high is None else f"{_money(figure.low)}–{_money(figure.high)}"


def _shares(figure: Interval) -> str:
    if figure.low is None or figure.high is None:
        return percent(figure.value)
    return f"{percent(figure.value)} ({percent(figure.low)}–{percent(figure.high)})"
