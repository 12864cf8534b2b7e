"""Rules as data: a table of conditions that must all hold, checked before it is stored, and a trace of every application's way through it.

A condition is {"feature": name, "operator": one of OPERATORS, "value": literal}. There is no expression to evaluate and nothing to execute.
A rule that lacks a value it would have to look at is not applicable, unless another condition has failed already: silence is not innocence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

SEVERITIES: tuple[str, ...] = ("low", "medium", "high", "critical")
MOST_CONDITIONS = 10
MOST_VALUES = 50
MOST_TEXT = 200

Outcome = Literal["hit", "no_hit", "not_applicable"]
FeatureKind = Literal["number", "text", "yes_no"]
KINDS: dict[str, str] = {"number": "a number", "text": "a text", "yes_no": "yes or no (true or false)"}


class RuleError(ValueError):
    """A rule's conditions are not what they must be; the message names the condition and what is wrong with it."""


def _folded(value: Any) -> Any:
    return value.strip().casefold() if isinstance(value, str) else value


def _numbers(compare: Callable[[float, float], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, limit: compare(float(value), float(limit))


OPERATORS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "above": ("is above", _numbers(lambda value, limit: value > limit)),
    "at_least": ("is at least", _numbers(lambda value, limit: value >= limit)),
    "below": ("is below", _numbers(lambda value, limit: value < limit)),
    "at_most": ("is at most", _numbers(lambda value, limit: value <= limit)),
    "is": ("is", lambda value, limit: _folded(value) == _folded(limit)),
    "is_not": ("is not", lambda value, limit: _folded(value) != _folded(limit)),
    "one_of": ("is one of", lambda value, limit: _folded(value) in {_folded(each) for each in limit}),
    "none_of": ("is none of", lambda value, limit: _folded(value) not in {_folded(each) for each in limit}),
    "missing": ("is missing", lambda value, limit: False),
    "given": ("is given", lambda value, limit: True),
}
NUMERIC = ("above", "at_least", "below", "at_most")
LISTS = ("one_of", "none_of")
BARE = ("missing", "given")


@dataclass(frozen=True)
class Condition:
    feature: str
    operator: str
    value: Any = None

    def holds(self, facts: Mapping[str, Any]) -> bool | None:
        """Whether it holds; None where the value is missing, or is text where a number would be needed."""
        value = facts.get(self.feature)
        if is_missing(value):
            return {"missing": True, "given": False}.get(self.operator)
        if self.operator in NUMERIC and not _is_number(value):
            return None
        return OPERATORS[self.operator][1](value, self.value)

    def in_words(self, labels: Mapping[str, str] | None = None) -> str:
        label = (labels or {}).get(self.feature) or self.feature.replace("_", " ").capitalize()
        limit = ", ".join(map(str, self.value)) if self.operator in LISTS else "" if self.operator in BARE else _plain(self.value)
        return f"{label} {OPERATORS[self.operator][0]} {limit}".strip()

    def to_json(self) -> dict[str, Any]:
        return {"feature": self.feature, "operator": self.operator} | ({} if self.operator in BARE else {"value": self.value})


@dataclass(frozen=True)
class Rule:
    """code, version: what a trace names it by. family: rules that tell the same story share one, and only the gravest of them counts."""

    code: str
    version: int
    name: str
    severity: str
    conditions: tuple[Condition, ...]
    family: str = ""

    @property
    def family_key(self) -> str:
        return self.family or self.code


@dataclass(frozen=True)
class Trace:
    """What one rule made of one application. conditions: {feature, operator, value (found), threshold, holds} of every condition."""

    rule: Rule
    outcome: Outcome
    conditions: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        return {
            "code": self.rule.code,
            "version": self.rule.version,
            "name": self.rule.name,
            "severity": self.rule.severity,
            "outcome": self.outcome,
            "conditions": self.conditions,
        }


def is_missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.10g}" if isinstance(value, int | float) else str(value)


