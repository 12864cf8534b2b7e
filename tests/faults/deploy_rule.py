"""The rule that lets old and new code run side by side during a deploy, as a check of a migration's operations."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import models
from django.db.migrations import operations
from django.db.migrations.operations.base import Operation

_TAKES_AWAY = (operations.RemoveField, operations.RenameField, operations.DeleteModel, operations.RenameModel, operations.AlterModelTable)


def breaks_old_code(migration: Iterable[Operation], *, retired: frozenset[str] = frozenset()) -> list[str]:
    """What in these operations would fail the code that was released before them; empty where the rule is kept.

    retired: "model.field" or "model" that the release before has stopped using; those may go.
    """
    found, made = [], set()
    for operation in migration:
        if isinstance(operation, operations.CreateModel):
            made.add(operation.name.lower())
        elif isinstance(operation, _TAKES_AWAY):
            name = ".".join(part.lower() for part in _names(operation))
            if name not in retired:
                found.append(f"{type(operation).__name__} {name}: a release that stops using it comes first")
        elif isinstance(operation, operations.AddField) and operation.model_name.lower() not in made and not _optional(operation.field):
            found.append(f"AddField {operation.model_name}.{operation.name}: old code leaves it out, so it needs null=True or db_default")
    return found


def _names(operation: Operation) -> list[str]:
    if isinstance(operation, operations.RemoveField):
        return [operation.model_name, operation.name]
    if isinstance(operation, operations.RenameField):
        return [operation.model_name, operation.old_name]
    return [operation.old_name if isinstance(operation, operations.RenameModel) else operation.name]


def _optional(field: models.Field) -> bool:
    return field.null or field.many_to_many or field.db_default is not models.NOT_PROVIDED
