"""Blind indexes and models' signatures under new first keys of BLIND_INDEX_KEY and ARTIFACT_KEY, beside the running desk.

While older keys stand behind the first, whoever looks somebody up asks under all of them, and a model may be signed with any. Applicants'
indexes are written under the first and brought under it in small steps, to be stopped and begun again: each row says which key it is under.
The link table has to be under one key as a whole, or equal identifiers would not meet. It stays under the old one, for new rows too, until
all of it was worked out anew; then one transaction puts the new rows in place of the old ones (`fraud.links.link_key`). Meanwhile linking
waits, scores do not.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.db import connection, transaction

from loans.models import Applicant
from loans.models.applicant import INDEXED
from loans.models.crypto import index_key_id
from loans.services import audit
from loans.services.fraud import links

BATCH = 500
_FIELDS = [*(f"{kind}_index" for kind in INDEXED), "name_tokens", "index_key"]
_STAGED = "CREATE TEMPORARY TABLE loandesk_links (application_id int8, kind int2, digest bytea, submitted_at timestamptz, name bytea)"

Progress = Callable[[int], None]


def left() -> int:
    """Applicants whose indexes are under another key, or nobody said under which."""
    return Applicant.objects.exclude(index_key=index_key_id()).count()


def reindex(*, progress: Progress = lambda rows: None) -> int:
    """Bring all applicants' indexes under the first key; returns how many rows. Several at once share the work."""
    done = 0
    while True:
        with transaction.atomic():
            rows = list(Applicant.objects.exclude(index_key=index_key_id()).select_for_update(skip_locked=True).order_by("pk")[:BATCH])
            for row in rows:
                row.set_indexes()
            Applicant.objects.bulk_update(rows, _FIELDS)
        if not rows:
            return done
        done += len(rows)
        progress(done)


def turn_links_over(*, progress: Progress = lambda rows: None) -> int:
    """The link table under the first key, in place of an older one; returns how many applications. Stopped before its end, nothing is done.

    0 where it is under the first already, or no older key is given.
    """
    with transaction.atomic():
        if links.link_key() == settings.BLIND_INDEX_KEY:
            return 0
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS pg_temp.loandesk_links")
        cursor.execute(_STAGED)
        try:
            done = _stage(0, progress, 0)
            with transaction.atomic():
                cursor.execute("LOCK TABLE loans_applicationlink IN SHARE ROW EXCLUSIVE MODE")
                cursor.execute("SELECT coalesce(max(application_id), 0) FROM pg_temp.loandesk_links")
                done = _stage(cursor.fetchone()[0], progress, done)
                # Lower numbers than the last one staged may have been linked meanwhile, and persons erased.
                cursor.execute(
                    "SELECT DISTINCT application_id FROM loans_applicationlink link WHERE NOT EXISTS"
                    " (SELECT FROM pg_temp.loandesk_links staged WHERE staged.application_id = link.application_id)"
                )
                _keep([row[0] for row in cursor.fetchall()])
                cursor.execute(
                    "DELETE FROM pg_temp.loandesk_links staged WHERE NOT EXISTS"
                    " (SELECT FROM loans_applicationlink link WHERE link.application_id = staged.application_id)"
                )
                cursor.execute("DELETE FROM loans_applicationlink")
                cursor.execute(
                    "INSERT INTO loans_applicationlink (application_id, kind, digest, submitted_at, name)"
                    " SELECT application_id, kind, digest, submitted_at, name FROM pg_temp.loandesk_links ON CONFLICT DO NOTHING"
                )
                audit.record(links.TURNED, key=index_key_id(), applications=done)
        finally:
            if not connection.needs_rollback:
                cursor.execute("DROP TABLE IF EXISTS pg_temp.loandesk_links")
    return done


def _stage(after: int, progress: Progress, done: int) -> int:
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT DISTINCT application_id FROM loans_applicationlink WHERE application_id > %s ORDER BY 1 LIMIT %s", [after, BATCH]
            )
            ids = [row[0] for row in cursor.fetchall()]
        if not ids:
            return done
        _keep(ids)
        after, done = ids[-1], done + len(ids)
        progress(done)


def _keep(ids: list[int]) -> None:
    rows = links.links_of(ids, links.own_identifiers(), settings.BLIND_INDEX_KEY)
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO pg_temp.loandesk_links SELECT * FROM unnest(%s::bigint[], %s::smallint[], %s::bytea[], %s::timestamptz[],"
                " %s::bytea[])",
                [links.array_text(column) for column in zip(*rows, strict=True)],
            )


def sign_models_anew() -> int:
    """Sign every stored model with the first key; returns how many. Raises `mlcore.artifacts.ArtifactError` for one that no key opens."""
    from mlcore import artifacts

    signed = 0
    if settings.OLD_ARTIFACT_KEYS:
        for path in sorted(Path(settings.ARTIFACTS_DIR).rglob(f"*{artifacts.SUFFIX}")):
            signed += artifacts.sign_anew(path, key=settings.ARTIFACT_KEY, old_keys=settings.OLD_ARTIFACT_KEYS)
        if signed:
            audit.record("keys.models_signed", key=artifacts.key_id(settings.ARTIFACT_KEY), models=signed)
    return signed
