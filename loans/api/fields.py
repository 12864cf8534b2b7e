"""Serializer fields for `loans.models.fields`: the limits are that table's, the strictness is the API's.

DRF's own fields take what only looks like a value: true for 1, "1_0" for 10, NaN between 0 and 100. These don't.
"""

from __future__ import annotations

import functools
import math
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from loans.models.fields import EARLIEST_YEAR, BadText, FieldSpec, choices, clean_text

EARLIEST_BIRTH = date(1900, 1, 1)
_MONEY = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def _plain(number: float) -> str:
    return f"{number:,.2f}".rstrip("0").rstrip(".")


@functools.cache
def _exactly(limit: float) -> Decimal | int:
    """The limit as it is written; a whole number, as nearly all of them are, is compared in a tenth of the time."""
    return int(limit) if limit == int(limit) else Decimal(str(limit))


def _refuse_outside(value: float | Decimal, spec: FieldSpec) -> None:
    if spec.minimum is not None and value < _exactly(spec.minimum):
        raise serializers.ValidationError(f"must be at least {_plain(spec.minimum)}")
    if spec.maximum is not None and value > _exactly(spec.maximum):
        raise serializers.ValidationError(f"must be at most {_plain(spec.maximum)}")


class TextField(serializers.CharField):
    """Text without control characters; "" means missing, as null does."""

    def __init__(self, spec: FieldSpec, **kwargs: Any) -> None:
        super().__init__(max_length=spec.max_length, allow_blank=not spec.required, **kwargs)

    def to_internal_value(self, data: object) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("must be text")
        # Before the characters are looked at one by one: ten megabytes of them take a second.
        if len(data) > self.max_length + 100:
            raise serializers.ValidationError(f"is {len(data):,} characters long; at most {self.max_length:,} are allowed")
        try:
            return clean_text(data)
        except BadText as error:
            raise serializers.ValidationError(str(error)) from None


class EmailField(TextField):
    def to_internal_value(self, data: object) -> str:
        text = super().to_internal_value(data)
        name, at, host = text.rpartition("@")
        if text and not (name and at and host and not re.search(r"\s", text)):
            raise serializers.ValidationError("is not an email address")
        return text


class CodeField(serializers.ChoiceField):
    """One of a fixed list."""

    def __init__(self, spec: FieldSpec, **kwargs: Any) -> None:
        super().__init__(choices=choices(spec.choices), allow_blank=not spec.required, **kwargs)

    def to_internal_value(self, data: object) -> str:
        if data == "" and self.allow_blank:
            return ""
        if not isinstance(data, str) or data not in self.choices:
            raise serializers.ValidationError(f"must be one of {', '.join(self.choices)}")
        return data


