"""Taking an import back: everything that it loaded and what was made of that, as long as nobody has acted on it.

What people did is kept for good, so one decision, proposal, finding or document is enough to refuse. Scores are the desk's own: they go.
"""

# ruff: noqa: S608 - the names in these statements are our own models' tables and columns

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, models, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from loans.models import Applicant, FraudFlagEvent, ImportBatch, LoanApplication, ModelVersion, RunState, TrainingRun
from loans.queries.words import day_of, whole
from loans.services import audit
from loans.services.imports.load import IMPORT_LOCK
from loans.services.imports.problems import ImportProblem
from mlcore.progress import Progress, silent

AT_ONCE = 50_000  # applications that a request takes back; more takes longer than a page should, and a worker does it (`undo_runs`)
HEAVY = 20  # an application takes so much longer than a row that points at it: the server asks each of those tables whether one is left
SLICE = 10_000  # applications a statement: after each the progress is told and a cancellation heard
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
        return _("It can't be undone: people have acted on its applications (%(numbers)s), and what they did is kept.") % {
            "numbers": numbers
        }

    @property
    def trained_in_words(self) -> str:
        if not self.trained:
            return ""
        shown, more = ", ".join(self.trained[:5]), len(self.trained) - 5
        if more > 0:
            shown = ngettext("%(shown)s and %(more)d more", "%(shown)s and %(more)d more", more) % {"shown": shown, "more": more}
        return _(
            "Models were trained after this import and may have learned from its rows: %(shown)s. They stay as they are; their reports "
            "then speak of loans that are no longer here."
        ) % {"shown": shown}


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
        found.acted.append((_("steps of investigators"), events))
    if batch.finished_at is not None:
        later = TrainingRun.objects.filter(state=RunState.DONE, started_at__gte=batch.finished_at, model_version__isnull=False)
        versions = ModelVersion.objects.filter(pk__in=later.values("model_version")).defer("report").order_by("pk")
        found.trained = [str(version) for version in versions]
    return found


def undo(batch: ImportBatch, *, by: Any, progress: Progress = silent, finish: Callable[[], None] = lambda: None) -> int:
    """Take out every application of the batch with all that was made of it, in one transaction; returns how many.

    progress may raise, and so may finish, which is called last inside the transaction. Raises NotUndoable. Whatever was raised, nothing
    has changed.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        _wait_for_turn(cursor, progress)
        # Rows may go on pointing at it meanwhile, such as the one of this very undo.
        locked = ImportBatch.objects.select_for_update(of=("self",), no_key=True).get(pk=batch.pk)
        if locked.undone_at is not None:
            raise NotUndoable(_("It was undone already, on %(day)s.") % {"day": day_of(locked.undone_at)})
        if locked.state != RunState.DONE:
            raise NotUndoable(_("Only an import that has ended well has anything to undo."))
        progress(0.0, _("Looking whether anybody has acted on it"))
        # Whoever decides or scores one of them takes this lock too: after it, nothing can come in between.
        cursor.execute("SELECT id, applicant_id FROM loans_loanapplication WHERE import_batch_id = %s ORDER BY id FOR UPDATE", [batch.pk])
        rows = cursor.fetchall()
        found = undoing(locked)
        if found.acted:
            raise NotUndoable(found.refusal)
        # Each statement checks its own rows; a queue of deferred checks would fill memory. Append-only rows go in maintenance only.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET LOCAL loandesk.maintenance = 'on'")
        gone = _delete(cursor, [pk for pk, _person in rows], [person for _pk, person in rows if person is not None], progress)
        cursor.execute("SET LOCAL loandesk.maintenance = 'off'")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        ImportBatch.objects.filter(pk=batch.pk).update(undone_at=timezone.now(), undone_by=by)
        audit.record("import.undone", actor=by, subject=locked, sha256=locked.sha256, applications=found.applications, rows=gone)
        finish()
    batch.refresh_from_db()
    return found.applications


def _wait_for_turn(cursor: Any, progress: Progress) -> None:
    """Not while another import loads: it counts rows that are here as its own duplicates."""
    while True:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [IMPORT_LOCK])
        if cursor.fetchone()[0]:
            return
        progress(0.0, _("Waiting for another import to finish"))
        time.sleep(0.2)


def _relations() -> list[models.ForeignObjectRel]:
    """Every model that points at an application, those without a way back included."""
    fields = LoanApplication._meta.get_fields(include_hidden=True)
    return [field for field in fields if field.auto_created and not field.concrete and (field.one_to_many or field.one_to_one)]


def _delete(cursor: Any, applications: list[int], people: list[int], progress: Progress) -> dict[str, int]:
    """{table: rows that went}. Table by table, each in slices: nothing may still point at what goes."""
    relations = {relation.related_model._meta.model_name: relation for relation in _relations()}
    steps = []
    for name in MADE:
        model, column = relations[name].related_model, relations[name].field.column
        if name == "fraudflag":
            events = f"DELETE FROM loans_fraudflagevent WHERE flag_id IN (SELECT id FROM {model._meta.db_table} WHERE {column} = ANY(%s))"
            steps.append((FraudFlagEvent, events, applications))
        steps.append((model, f"DELETE FROM {model._meta.db_table} WHERE {column} = ANY(%s)", applications))
    steps += [
        (model, f"DELETE FROM {model._meta.db_table} WHERE id = ANY(%s)", ids)
        for model, ids in ((LoanApplication, applications), (Applicant, people))
    ]
    weights = {LoanApplication: HEAVY}
    total, done, gone = sum(weights.get(model, 1) * len(ids) for model, _sql, ids in steps), 0, {}
    for model, sql, ids in steps:
        name = model._meta.model_name
        for start in range(0, len(ids), SLICE):
            progress(done / total, _("Taking out: %(what)s") % {"what": model._meta.verbose_name_plural})
            part = ids[start : start + SLICE]
            cursor.execute(sql, [part])
            gone[name] = gone.get(name, 0) + cursor.rowcount
            done += weights.get(model, 1) * len(part)
    progress(1.0, _("Writing it down"))
    return {name: count for name, count in gone.items() if count}
