"""Papers of an application: taken in, opened, deleted. Each is an audit event in the transaction of the deed.

A file is told by its content, never by its name. It lies encrypted under a random name, its own name bound into the ciphertext, so that
one file put in another's place does not open. Bytes are written before the row and dropped after it: what a crash leaves is a file that
no row knows, which the sweeper drops.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from loans.models import Document, DocumentKind, LoanApplication
from loans.models.crypto import UnreadablePersonalData, decrypt_bytes, encrypt_bytes, key_id
from loans.models.document import folder
from loans.models.fields import BadText, clean_text
from loans.queries.words import figure
from loans.services import audit

logger = logging.getLogger(__name__)
LONGEST_NAME = 120
STRAY_SECONDS = 3600.0
LOOK_SECONDS = 10.0
_next_look, _part = 0.0, -1

_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1")
# name in DOCUMENT_TYPES → (media type, the name's end, what the first bytes must be)
TYPES: dict[str, tuple[str, str, Callable[[bytes], bool]]] = {
    "pdf": ("application/pdf", ".pdf", lambda head: head.startswith(b"%PDF-")),
    "jpeg": ("image/jpeg", ".jpg", lambda head: head.startswith(b"\xff\xd8\xff")),
    "png": ("image/png", ".png", lambda head: head.startswith(b"\x89PNG\r\n\x1a\n")),
    "tiff": ("image/tiff", ".tif", lambda head: head.startswith((b"II*\0", b"MM\0*"))),
    "heic": ("image/heic", ".heic", lambda head: head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS),
    "webp": ("image/webp", ".webp", lambda head: head.startswith(b"RIFF") and head[8:12] == b"WEBP"),
}


class DocumentProblem(Exception):
    """It can't be taken in, opened or deleted; the message says why. Nothing was changed."""


class HereAlready(DocumentProblem):
    """The application has the same bytes already. document: those."""

    def __init__(self, document: Document) -> None:
        super().__init__(_("The same file is here already (%(kind)s).") % {"kind": document.get_kind_display()})
        self.document = document


def most() -> str:
    """`10 MB`: the same on the form and in the refusal."""
    return f"{figure(settings.DOCUMENT_MAX_BYTES / 1e6)} MB"


def too_large() -> str:
    return _("The file is larger than %(most)s, the most that is taken here.") % {"most": most()}


def type_of(content: bytes) -> str:
    """The name in TYPES of what the bytes are. Raises DocumentProblem where it is none that is allowed."""
    head = content[:16]
    found = next((name for name, (_media, _end, is_it) in TYPES.items() if is_it(head)), "")
    if found in settings.DOCUMENT_TYPES:
        return found
    allowed = ", ".join(name.upper() for name in settings.DOCUMENT_TYPES)
    if found:
        raise DocumentProblem(_("It is a %(type)s file; taken are: %(allowed)s.") % {"type": found.upper(), "allowed": allowed})
    raise DocumentProblem(_("Its content is none of what is taken: %(allowed)s. What it is called does not count.") % {"allowed": allowed})


def clean_name(name: str) -> str:
    """Without folders and what no honest name has; `document` where nothing is left."""
    try:
        text = clean_text(name.replace("\\", "/").rpartition("/")[2])
    except BadText:
        return "document"
    text = "".join(letter for letter in text if letter not in '\t\r\n"<>|:*?').strip(" .")
    stem, dot, end = text.rpartition(".")
    if len(text) > LONGEST_NAME:
        text = stem[: LONGEST_NAME - 9] + dot + end[:8] if dot else text[:LONGEST_NAME]
    return text or "document"


def file_name(document: Document) -> str:
    """The name that it is served under: it ends as what it is, whatever its sender called it."""
    end = next((end for media, end, _is in TYPES.values() if media == document.content_type), "")
    known = {".jpg": (".jpg", ".jpeg"), ".tif": (".tif", ".tiff")}.get(end, (end,))
    return document.name if document.name.lower().endswith(known) else f"{document.name}{end}"


def add(application: LoanApplication, content: bytes, *, name: str, kind: str, by: Any) -> Document:
    """Keep one file. Raises DocumentProblem (HereAlready for the same bytes twice); then nothing of it stays."""
    if kind not in DocumentKind.values:
        raise DocumentProblem(_("Say what kind of document it is."))
    if not content:
        raise DocumentProblem(_("The file is empty."))
    if len(content) > settings.DOCUMENT_MAX_BYTES:
        raise DocumentProblem(too_large())
    media = TYPES[type_of(content)][0]
    document = Document(
        application=application,
        kind=kind,
        name=clean_name(name),
        content_type=media,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        stored_as=secrets.token_hex(20),
        key=key_id(),
        added_by=by,
    )
    try:
        _write(document.path, encrypt_bytes(content, context=_context(document)))
        with transaction.atomic():
            locked = LoanApplication.objects.select_for_update(of=("self",), no_key=True).select_related("applicant").get(pk=application.pk)
            _refuse_unless_room(locked, document)
            document.save()
            audit.record("document.added", actor=by, subject=application, document=document.pk, kind=kind, size=document.size)
    except OSError as error:
        _drop(document.path)
        raise DocumentProblem(_("It could not be stored: %(why)s. Try again later.") % {"why": error.strerror}) from error
    except BaseException:
        _drop(document.path)
        raise
    return document