def parse(conditions: Any, known: Mapping[str, FeatureKind] | None = None) -> tuple[Condition, ...]:
    """The conditions of a JSON list, checked. known: {feature: what it holds}; None checks no names. Raises RuleError."""
    if not isinstance(conditions, list) or not conditions:
        raise RuleError('A rule is a list of conditions such as [{"feature": "phone_24h", "operator": "at_least", "value": 3}].')
    if len(conditions) > MOST_CONDITIONS:
        raise RuleError(f"A rule has at most {MOST_CONDITIONS} conditions, not {len(conditions)}; write two rules.")
    return tuple(_condition(number, each, known) for number, each in enumerate(conditions, start=1))


def _condition(number: int, raw: Any, known: Mapping[str, FeatureKind] | None) -> Condition:
    where = f"Condition {number}"
    if not isinstance(raw, dict):
        raise RuleError(f"{where} is not an object with feature, operator and value.")
    extra = set(map(str, raw)) - {"feature", "operator", "value"}
    if extra:
        raise RuleError(f"{where} has {', '.join(sorted(extra))}, which means nothing here.")
    feature, operator, value = raw.get("feature"), raw.get("operator"), raw.get("value")
    if not isinstance(feature, str) or not feature or len(feature) > MOST_TEXT:
        raise RuleError(f"{where} names no feature.")
    if known is not None and feature not in known:
        raise RuleError(f"{where}: there is no feature {feature!r}. {_known_ones(feature, known)}")
    if not isinstance(operator, str) or operator not in OPERATORS:
        raise RuleError(f"{where}: the operator must be one of {', '.join(OPERATORS)}, not {operator!r}.")
    if operator in BARE:
        if value is not None:
            raise RuleError(f"{where}: {operator!r} takes no value.")
        return Condition(feature, operator)
    holds = None if known is None else known[feature]
    if operator in NUMERIC and holds not in (None, "number"):
        raise RuleError(f"{where}: {feature!r} is {KINDS[holds]}, which {operator!r} can't compare; use is, is_not, one_of or none_of.")
    if operator in NUMERIC and not _is_number(value):
        raise RuleError(f"{where}: {operator!r} needs a finite number, not {value!r}.")
    if operator in LISTS:
        if not isinstance(value, list) or not 1 <= len(value) <= MOST_VALUES or not all(_is_literal(each) for each in value):
            raise RuleError(f"{where}: {operator!r} needs a list of 1 to {MOST_VALUES} texts or numbers.")
        _check_values(where, feature, holds, value)
        return Condition(feature, operator, tuple(value))
    if not _is_literal(value):
        raise RuleError(f"{where}: {operator!r} needs a text, a number or yes/no, not {value!r}.")
    _check_values(where, feature, holds, [value])
    return Condition(feature, operator, value)


def _check_values(where: str, feature: str, holds: FeatureKind | None, values: Sequence[Any]) -> None:
    """A value that the feature can never have makes a rule that never hits, or always does."""
    fits = {"number": _is_number, "text": lambda each: isinstance(each, str), "yes_no": lambda each: isinstance(each, bool)}
    wrong = [each for each in values if holds is not None and not fits[holds](each)]
    if wrong:
        raise RuleError(f"{where}: {feature!r} is {KINDS[holds]}, so it is never {wrong[0]!r}.")


def _known_ones(feature: str, known: Mapping[str, FeatureKind]) -> str:
    near = get_close_matches(feature, known, n=3, cutoff=0.6)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    return f"{hint}There are: {', '.join(sorted(known))}."


def _is_literal(value: Any) -> bool:
    return isinstance(value, bool) or _is_number(value) or (isinstance(value, str) and 0 < len(value) <= MOST_TEXT)


def trace(rule: Rule, facts: Mapping[str, Any]) -> Trace:
    """facts: {feature: value or None}. All conditions are looked at, so that the trace is whole."""
    seen, found = [], []
    for condition in rule.conditions:
        holds = condition.holds(facts)
        value = facts.get(condition.feature)
        seen.append(holds)
        found.append(condition.to_json() | {"value": None if is_missing(value) else value, "threshold": condition.value, "holds": holds})
    outcome: Outcome = "no_hit" if False in seen else "not_applicable" if None in seen else "hit"
    return Trace(rule, outcome, found)


def trace_all(rules: Sequence[Rule], facts: Mapping[str, Any]) -> list[Trace]:
    return [trace(rule, facts) for rule in rules]
