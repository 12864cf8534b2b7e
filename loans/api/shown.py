"""What a serializer gives for an instance, in a fourth of its time: for the answer to a submission.

The serializer says what there is; its fields are read once into a plan of plain functions. A field of a kind that is not known here is
asked itself. tests/loans/api/test_shown.py holds the two together.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from types import MethodType
from typing import Any

from django.urls import reverse
from rest_framework import serializers
from rest_framework.request import Request

_NUMBER = 987_654_321
Convert = Callable[[Any], Any]


def represented(serializer: serializers.Serializer, instance: Any, request: Request) -> dict[str, Any]:
    """`serializer.to_representation(instance)`. serializer: one that is kept, since its plan is; its context is set by the caller."""
    return _shown(_plan(serializer), instance, f"{request.scheme}://{request.get_host()}")


def _shown(plan: tuple, instance: Any, site: str) -> dict[str, Any]:
    shown = {}
    for name, path, convert, inner, address in plan:
        if address is not None:
            shown[name] = f"{site}{address[0]}{instance.pk}{address[1]}"
            continue
        value = instance
        for attribute in path:
            value = getattr(value, attribute)
            if value.__class__ is MethodType:
                value = value()
            if value is None:
                break
        if value is None:
            shown[name] = None
        elif inner is not None:
            shown[name] = _shown(inner, value, site)
        else:
            shown[name] = value if convert is None else convert(value)
    return shown


@functools.cache
def _plan(serializer: serializers.Serializer) -> tuple:
    """For each field its name, the way to its value, what makes of it what is shown (None: nothing), a plan of its own, an address."""
    return tuple(
        (
            field.field_name,
            tuple(field.source_attrs),
            _convert(field),
            _plan(field) if type(field).to_representation is serializers.Serializer.to_representation else None,
            _address(field),
        )
        for field in serializer._readable_fields
    )


def _address(field: serializers.Field) -> tuple[str, str] | None:
    """What stands before and behind the key of the row that the field points at."""
    if not isinstance(field, serializers.HyperlinkedIdentityField):
        return None
    before, _, behind = reverse(field.view_name, kwargs={field.lookup_url_kwarg: _NUMBER}).partition(str(_NUMBER))
    return before, behind


def _convert(field: serializers.Field) -> Convert | None:
    if type(field) in (serializers.IntegerField, serializers.FloatField, serializers.BooleanField, serializers.CharField):
        kind = {serializers.IntegerField: int, serializers.FloatField: float, serializers.BooleanField: bool, serializers.CharField: str}
        wanted = kind[type(field)]
        return lambda value: value if value.__class__ is wanted else field.to_representation(value)
    if type(field) is serializers.DateTimeField:
        return lambda value: _time(value, field)
    if type(field) is serializers.DecimalField:
        places = -field.decimal_places
        return lambda value: (
            f"{value:f}" if value.__class__ is Decimal and value.as_tuple().exponent == places else field.to_representation(value)
        )
    if type(field) is serializers.DictField and type(field.child) is serializers.FloatField:
        return lambda value: value if all(each.__class__ is float for each in value.values()) else field.to_representation(value)
    return field.to_representation


def _time(value: Any, field: serializers.Field) -> Any:
    if value.__class__ is not datetime or value.tzinfo is not UTC:
        return field.to_representation(value)
    return f"{value.replace(tzinfo=None).isoformat()}Z"
