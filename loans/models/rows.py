"""Rows as SQL, for statements that write several tables at once. The fields prepare the values: encryption can't be forgotten."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection, connections, models
from django.db.models.expressions import DatabaseDefault


def prepared(instance: models.Model, without: Mapping[str, Any] | frozenset[str] = frozenset()) -> dict[str, Any]:
    """{column: value for psycopg} of an unsaved row: neither its automatic key, nor what the database fills in, nor `without`."""
    values, here = {}, instance.__dict__
    for attname, column, field in _columns(type(instance)):
        if attname in without:
            continue
        value = here[attname] if field is None else field.pre_save(instance, add=True)
        if value.__class__ is not DatabaseDefault:
            values[column] = value if field is None else field.get_db_prep_save(value, connection)
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
    first, own = instances[0].__dict__, connections[DEFAULT_DB_ALIAS]  # not the proxy: it asks which thread it is in at every value
    model = type(instances[0])
    keys = [(field.attname, field.column, None) for field in model._meta.concrete_fields if isinstance(field, models.AutoField)]
    fields = [each for each in (*keys, *_columns(model)) if first[each[0]].__class__ is not DatabaseDefault]
    columns = ", ".join(f'"{column}"' for _, column, _ in fields)
    with connection.cursor() as cursor, cursor.copy(f'COPY "{instances[0]._meta.db_table}" ({columns}) FROM STDIN') as copy:
        for instance in instances:
            here = instance.__dict__
            copy.write_row(
                [
                    here[attname] if field is None else field.get_db_prep_save(field.pre_save(instance, True), own)
                    for attname, _, field in fields
                ]
            )


def insert(instance: models.Model, **sql: str) -> tuple[str, list[Any]]:
    """("INSERT INTO … VALUES …", parameters). sql: {attname: expression} in place of the instance's own values."""
    values = prepared(instance, sql)
    columns = ", ".join(f'"{name}"' for name in (*values, *sql))
    places = ", ".join([*["%s"] * len(values), *sql.values()])
    return f'INSERT INTO "{instance._meta.db_table}" ({columns}) VALUES ({places})', list(values.values())  # noqa: S608 - our own names
