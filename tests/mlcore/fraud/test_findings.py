"""Findings in short: small, and in full again what they were."""

from __future__ import annotations

import json

import pytest

from mlcore.fraud.facts import LINK_NAMES
from mlcore.fraud.findings import Terms
from mlcore.fraud.rules import Rule, parse, trace_all

RULES = (
    Rule("near", 2, "Near a fraud", "high", parse([{"feature": "direct_frauds", "operator": "at_least", "value": 1}]), "known"),
    Rule(
        "idle",
        1,
        "Idle and rich",
        "low",
        parse(
            [
                {"feature": "employment_status", "operator": "one_of", "value": ["unemployed", "student"]},
                {"feature": "annual_income", "operator": "above", "value": 120000.5},
                {"feature": "phone_24h", "operator": "missing"},
            ]
        ),
    ),
)
FACTS = [
    {"employment_status": "student", "annual_income": 130000.25, "amount": 1.0},
    {"employment_status": "", "annual_income": float("nan")},
    {"employment_status": 'said "so"', "annual_income": 0.0},
    {},
]


def features(**some: float) -> dict[str, float | None]:
    return dict.fromkeys(LINK_NAMES) | some


@pytest.mark.parametrize("facts", FACTS)
@pytest.mark.parametrize(
    "known", [features(), features(direct_frauds=0, phone_24h=0), features(direct_frauds=3, component_age_days=1.5, hub_keys=0)]
)
def test_in_full_again_it_is_what_it_was(facts, known):
    terms = Terms(RULES, LINK_NAMES)
    traces = trace_all(RULES, facts | known)
    short = [terms.short_features(known), terms.short_trace(traces, facts)]
    assert len(json.dumps(short)) < 200
    kept, (some, outcomes) = json.loads(json.dumps([terms.to_json(), short], allow_nan=False))
    whole, rebuilt = Terms.from_json(kept).in_full(some, outcomes)
    assert whole == known and list(whole) == list(LINK_NAMES)
    assert [type(value) for value in whole.values()] == [type(value) for value in known.values()]
    assert rebuilt == json.loads(json.dumps([each.to_json() for each in traces]))


def test_the_outcome_is_the_one_that_was_stored():
    terms = Terms(RULES, LINK_NAMES)
    known = features(direct_frauds=3)
    short = terms.short_trace(trace_all(RULES, known), {})
    _, rebuilt = terms.in_full(terms.short_features(known), short | {"outcomes": "-h"})
    assert [each["outcome"] for each in rebuilt] == ["not_applicable", "hit"]


def test_no_rules_are_terms_too():
    terms = Terms((), LINK_NAMES)
    short = terms.short_trace([], {"amount": 1})
    assert short == {"outcomes": "", "facts": []}
    assert terms.in_full(terms.short_features(features()), short) == (features(), [])
