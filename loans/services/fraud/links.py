"""Identifiers into the link table: blind indexes only, for each application that came in, by whichever way."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from loans.models import AttributeDefinition, AuditEvent, LoanApplication
from loans.models.crypto import blind_index, index_key_id, index_keys
from mlcore.fraud.facts import KINDS, NAME

BATCH = 2_000
TURNED = "keys.links_turned_over"
TIME_TO_SCORE = 60
"""Seconds after which the sweeper takes an application for one that was not assessed with its score."""
_NUMBER = {kind: number for number, kind in enumerate(KINDS)}
STATED = tuple(kind for kind in KINDS if kind != "device")
"""Kinds that an applicant states, each with a blind index of its own in `Applicant`."""

_WAITING = f"""
    SELECT assessment.application_id, application.submitted_at, application.attributes, application.status = 'historical',
           COALESCE(applicant.index_key, ''), {", ".join(f"applicant.{kind}_index" for kind in STATED)}
    FROM (SELECT application_id FROM loans_fraudassessment WHERE state = 'waiting' ORDER BY application_id LIMIT %s FOR UPDATE) assessment
    JOIN loans_loanapplication application ON application.id = assessment.application_id
    LEFT JOIN loans_applicant applicant ON applicant.id = application.applicant_id
"""  # noqa: S608 - only our own constants are put in


def link_waiting(*, limit: int = BATCH) -> int:
    """Link the applications that wait for it, oldest ids first; returns how many there were (fewer than `limit`: none is left)."""
    own = own_identifiers()
    with transaction.atomic():
        key = link_key()
        with connection.cursor() as cursor:
            cursor.execute(_WAITING, [limit])
            rows = cursor.fetchall()
        links: list[tuple] = []
        if key != settings.BLIND_INDEX_KEY:
            links = links_of([row[0] for row in rows], own, key)
        else:
            for pk, submitted_at, attributes, _, index_key, *indexes in rows:
                if settings.OLD_BLIND_INDEX_KEYS and index_key != index_key_id():
                    links += links_of([pk], own, key)  # keys are being rotated, and this one may be under an older
                    continue
                links += _links(pk, submitted_at, _decoded(attributes), dict(zip(STATED, indexes, strict=True)), own, key)
        _write(links)
        _mark([row[0] for row in rows if row[3]], "history")
        _mark([row[0] for row in rows if not row[3]], "linked")
    return len(rows)


def own_identifiers() -> list[tuple[str, str]]:
    """(attribute, kind of identifier) of the lender's own attributes that identify somebody."""
    return list(AttributeDefinition.objects.exclude(link_kind="").values_list("name", "link_kind"))


def link_key() -> bytes:
    """The key that the whole link table is under: all of it, always, or equal identifiers would not meet. Call inside a transaction.

    With older keys in BLIND_INDEX_KEY it is the oldest until `rotate_keys` has turned the table over in one transaction, for which this
    one holds it up.
    """
    if not settings.OLD_BLIND_INDEX_KEYS:
        return settings.BLIND_INDEX_KEY
    with connection.cursor() as cursor:
        # The turning over may take minutes: whoever comes then gives up, and the sweeper links later.
        cursor.execute("SET LOCAL lock_timeout = '2s'")
        cursor.execute("LOCK TABLE loans_applicationlink IN ROW EXCLUSIVE MODE")
        cursor.execute("SET LOCAL lock_timeout = 0")
    facts = AuditEvent.objects.filter(action=TURNED).order_by("-pk").values_list("facts", flat=True).first() or {}
    return {index_key_id(key): key for key in index_keys()}.get(facts.get("key"), settings.OLD_BLIND_INDEX_KEYS[-1])


def links_of(application_ids: Sequence[int], own: Sequence[tuple[str, str]], key: bytes) -> list[tuple]:
    """Rows of the link table under this key, from what the applicants said: for a key that their indexes are not under."""
    found: list[tuple] = []
    for application in LoanApplication.objects.filter(pk__in=application_ids).select_related("applicant").order_by("pk"):
        person = application.applicant
        indexes = {kind: blind_index(kind, getattr(person, kind) or "", key=key) for kind in STATED} if person is not None else {}
        found += _links(application.pk, application.submitted_at, application.attributes, indexes, own, key)
    return found


