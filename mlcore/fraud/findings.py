"""What an assessment found, in its short form: what all applications of one set of rules have in common is kept once, with the rules.

In full an application's link features and the trace of every rule are four kilobytes of JSON, nearly all of it names, thresholds and zeros;
in short they are some two hundred bytes, and storing them is no longer most of what storing a score costs. Nothing is left out: `in_full`
gives back every feature and every rule's trace, with the outcome that was stored at the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlcore.fraud.rules import Rule, Trace, is_missing, parse, trace

ZERO = "0"
"""The key under which short features say which of them are zero: no feature has this name."""
LETTERS: dict[str, str] = {"hit": "h", "no_hit": "n", "not_applicable": "-"}
_OUTCOMES = {letter: outcome for outcome, letter in LETTERS.items()}


@dataclass(frozen=True)
class Terms:
    """What short findings refer to. rules: in the order of their traces. features: names of the link features, in order."""

    rules: tuple[Rule, ...]
    features: tuple[str, ...]

    @property
    def facts(self) -> tuple[str, ...]:
        """What the rules look at of the application itself."""
        return tuple(sorted({condition.feature for rule in self.rules for condition in rule.conditions} - set(self.features)))

    def to_json(self) -> dict[str, Any]:
        rules = [
            {
                "code": rule.code,
                "version": rule.version,
                "name": rule.name,
                "severity": rule.severity,
                "family": rule.family,
                "conditions": [plain(condition.to_json()) for condition in rule.conditions],
            }
            for rule in self.rules
        ]
        return {"rules": rules, "features": list(self.features)}

    @classmethod
    def from_json(cls, made: Mapping[str, Any]) -> Terms:
        rules = (Rule(**{**each, "conditions": parse(each["conditions"])}) for each in made["rules"])
        return cls(tuple(rules), tuple(made["features"]))

    def short_features(self, features: Mapping[str, Any]) -> dict[str, Any]:
        """Those that are neither missing nor zero by name, and the zeros as bits (hexadecimal, the first feature the lowest)."""
        zeros = sum(1 << place for place, name in enumerate(self.features) if _is_zero(features[name]))
        some = {name: features[name] for name in self.features if features[name] is not None and not _is_zero(features[name])}
        return {ZERO: f"{zeros:x}"} | some

    def short_trace(self, traces: Sequence[Trace], facts: Mapping[str, Any]) -> dict[str, Any]:
        """A letter for each rule, and the values of `facts` in their order; the link features' values stand with the features."""
        outcomes = "".join(LETTERS[each.outcome] for each in traces)
        return {"outcomes": outcomes, "facts": [None if is_missing(facts.get(name)) else facts[name] for name in self.facts]}

    def in_full(self, features: Mapping[str, Any], short: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """({feature: value, None where it does not apply}, every rule's trace as `Trace.to_json` writes it)."""
        zeros = int(features[ZERO], 16)
        whole = {name: 0 if zeros >> place & 1 else features.get(name) for place, name in enumerate(self.features)}
        known = dict(zip(self.facts, short["facts"], strict=True)) | whole
        traces = []
        for rule, letter in zip(self.rules, short["outcomes"], strict=True):
            made = trace(rule, known).to_json()
            # The outcome is what was decided then, whatever today's code would make of the same values.
            traces.append(made | {"outcome": _OUTCOMES[letter], "conditions": [plain(each) for each in made["conditions"]]})
        return whole, traces


def plain(condition: dict[str, Any]) -> dict[str, Any]:
    """As JSON gives it back: lists, no tuples."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in condition.items()}


def _is_zero(value: Any) -> bool:
    return isinstance(value, int) and value == 0
