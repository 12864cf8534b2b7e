"""A fraud model's report in words (layout: `mlcore.fraud.train.train_fraud`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from loans.models import ModelVersion
from loans.queries.model_page import Side
from loans.queries.report import Interval, Line, dates, dig, number_of, rows_of
from loans.queries.words import number, percent, whole

TOO_FEW = "cleared cases; a model takes"
"""The training's own words for what `_learned` says in more of them."""
PARTS = ("rules", "anomaly", "weights", "supervised", "merged")
HOW = {
    "time": gettext_lazy("Judged on the latest findings, learned from the earlier ones."),
    "folds": gettext_lazy("Judged in turn on a third of the findings, learned from the others: there are too few to hold the latest back."),
    "all": gettext_lazy("Nothing was learned from these findings, so all of them judge."),
}
SELECTED = gettext_lazy(
    "Findings are of applications that were flagged, or drawn for a random review. The figures say how well "
    "such applications are put in order, not how many frauds nobody looked at."
)


@dataclass(frozen=True)
class PartFigure:
    """One part of the score on the judged findings, each figure with its 95 % interval. at_capacity: – where nobody had to choose."""

    title: str
    auc: str
    auc_range: str
    recall: str
    recall_range: str
    precision: str
    precision_range: str
    caught: str
    serves: bool


@dataclass(frozen=True)
class FraudModelPage:
    version: ModelVersion
    in_words: str
    figures: list[PartFigure]
    gain: str
    how: str
    sides: list[Side]
    capacity: str
    lines: list[Line]
    compared: list[dict[str, Any]]
    warnings: list[str]


def fraud_model_page(version: ModelVersion) -> FraudModelPage:
    report = version.report if isinstance(version.report, dict) else {}
    sides = []
    for key, title in (("train", _("Learned from")), ("test", _("Judged on"))):
        side = dig(report, "judged", key)
        if isinstance(side, dict):
            cases, frauds = number_of(side.get("cases")), number_of(side.get("frauds"))
            sides.append(Side(title, _count(cases), _count(frauds), dates(side)))
    capacity, rate = (number_of(dig(report, "judged", "at_capacity", name)) for name in ("capacity", "rate"))
    return FraudModelPage(
        version=version,
        in_words=str(report.get("in_words") or ""),
        figures=fraud_figures(report),
        gain=_gain(report),
        how=HOW.get(str(dig(report, "judged", "how")), ""),
        sides=sides,
        capacity=""
        if capacity is None
        else _("%(capacity)s a day, %(rate)s of all judged were frauds") % {"capacity": whole(capacity), "rate": percent(rate)},
        lines=fraud_lines(report),
        compared=[
            {
                "title": " and ".join(str(name) for name in row.get("rungs") or []),
                "auc": number(number_of(row.get("auc"))),
                "log_loss": number(number_of(row.get("log_loss")), 4),
                "chosen": row.get("rungs") == dig(report, "supervised", "chosen"),
            }
            for row in rows_of(dig(report, "supervised", "compared"))
        ],
        warnings=[*filter(None, [_learned(report)]), *(text for text in map(str, report.get("warnings") or []) if TOO_FEW not in text)],
    )


def fraud_figures(report: dict[str, Any]) -> list[PartFigure]:
    figures = dig(report, "judged", "figures") or {}
    last = next((name for name in reversed(PARTS) if name in figures), "")
    made = []
    for name in PARTS:
        part = figures.get(name)
        if not isinstance(part, dict):
            continue
        auc, recall = Interval.of(part.get("auc")), Interval.of(part.get("recall_at_5fpr"))
        daily = dig(report, "judged", "at_capacity", "parts", name) or {}
        precision = Interval(*(number_of(daily.get(key)) for key in ("precision", "precision_low", "precision_high")))
        made.append(
            PartFigure(
                title=str(part.get("title") or name),
                auc=number(auc.value),
                auc_range=auc.range(),
                recall=percent(recall.value),
                recall_range=_range(recall),
                precision=percent(precision.value),
                precision_range=_range(precision),
                caught=percent(number_of(daily.get("value_share"))),
                serves=name == last and name in ("merged", "weights"),
            )
        )
    return made


def fraud_lines(report: dict[str, Any]) -> list[Line]:
    confirmed, cleared, sampled = (number_of(dig(report, "labels", name)) for name in ("confirmed", "cleared", "sampled"))
    made = [
        Line(
            _("What is usual"), f"{_count(number_of(dig(report, 'anomaly', 'rows')))} applications", _columns(report), _("The latest ones.")
        ),
        Line(
            "Findings",
            f"{_count(confirmed)} confirmed, {_count(cleared)} cleared",
            _least(report),
            _("Of flags and random reviews, once their delay is over and as long as nobody took them back."),
        ),
        Line(_("Of them drawn at random"), _count(sampled), "", _("Each stands for many applications that nobody looked at.")),
    ]
    oe = Interval.of(dig(report, "judged", "probability", "oe"))
    loss, prior = (number_of(dig(report, "judged", "probability", name)) for name in ("log_loss", "prior_log_loss"))
    if oe.known:
        made += [
            Line("Observed / expected", oe.words(2), "1 is exact", _("Frauds found, over those that the probabilities promised.")),
            Line("Log-loss", number(loss, 4), _("%(prior)s with one rate for all") % {"prior": number(prior, 4)}, _("Less is better.")),
        ]
    return made


def _learned(report: dict[str, Any]) -> str:
    """The supervised part, said in so many words where there is none."""
    if report.get("supervised"):
        return ""
    confirmed, cleared = (number_of(dig(report, "labels", name)) for name in ("confirmed", "cleared"))
    return _(
        "It has no part that was learned from findings: there are %(confirmed)s confirmed and %(cleared)s "
        "cleared, %(report)s. Until then no score here is a probability; rules and anomaly are added up by stated "
        "weights."
    ) % {"confirmed": _count(confirmed), "cleared": _count(cleared), "report": _least(report)}


def _least(report: dict[str, Any]) -> str:
    least = [number_of(each) for each in dig(report, "labels", "least") or []]
    return _("it takes %(count)s and %(count_2)s") % {"count": _count(least[0]), "count_2": _count(least[1])} if len(least) == 2 else ""


def _columns(report: dict[str, Any]) -> str:
    columns = number_of(dig(report, "anomaly", "columns"))
    return "" if columns is None else _("by %(columns)s columns that vary") % {"columns": whole(columns)}


def _gain(report: dict[str, Any]) -> str:
    value, low, high = (number_of(dig(report, "judged", "gain", name)) for name in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return ""
    signed = f"{value:+.3f} ({low:+.3f} to {high:+.3f})".replace("-", "−")
    verdict = "better than" if low > 0 else "worse than" if high < 0 else _("not to be told from")
    return _("What was learned moves the AUC by %(signed)s, so the whole is %(verdict)s rules and anomaly by stated weights.") % {
        "signed": signed,
        "verdict": verdict,
    }


def _count(value: float | None) -> str:
    return "–" if value is None else whole(value)


def _range(figure: Interval) -> str:
    return "" if figure.low is None or figure.high is None else f"{percent(figure.low)}–{percent(figure.high)}"
