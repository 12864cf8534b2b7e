"""Pages by position instead of by number: the row after which a page begins is found by the index, so page 1,000 costs what page 1 does."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import models
from django.db.models import F, Q, QuerySet
from django.db.models.expressions import OrderBy

FORWARD, BACKWARD = "after", "before"
MOST_TEXT = 2_000


@dataclass(frozen=True)
class Key:
    """One column of an order. nulls_first: where those without a value stand; None: it always has one."""

    field: str
    descending: bool = False
    nulls_first: bool | None = None

    @property
    def reverse(self) -> Key:
        return Key(self.field, not self.descending, None if self.nulls_first is None else not self.nulls_first)

    @property
    def order(self) -> OrderBy:
        last = {} if self.nulls_first is None else {"nulls_first": True} if self.nulls_first else {"nulls_last": True}
        return OrderBy(F(self.field), descending=self.descending, **last)

    def beyond(self, value: Any) -> Q:
        """What stands behind this value, and has one itself."""
        return Q(**{f"{self.field}__{'lt' if self.descending else 'gt'}": value})

    def from_here(self, value: Any) -> Q:
        return Q(**{f"{self.field}__{'lte' if self.descending else 'gte'}": value})


def keys_of(queryset: QuerySet) -> list[Key] | None:
    """The order of a queryset as keys that end with its primary key; None where it is not made of plain columns of its own."""
    keys: list[Key] = []
    for each in queryset.query.order_by or queryset.model._meta.ordering:
        key = _key(queryset.model, each)
        if key is None:
            return None
        keys.append(key)
        if queryset.model._meta.get_field(key.field).primary_key:
            return keys
    return [*keys, Key(queryset.model._meta.pk.name)]


def _key(model: type[models.Model], each: Any) -> Key | None:
    if isinstance(each, str):
        name, descending, nulls = each.lstrip("-"), each.startswith("-"), None
    elif isinstance(each, OrderBy) and isinstance(each.expression, F):
        name, descending = each.expression.name, each.descending
        nulls = True if each.nulls_first else False if each.nulls_last else None
    elif isinstance(each, F):
        name, descending, nulls = each.name, False, None
    else:
        return None
    try:
        field = model._meta.pk if name == "pk" else model._meta.get_field(name)
    except FieldDoesNotExist:
        return None
    if field.is_relation or not field.concrete:
        return None
    if field.null and nulls is None:
        nulls = descending  # as PostgreSQL orders them where nothing is said
    return Key(field.name, descending, nulls if field.null else None)


@dataclass(frozen=True)
class Cursor:
    """Where a page begins. start: how many rows stand before its first, as far as the pages walked so far know."""

    direction: str
    values: tuple[Any, ...]
    start: int = 0

    def encode(self) -> str:
        text = json.dumps([self.start, *(_plain(value) for value in self.values)])
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(text: str, direction: str, model: type[models.Model], keys: Sequence[Key]) -> Cursor | None:
    """The cursor that `encode` wrote for this order; None for anything else, which then is the first page."""
    if not text or len(text) > MOST_TEXT:
        return None
    try:
        start, *values = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if len(values) != len(keys) or not isinstance(start, int):
            return None
        read = tuple(
            None if value is None else model._meta.get_field(key.field).to_python(value) for key, value in zip(keys, values, strict=True)
        )
    except (ValueError, TypeError, OverflowError, binascii.Error, ValidationError, UnicodeDecodeError):
        return None
    if any(value is None and key.nulls_first is None for key, value in zip(keys, read, strict=True)):
        return None
    return Cursor(direction, read, max(start, 0))


def _plain(value: Any) -> Any:
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


def position(row: models.Model, keys: Sequence[Key]) -> tuple[Any, ...]:
    return tuple(getattr(row, key.field) for key in keys)


@dataclass(frozen=True)
class Slice:
    """rows: of one page, in order. more: whether there are rows beyond it, on the side that it was walked to."""

    rows: list[Any]
    more: bool


def page(queryset: QuerySet, keys: Sequence[Key], cursor: Cursor | None, size: int) -> Slice:
    """`size` rows after the cursor (or before it), or the first ones. At most two queries, neither with an OFFSET."""
    backward = cursor is not None and cursor.direction == BACKWARD
    ordered = [key.reverse for key in keys] if backward else list(keys)
    rows: list[Any] = []
    for part in _parts(queryset.order_by(*(key.order for key in ordered)), ordered, cursor.values if cursor else None):
        rows += part[: size + 1 - len(rows)]
        if len(rows) > size:
            break
    found = rows[:size]
    return Slice(found[::-1] if backward else found, len(rows) > size)


def _parts(queryset: QuerySet, keys: Sequence[Key], values: tuple[Any, ...] | None) -> Iterator[QuerySet]:
    """The querysets that hold what follows, in their order: with and without a value of the first key apart, since an OR over the two
    would read the index from its start.
    """
    if values is None:
        yield queryset
        return
    first, value = keys[0], values[0]
    empty = Q(**{f"{first.field}__isnull": True})
    if value is None:
        yield queryset.filter(empty & _behind(keys[1:], values[1:]))
        if first.nulls_first:
            yield queryset.exclude(empty)
        return
    yield queryset.filter(first.from_here(value), _behind(keys, values, empty=False))
    if first.nulls_first is False:
        yield queryset.filter(empty)


def _behind(keys: Sequence[Key], values: Sequence[Any], *, empty: bool = True) -> Q:
    """Lexicographically behind these values. empty: whether rows without a value of the first key are looked for too."""
    key, value = keys[0], values[0]
    none = Q(**{f"{key.field}__isnull": True})
    same = none if value is None else Q(**{key.field: value})
    if value is None:
        beyond = Q(**{f"{key.field}__isnull": False}) if key.nulls_first else Q(pk__in=[])
    else:
        beyond = key.beyond(value) | none if empty and key.nulls_first is False else key.beyond(value)
    return beyond | (same & _behind(keys[1:], values[1:])) if len(keys) > 1 else beyond
