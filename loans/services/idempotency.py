"""A request that is sent twice is done once: the client names it by a key, and the answer is kept in the transaction of the work."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from loans.models import IdempotentAnswer

KEPT = timedelta(days=30)
FORGOTTEN_A_LOOK = 1_000


class KeyReused(Exception):
    """The key was used for another request."""


class InFlight(Exception):
    """A request with this key is being worked on."""


@dataclass(frozen=True)
class Answer:
    """body: what JSON can hold. applications: ids of those that it quotes. replayed: it was given before."""

    status: int
    body: Any
    location: str = ""
    applications: list[int] = field(default_factory=list)
    replayed: bool = False


def fingerprint(method: str, path: str, body: Any) -> str:
    """Of what is asked: the same JSON in another order or spacing is the same."""
    text = json.dumps([method, path, body], sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def once(work: Callable[[], Answer], *, client: Any, key: str, asked: str) -> Answer:
    """The answer of `work`, or the one that it gave when this client asked the same before.

    client: the user; a key of his that was renewed is still him. key: as the client sent it. asked: its `fingerprint`. What `work` raises
    undoes all of it and keeps no answer: the request may be sent again. Raises KeyReused or InFlight.
    """
    digest = hashlib.sha256(key.encode()).hexdigest()
    with transaction.atomic():
        # Ends with the transaction, and asks nobody to wait: a repeat that comes too early is told so.
        if not _locked(client.pk, digest):
            raise InFlight(_("A request with this Idempotency-Key is being worked on; ask again in a moment."))
        kept = IdempotentAnswer.objects.filter(client=client, key=digest).first()
        if kept is not None and kept.created_at < timezone.now() - KEPT:
            kept.delete()
            kept = None
        if kept is not None:
            if kept.fingerprint != asked:
                raise KeyReused(_("This Idempotency-Key came with another request before; take a new key for a new request."))
            return Answer(kept.status, json.loads(kept.body), kept.location, kept.applications, replayed=True)
        answer = work()
        IdempotentAnswer.objects.create(
            client=client,
            key=digest,
            fingerprint=asked,
            status=answer.status,
            body=json.dumps(answer.body),
            location=answer.location,
            applications=answer.applications,
        )
    return answer


def _locked(client_id: int, digest: str) -> bool:
    number = int.from_bytes(hashlib.sha256(f"{client_id}:{digest}".encode()).digest()[:8], "big", signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        return cursor.fetchone()[0]


def forget_old() -> int:
    """For the sweeper: delete what is older than 30 days, a little at a look."""
    old = IdempotentAnswer.objects.filter(created_at__lt=Now() - KEPT).values("pk")[:FORGOTTEN_A_LOOK]
    return IdempotentAnswer.objects.filter(pk__in=list(old.values_list("pk", flat=True))).delete()[0]