@extend_schema_field({"oneOf": [{"type": "number"}, {"type": "string", "pattern": r"^-?\d{1,12}(\.\d{1,2})?$"}], "example": "12500.00"})
class MoneyField(serializers.Field):
    """A decimal with two places, as a JSON number or as text (which no parser rounds)."""

    def __init__(self, spec: FieldSpec, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.spec = spec

    def to_internal_value(self, data: object) -> Decimal:
        if isinstance(data, bool) or not isinstance(data, int | float | str):
            raise serializers.ValidationError("must be a number")
        if isinstance(data, float):
            if not math.isfinite(data):
                raise serializers.ValidationError("must be a finite number")
            amount = Decimal(repr(data))
        elif isinstance(data, str) and not _MONEY.fullmatch(data.strip()):
            raise serializers.ValidationError("must be a number such as 12500.00, without separators or currency")
        else:
            amount = Decimal(str(data).strip())
        _refuse_outside(amount, self.spec)
        if amount != amount.quantize(Decimal("0.01")):
            raise serializers.ValidationError("has more than two decimal places")
        return amount.quantize(Decimal("0.01"))

    def to_representation(self, value: Decimal) -> str:
        return f"{value:.2f}"


class RatioField(serializers.FloatField):
    """A fraction: 0.25 is 25 %."""

    def __init__(self, spec: FieldSpec, **kwargs: Any) -> None:
        super().__init__(min_value=spec.minimum, max_value=spec.maximum, **kwargs)
        self.spec = spec

    def to_internal_value(self, data: object) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            raise serializers.ValidationError("must be a number")
        if isinstance(data, float) and not math.isfinite(data):
            raise serializers.ValidationError("must be a finite number")
        _refuse_outside(data, self.spec)
        return float(data)


class CountField(serializers.IntegerField):
    def __init__(self, spec: FieldSpec, **kwargs: Any) -> None:
        super().__init__(min_value=int(spec.minimum or 0), max_value=int(spec.maximum or 0) or None, **kwargs)
        self.spec = spec

    def to_internal_value(self, data: object) -> int:
        whole = isinstance(data, int) or (isinstance(data, float) and data.is_integer())
        if isinstance(data, bool) or not whole:
            raise serializers.ValidationError("must be a whole number")
        _refuse_outside(data, self.spec)
        return int(data)


class TimeField(serializers.DateTimeField):
    """ISO 8601; without an offset it is UTC."""

    def __init__(self, spec: FieldSpec, **kwargs: Any) -> None:
        super().__init__(default_timezone=UTC, **kwargs)

    def to_internal_value(self, data: object) -> datetime:
        if not isinstance(data, str) or not data.isascii():
            raise serializers.ValidationError("must be a time such as 2026-03-31T09:30:00Z")
        try:
            time = super().to_internal_value(data.strip())
        except (serializers.ValidationError, OverflowError):
            raise serializers.ValidationError("must be a time such as 2026-03-31T09:30:00Z") from None
        if not EARLIEST_YEAR <= time.year <= timezone.now().year + 1:
            raise serializers.ValidationError(f"must lie between {EARLIEST_YEAR} and now")
        return time


@extend_schema_field(OpenApiTypes.DATE)
class BirthDateField(serializers.Field):
    """Kept as ISO text: the column is encrypted."""

    def __init__(self, spec: FieldSpec, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def to_internal_value(self, data: object) -> str:
        try:
            if not isinstance(data, str) or not _DATE.fullmatch(data):
                raise ValueError
            born = date.fromisoformat(data)
        except ValueError:
            raise serializers.ValidationError("must be a date such as 1980-03-31") from None
        if not EARLIEST_BIRTH <= born <= timezone.now().date():
            raise serializers.ValidationError(f"must lie between {EARLIEST_BIRTH} and today")
        return data

    def to_representation(self, value: object) -> str:
        return str(value)


KINDS = {"money": MoneyField, "ratio": RatioField, "count": CountField, "text": TextField, "time": TimeField, "date": BirthDateField}


def input_field(name: str, spec: FieldSpec) -> serializers.Field:
    """The field that reads what this spec allows."""
    make = KINDS.get(spec.kind) or (CodeField if spec.choices else TextField)
    if name == "email":
        make = EmailField
    required = {"required": True, "allow_null": False} if spec.required else {"required": False, "allow_null": True}
    required["error_messages"] = {"required": "is required", "null": "is required", "blank": "is required"}
    words = f"{spec.label}, in {spec.unit}" if spec.unit not in ("", "currency", "fraction") else spec.label
    return make(spec, **required, help_text=words + (", as a fraction (0.25 is 25 %)" if spec.unit == "fraction" else ""))


class StrictSerializer(serializers.Serializer):
    """A field that it does not know is an error: a misspelt name would otherwise be a value that silently went missing."""

    MAX_UNKNOWN = 20
    default_error_messages = {"invalid": "must be an object of fields and values, not {datatype}"}

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = [name for name in data if name not in self.fields]
            if unknown:
                errors = {str(name): [self._unknown(str(name))] for name in unknown[: self.MAX_UNKNOWN]}
                try:
                    super().to_internal_value(data)
                except serializers.ValidationError as error:
                    errors = {**error.detail, **errors}
                raise serializers.ValidationError(errors)
        return super().to_internal_value(data)

    def _unknown(self, name: str) -> str:
        from difflib import get_close_matches

        near = get_close_matches(name[:64], list(self.fields), n=1)
        return f"is not a field here; did you mean {near[0]}?" if near else "is not a field here"
