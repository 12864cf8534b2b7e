"""A lender's own fields as they come in: their shape is checked here, their values by their definitions (`services.intake`)."""

from __future__ import annotations

import re
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

MAX_ATTRIBUTES = 500
MAX_TEXT = 4000
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)


@extend_schema_field(
    {
        "type": "object",
        "additionalProperties": {
            "oneOf": [{"type": "number"}, {"type": "boolean"}, {"type": "string", "maxLength": MAX_TEXT}],
            "nullable": True,
        },
        "maxProperties": MAX_ATTRIBUTES,
        "example": {},
    }
)
class AttributesField(serializers.Field):
    """An object of plain values. A name that no definition could have never reaches the database."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise serializers.ValidationError("must be an object of names and values")
        if len(data) > MAX_ATTRIBUTES:
            raise serializers.ValidationError(f"has {len(data):,} entries; at most {MAX_ATTRIBUTES} are read")
        errors = {}
        for name, value in data.items():
            if not _NAME.fullmatch(name):
                errors[name] = ["is not declared; names are lower-case letters, digits and underscores"]
            elif isinstance(value, dict | list):
                errors[name] = ["must be a number, text, true or false"]
            elif isinstance(value, str) and len(value) > MAX_TEXT:
                errors[name] = [f"is {len(value):,} characters long; at most {MAX_TEXT:,} are allowed"]
        if errors:
            raise serializers.ValidationError(errors)
        return data

    def to_representation(self, value: dict[str, Any]) -> dict[str, Any]:
        return value
