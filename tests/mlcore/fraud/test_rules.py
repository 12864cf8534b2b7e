"""Rules: what is not a plain condition is refused, and the trace says what was looked at."""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcore.fraud.rules import BARE, LISTS, NUMERIC, OPERATORS, Condition, Rule, RuleError, parse, trace

FACTS = {"amount": 5000.0, "channel": "online", "phone_24h": None, "existing": False}


def rule(*conditions: dict) -> Rule:
    return Rule("r", 1, "A rule", "high", parse(list(conditions)))


def test_all_conditions_must_hold():
    assert trace(rule({"feature": "amount", "operator": "above", "value": 4999}), FACTS).outcome == "hit"
    both = rule({"feature": "amount", "operator": "above", "value": 1}, {"feature": "channel", "operator": "is", "value": "branch"})
    assert trace(both, FACTS).outcome == "no_hit"


def test_silence_is_not_innocence():
    unknown = {"feature": "phone_24h", "operator": "at_least", "value": 3}
    assert trace(rule(unknown), FACTS).outcome == "not_applicable"
    assert trace(rule(unknown, {"feature": "amount", "operator": "above", "value": 1}), FACTS).outcome == "not_applicable"
    assert trace(rule(unknown, {"feature": "amount", "operator": "below", "value": 1}), FACTS).outcome == "no_hit"


def test_the_trace_has_every_value_and_threshold():
    made = trace(rule({"feature": "amount", "operator": "at_least", "value": 6000}), FACTS).to_json()
    assert made["conditions"] == [{"feature": "amount", "operator": "at_least", "value": 5000.0, "threshold": 6000, "holds": False}]
    assert (made["code"], made["version"], made["outcome"]) == ("r", 1, "no_hit")
    json.dumps(made)


@pytest.mark.parametrize(
    ("operator", "value", "holds"),
    [
        ("is", "ONLINE ", True), ("is_not", "online", False), ("one_of", ["branch", "Online"], True), ("none_of", ["branch"], True),
        ("given", None, True), ("missing", None, False),
    ],
)  # fmt: skip
def test_text(operator, value, holds):
    raw = {"feature": "channel", "operator": operator} | ({} if value is None else {"value": value})
    assert parse([raw])[0].holds(FACTS) is holds


def test_text_where_a_number_would_be_needed_is_not_applicable():
    assert Condition("channel", "above", 3).holds(FACTS) is None
    assert Condition("existing", "above", 3).holds(FACTS) is None


@pytest.mark.parametrize(
    "bad",
    [
        None, [], {}, "amount > 3", [1], [{}], [{"feature": "amount"}], [{"feature": "amount", "operator": "eval", "value": "1"}],
        [{"feature": "amount", "operator": "above", "value": "3"}], [{"feature": "amount", "operator": "above", "value": True}],
        [{"feature": "amount", "operator": "above", "value": math.inf}], [{"feature": "amount", "operator": "is", "value": {"a": 1}}],
        [{"feature": "amount", "operator": "one_of", "value": []}], [{"feature": "amount", "operator": "one_of", "value": "abc"}],
        [{"feature": "amount", "operator": "missing", "value": 3}], [{"feature": "x" * 300, "operator": "given"}],
        [{"feature": "amount", "operator": "above", "value": 3, "or": []}], [{"feature": "nowhere", "operator": "given"}],
        [{"feature": "amount", "operator": "given"}] * 11, [{"feature": "amount", "operator": ["above"], "value": 3}],
    ],
)  # fmt: skip
def test_what_is_not_a_condition_is_refused(bad):
    with pytest.raises(RuleError):
        parse(bad, known={"amount": "number"})


KNOWN = {"amount": "number", "phone_24h": "number", "channel": "text", "existing": "yes_no"}


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (("phone_24hh", "at_least", 3), "Did you mean phone_24h? There are: amount, channel, existing, phone_24h."),
        (("channel", "above", 3), "is a text, which 'above' can't compare"),
        (("amount", "is", "much"), "is a number, so it is never 'much'"),
        (("channel", "one_of", ["online", 3]), "is a text, so it is never 3"),
        (("existing", "is", "yes"), "is yes or no"),
    ],
    ids=["unknown", "text compared", "number never text", "text never number", "yes or no"],
)
def test_a_condition_that_could_never_hold_is_refused(condition, said):
    feature, operator, value = condition
    with pytest.raises(RuleError, match=f"Condition 1: .*{re.escape(said)}"):
        parse([{"feature": feature, "operator": operator, "value": value}], known=KNOWN)
    assert parse([{"feature": feature, "operator": operator, "value": value}]), "without known names nothing can be said of them"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
raw_conditions = st.fixed_dictionaries({"feature": st.just("x"), "operator": st.sampled_from([*OPERATORS, "other"]), "value": json_values})


@given(st.lists(raw_conditions, max_size=4) | json_values, json_values)
def test_anything_is_parsed_or_refused_and_what_is_parsed_never_fails(raw, value):
    try:
        conditions = parse(raw)
    except RuleError:
        return
    for condition in conditions:
        assert condition.holds({"x": value if not isinstance(value, list | dict) else None}) in (True, False, None)
        assert condition.in_words()


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_operators_come_in_opposites(value, limit):
    facts = {"x": value}
    assert Condition("x", "above", limit).holds(facts) is not Condition("x", "at_most", limit).holds(facts)
    assert Condition("x", "below", limit).holds(facts) is not Condition("x", "at_least", limit).holds(facts)
    assert Condition("x", "is", limit).holds(facts) is not Condition("x", "is_not", limit).holds(facts)


@given(st.sampled_from(sorted(set(OPERATORS) - set(BARE))))
def test_a_missing_value_decides_nothing(operator):
    limit = [1] if operator in LISTS else 1
    assert Condition("x", operator, limit).holds({}) is None
    assert operator in NUMERIC or Condition("x", operator, limit).holds({"x": math.nan}) is None