def _refuse_unless_room(application: LoanApplication, document: Document) -> None:
    """Under the application's row lock, so that two at once can't pass the limit together."""
    if application.applicant is not None and application.applicant.erased_at is not None:
        raise DocumentProblem(_("The person of this application was erased; no document is taken any more."))
    same = Document.objects.filter(application=application, sha256=document.sha256).first()
    if same is not None:
        raise HereAlready(same)
    if Document.objects.filter(application=application).count() >= settings.DOCUMENTS_AN_APPLICATION:
        raise DocumentProblem(
            _("It has %(most)d documents, as many as an application may have.") % {"most": settings.DOCUMENTS_AN_APPLICATION}
        )


def read(document: Document, *, by: Any) -> bytes:
    """The bytes, with an event that says who looked. Raises DocumentProblem where the file is gone or altered."""
    try:
        content = decrypt_bytes(document.path.read_bytes(), context=_context(document))
    except (OSError, UnreadablePersonalData) as error:
        logger.warning("%s of application %d does not open: %s.", document, document.application_id, type(error).__name__)
        raise DocumentProblem(_("The file is damaged or gone; a back-up may have it.")) from error
    audit.record("document.opened", actor=by, subject=document.application, document=document.pk, kind=document.kind)
    return content


def may_delete(document: Document, user: Any) -> bool:
    """While nobody has decided: whoever added it, and whoever may delete anybody's. After that it belongs to the decision."""
    allowed = user.has_perm("loans.delete_document") or (document.added_by_id == user.pk and user.has_perm("loans.add_document"))
    return allowed and document.application.is_undecided


def delete(document: Document, *, by: Any) -> None:
    """Raises DocumentProblem where a decision rests on it by now, or it is not this person's to delete."""
    with transaction.atomic():
        application = LoanApplication.objects.select_for_update(of=("self",), no_key=True).get(pk=document.application_id)
        document.application = application
        if not may_delete(document, by):
            if not application.is_undecided:
                raise DocumentProblem(_("It is decided: what the decision rests on is kept."))
            raise DocumentProblem(_("Somebody else added it; a senior officer can delete it."))
        # Two at once: the second finds no row, and there is nothing more to say of it.
        gone, _rows = Document.objects.filter(pk=document.pk).delete()
        if gone:
            audit.record("document.deleted", actor=by, subject=application, document=document.pk, kind=document.kind)
            transaction.on_commit(lambda: _drop(document.path))


def erase(application: LoanApplication) -> int:
    """All of an application's, in the caller's transaction; the files go when it commits. Returns how many."""
    rows = list(Document.objects.filter(application=application).only("stored_as"))
    Document.objects.filter(pk__in=[row.pk for row in rows]).delete()
    paths = [row.path for row in rows]

    def drop_all() -> None:
        for path in paths:
            _drop(path)

    transaction.on_commit(drop_all)
    return len(rows)


def under_older_keys() -> Any:
    return Document.objects.exclude(key=key_id())


def rotate_one() -> bool:
    """Encrypt one file anew under the first key; False where none is left. The new one takes its place, then the row says so."""
    with transaction.atomic():
        row = under_older_keys().select_for_update(of=("self",), skip_locked=True).order_by("pk").first()
        if row is None:
            return False
        try:
            content = decrypt_bytes(row.path.read_bytes(), context=_context(row))
        except FileNotFoundError:
            logger.warning("%s of application %d has no file; a back-up may have it.", row, row.application_id)
        else:
            fresh = row.path.with_name(f"{row.stored_as}.new")
            _drop(fresh)  # of a rotation that was stopped
            _write(fresh, encrypt_bytes(content, context=_context(row)))
            fresh.replace(row.path)
        Document.objects.filter(pk=row.pk).update(key=key_id())
    return True


def drop_strays() -> int:
    """Files that no row knows, an hour old: left by a process that died between the file and its row. Each look takes one of the 256
    folders, so that a million files make no long look; a round takes some 40 minutes.
    """
    global _next_look, _part
    if time.monotonic() < _next_look:
        return 0
    _next_look, _part = time.monotonic() + LOOK_SECONDS, (_part + 1) % 256
    part, limit = folder() / f"{_part:02x}", time.time() - STRAY_SECONDS
    if not part.is_dir():
        return 0
    old = [path for path in part.iterdir() if path.is_file() and path.stat().st_mtime < limit]
    known = set(Document.objects.filter(stored_as__in=[path.name for path in old]).values_list("stored_as", flat=True))
    strays = [path for path in old if path.name not in known]
    for path in strays:
        _drop(path)
    return len(strays)


def _context(document: Document) -> str:
    return f"document:{document.stored_as}"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _drop(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
