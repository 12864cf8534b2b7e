"""One score an application, from rules, anomaly and (once there is one) the supervised model, and what it rests on in words.

Before there are confirmed cases there is no probability to be had, so evidence is added up as weights (in log-odds, from a stated base
rate): a rule by its severity, only the gravest of each family; an unusual application by how unusual it is. This is a ranking by stated
weights, and it says so. With a supervised model its calibrated probability takes their place; a critical rule still sets a floor, since
a hit on a known fraud is a fact and no pattern.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, log
from typing import Any

from mlcore.fraud.facts import LABELS
from mlcore.fraud.rules import SEVERITIES, Condition, Trace

BASE_RATE = 0.005
"""Assumed share of frauds where none was ever confirmed: it moves every expected loss alike and changes no order."""
WEIGHTS: dict[str, float] = {"low": 0.7, "medium": 1.7, "high": 3.3, "critical": 5.0}
"""Log-odds that a hit adds: a likelihood ratio of 2, 5.5, 27 and 150. Stated, not learned."""
ODD_FROM = 0.95
MOST_ODD = 1.5
FLOOR = 0.5
"""No supervised score takes an application with a critical hit below this."""
MOST_WORDS = 5


@dataclass(frozen=True)
class Thresholds:
    """Who is flagged: from this rule severity on, from this supervised probability on, or from this share of less unusual ones on."""

    severity: str = "medium"
    probability: float = 0.2
    unusual: float = 0.998


@dataclass(frozen=True)
class Judged:
    """What the fraud model (`mlcore.fraud.model`) says of one application; None and empty for a part that it lacks.

    unusual: share of applications that look less unusual; odd: its rarest columns. probability: of fraud, calibrated; drivers: (column,
    log-odds) that raise it most. labels: {column: words}.
    """

    unusual: float | None = None
    odd: list[str] = field(default_factory=list)
    probability: float | None = None
    drivers: list[tuple[str, float]] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """score: in (0, 1). calibrated: whether it is a probability or a ranking by stated weights. severity: "" where nothing is flagged.

    evidence: what it rests on, the weightiest first: {"source", "code", "text", "severity", "weight"} and for rules their conditions.
    """

    score: float
    calibrated: bool
    severity: str
    evidence: list[dict[str, Any]]

    @property
    def flagged(self) -> bool:
        return bool(self.severity)

    @property
    def in_words(self) -> str:
        return "; ".join(each["text"] for each in self.evidence[:MOST_WORDS])


def merge(
    traces: Sequence[Trace],
    *,
    unusual: float | None = None,
    odd: Sequence[str] = (),
    probability: float | None = None,
    drivers: Sequence[tuple[str, float]] = (),
    labels: Mapping[str, str] | None = None,
    thresholds: Thresholds | None = None,
) -> Verdict:
    """traces: of all rules. unusual: share of less unusual applications; odd: its rarest columns. probability: supervised, calibrated;
    drivers: (column, log-odds) that raise it. labels: words for a lender's own columns.
    """
    limits = thresholds or Thresholds()
    words = {**LABELS, **(labels or {})}
    hits = sorted((each for each in traces if each.outcome == "hit"), key=lambda each: -WEIGHTS[each.rule.severity])
    evidence = [_of_rule(each, words) for each in hits]
    counted: dict[str, float] = {}
    for each in hits:
        counted.setdefault(each.rule.family_key, WEIGHTS[each.rule.severity])
    odds = log(BASE_RATE / (1 - BASE_RATE)) + sum(counted.values())
    oddness = _odd_weight(unusual)
    if unusual is not None and oddness > 0:
        evidence.append(_of_anomaly(unusual, odd, oddness, words))
    score = _expit(odds + oddness)
    if probability is not None:
        critical = any(each.rule.severity == "critical" for each in hits)
        score = max(probability, FLOOR) if critical else probability
        evidence.append(_of_model(probability, drivers, words))
    evidence.sort(key=lambda each: -each["weight"])
    return Verdict(score, probability is not None, _severity(hits, unusual, probability, limits), evidence)


def _severity(hits: Sequence[Trace], unusual: float | None, probability: float | None, limits: Thresholds) -> str:
    """The gravest of what would raise a flag by itself; "" where nothing does."""
    found = {each.rule.severity for each in hits if SEVERITIES.index(each.rule.severity) >= SEVERITIES.index(limits.severity)}
    if probability is not None and probability >= limits.probability:
        found.add("high" if probability >= max(0.5, limits.probability) else "medium")
    if unusual is not None and unusual >= limits.unusual:
        found.add("low")
    return max(found, key=SEVERITIES.index, default="")


def _odd_weight(unusual: float | None) -> float:
    if unusual is None or unusual <= ODD_FROM:
        return 0.0
    return min(MOST_ODD, 0.5 * log((1 - ODD_FROM) / max(1 - unusual, 1e-4)))


def _of_rule(trace: Trace, words: Mapping[str, str]) -> dict[str, Any]:
    said = [
        f"{Condition(each['feature'], each['operator'], each['threshold']).in_words(words)}"
        + ("" if each["value"] is None else f": {_number(each['value'])} here")
        for each in trace.conditions
    ]
    return {
        "source": "rule",
        "code": trace.rule.code,
        "version": trace.rule.version,
        "severity": trace.rule.severity,
        "text": trace.rule.name,
        "detail": "; ".join(said),
        "weight": WEIGHTS[trace.rule.severity],
        "conditions": trace.conditions,
    }


def _of_anomaly(unusual: float, odd: Sequence[str], weight: float, words: Mapping[str, str]) -> dict[str, Any]:
    about = ", ".join((words.get(name) or name.replace("_", " ")).lower() for name in odd)
    many = max(2, round(1 / max(1 - unusual, 1e-3)))
    text = f"Unusual: about one application in {many:,} looks as odd" + (f", above all by {about}" if about else "")
    return {"source": "anomaly", "code": "unusual", "severity": "low", "text": text, "detail": "", "weight": weight, "value": unusual}


def _of_model(probability: float, drivers: Sequence[tuple[str, float]], words: Mapping[str, str]) -> dict[str, Any]:
    about = ", ".join((words.get(name) or name.replace("_", " ")).lower() for name, effect in drivers[:3] if effect > 0)
    text = f"Like confirmed frauds: {probability:.1%} probability" + (f", above all by {about}" if about else "")
    weight = log(max(probability, 1e-6) / BASE_RATE)
    return {"source": "model", "code": "supervised", "severity": "", "text": text, "detail": "", "weight": weight, "value": probability}


def _number(value: Any) -> str:
    return f"{value:,.6g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _expit(z: float) -> float:
    return 1 / (1 + exp(-z))
