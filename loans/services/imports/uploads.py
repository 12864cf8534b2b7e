"""A file that somebody uploads: looked at, kept until its mapping is settled, imported by a worker, then forgotten."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import date
from typing import Any

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext

from loans.models import ImportBatch, ImportUpload, RunState
from loans.models.fields import BadText, clean_text
from loans.services import audit
from loans.services.imports import draft, stored
from loans.services.imports.draft_columns import Column
from loans.services.imports.draft_text import toml_of
from loans.services.imports.mapping import available_mappings, load_mapping, parse_mapping
from loans.services.imports.problems import ImportProblem
from loans.services.imports.rules import Mapping, MappingProblem
from loans.services.imports.run import LAST_MONTH, NotOurs, run_import
from loans.services.wakeups import wake_import
from mlcore.progress import Cancelled

logger = logging.getLogger(__name__)
MOST_WAITING = 20
MOST_VALUES = 15
SAMPLES, LONGEST_SAMPLE = 3, 60
USED_LOOKED_AT = 200


class HereAlready(ImportProblem):
    """The same bytes were uploaded by the same person and wait. upload: that one."""

    def __init__(self, upload: ImportUpload) -> None:
        super().__init__(gettext("%(file_name)s is here already; go on with it, or discard it first.") % {"file_name": upload.file_name})
        self.upload = upload


class UnderWay(ImportProblem):
    """This file is being imported, or was a moment ago. batch: that import, where it is still known."""

    def __init__(self, batch: ImportBatch | None) -> None:
        super().__init__(
            gettext("This file is being imported already.") if batch else gettext("This file was imported, or discarded, meanwhile.")
        )
        self.batch = batch


def store(chunks: Iterator[bytes], *, file_name: str, by: Any) -> ImportUpload:
    """Keep a file and propose what its columns mean. Raises ImportProblem where it can't be one; then nothing of it stays."""
    file_name = _clean_name(file_name)
    if ImportUpload.objects.filter(uploaded_by=by).count() >= MOST_WAITING:
        raise ImportProblem(
            gettext("%(most_waiting)s files of yours wait already. Import or discard some of them first.") % {"most_waiting": MOST_WAITING}
        )
    stored_as, size, sha256 = stored.keep(chunks, file_name=file_name)
    upload = ImportUpload(stored_as=stored_as, file_name=file_name, size=size, sha256=sha256, uploaded_by=by)
    try:
        same = ImportUpload.objects.filter(uploaded_by=by, sha256=sha256).first()
        if same is not None:
            raise HereAlready(same)
        _look(upload)
        upload.save()
    except BaseException:
        stored.drop(upload.path)
        raise
    return upload


def _clean_name(name: str) -> str:
    try:
        return clean_text(name.replace("\\", "/").rpartition("/")[2])[:255] or "file"
    except BadText:
        return "file"


def _look(upload: ImportUpload) -> None:
    """Sets what its columns hold and the mapping that it begins with. Raises ImportProblem."""
    head = draft.read_head(upload.path, name=upload.file_name)
    columns = {}
    for name in head.header:
        column = Column(name, [(text or "").strip() for text in head.chunk.columns[name].to_pylist()])
        columns[name] = _column_head(column)
    upload.head = json.dumps({"rows": len(head.chunk), "columns": columns})
    for label, mapping in known_mappings():
        if _fits(mapping, head.header, upload.file_name):
            upload.mapping, upload.mapping_from = mapping.text, gettext("The columns are those of %(label)s.") % {"label": label}
            return
    proposal = draft.draft_from(head, file_name=upload.file_name)
    for name, note in proposal.notes.items():
        columns[name]["note"] = note
    upload.head = json.dumps({"rows": len(head.chunk), "columns": columns})
    upload.mapping = toml_of(proposal)
    upload.mapping_from = gettext("Proposed from the names and values of %(chunk)s rows. Read every line.") % {
        "chunk": f"{len(head.chunk):,}"
    }


def _column_head(column: Column) -> dict[str, Any]:
    """What a person needs to see of a column. values: each with its count, where there are few."""
    counts = column.counts
    few = 0 < len(counts) <= MOST_VALUES and column.longest <= LONGEST_SAMPLE
    samples = [text if len(text) <= LONGEST_SAMPLE else text[: LONGEST_SAMPLE - 1] + "…" for text, _ in counts.most_common(SAMPLES)]
    return {
        "samples": samples,
        "empty": 1 - column.filled / max(len(column.texts), 1),
        "distinct": len(counts),
        "values": dict(counts.most_common()) if few else {},
    }


