"""The audit trail: who did what to which object, in the same transaction as the deed.

The database seals each event at commit (a deferred trigger): the event's place in one of 16 chains, the digest before, and the SHA-256 over
both and the event. One chain would queue every commit of the desk behind one lock, fsync included. So a connection has its chain, by its
process number, and waits only for another connection of the same chain, and only while that one commits. The price: there are 16 ends to
keep, and the order between chains is told by the clock alone. A transaction writes to one chain, so that seals can't deadlock each other.

A chain can't show that its newest events were cut off, or that somebody with the database's own powers wrote all of it anew. For that,
`manage.py audit_verify --save-heads FILE` gives the ends of the chains to be kept elsewhere, and `--heads FILE` checks against them.

Events that were archived (`services/archiving.py`) leave their seals behind: the chains go on without a gap, and each file is anchored in
them by the event that tells of it. `--archive FOLDER` reads the files too, event by event.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import connection, models, transaction

from loans.models import ApiKey, AuditEvent, AuditSeal, TableArchive
from loans.models.audit_event import ActorKind
from loans.services import request_id

CHUNK = 5_000


def record(action: str, *, actor: Any = None, subject: models.Model | None = None, **facts: Any) -> AuditEvent:
    """Write one event in the caller's transaction, as late in it as can be.

    action: "noun.verb", such as "decision.made". actor: a user, an ApiKey, or None for the system itself. subject: the row that it is
    about. facts: what JSON can hold, and no personal data: events are kept when a person's data are erased.
    """
    kind, actor_id, name, user_id = _actor(actor)
    return AuditEvent.objects.create(
        action=action,
        actor_kind=kind,
        actor_id=actor_id,
        actor_name=name[:150],
        user_id=user_id,
        subject_type=subject._meta.model_name if subject is not None else "",
        subject_id=str(subject.pk) if subject is not None else "",
        request_id=request_id.known(),
        facts=facts,
    )


def _actor(actor: Any) -> tuple[str, int | None, str, int | None]:
    if isinstance(actor, ApiKey):
        return ActorKind.KEY, actor.pk, f"{actor.name} ({actor.prefix}…)", actor.user_id
    if actor is not None and getattr(actor, "is_authenticated", False):
        return ActorKind.USER, actor.pk, actor.get_username(), actor.pk
    return ActorKind.SYSTEM, None, "", None


# --- verifying ------------------------------------------------------------------------------------------------------------

# The event as the trigger of migration 0016 read it when it sealed it.
_BODY = """jsonb_build_array(event.id, to_char(event.at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'), event.action, event.actor_kind,
    event.actor_id, event.actor_name, event.user_id, event.subject_type, event.subject_id, event.request_id, event.facts)::text"""
_SEALED = f"""SELECT seal.chain, seal.position, seal.previous, seal.digest, seal.event_id, CASE WHEN event.id IS NOT NULL THEN {_BODY} END
    FROM loans_auditseal seal LEFT JOIN loans_auditevent event ON event.id = seal.event_id ORDER BY seal.chain, seal.position"""  # noqa: S608
EXPORTED = {"body": _BODY}
"""What an archived event has beside its columns, so that its seal can be checked without a database."""
_UNSEALED = """SELECT event.id FROM loans_auditevent event LEFT JOIN loans_auditseal seal ON seal.event_id = event.id
    WHERE seal.event_id IS NULL ORDER BY event.id LIMIT 1"""


@dataclass(frozen=True)
class Fault:
    """The first thing wrong in one chain. event: the row's id; 0 where only its place is known."""

    event: int
    chain: int | None
    message: str


@dataclass(frozen=True)
class Verified:
    """heads: chain → (position, digest in hex) of its last good seal. faults: the earliest event first. archived: events
    of which the seal is here and the rest in a file.
    """

    events: int
    heads: dict[int, tuple[int, str]]
    faults: list[Fault]
    archived: int = 0


def digest(chain: int, position: int, previous: bytes, body: str) -> bytes:
    return hashlib.sha256(f"{chain}:{position}:{previous.hex()}:{body}".encode()).digest()


def verify(
    *,
    heads: Mapping[int, tuple[int, str]] | None = None,
    archive: Path | None = None,
    progress: Callable[[int], None] = lambda events: None,
) -> Verified:
    """Go along every chain, in constant memory. heads: ends kept from an earlier run, which must still be where they were. archive: a
    folder with the files of what was archived, to be read too; without it they are taken by their anchors.
    """
    kept = dict(heads or {})
    archives = list(TableArchive.objects.filter(table=AuditEvent._meta.db_table))
    gone: Counter[str] = Counter()
    found: dict[int, tuple[int, str]] = {}
    faults: dict[int | None, Fault] = {}
    events = 0
    for chain, position, previous, sealed, event, body in _rows():
        events += 1
        if events % CHUNK == 0:
            progress(events)
        if chain in faults:
            continue
        last, last_digest = found.get(chain, (0, ""))
        if body is None and (where := _archive_of(archives, event)) is not None:
            gone[where.part] += 1
            body = AWAY
        message = _wrong(chain, position, bytes(previous), bytes(sealed), body, last, last_digest)
        if not message and kept.get(chain, (0, ""))[0] == position and kept[chain][1] != bytes(sealed).hex():
            message = "its digest is another than the one that was kept: the chain was written anew"
        if message:
            faults[chain] = Fault(event, chain, message)
        else:
            found[chain] = (position, bytes(sealed).hex())
    for chain, (position, _) in kept.items():
        if chain not in faults and found.get(chain, (0, ""))[0] < position:
            end = found.get(chain, (0, ""))[0]
            message = f"it ends at place {end:,}, and reached {position:,} when its end was kept: events were cut off"
            faults[chain] = Fault(0, chain, message)
    unsealed = _first_unsealed()
    if unsealed is not None:
        faults[None] = Fault(unsealed, None, "it has no seal: it was written around the trigger, or its seal was deleted")
    told = [
        *faults.values(),
        *(fault for each in archives for fault in _archive_faults(each, archives, gone[each.part], archive, bool(faults))),
    ]
    return Verified(events, found, sorted(told, key=lambda fault: fault.event or 2**63), sum(gone.values()))


def _wrong(chain: int, position: int, previous: bytes, sealed: bytes, body: str | None, last: int, last_digest: str) -> str:
    if position != last + 1:
        return f"place {last + 1:,} of the chain is missing: an event before it was deleted with its seal"
    if previous.hex() != (last_digest or bytes(32).hex()):
        return "it does not follow the seal before it"
    if body is None:
        return "the event was deleted; its seal is still here"
    if body is AWAY:
        return ""
    return "" if digest(chain, position, previous, body) == sealed else "it was changed after it was sealed"


def _rows() -> Iterator[tuple[int, int, bytes, bytes, int, str | None]]:
    with transaction.atomic(), connection.chunked_cursor() as cursor:
        cursor.execute(_SEALED)
        while rows := cursor.fetchmany(CHUNK):
            yield from rows


def _first_unsealed() -> int | None:
    with connection.cursor() as cursor:
        cursor.execute(_UNSEALED)
        row = cursor.fetchone()
        return row[0] if row else None


# --- archived events ------------------------------------------------------------------------------------------------------

AWAY = "in an archive"  # no event's text: those are JSON


def _archive_of(archives: list[TableArchive], event: int) -> TableArchive | None:
    return next((each for each in archives if each.low <= event < each.high), None)


def _archive_faults(each: TableArchive, archives: list[TableArchive], gone: int, folder: Path | None, broken: bool) -> Iterator[Fault]:
    """What is wrong with one archive: its anchor in the chains, the number of its events, and, with a folder, its file.

    broken: chains were not followed to their ends, so that seals can't be counted.
    """
    anchor = AuditEvent.objects.filter(pk=each.event_id, action="table.archived").values_list("facts", flat=True).first()
    if anchor is None and _archive_of(archives, each.event_id) is None:
        yield Fault(each.event_id, None, f"it told of the archive {each.part}, and is not there")
    elif anchor is not None and {name: anchor.get(name) for name in ("part", "rows", "sha256", "content")} != {
        "part": each.part, "rows": each.rows, "sha256": each.sha256, "content": each.content,
    }:  # fmt: skip
        yield Fault(each.event_id, None, f"the archive {each.part} is another than the one it tells of")
    if gone != each.rows and not broken:
        yield Fault(0, None, f"the archive {each.part} has {each.rows:,} events, and the seals of {gone:,} point there")
    if folder is not None:
        yield from _file_faults(each, folder)


def _file_faults(each: TableArchive, folder: Path) -> Iterator[Fault]:
    """Every event of a file against its seal."""
    from loans.services.parquet_files import ArchiveProblem, check_file, named

    try:
        check_file(folder / each.file, rows=each.rows, sha256=each.sha256, content=each.content)
    except ArchiveProblem as problem:
        yield Fault(0, None, f"the archive {each.part}: {problem}")
        return
    for rows in named(folder / each.file):
        seals = {seal[0]: seal[1:] for seal in AuditSeal.objects.filter(event_id__in=[row["id"] for row in rows]).values_list(
            "event_id", "chain", "position", "previous", "digest")}  # fmt: skip
        for row in rows:
            if row["id"] not in seals:
                yield Fault(row["id"], None, "it is in an archive and has no seal")
                return
            chain, position, previous, sealed = seals[row["id"]]
            if digest(chain, position, bytes(previous), row["body"]) != bytes(sealed) or not _says(row):
                yield Fault(row["id"], chain, "in its archive it is another than the one that was sealed")
                return


def _says(row: dict[str, Any]) -> bool:
    """Whether an archived event's columns are those of the text that was sealed."""
    number, at, *others = json.loads(row["body"])
    names = ("action", "actor_kind", "actor_id", "actor_name", "user_id", "subject_type", "subject_id", "request_id")
    return (
        number == row["id"]
        and at == f"{row['at']:%Y-%m-%d %H:%M:%S.%f}"
        and others[:-1] == [row[name] for name in names]
        and others[-1] == json.loads(row["facts"])
    )
