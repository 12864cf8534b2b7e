"""Whatever is sent: no 500, no number that is not finite in the database, and what is accepted comes back as it was read.

A few hundred cases here; `make properties` runs a million (PROPERTY_CASES).
"""

from __future__ import annotations

import json

import pytest
from django.db import IntegrityError
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import ValidationError

from loans.api import parsers, problems
from loans.api.applications import _INPUT, read_application
from loans.api.decisions import DecisionInputSerializer
from loans.models import AttributeDefinition
from loans.models.fields import APPLICANT_FIELDS, APPLICATION_FIELDS
from loans.services import intake
from loans.services.imports.mapping import parse_mapping
from loans.services.imports.problems import ImportProblem
from tests.properties import finite, some

odd_numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([0, -0.0, 1e308, -1e308, 10**40, 2**63, 0.1 + 0.2, 5e-324]))
odd_words = ["", " ", "NaN", "1e999", "\x00", "\ud800", "１２", "0x10", "2026-02-30", "9" * 5000]
odd_text = st.one_of(st.text(max_size=40), st.sampled_from(odd_words))
scalars = st.one_of(st.none(), st.booleans(), odd_numbers, odd_text)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd_text, inner, max_size=3), max_leaves=6)
names = st.sampled_from([*APPLICATION_FIELDS, "applicant", "attributes", "colour"])
people = st.dictionaries(st.sampled_from([*APPLICANT_FIELDS, "age"]), values, max_size=4)
bodies = st.one_of(
    values,
    st.fixed_dictionaries(
        {"amount": st.one_of(st.integers(1, 10**6), values)},
        optional={name: values for name in APPLICATION_FIELDS if name != "amount"}
        | {
            "applicant": st.one_of(values, people),
            "attributes": st.one_of(values, st.dictionaries(st.sampled_from(["score", "flag"]), values)),
        },
    ),
)


@given(bodies)
@some(150)
def test_a_body_is_read_or_refused_by_field(body):
    try:
        raw = json.dumps(body).encode()
    except (ValueError, UnicodeEncodeError):
        return
    try:
        data = parsers.loads(raw)
    except problems.Malformed:
        return
    try:
        read = read_application(data)
    except ValidationError as error:
        found = problems.field_errors(error.detail)
        assert found and all(each["message"] for each in found)
        json.dumps(found, ensure_ascii=True)
        return
    assert finite({name: float(value) if hasattr(value, "quantize") else value for name, value in read.items()})
    # The quick way and the serializer's agree on what is good.
    slow = _INPUT.run_validation(data)
    assert {name: value for name, value in read.items() if name != "applicant"} == {
        name: value for name, value in slow.items() if value is not None and name != "applicant"
    }


@given(st.dictionaries(st.sampled_from(["score", "flag", "shop", "since", "other"]), scalars, max_size=5))
@some(100)
def test_attributes_are_parsed_or_named(given_values):
    known = intake.Known({}, {
        name: AttributeDefinition(name=name, kind=kind)
        for name, kind in (("score", "number"), ("flag", "boolean"), ("shop", "category"), ("since", "date"))
    })  # fmt: skip
    errors: dict = {}
    ordinary, protected = intake.sort_attributes(given_values, errors, known)
    assert finite(ordinary) and not protected
    json.dumps(ordinary, allow_nan=False).encode()
    assert all(messages for messages in errors.values())


@given(st.dictionaries(st.sampled_from(["outcome", "reason", "note", "seen_prediction", "who"]), values, max_size=4))
@some(80)
def test_a_decision_is_read_or_refused(body):
    serializer = DecisionInputSerializer(data=body)
    if serializer.is_valid():
        assert serializer.validated_data["outcome"] in ("approve", "decline", "refer", "counter")
    else:
        assert problems.field_errors(serializer.errors)


@given(st.text(max_size=200))
@some(80)
def test_a_mapping_is_read_or_refused_in_words(text):
    try:
        parse_mapping(text, name="made up")
    except ImportProblem as problem:
        said = str(problem)
    else:
        said = "read"
    assert said


@pytest.mark.django_db
def test_no_float_column_takes_what_is_not_finite():
    """The database's own refusal, behind all of these."""
    from loans.models import LoanApplication

    application = LoanApplication.objects.create(external_reference="x", amount=1)
    application.debt_to_income = float("nan")
    with pytest.raises(IntegrityError, match="application_debt_to_income_range"):
        application.save()
