"""A model version as people read it: what it is worth, how it was chosen, what it rests on. From the report that its training wrote.

What an older report lacks is shown as a dash or not at all, so that an old version's page never fails.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from loans.models import ModelVersion
from loans.queries.report import Interval, Line, dates, dig, number_of, rows_of
from loans.queries.words import number, percent, whole

SYNTHETIC = gettext_lazy("Made up by the demo generator: trained on generated applications, worth nothing for real ones.")


@dataclass(frozen=True)
class Worth:
    """What a model is worth, in the few figures that an officer needs. portfolio: the default rate of all loans that it learned from."""

    version: ModelVersion
    algorithm: str
    auc: Interval
    cut: float | None
    portfolio: float | None
    lines: list[Line]
    synthetic: bool

    @property
    def in_words(self) -> str:
        if self.auc.value is None:
            return _("Its report has no out-of-time figures.")
        many = round(self.auc.value * 100)
        return _(
            "Of a loan that defaulted and one that was repaid it calls the right one riskier %(many)s times in 100; chance would be 50."
        ) % {"many": many}


def worth(version: ModelVersion) -> Worth:
    report = version.report
    figures = dig(report, "champion", "figures") or {}
    auc, oe = Interval.of(figures.get("auc")), Interval.of(figures.get("oe"))
    rate = number_of(dig(report, "baselines", "default_rate"))
    majority = number_of(dig(report, "baselines", "majority_accuracy"))
    accuracy = number_of(dig(figures, "accuracy", "value"))
    by_time = dig(report, "split", "how") == "time"
    judged = dig(report, "split", "test") or {}
    rows = number_of(dig(report, "data", "rows"))
    lines = [
        Line(
            _("AUC on later loans") if by_time else _("AUC on unseen loans"),
            auc.words(),
            "0.5 for a coin",
            _("How often a loan that defaulted is ranked above one that was repaid."),
        ),
        Line("Observed / expected", oe.words(2), "1 is exact", _("Defaults that came, over the defaults that the probabilities promised.")),
        Line(
            _("Default rate there"),
            percent(rate),
            "",
            _("The share of the judged loans that defaulted: what a model that knows nothing would say of everyone."),
        ),
        Line(
            "Accuracy",
            percent(accuracy),
            _("%(majority)s by always saying the more frequent") % {"majority": percent(majority)},
            _("Says little where defaults are rare; read it only beside the majority's."),
        ),
        Line(_("Learned from"), f"{whole(int(rows))} loans" if rows is not None else "–", dates(dig(report, "split", "train"), judged), ""),
    ]
    return Worth(
        version=version,
        algorithm=str(dig(report, "choice", "title") or version.algorithm),
        auc=auc,
        cut=number_of(dig(report, "policy", "current", "cutoff")) or number_of(dig(report, "policy", "break_even")),
        portfolio=number_of(dig(report, "data", "default_rate")) or rate,
        lines=lines,
        synthetic=version.synthetic,
    )


@dataclass(frozen=True)
class Cell:
    value: str
    interval: str = ""


@dataclass(frozen=True)
class Rung:
    """cells: AUC, how far it is behind the best's, KS, Brier, log-loss, O/E, slope, accuracy, profit, seconds to fit: the table's order."""

    title: str
    chosen: bool
    cells: list[Cell]


@dataclass(frozen=True)
class Side:
    """One part of the split: how many loans, how many of them defaulted, from when to when."""

    title: str
    rows: str
    defaults: str
    dates: str


@dataclass(frozen=True)
class Finding:
    severity: str
    message: str

    @property
    def grave(self) -> bool:
        return self.severity in ("leak", "error")


@dataclass(frozen=True)
class Share:
    """A named share of a whole; `width` is a per cent of the largest."""

    title: str
    share: str
    mean: str
    width: str


@dataclass(frozen=True)
class ModelPage:
    version: ModelVersion
    worth: Worth
    why: str
    production: str
    split: str
    sides: list[Side]
    rungs: list[Rung]
    prior: str
    reliability: list[dict[str, Any]]
    calibration_method: str
    distribution: dict[str, Any]
    roc: dict[str, Any]
    quarters: list[dict[str, Any]]
    importance: list[Share]
    warnings: list[str]
    findings: list[Finding]
    left_out: list[dict[str, str]]
    grades: list[dict[str, str]]
    policy: list[Line] = field(default_factory=list)
    blocking: bool = False


def model_page(version: ModelVersion) -> ModelPage:
    report = version.report if isinstance(version.report, dict) else {}
    return ModelPage(
        version=version,
        worth=worth(version),
        why=str(dig(report, "choice", "in_words") or ""),
        production=str(dig(report, "production", "in_words") or ""),
        split=str(dig(report, "split", "in_words") or ""),
        sides=_sides(report),
        rungs=[_rung(row) for row in rows_of(report.get("ladder"))],
        prior=str(dig(report, "baselines", "in_words") or ""),
        reliability=[row for row in rows_of(dig(report, "calibration", "curve")) if row.get("predicted") is not None],
        calibration_method=str(dig(report, "calibration", "method") or ""),
        distribution=dig(report, "distribution") or {},
        roc=dig(report, "roc") or {},
        quarters=[
            {
                "period": row.get("period"),
                "rows": row.get("rows"),
                "defaults": row.get("defaults"),
                "expected": number(number_of(row.get("expected")), 1),
                "oe": Interval.of(row.get("oe")).words(2),
                "interval": Interval.of(row.get("oe")),
            }
            for row in rows_of(report.get("by_quarter"))
        ],
        importance=_shares(rows_of(report.get("families")) or rows_of(report.get("importance")), report),
        warnings=[str(text) for text in report.get("warnings") or []],
        findings=[
            Finding(str(row.get("severity", "")), str(row.get("message", ""))) for row in rows_of(dig(report, "leakage", "findings"))
        ],
        left_out=[{"title": str(row.get("title", "")), "why": str(row.get("why", ""))} for row in rows_of(dig(report, "data", "left_out"))],
        grades=[
            {"grade": str(row.get("grade", "")), "range": f"{percent(number_of(row.get('from')))} – {percent(number_of(row.get('to')))}"}
            for row in rows_of(dig(report, "production", "grades"))
        ],
        policy=_policy(report),
        blocking=bool(dig(report, "leakage", "blocking")),
    )


def _rung(row: dict[str, Any]) -> Rung:
    figures = row.get("figures") or {}

    def of(name: str, digits: int) -> Cell:
        figure = Interval.of(figures.get(name))
        return Cell(number(figure.value, digits), figure.range(digits))

    cells = [of(name, digits) for name, digits in (("auc", 3), ("ks", 3), ("brier", 4), ("log_loss", 4), ("oe", 2), ("slope", 2))]
    cells.insert(1, _behind(row))
    cells += [Cell(percent(number_of(dig(figures, name, "value")), digits)) for name, digits in (("accuracy", 1), ("profit", 2))]
    cells.append(Cell(number(number_of(row.get("fit_seconds")), 1)))
    return Rung(title=str(row.get("title") or row.get("rung") or "?"), chosen=bool(row.get("chosen")), cells=cells)


def _behind(row: dict[str, Any]) -> Cell:
    """How much AUC is missing to the best rung, with the standard error that the choice allows."""
    if row.get("best"):
        return Cell("best")
    value, se = number_of(dig(row, "behind_best", "value")), number_of(dig(row, "behind_best", "se"))
    return Cell(number(value), "" if se is None else f"SE {number(se)}")


def _sides(report: dict[str, Any]) -> list[Side]:
    made = []
    for key, title in (("train", _("Learned from")), ("calibration", _("Calibrated on")), ("test", _("Judged on"))):
        part = dig(report, "split", key)
        if isinstance(part, dict):
            rows, rate = number_of(part.get("rows")), number_of(part.get("default_rate"))
            made.append(
                Side(title, number(None if rows is None else int(rows)), f"{part.get('defaults', '–')} ({percent(rate)})", dates(part))
            )
    return made


def _shares(rows: list[dict[str, Any]], report: dict[str, Any]) -> list[Share]:
    titles = {row.get("column"): row.get("title") for row in rows_of(report.get("importance"))}
    most = max((number_of(row.get("share")) or 0.0 for row in rows), default=0.0) or 1.0
    made = []
    for row in rows[:20]:
        columns = [str(titles.get(name) or name) for name in row.get("columns") or []]
        title = ", ".join(columns) or str(row.get("title") or row.get("family") or "?")
        share = number_of(row.get("share")) or 0.0
        made.append(Share(title, percent(share), number(number_of(row.get("mean"))), f"{100 * share / most:.1f}"))
    return made


def _policy(report: dict[str, Any]) -> list[Line]:
    current = dig(report, "policy", "current")
    if not isinstance(current, dict):
        return []
    margin, loss = number_of(dig(report, "policy", "terms", "margin")), number_of(dig(report, "policy", "terms", "loss_given_default"))
    bad = Interval(number_of(current.get("bad_rate")), number_of(current.get("bad_rate_low")), number_of(current.get("bad_rate_high")))
    beside = f"{percent(bad.low)}–{percent(bad.high)}" if bad.low is not None else ""
    return [
        Line(
            "Cut",
            percent(number_of(current.get("cutoff"))),
            f"margin {percent(margin, 0)}, loss {percent(loss, 0)}",
            _("At this default probability a loan is expected to earn nothing."),
        ),
        Line(_("Approved there"), percent(number_of(current.get("approval_rate"))), "", _("The share of the judged loans below the cut.")),
        Line(
            _("Of those defaulted"),
            percent(bad.value),
            beside,
            _("With its 95 % interval; compare it with the default rate of all judged loans."),
        ),
        Line(
            "Profit",
            percent(number_of(current.get("profit_share")), 2),
            _("of all that was applied for"),
            _("Under the margin and the loss stated, from the outcomes that came."),
        ),
    ]
