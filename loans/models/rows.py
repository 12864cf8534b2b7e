"""Rows as SQL, for statements that write several tables at once. The fields prepare the values: encryption can't be forgotten."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import DEFAULT_DB_ALIAS, connection, connections, models
from django.db.models.base import ModelState
from django.db.models.expressions import DatabaseDefault
from django.utils import timezone


def prepared(instance: models.Model, without: Mapping[str, Any] | frozenset[str] = frozenset()) -> dict[str, Any]:
    """{column: value for psycopg} of an unsaved row: neither its automatic key, nor what the database fills in, nor `without`."""
    values, here, own = {}, instance.__dict__, connections[DEFAULT_DB_ALIAS]
    for attname, column, field in _columns(type(instance)):
        if attname in without:
            continue
        value = here[attname] if field is None else field.pre_save(instance, add=True)
        if value.__class__ is not DatabaseDefault:
            # What a Decimal or "missing" is prepared to is itself; asking connection and field for it costs more than sending it.
            values[column] = value if field is None or value is None or value.__class__ is Decimal else field.get_db_prep_save(value, own)
    return values


# What psycopg takes as Django's fields hold it; every other field prepares its values itself.
_AS_IT_IS = {
    models.CharField, models.TextField, models.FloatField, models.IntegerField, models.BigIntegerField, models.SmallIntegerField,
    models.PositiveSmallIntegerField, models.BooleanField, models.ForeignKey, models.OneToOneField,
}  # fmt: skip


@functools.cache
def _columns(model: type[models.Model]) -> list[tuple[str, str, models.Field | None]]:
    """(attribute, column, field or None where the attribute is the value) of all but an automatic key."""
    return [
        (field.attname, field.column, None if type(field) in _AS_IT_IS else field)
        for field in model._meta.concrete_fields
        if not isinstance(field, models.AutoField)
    ]


def copy_rows(instances: Sequence[models.Model]) -> None:
    """Unsaved rows of one model by COPY; their keys are set already. Columns that the database fills in stay its own."""
    if not instances:
        return
    seen = [instance.__dict__ for instance in instances]
    model = type(instances[0])
    keys = [(field.attname, field.column, None) for field in model._meta.concrete_fields if isinstance(field, models.AutoField)]
    fields = [each for each in (*keys, *_columns(model)) if seen[0][each[0]].__class__ is not DatabaseDefault]
    names = ", ".join(f'"{column}"' for _, column, _ in fields)
    values = [
        [here[attname] for here in seen] if field is None else _column(instances, field, [here[attname] for here in seen])
        for attname, _, field in fields
    ]
    with connection.cursor() as cursor, cursor.copy(f'COPY "{model._meta.db_table}" ({names}) FROM STDIN') as copy:
        for row in zip(*values, strict=True):
            copy.write_row(row)


def _column(instances: Sequence[models.Model], field: models.Field, values: list[Any]) -> list[Any]:
    """The values of many rows as COPY takes them: what each field prepares, in one go for the kinds that there are thousands of."""
    kind = type(field)
    if hasattr(field, "prepared_many"):
        return field.prepared_many(values)
    if kind is models.DateTimeField and field.auto_now_add:
        return [timezone.now()] * len(values)
    if kind is models.BinaryField or kind is models.DateTimeField:
        return values
    if kind is models.DecimalField and {value.__class__ for value in values} <= {Decimal, type(None)}:
        return values
    if kind is models.JSONField and field.encoder is None and None not in values:
        return ["{}" if value == {} else json.dumps(value) for value in values]
    if kind is ArrayField and type(field.base_field) is models.BinaryField:
        return [None if value is None else "{" + ",".join([f'"\\\\x{each.hex()}"' for each in value]) + "}" for value in values]
    own = connections[DEFAULT_DB_ALIAS]  # not the proxy: it asks which thread it is in at every value
    return [field.get_db_prep_save(field.pre_save(instance, True), own) for instance in instances]


def stencil(model: type[models.Model], **same: Any) -> Callable[[dict[str, Any], dict[str, Any]], Any]:
    """What makes rows that have all this in common: (values by attribute, related rows by field) → an unsaved row.

    `Model.__init__` asks forty fields for their defaults each time, which costs as much as all else that is done to a row.
    """
    first = model(**same)
    related = {field.name: field.attname for field in model._meta.concrete_fields if field.is_relation}
    shared = {name: value for name, value in first.__dict__.items() if name != "_state"}
    changing = [(name, type(value)) for name, value in shared.items() if isinstance(value, dict | list)]

    def made(values: dict[str, Any], rows: dict[str, Any]) -> Any:
        row = model.__new__(model)
        here = row.__dict__
        here.update(shared)
        for name, kind in changing:
            here[name] = kind()
        here.update(values)
        here["_state"] = state = ModelState()
        state.fields_cache = {**first._state.fields_cache, **rows}
        for name, other in rows.items():
            here[related[name]] = None if other is None else other.pk
        return row

    return made


def insert(instance: models.Model, **sql: str) -> tuple[str, list[Any]]:
    """("INSERT INTO … VALUES …", parameters). sql: {attname: expression} in place of the instance's own values."""
    values = prepared(instance, sql)
    return _insert(type(instance), tuple(values), tuple(sql.items())), list(values.values())


@functools.lru_cache(256)
def _insert(model: type[models.Model], names: tuple[str, ...], sql: tuple[tuple[str, str], ...]) -> str:
    columns = ", ".join(f'"{name}"' for name in (*names, *dict(sql)))
    places = ", ".join([*["%s"] * len(names), *dict(sql).values()])
    return f'INSERT INTO "{model._meta.db_table}" ({columns}) VALUES ({places})'  # noqa: S608 - our own names
