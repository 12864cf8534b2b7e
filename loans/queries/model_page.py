"""A model version as people read it: what it is worth, how it was chosen, what it rests on. From the report that its training wrote.

The report's layout is `mlcore.risk.report.build`'s. An older or foreign report may lack any key: what is absent is shown as a dash or
not at all, so that an old version's page never fails.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from loans.models import ModelVersion
from loans.queries.words import number, percent

SYNTHETIC = "Made up by the demo generator: trained on generated applications, worth nothing for real ones."


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval, where the report has one."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, figure: Any) -> Interval:
        if isinstance(figure, dict):
            return cls(*(_number(figure.get(name)) for name in ("value", "low", "high")))
        return cls(_number(figure))

    @property
    def known(self) -> bool:
        return self.value is not None

    def range(self, digits: int = 3) -> str:
        return "" if self.low is None or self.high is None else f"{number(self.low, digits)}–{number(self.high, digits)}"

    def words(self, digits: int = 3) -> str:
        range_ = self.range(digits)
        return f"{number(self.value, digits)} ({range_})" if range_ else number(self.value, digits)

    def __str__(self) -> str:
        return self.words()


@dataclass(frozen=True)
class Line:
    """One figure with the baseline to read it against and one sentence of help."""

    label: str
    value: str
    beside: str = ""
    help: str = ""


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
            return "Its report has no out-of-time figures."
        many = round(self.auc.value * 100)
        return f"Of a loan that defaulted and one that was repaid it calls the right one riskier {many} times in 100; chance would be 50."


def dig(report: Any, *keys: str) -> Any:
    """report[a][b]…, None where any of it is absent."""
    for key in keys:
        if not isinstance(report, dict):
            return None
        report = report.get(key)
    return report


def worth(version: ModelVersion) -> Worth:
    report = version.report
    figures = dig(report, "champion", "figures") or {}
    auc, oe = Interval.of(figures.get("auc")), Interval.of(figures.get("oe"))
    rate = _number(dig(report, "baselines", "default_rate"))
    majority = _number(dig(report, "baselines", "majority_accuracy"))
    accuracy = _number(dig(figures, "accuracy", "value"))
    by_time = dig(report, "split", "how") == "time"
    judged = dig(report, "split", "test") or {}
    rows = _number(dig(report, "data", "rows"))
    lines = [
        Line(
            "AUC on later loans" if by_time else "AUC on unseen loans",
            auc.words(),
            "0.5 for a coin",
            "How often a loan that defaulted is ranked above one that was repaid.",
        ),
        Line("Observed / expected", oe.words(2), "1 is exact", "Defaults that came, over the defaults that the probabilities promised."),
        Line(
            "Default rate there",
            percent(rate),
            "",
            "The share of the judged loans that defaulted: what a model that knows nothing would say of everyone.",
        ),
        Line(
            "Accuracy",
            percent(accuracy),
            f"{percent(majority)} by always saying the more frequent",
            "Says little where defaults are rare; read it only beside the majority's.",
        ),
        Line("Learned from", f"{int(rows):,} loans" if rows is not None else "–", _dates(dig(report, "split", "train"), judged), ""),
    ]
    return Worth(
        version=version,
        algorithm=str(dig(report, "choice", "title") or version.algorithm),
        auc=auc,
        cut=_number(dig(report, "policy", "current", "cutoff")) or _number(dig(report, "policy", "break_even")),
        portfolio=_number(dig(report, "data", "default_rate")) or rate,
        lines=lines,
        synthetic=version.synthetic,
    )


@dataclass(frozen=True)
class Cell:
    value: str
    interval: str = ""


@dataclass(frozen=True)
class Rung:
    """cells: AUC, KS, Brier, log-loss, O/E, slope, accuracy, profit, seconds to fit, in the table's order."""

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
        rungs=[_rung(row) for row in _list(report.get("ladder"))],
        prior=str(dig(report, "baselines", "in_words") or ""),
        reliability=[row for row in _list(dig(report, "calibration", "curve")) if row.get("predicted") is not None],
        calibration_method=str(dig(report, "calibration", "method") or ""),
        distribution=dig(report, "distribution") or {},
        roc=dig(report, "roc") or {},
        quarters=[
            {
                "period": row.get("period"),
                "rows": row.get("rows"),
                "defaults": row.get("defaults"),
                "expected": number(_number(row.get("expected")), 1),
                "oe": Interval.of(row.get("oe")).words(2),
            }
            for row in _list(report.get("by_quarter"))
        ],
        importance=_shares(_list(report.get("families")) or _list(report.get("importance")), report),
        warnings=[str(text) for text in report.get("warnings") or []],
        findings=[Finding(str(row.get("severity", "")), str(row.get("message", ""))) for row in _list(dig(report, "leakage", "findings"))],
        left_out=[{"title": str(row.get("title", "")), "why": str(row.get("why", ""))} for row in _list(dig(report, "data", "left_out"))],
        grades=[
            {"grade": str(row.get("grade", "")), "range": f"{percent(_number(row.get('from')))} – {percent(_number(row.get('to')))}"}
            for row in _list(dig(report, "production", "grades"))
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
    cells += [Cell(percent(_number(dig(figures, name, "value")), digits)) for name, digits in (("accuracy", 1), ("profit", 2))]
    cells.append(Cell(number(_number(row.get("fit_seconds")), 1)))
    return Rung(title=str(row.get("title") or row.get("rung") or "?"), chosen=bool(row.get("chosen")), cells=cells)


def _sides(report: dict[str, Any]) -> list[Side]:
    made = []
    for key, title in (("train", "Learned from"), ("calibration", "Calibrated on"), ("test", "Judged on")):
        part = dig(report, "split", key)
        if isinstance(part, dict):
            rows, rate = _number(part.get("rows")), _number(part.get("default_rate"))
            made.append(
                Side(title, number(None if rows is None else int(rows)), f"{part.get('defaults', '–')} ({percent(rate)})", _dates(part))
            )
    return made


def _shares(rows: list[dict[str, Any]], report: dict[str, Any]) -> list[Share]:
    titles = {row.get("column"): row.get("title") for row in _list(report.get("importance"))}
    most = max((_number(row.get("share")) or 0.0 for row in rows), default=0.0) or 1.0
    made = []
    for row in rows[:20]:
        columns = [str(titles.get(name) or name) for name in row.get("columns") or []]
        title = ", ".join(columns) or str(row.get("title") or row.get("family") or "?")
        share = _number(row.get("share")) or 0.0
        made.append(Share(title, percent(share), number(_number(row.get("mean"))), f"{100 * share / most:.1f}"))
    return made


def _policy(report: dict[str, Any]) -> list[Line]:
    current = dig(report, "policy", "current")
    if not isinstance(current, dict):
        return []
    margin, loss = _number(dig(report, "policy", "terms", "margin")), _number(dig(report, "policy", "terms", "loss_given_default"))
    bad = Interval(_number(current.get("bad_rate")), _number(current.get("bad_rate_low")), _number(current.get("bad_rate_high")))
    beside = f"{percent(bad.low)}–{percent(bad.high)}" if bad.low is not None else ""
    return [
        Line(
            "Cut",
            percent(_number(current.get("cutoff"))),
            f"margin {percent(margin, 0)}, loss {percent(loss, 0)}",
            "At this default probability a loan is expected to earn nothing.",
        ),
        Line("Approved there", percent(_number(current.get("approval_rate"))), "", "The share of the judged loans below the cut."),
        Line(
            "Of those defaulted",
            percent(bad.value),
            beside,
            "With its 95 % interval; compare it with the default rate of all judged loans.",
        ),
        Line(
            "Profit",
            percent(_number(current.get("profit_share")), 2),
            "of all that was applied for",
            "Under the margin and the loss stated, from the outcomes that came.",
        ),
    ]


def _dates(*parts: Any) -> str:
    """From the first part's beginning to the last part's end."""
    start = next((part.get("from") for part in parts if isinstance(part, dict) and part.get("from")), None)
    end = next((part.get("until") for part in reversed(parts) if isinstance(part, dict) and part.get("until")), None)
    return f"{start} to {end}" if start and end else ""


def _list(value: Any) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
