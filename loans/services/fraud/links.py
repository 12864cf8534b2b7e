"""Identifiers into the link table: blind indexes only, for each application that came in, by whichever way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection, transaction

from loans.models import AttributeDefinition
from loans.models.crypto import blind_index
from mlcore.fraud.facts import KINDS, NAME

BATCH = 2_000
TIME_TO_SCORE = 60
"""Seconds after which the sweeper takes an application for one that was not assessed with its score."""
STATED = tuple(kind for kind in KINDS if kind != "device")
"""Kinds that an applicant states, each with a blind index of its own in `Applicant`."""

_WAITING = f"""
    SELECT assessment.application_id, application.submitted_at, application.attributes, application.status = 'historical',
           {", ".join(f"applicant.{kind}_index" for kind in STATED)}
    FROM (SELECT application_id FROM loans_fraudassessment WHERE state = 'waiting' ORDER BY application_id LIMIT %s FOR UPDATE) assessment
    JOIN loans_loanapplication application ON application.id = assessment.application_id
    LEFT JOIN loans_applicant applicant ON applicant.id = application.applicant_id
"""  # noqa: S608 - only our own constants are put in


def link_waiting(*, limit: int = BATCH) -> int:
    """Link the applications that wait for it, oldest ids first; returns how many there were (fewer than `limit`: none is left)."""
    own = list(AttributeDefinition.objects.exclude(link_kind="").values_list("name", "link_kind"))
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_WAITING, [limit])
            rows = cursor.fetchall()
        links: list[tuple] = []
        for pk, submitted_at, attributes, _, *indexes in rows:
            links += _links(pk, submitted_at, _decoded(attributes), dict(zip(STATED, indexes, strict=True)), own)
        _write(links)
        _mark([row[0] for row in rows if row[3]], "history")
        _mark([row[0] for row in rows if not row[3]], "linked")
    return len(rows)


def _links(pk: int, submitted_at: Any, attributes: dict[str, Any], indexes: dict[str, Any], own: Sequence[tuple[str, str]]) -> list[tuple]:
    found = {(KINDS.index(kind), bytes(digest)) for kind, digest in indexes.items() if digest is not None}
    for name, kind in own:
        # An attribute that names, say, a second phone is digested as the applicant's own phone is, so that the two meet.
        digest = blind_index(kind, str(attributes.get(name) or ""))
        if digest is not None:
            found.add((KINDS.index(kind), digest))
    name = next((digest for kind, digest in found if kind == NAME), None)
    return [(pk, kind, digest, submitted_at, name) for kind, digest in sorted(found)]


def _write(links: list[tuple]) -> None:
    if links:
        with connection.cursor() as cursor:
            # Arrays instead of the ORM: a tenth of the time when a million applications are brought in.
            cursor.execute(
                "INSERT INTO loans_applicationlink (application_id, kind, digest, submitted_at, name) SELECT *"
                " FROM unnest(%s::bigint[], %s::smallint[], %s::bytea[], %s::timestamptz[], %s::bytea[]) ON CONFLICT DO NOTHING",
                [list(column) for column in zip(*links, strict=True)],
            )


def _decoded(attributes: Any) -> dict[str, Any]:
    import json

    # A raw cursor hands jsonb over as text: Django decodes it in its own fields only.
    made = json.loads(attributes) if isinstance(attributes, str) else attributes
    return made if isinstance(made, dict) else {}


def _mark(application_ids: list[int], state: str) -> None:
    if application_ids:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE loans_fraudassessment SET state = %s, due_at = clock_timestamp() + make_interval(secs => %s)"
                " WHERE application_id = ANY(%s)",
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