def of_new(applications: Sequence[LoanApplication], own: Sequence[tuple[str, str]]) -> list[tuple] | None:
    """Rows of the link table of applications that are not stored yet, whose applicants have their indexes; None while keys are rotated."""
    if settings.OLD_BLIND_INDEX_KEYS:
        return None
    found: list[tuple] = []
    for application in applications:
        person = application.applicant
        indexes = {} if person is None else {kind: person.__dict__[f"{kind}_index"] for kind in STATED}
        found += _links(application.pk, application.submitted_at, application.attributes, indexes, own, settings.BLIND_INDEX_KEY)
    return found


def _links(
    pk: int, submitted_at: Any, attributes: dict[str, Any], indexes: dict[str, Any], own: Sequence[tuple[str, str]], key: bytes
) -> list[tuple]:
    found = {(_NUMBER[kind], bytes(digest)) for kind, digest in indexes.items() if digest is not None}
    for name, kind in own:
        # An attribute that names, say, a second phone is digested as the applicant's own phone is, so that the two meet.
        digest = blind_index(kind, str(attributes.get(name) or ""), key=key)
        if digest is not None:
            found.add((_NUMBER[kind], digest))
    name = next((digest for kind, digest in found if kind == NAME), None)
    return [(pk, kind, digest, submitted_at, name) for kind, digest in sorted(found)]


def _write(links: list[tuple]) -> None:
    if links:
        with connection.cursor() as cursor:
            # Arrays instead of the ORM: a tenth of the time when a million applications are brought in.
            cursor.execute(
                "INSERT INTO loans_applicationlink (application_id, kind, digest, submitted_at, name) SELECT *"
                " FROM unnest(%s::bigint[], %s::smallint[], %s::bytea[], %s::timestamptz[], %s::bytea[]) ON CONFLICT DO NOTHING",
                [array_text(column) for column in zip(*links, strict=True)],
            )


def array_text(values: Sequence[Any]) -> str:
    """A PostgreSQL array as text, of numbers, times, bytes and None: the driver takes ten times as long to write down the same."""

    def word(value: Any) -> str:
        if value is None:
            return "NULL"
        if isinstance(value, bytes | memoryview):
            return f'"\\\\x{bytes(value).hex()}"'
        return f'"{value.isoformat()}"' if isinstance(value, datetime) else str(value)

    return "{" + ",".join(map(word, values)) + "}"


def _decoded(attributes: Any) -> dict[str, Any]:
    import json

    # A raw cursor hands jsonb over as text: Django decodes it in its own fields only.
    made = json.loads(attributes) if isinstance(attributes, str) else attributes
    return made if isinstance(made, dict) else {}


def _mark(application_ids: list[int], state: str) -> None:
    if application_ids:
        with connection.cursor() as cursor:
            cursor.execute(
                # What was scored within its request waits for nobody.
                "UPDATE loans_fraudassessment assessment SET state = %s, due_at = clock_timestamp() + make_interval(secs =>"
                " CASE WHEN EXISTS (SELECT FROM loans_scoringjob job WHERE job.application_id = assessment.application_id"
                " AND job.state IN ('pending', 'running')) THEN %s ELSE 0 END) WHERE application_id = ANY(%s)",
                [state, TIME_TO_SCORE, application_ids],
            )


def relink() -> int:
    """Begin the link table anew, after an attribute became an identifier: every application waits again. Returns how many."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM loans_applicationlink")
        cursor.execute("UPDATE loans_fraudassessment SET state = 'waiting', attempts = 0 WHERE state <> 'assessed'")
        waiting = cursor.rowcount
        cursor.execute("UPDATE loans_fraudassessment SET state = 'waiting', attempts = 0 WHERE state = 'assessed'")
        return waiting + cursor.rowcount
