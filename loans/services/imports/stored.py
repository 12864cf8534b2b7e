"""Uploaded loan files on disk: under a random name, readable by the desk alone, and gone when they have served or are too old."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from loans.models import ImportUpload
from loans.models.import_upload import folder
from loans.models.job import ACTIVE_RUN
from loans.services.imports.problems import ImportProblem

logger = logging.getLogger(__name__)
LOOK_AT_FOLDER_SECONDS = 600.0
_next_look = 0.0


def keep(chunks: Iterable[bytes], *, file_name: str) -> tuple[str, int, str]:
    """Write the bytes to a file of their own; (its random name, bytes, SHA-256). Raises ImportProblem, and then nothing stays behind."""
    place = folder()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    stored_as, digest, size = secrets.token_hex(20), hashlib.sha256(), 0
    path = place / stored_as
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            for chunk in chunks:
                size += len(chunk)
                if size > settings.IMPORT_MAX_BYTES:
                    raise ImportProblem(too_large(file_name))
                digest.update(chunk)
                file.write(chunk)
    except OSError as error:
        drop(path)
        raise ImportProblem(
            _("%(file_name)s could not be stored: %(strerror)s. Nothing of it was kept; try again later.")
            % {"file_name": file_name, "strerror": error.strerror}
        ) from error
    except BaseException:
        drop(path)
        raise
    if not size:
        drop(path)
        raise ImportProblem(f"{file_name} is empty.")
    return stored_as, size, digest.hexdigest()


def too_large(file_name: str) -> str:
    return (
        f"{file_name} is larger than {settings.IMPORT_MAX_BYTES / 1e6:,.0f} MB, the most that is taken here. "
        "Pack it with gzip, split it, or have it imported on the server: manage.py import_loans FILE"
    )


def drop(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


def forget(upload: ImportUpload) -> None:
    """The file and what was noted of it; not the import that came of it."""
    drop(upload.path)
    ImportUpload.objects.filter(pk=upload.pk).delete()


def forget_old_uploads() -> int:
    """Uploads older than IMPORT_KEEP_HOURS that no import is working on, and files that no row knows. Returns how many rows went."""
    global _next_look
    age = timedelta(hours=settings.IMPORT_KEEP_HOURS)
    old = list(ImportUpload.objects.filter(created_at__lt=Now() - age).exclude(batch__state__in=ACTIVE_RUN)[:100])
    for upload in old:
        forget(upload)
    if old:
        logger.info("%d uploaded files were older than %s hours and are gone.", len(old), settings.IMPORT_KEEP_HOURS)
    if time.monotonic() >= _next_look:
        _next_look = time.monotonic() + LOOK_AT_FOLDER_SECONDS
        _drop_strays(age)
    return len(old)


def _drop_strays(age: timedelta) -> None:
    """Left by a process that died between the file and its row."""
    if not folder().is_dir():
        return
    limit = time.time() - age.total_seconds()
    found = [path for path in folder().iterdir() if path.is_file() and path.stat().st_mtime < limit]
    known = set(ImportUpload.objects.filter(stored_as__in=[path.name for path in found]).values_list("stored_as", flat=True))
    for path in found:
        if path.name not in known:
            drop(path)
