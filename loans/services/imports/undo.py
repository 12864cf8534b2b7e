"""Taking an import back: everything that it loaded and what was made of that, as long as nobody has acted on it.

What people did is kept for good, so one decision, proposal, finding or document is enough to refuse. Scores are the desk's own: they go.
"""

# ruff: noqa: S608 - the names in these statements are our own models' tables and columns

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.db import connection, models, transaction
from django.utils import timezone

from loans.models import Applicant, FraudFlagEvent, ImportBatch, LoanApplication, ModelVersion, RunState, TrainingRun
from loans.queries.words import day_of, whole
from loans.services import audit
from loans.services.imports.load import IMPORT_LOCK
from loans.services.imports.problems import ImportProblem

AT_ONCE = 50_000  # rows that a request may take back; more takes longer than a page should
# What Loandesk itself makes of an application, in an order in which nothing still points at what goes.
MADE = (
    "prediction",
    "featuresnapshot",
    "amountestimate",
    "segmentassignment",
    "fraudflag",
    "fraudassessment",
    "applicationlink",
    "scoringjob",
    "loanoutcome",
    "protectedattributes",
)


class NotUndoable(ImportProblem):
    """People have acted on what was imported, or it is not over, or it is undone; the message has the numbers."""


@dataclass
class Undoing:
    """What an undo would meet. applications: what it would take out; acted: (what, how many) that refuse it; trained: models in words."""

    applications: int
    acted: list[tuple[str, int]] = field(default_factory=list)
    trained: list[str] = field(default_factory=list)

    @property
    def refusal(self) -> str:
        if not self.acted:
            return ""
        numbers = ", ".join(f"{whole(count)} {what}" for what, count in self.acted)
        return f"It can't be undone: people have acted on its applications ({numbers}), and what they did is kept."

    @property
    def trained_in_words(self) -> str:
        if not self.trained:
            return ""
        shown = ", ".join(self.trained[:5]) + (f" and {len(self.trained) - 5} more" if len(self.trained) > 5 else "")
        return (
            f"Models were trained after this import and may have learned from its rows: {shown}. They stay as they are; their reports "
            "then speak of loans that are no longer here."
        )


def undoing(batch: ImportBatch) -> Undoing:
    """Read only."""
    mine = LoanApplication.objects.filter(import_batch=batch)
    found = Undoing(mine.count())
    for relation in _relations():
        model, name = relation.related_model, relation.field.name
        if model._meta.model_name not in MADE:
            count = model._default_manager.filter(**{f"{name}__import_batch": batch}).count()
            if count:
                found.acted.append((str(model._meta.verbose_name if count == 1 else model._meta.verbose_name_plural), count))
    events = FraudFlagEvent.objects.filter(flag__application__import_batch=batch, by__isnull=False).count()
    if events:
        found.acted.append(("steps of investigators", events))
    if batch.finished_at is not None:
        later = TrainingRun.objects.filter(state=RunState.DONE, started_at__gte=batch.finished_at, model_version__isnull=False)
        versions = ModelVersion.objects.filter(pk__in=later.values("model_version")).defer("report").order_by("pk")
        found.trained = [str(version) for version in versions]
    return found


def undo(batch: ImportBatch, *, by: Any, most: int | None = None) -> int:
    """Take out every application of the batch with all that was made of it, in one transaction; returns how many.

    most: refuse where there are more. Raises NotUndoable; then nothing has changed.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        # Not while another import loads: it counts rows that are here as its own duplicates.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [IMPORT_LOCK])
        locked = ImportBatch.objects.select_for_update(of=("self",)).get(pk=batch.pk)
        if locked.undone_at is not None:
            raise NotUndoable(f"It was undone already, on {day_of(locked.undone_at)}.")
        if locked.state != RunState.DONE:
            raise NotUndoable("Only an import that has ended well has anything to undo.")
        # Whoever decides or scores one of them takes this lock too: after it, nothing can come in between.
        cursor.execute("SELECT id, applicant_id FROM loans_loanapplication WHERE import_batch_id = %s ORDER BY id FOR UPDATE", [batch.pk])
        people = [applicant for _, applicant in cursor.fetchall() if applicant is not None]
        found = undoing(locked)
        if found.acted:
            raise NotUndoable(found.refusal)
        if most is not None and found.applications > most:
            raise NotUndoable(
                f"{whole(found.applications)} applications are more than a page takes back at once ({whole(most)}): "
                f"manage.py import_undo {batch.pk}"
            )
        # Each statement checks its own rows; a queue of deferred checks would fill memory. Append-only rows go in maintenance only.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET LOCAL loandesk.maintenance = 'on'")
        gone = _delete(cursor, batch.pk, people)
        cursor.execute("SET LOCAL loandesk.maintenance = 'off'")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        ImportBatch.objects.filter(pk=batch.pk).update(undone_at=timezone.now(), undone_by=by)
        audit.record("import.undone", actor=by, subject=locked, sha256=locked.sha256, applications=found.applications, rows=gone)
    batch.refresh_from_db()
    return found.applications


def _relations() -> list[models.ForeignObjectRel]:
    """Every model that points at an application, those without a way back included."""
    fields = LoanApplication._meta.get_fields(include_hidden=True)
    return [field for field in fields if field.auto_created and not field.concrete and (field.one_to_many or field.one_to_one)]


def _delete(cursor: Any, batch_id: int, people: list[int]) -> dict[str, int]:
    """{table: rows that went}."""
    gone = {}
    mine = "SELECT id FROM loans_loanapplication WHERE import_batch_id = %s"
    tables = {relation.related_model._meta.model_name: relation for relation in _relations()}
    for name in MADE:
        relation = tables[name]
        table, column = relation.related_model._meta.db_table, relation.field.column
        if name == "fraudflag":
            cursor.execute(
                f"DELETE FROM loans_fraudflagevent WHERE flag_id IN (SELECT id FROM {table} WHERE {column} IN ({mine}))", [batch_id]
            )
        cursor.execute(f"DELETE FROM {table} WHERE {column} IN ({mine})", [batch_id])
        gone[name] = cursor.rowcount
    cursor.execute("DELETE FROM loans_loanapplication WHERE import_batch_id = %s", [batch_id])
    cursor.execute(f"DELETE FROM {Applicant._meta.db_table} WHERE id = ANY(%s)", [people])
    gone["applicant"] = cursor.rowcount
    return {name: count for name, count in gone.items() if count}
