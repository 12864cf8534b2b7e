"""Everything that is encrypted, rows and files, anew under the first key of PII_KEYS: in small steps, to be stopped and begun again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from django.apps import apps
from django.db import connection, transaction

from loans.models.crypto import EncryptedTextField, decrypt, encrypt, key_id
from loans.services import audit, documents

BATCH = 1_000


def encrypted_columns() -> Iterator[tuple[str, str, list[EncryptedTextField]]]:
    """(table, its key column, its encrypted fields) of every model that has any."""
    for model in apps.get_app_config("loans").get_models():
        fields = [field for field in model._meta.concrete_fields if isinstance(field, EncryptedTextField)]
        if fields:
            yield model._meta.db_table, model._meta.pk.column, fields


def left() -> int:
    """Rows that hold a value under another key, and files that are under one."""
    with connection.cursor() as cursor:
        total = 0
        for table, _, fields in encrypted_columns():
            cursor.execute(f"SELECT count(*) FROM {table} WHERE {_old(fields)}", _pattern(fields))  # noqa: S608 - names of our own
            total += cursor.fetchone()[0]
    return total + documents.under_older_keys().count()


def rotate(*, progress: Callable[[int], None] = lambda rows: None) -> int:
    """Encrypt anew what is under an older key; returns how many rows and files. One that opens with no key raises UnreadablePersonalData.

    Rows already done are never looked at twice, so a run that was stopped is just begun again. Several at once share the work.
    """
    done = 0
    for table, pk, fields in encrypted_columns():
        while True:
            with transaction.atomic():
                rows = _batch(table, pk, fields)
            if not rows:
                break
            done += rows
            progress(done)
    while documents.rotate_one():
        done += 1
        progress(done)
    if done:
        audit.record("keys.rotated", key=key_id(), rows=done)
    return done


def _batch(table: str, pk: str, fields: list[EncryptedTextField]) -> int:
    names = [field.column for field in fields]
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {pk}, {', '.join(names)} FROM {table} WHERE {_old(fields)} ORDER BY {pk} LIMIT %s FOR UPDATE SKIP LOCKED",  # noqa: S608
            [*_pattern(fields), BATCH],
        )
        rows = cursor.fetchall()
        if not rows:
            return 0
        columns: list[list] = [[row[0] for row in rows]]
        for number, name in enumerate(names, start=1):
            context = f"{table}.{name}"
            columns.append([row[number] and encrypt(decrypt(row[number], context=context), context=context) for row in rows])
        cursor.execute(
            f"UPDATE {table} row SET {', '.join(f'{name} = new.{name}' for name in names)}"  # noqa: S608
            f" FROM unnest(%s::bigint[], {', '.join(['%s::text[]'] * len(names))}) AS new(id, {', '.join(names)}) WHERE row.{pk} = new.id",
            columns,
        )
    return len(rows)


def _old(fields: list[EncryptedTextField]) -> str:
    return " OR ".join(f"{field.column} NOT LIKE %s" for field in fields)


def _pattern(fields: list[EncryptedTextField]) -> list[str]:
    return [f"{key_id()}.%"] * len(fields)
