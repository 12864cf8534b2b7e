"""Filters of lists beyond those of django-filter."""

from __future__ import annotations

from datetime import UTC, datetime

from django.core.exceptions import ValidationError
from django_filters import rest_framework as filters
from django_filters.fields import IsoDateTimeField


class TimeFormField(IsoDateTimeField):
    """A time in UTC: PostgreSQL refuses offsets of 16 hours and more, which ISO 8601 allows."""

    def to_python(self, value: object) -> datetime | None:
        time = super().to_python(value)
        try:
            return None if time is None else time.astimezone(UTC)
        except OverflowError:
            raise ValidationError(self.error_messages["invalid"], code="invalid") from None


class TimeFilter(filters.IsoDateTimeFilter):
    field_class = TimeFormField