def known_mappings() -> Iterator[tuple[str, Mapping]]:
    """(what it is called in words, mapping): those that were used last, each text once, then those that come along."""
    seen: set[str] = set()
    used = ImportBatch.objects.filter(state=RunState.DONE).order_by("-pk").values_list("pk", "mapping_name", "mapping")[:USED_LOOKED_AT]
    for pk, name, text in used:
        if name not in seen and text:
            seen.add(name)
            try:
                yield gettext("“%(name)s”, as import %(pk)s used it") % {"name": name, "pk": pk}, parse_mapping(text, name=name)
            except MappingProblem:
                continue  # written for an older version
    for name in available_mappings():
        if name not in seen:
            yield gettext("“%(name)s”, which comes along") % {"name": name}, load_mapping(name)


def _fits(mapping: Mapping, header: tuple[str, ...], file_name: str) -> bool:
    try:
        fitted = mapping.fit(header, file_name=file_name)
    except MappingProblem:
        return False
    return any(rule.name == "amount" for rule in fitted.rules)


def use_mapping(upload: ImportUpload, text: str, *, source: str) -> Mapping:
    """Settle the file's mapping. Raises MappingProblem where it can't be read or does not fit; then the old one stays."""
    mapping = parse_mapping(text, name=draft.mapping_name(upload.file_name))
    mapping.fit(header(upload), file_name=upload.file_name)
    if not ImportUpload.objects.filter(pk=upload.pk).update(mapping=text, mapping_from=source):
        raise UnderWay(None)
    upload.mapping, upload.mapping_from = text, source
    return mapping


def header(upload: ImportUpload) -> tuple[str, ...]:
    return tuple(json.loads(upload.head)["columns"])


def discard(upload: ImportUpload) -> None:
    """Raises UnderWay while it is being imported."""
    with transaction.atomic():
        locked = ImportUpload.objects.select_for_update(of=("self",)).select_related("batch").filter(pk=upload.pk).first()
        if locked is None:
            return
        if locked.is_busy:
            raise UnderWay(locked.batch)
        stored.forget(locked)


def confirm(upload: ImportUpload, *, by: Any, strict: bool, open_since: str = "", branch: Any = None) -> ImportBatch:
    """Queue the import and wake a worker. open_since: "", an ISO date or "last-month".

    Raises UnderWay where it was started already, ImportProblem where the mapping or the date won't do.
    """
    since = _since(open_since)
    with transaction.atomic():
        locked = ImportUpload.objects.select_for_update(of=("self",)).select_related("batch").filter(pk=upload.pk).first()
        if locked is None or locked.is_busy:
            raise UnderWay(locked and locked.batch)
        mapping = parse_mapping(locked.mapping, name=draft.mapping_name(locked.file_name))
        fitted = mapping.fit(header(locked), file_name=locked.file_name)
        if open_since and not fitted.has_time:
            raise ImportProblem(gettext("Taking applications as undecided from a day on needs a column with the day of the application."))
        batch = ImportBatch.objects.create(
            file_name=locked.file_name,
            sha256=locked.sha256,
            mapping_name=mapping.name,
            mapping=locked.mapping,
            strict=strict,
            open_since=since,
            branch=branch,
            started_by=by,
        )
        ImportUpload.objects.filter(pk=locked.pk).update(batch=batch, open_since=open_since)
        audit.record("import.started", actor=by, subject=batch, sha256=batch.sha256, strict=strict, size=locked.size)
        transaction.on_commit(lambda: wake_import(batch.pk))
    return batch


def _since(text: str) -> date | None:
    if not text or text == LAST_MONTH:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ImportProblem(gettext("A day is written like 2026-03-01, not %(text)s.") % {"text": f"{text!r}"}) from None


def run_upload(batch_id: int) -> ImportBatch | None:
    """Do a queued import; None where it is not to be had. Its end, good or bad, is on the row; after a good one the file goes."""
    upload = ImportUpload.objects.select_related("batch__started_by", "batch__branch").filter(batch_id=batch_id).first()
    if upload is None:
        _fail_queued(batch_id, gettext("The file is gone; nothing was loaded. Upload it again."))
        return None
    batch = upload.batch
    try:
        batch = run_import(
            upload.path,
            mapping=parse_mapping(batch.mapping, name=batch.mapping_name),
            strict=batch.strict,
            open_since=upload.open_since if upload.open_since == LAST_MONTH else batch.open_since,
            started_by=batch.started_by,
            original_name=upload.file_name,
            batch=batch,
        )
    except NotOurs:
        return None
    except (ImportProblem, Cancelled) as problem:
        _fail_queued(batch_id, str(problem))
        batch.refresh_from_db()
    except Exception:
        logger.exception("Import %d failed", batch_id)
        batch.refresh_from_db()
    if batch.state == RunState.DONE:
        stored.forget(upload)
    return batch


def _fail_queued(batch_id: int, error: str) -> None:
    """What went wrong before the import had taken the row."""
    ImportBatch.objects.filter(pk=batch_id, state=RunState.QUEUED).update(
        state=RunState.FAILED, finished_at=Now(), started_at=timezone.now(), error=error
    )
