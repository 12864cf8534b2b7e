"""One import from beginning to end: everything is read and checked before the first row is written; then all goes in, or nothing."""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, date, datetime, time
from pathlib import Path

from django.db import DatabaseError, connection, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from loans.models import ImportBatch, ImportRowError, RunState
from loans.services import audit
from loans.services.imports import quality
from loans.services.imports.batches import fail_abandoned_imports
from loans.services.imports.bounded import open_bounded
from loans.services.imports.load import Staging, check_definitions
from loans.services.imports.problems import ImportProblem, RowProblem
from loans.services.imports.readers import FileProblem, Reader
from loans.services.imports.rules import Fitted, Mapping
from loans.services.imports.validate import KEPT_PROBLEMS, Validator
from loans.services.imports.watch import Watch, lease_end
from loans.services.training import peak_memory_mb
from loans.services.wakeups import wake_scoring
from mlcore.progress import Cancelled, Progress, silent

logger = logging.getLogger(__name__)

READING = 0.7  # of the work; the rest is loading
LAST_MONTH = "last-month"


class RowsRefused(ImportProblem):
    """Rows are bad, and nothing was loaded: one was enough under `strict`, or there was no good one."""


class NotOurs(ImportProblem):
    """The batch is not waiting to be imported, or was taken for dead meanwhile."""


def run_import(
    path: Path | str,
    *,
    mapping: Mapping,
    strict: bool = False,
    open_since: date | str | None = None,
    started_by: object | None = None,
    synthetic: bool = False,
    progress: Progress = silent,
    original_name: str | None = None,
    batch: ImportBatch | None = None,
) -> ImportBatch:
    """Import the file and return the batch with its counts (`state` done; `rows_rejected` may be more than none unless `strict`).

    open_since: applications from that day (UTC) on come in undecided, their outcomes withheld; "last-month" is the first day of the
    month of the file's latest application. original_name: what the user called the file. batch: a queued row to work on, instead of
    a new one. Raises ImportProblem, or Cancelled; the batch then says so, and nothing was loaded.
    """
    path = Path(path)
    fail_abandoned_imports()
    batch = _begin(path, mapping, batch, strict, open_since, started_by, original_name)
    problems: list[RowProblem] = []
    try:
        with Watch(batch, progress) as watch:
            _import(path, batch, mapping, open_since, synthetic, watch, problems)
    except (Cancelled, KeyboardInterrupt):
        _end(batch, RunState.CANCELLED, _("Cancelled; nothing was loaded"), problems)
        raise
    except ImportProblem as problem:
        _end(batch, RunState.FAILED, str(problem), problem.problems)
        raise
    except Exception as error:
        # psycopg quotes the row that a constraint refused, and that may be personal: its class is enough here
        _end(
            batch,
            RunState.FAILED,
            _("%(error)s; see the log of %(timezone)s UTC")
            % {"error": type(error).__name__, "timezone": f"{timezone.now():%Y-%m-%d %H:%M}"},
            problems,
        )
        raise
    batch.refresh_from_db()
    return batch


def _begin(
    path: Path,
    mapping: Mapping,
    batch: ImportBatch | None,
    strict: bool,
    open_since: date | str | None,
    started_by: object | None,
    original_name: str | None,
) -> ImportBatch:
    """The batch, running."""
    if isinstance(open_since, str) and open_since != LAST_MONTH:
        raise ValueError(f"open_since is a date, None or {LAST_MONTH!r}, not {open_since!r}")
    facts = {
        "sha256": _sha256(path, original_name),
        "mapping_name": mapping.name,
        "mapping": mapping.text,
        "strict": strict,
        "open_since": open_since if isinstance(open_since, date) else None,
    }
    running = {"state": RunState.RUNNING, "started_at": timezone.now(), "lease_until": lease_end(), "step": "Reading"}
    if batch is None:
        name = (original_name or path.name)[:255]
        batch = ImportBatch.objects.create(file_name=name, started_by=started_by, attempts=1, **facts, **running)
    elif not ImportBatch.objects.filter(pk=batch.pk, state=RunState.QUEUED).update(attempts=F("attempts") + 1, **facts, **running):
        raise NotOurs(_("Import %(pk)s is not waiting to be done.") % {"pk": batch.pk})
    batch.refresh_from_db()
    return batch


def _sha256(path: Path, name: str | None) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileProblem(_("%(what)s can't be read: %(strerror)s.") % {"what": name or path.name, "strerror": error.strerror}) from error


def _import(
    path: Path,
    batch: ImportBatch,
    mapping: Mapping,
    open_since: date | str | None,
    synthetic: bool,
    watch: Watch,
    problems: list[RowProblem],
) -> None:
    with open_bounded(path, mapping.file, name=batch.file_name) as reader:
        fitted = mapping.fit(reader.header, file_name=batch.file_name)
        if open_since is not None and not fitted.has_time:
            raise ImportProblem(f"--open-since needs dates, and the mapping {mapping.name!r} has no submitted_at.")
        check_definitions(fitted)
        validator = Validator(fitted, now=timezone.now())
        with Staging(batch, fitted, validator.columns) as staging:
            counts = _read(reader, fitted, validator, staging, watch, problems)
            _refuse_if_bad(batch, counts, problems, reader)
            with transaction.atomic():
                _load(batch, staging, counts, open_since, synthetic, watch, problems)


