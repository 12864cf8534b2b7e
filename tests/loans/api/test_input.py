"""Bad input: a clear answer that names the field, never a 500, nothing half-written."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loans.api.applications import ApplicationInputSerializer
from loans.api.parsers import MAX_DEPTH, loads
from loans.api.problems import Malformed
from loans.models import Applicant, AttributeDefinition, LoanApplication, ScoringJob
from loans.models.fields import APPLICANT_FIELDS, APPLICATION_FIELDS
from tests.loans.api.conftest import URL, Api, fields_of, key_of


def nothing_stored() -> bool:
    return not (LoanApplication.objects.exists() or Applicant.objects.exists() or ScoringJob.objects.exists())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", None),
        ("amount", ""),
        ("amount", "12,500"),
        ("amount", "1_000"),
        ("amount", "NaN"),
        ("amount", "1e3"),
        ("amount", -1),
        ("amount", 0),
        ("amount", 0.001),
        ("amount", 10.005),
        ("amount", 1e300),
        ("amount", 10**39),
        ("amount", True),
        ("amount", [1]),
        ("amount", {"value": 1}),
        ("annual_income", "-Infinity"),
        ("annual_income", 1_000_000_001),
        ("debt_to_income", "0.3"),
        ("debt_to_income", True),
        ("debt_to_income", -0.1),
        ("debt_to_income", 101),
        ("term_months", 12.5),
        ("term_months", "12"),
        ("term_months", 0),
        ("term_months", 10**30),
        ("credit_score", True),
        ("credit_score", -1),
        ("open_accounts", 1e300),
        ("channel", "carrier pigeon"),
        ("channel", 3),
        ("channel", ["online"]),
        ("employment_status", "EMPLOYED"),
        ("home_ownership", {}),
        ("purpose", "x" * 65),
        ("purpose", 7),
        ("purpose_text", "nul \x00 in it"),
        ("purpose_text", "reversed ‮ text"),
        ("purpose_text", "isolate ⁦ text"),
        ("purpose_text", "x" * 4001),
        ("region", "bell\x07"),
        ("external_reference", "x" * 65),
        ("external_reference", 12),
        ("submitted_at", "0001-01-01T00:00:00+14:00"),
        ("submitted_at", "9999-12-31T23:59:59-12:00"),
        ("submitted_at", "1949-12-31T00:00:00Z"),
        ("submitted_at", "2150-01-01T00:00:00Z"),
        ("submitted_at", "2026-02-30T00:00:00Z"),
        ("submitted_at", "yesterday"),
        ("submitted_at", "٢٠٢٦-01-01T00:00:00Z"),
        ("submitted_at", 1767225600),
        ("product", "no such product"),
        ("product", "\x00"),
        ("status", "approved"),
        ("submitted_by", 1),
        ("applicant", "Ann"),
        ("applicant", []),
        ("applicant.name", "x" * 201),
        ("applicant.name", "Ann\x00"),
        ("applicant.email", "ann.example.org"),
        ("applicant.email", "ann @example.org"),
        ("applicant.birth_date", "1980-13-01"),
        ("applicant.birth_date", "1850-01-01"),
        ("applicant.birth_date", "2990-01-01"),
        ("applicant.birth_date", 19800331),
        ("applicant.age", 40),
        ("attributes", "none"),
        ("attributes.undeclared", 1),
        ("attributes.Savings", 1),
        ("attributes.savings\x00", 1),
        ("attributes.savings", "much"),
        ("attributes.savings", "nan"),
        ("attributes.savings", "1e400"),
        ("attributes.savings", {"a": 1}),
        ("attributes.savings", [1]),
        ("attributes.married", "perhaps"),
        ("attributes.since", "0001-01-01"),
        ("attributes.since", "2026-99-01"),
        ("attributes.since", "9999-12-31"),
        ("attributes.branch", "x" * 5000),
        ("attributes.branch", "a‮b"),
    ],
)
def test_a_bad_value_is_refused_by_its_path(api, field, value):
    for name, kind in (("savings", "number"), ("married", "boolean"), ("since", "date"), ("branch", "category")):
        AttributeDefinition.objects.create(name=name, kind=kind)
    body: dict[str, Any] = {"amount": 5000, "applicant": {"name": "Ann"}}
    whole, _, part = field.partition(".")
    if part:
        body[whole] = {part: value}
    else:
        body[whole] = value
    answer = api.post(body=body)
    assert answer.status_code == 400 and fields_of(answer) == {field}
    assert nothing_stored()


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b'{"amount": NaN}', 400, "amount"),
        (b'{"amount": -Infinity}', 400, "amount"),
        (b'{"amount": 1e400}', 400, "amount"),
        (b'{"amount": ' + b"9" * 5000 + b"}", 400, "amount"),
        (b'{"amount": 1, "applicant": {"name": "A", "name": "B"}}', 400, "applicant.name"),
        (b'{"amount": 1, "amount": 2}', 400, "amount"),
        (b'{"amount": 1, "region": "\\ud800"}', 400, "region"),
        (b'{"amount": 1, "\\udfff": 1}', 400, "\udfff"),
        (b'{"amount": 1, "attributes": ' + b'{"a":' * 12 + b"1" + b"}" * 12 + b"}", 400, "attributes" + ".a" * (MAX_DEPTH - 1)),
        (b'{"amount": 1', 400, None),
        (b"[" * 100_000, 400, None),
        (b'{"a":' * 100_000, 400, None),
        (b"\xff\xfe{}", 400, None),
        (b"\xef\xbb\xbf{}", 400, None),
        (b"[]", 400, ""),
        (b"null", 400, ""),
        (b'"text"', 400, ""),
        (b"", 400, "amount"),
        (b"{}", 400, "amount"),
        (b'{"amount": 1, "purpose_text": "' + b"x" * 10_000_000 + b'"}', 413, None),
        (b'{"amount": 1, "purpose_text": "' + b"x" * 2_000_000 + b'"}', 400, "purpose_text"),
        (json.dumps({"amount": 1, **{f"k{n}": 1 for n in range(50_000)}}).encode(), 400, ...),
        (json.dumps({"amount": 1, "attributes": {f"k{n}": 1 for n in range(50_000)}}).encode(), 400, "attributes"),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else None,
)
def test_a_bad_body_is_refused_as_a_whole(api, body, status, field):
    answer = api.post(body=body)
    assert answer.status_code == status
    if field is not ...:
        assert fields_of(answer) == (set() if field is None else {field})
    assert len(answer.content) < 20_000 and nothing_stored()


def test_only_json_is_read(api):
    assert api.post(body=b"amount=1", content_type="application/x-www-form-urlencoded").status_code == 415
    assert api.post(body=b"{}", content_type="multipart/form-data; boundary=x").status_code == 415
    assert api.post(body=b'{"amount": 1}', content_type="application/json; charset=utf-16").status_code == 415
    assert api.post(body=b'{"amount": 1}', content_type="application/json; charset=UTF-8").status_code == 201


def test_a_body_that_lies_about_its_length_is_cut_off(api):
    answer = api.post(body=b'{"amount": 1}', CONTENT_LENGTH="99999999999")
    assert answer.status_code == 413
    assert api.post(body=b'{"amount": 1}', CONTENT_LENGTH="5").status_code == 400


def test_the_parser_names_where():
    with pytest.raises(Malformed) as caught:
        loads(b'{"a": [1, {"b": NaN}]}')
    assert caught.value.errors == {"a[1].b": ["NaN is not a number in JSON; leave the field out where a value is missing"]}


def test_half_a_surrogate_pair_gets_no_further_than_the_parser():
    with pytest.raises(Malformed) as caught:
        loads(b'{"a": {"b\\ud800": "\\udfff"}}')
    assert list(caught.value.errors) == ["a.b\ud800"]


_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(10**400), 10**400), st.floats(), st.text(max_size=20), st.just("x" * 5000),
    st.sampled_from(["NaN", "1e400", "2026-03-31T00:00:00Z", "1980-01-01", "online", "rent", "12.50", "", "0001-01-01", "ann@example.org"]),
)  # fmt: skip
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=5
)


def _object(names: list[str], **more: st.SearchStrategy) -> st.SearchStrategy:
    # Values of the right type half of the time, or nearly every example would fail at its first field.
    each = {name: _values | _sound(name) for name in names}
    return st.fixed_dictionaries({}, optional={**each, **more})


def _sound(name: str) -> st.SearchStrategy:
    spec = APPLICATION_FIELDS.get(name) or APPLICANT_FIELDS[name]
    if spec.choices:
        return st.sampled_from(spec.choices)
    if spec.kind in ("money", "ratio", "count"):
        whole = st.integers(int(spec.minimum or 0) + 1, int(spec.maximum or 1))
        return whole | st.floats(spec.minimum, spec.maximum) if spec.kind == "ratio" else whole
    return st.text(max_size=10)


_bodies = _object(
    [name for name in APPLICATION_FIELDS if name != "product"],
    product=_values,
    applicant=_values | _object(list(APPLICANT_FIELDS)),
    attributes=_values | st.dictionaries(st.sampled_from(["savings", "since", "branch", "married", "b\x00"]), _values, max_size=3),
    unknown=_values,
)


@pytest.fixture
def hard_api(sender):
    for name, kind in (("savings", "number"), ("married", "boolean"), ("since", "date"), ("branch", "category")):
        AttributeDefinition.objects.create(name=name, kind=kind)
    return Api(key=key_of(sender, "submit", "read"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(body=_bodies)
def test_whatever_is_sent_is_stored_whole_or_refused(hard_api, body):
    """Never a 500 (the fixture's client fails on one), never a number stored that is not finite."""
    before = LoanApplication.objects.count()
    answer = hard_api.post(body=json.dumps(body).encode())
    assert answer.status_code in (201, 400, 409)
    assert LoanApplication.objects.count() - before == (answer.status_code == 201) == ScoringJob.objects.count() - before
    if answer.status_code == 201:
        row = LoanApplication.objects.latest("pk")
        numbers = [getattr(row, name) for name, spec in APPLICATION_FIELDS.items() if spec.kind in ("money", "ratio", "count")]
        numbers += [value for value in row.attributes.values() if isinstance(value, int | float)]
        assert all(math.isfinite(number) for number in numbers if number is not None)
        assert hard_api.get(f"{URL}{row.pk}/").json() == answer.json()


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60) | _values.map(lambda value: json.dumps(value).encode()))
def test_the_parser_returns_finite_json_or_says_malformed(body):
    try:
        value = loads(body)
    except Malformed:
        return
    json.dumps(value, allow_nan=False).encode()


@settings(max_examples=80, deadline=None)
@given(_object([name for name in APPLICATION_FIELDS if name != "product"], applicant=_values | _object(list(APPLICANT_FIELDS))))
def test_what_the_serializer_lets_through_is_within_the_table(body):
    given_ = ApplicationInputSerializer(data=body)
    if not given_.is_valid():
        return
    for name, value in given_.validated_data.items():
        spec = APPLICATION_FIELDS.get(name)
        if spec is None or value in (None, ""):
            continue
        assert spec.minimum is None or spec.minimum <= value <= spec.maximum
        assert spec.max_length is None or len(value) <= spec.max_length
        assert not spec.choices or value in spec.choices