class _Counts:
    def __init__(self) -> None:
        self.read = self.rejected = self.problems = 0

    @property
    def good(self) -> int:
        return self.read - self.rejected


def _read(reader: Reader, fitted: Fitted, validator: Validator, staging: Staging, watch: Watch, problems: list[RowProblem]) -> _Counts:
    """Everything read, checked and staged; nothing of it is in the tables yet."""
    counts = _Counts()
    for chunk in reader.chunks(fitted.columns):
        checked = validator(chunk)
        staging.add(checked.good)
        counts.read += checked.rows
        counts.rejected += checked.refused
        counts.problems += checked.problem_count
        problems += checked.problems[: KEPT_PROBLEMS - len(problems)]
        watch(READING * chunk.share, f"{counts.read:,} rows read" + (f", {counts.rejected:,} refused" if counts.rejected else ""))
    if fitted.has_reference:
        reference = next(rule for rule in fitted.rules if rule.name == "external_reference")
        repeated, found = staging.remove_repeated(reference.column, KEPT_PROBLEMS)
        counts.rejected += repeated
        counts.problems += repeated
        problems[:] = sorted([*problems, *found], key=lambda problem: problem.line)[:KEPT_PROBLEMS]
    else:
        staging.number_equal_rows()
    return counts


def _refuse_if_bad(batch: ImportBatch, counts: _Counts, problems: list[RowProblem], reader: Reader) -> None:
    ImportBatch.objects.filter(pk=batch.pk).update(rows_read=counts.read, rows_rejected=counts.rejected)
    if counts.read == 0:
        raise FileProblem(_("%(file_name)s has a header and no rows.") % {"file_name": batch.file_name})
    if counts.rejected and (batch.strict or not counts.good):
        why = _("strict: one bad row is enough") if counts.good else _("there is no good row")
        raise RowsRefused(
            _("%(rejected)s of %(read)s rows of %(file_name)s are bad; nothing was loaded (%(why)s).")
            % {"rejected": f"{counts.rejected:,}", "read": f"{counts.read:,}", "file_name": batch.file_name, "why": why},
            problems=problems,
            total=counts.problems,
            rows=counts.rejected,
        )


def _load(
    batch: ImportBatch,
    staging: Staging,
    counts: _Counts,
    open_since: date | str | None,
    synthetic: bool,
    watch: Watch,
    problems: list[RowProblem],
) -> None:
    now = timezone.now()
    since = staging.last_month() if open_since == LAST_MONTH else open_since and datetime.combine(open_since, time(), UTC)
    staging.wait_for_turn(lambda: watch(READING, _("Waiting for another import to finish")))
    staging.make_products()
    staging.make_definitions()
    loaded = opened = 0
    for share, more, more_open in staging.load(open_since=since, synthetic=synthetic, now=now):
        loaded, opened = loaded + more, opened + more_open
        watch(READING + (1 - READING) * share, f"{loaded:,} applications loaded")
    if loaded:
        watch(0.99, _("Looking at what was loaded"))
        quality.refuse_if_impossible(batch)
    _store_problems(batch, problems)
    watch.stop()  # from here on this transaction holds the batch's row
    ours = ImportBatch.objects.filter(pk=batch.pk, state=RunState.RUNNING, attempts=batch.attempts).update(
        state=RunState.DONE,
        share_done=1.0,
        step=_("Done: %(loaded)s loaded, %(opened)s of them open") % {"loaded": f"{loaded:,}", "opened": f"{opened:,}"},
        finished_at=timezone.now(),
        lease_until=None,
        open_since=since and since.date(),
        rows_loaded=loaded,
        rows_unchanged=counts.good - loaded,
        peak_memory_mb=peak_memory_mb(),
    )
    if not ours:
        raise NotOurs(_("Import %(pk)s was taken for dead or cancelled while it ran; nothing was loaded.") % {"pk": batch.pk})
    if opened:
        transaction.on_commit(wake_scoring)
    audit.record("import.loaded", actor=batch.started_by, subject=batch, sha256=batch.sha256, loaded=loaded, opened=opened)


def _store_problems(batch: ImportBatch, problems: list[RowProblem]) -> None:
    ImportRowError.objects.bulk_create(
        ImportRowError(batch=batch, line=one.line, column=one.column[:200], value=one.value[:100], message=one.message[:300])
        for one in problems[:KEPT_PROBLEMS]
    )


def _end(batch: ImportBatch, state: str, error: str, problems: list[RowProblem]) -> None:
    """The batch's bad end on its row. Where even that can't be written, its lease runs out and tells."""
    try:
        with transaction.atomic():
            step = {"step": error[:200]} if state == RunState.CANCELLED else {"error": error}
            ours = ImportBatch.objects.filter(pk=batch.pk, state=RunState.RUNNING, attempts=batch.attempts)
            if ours.update(state=state, finished_at=timezone.now(), lease_until=None, peak_memory_mb=peak_memory_mb(), **step):
                _store_problems(batch, problems)
    except DatabaseError:
        logger.exception("Import %d: its end could not be noted", batch.pk)
        connection.close_if_unusable_or_obsolete()
