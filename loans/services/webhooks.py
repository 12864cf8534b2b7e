"""Telling other systems what happened: owed in the transaction of the event, paid by the sweeper's courier.

`send` writes a `WebhookDelivery` for each endpoint that wants the event and may see its subject. The courier claims what is due, posts it
signed, and tries again with growing waits, ten times over a day and a half. At least once: receivers drop repeats by `webhook-id`. The
headers are those of the Standard Webhooks specification, so that a receiver's library checks them.
"""

from __future__ import annotations

import base64
import hmac
import json
import logging
import random
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection, models, transaction
from django.db.models.functions import Now
from django.utils import timezone

from loans.models import DeliveryState, LoanApplication, WebhookDelivery, WebhookEndpoint
from loans.services import webhook_http

logger = logging.getLogger(__name__)

SECONDS = 10.0
LEASE_SECONDS = 120
AT_ONCE = 8
BATCH = 64
FIRST_WAIT, LONGEST_WAIT = 10.0, 12 * 3600.0
GONE = 410
# What an event tells must not reach whoever could not look it up.
NEEDS = {"application.flagged": "loans.view_fraudflag", "monitoring.alert": "loans.view_modelversion"}


def send(event: str, subjects: models.Model | Iterable[models.Model], **facts: Any) -> int:
    """Owe every interested endpoint a notice of each subject; call it inside the transaction of the event. Returns how many are owed.

    event: of `loans.models.webhook.EVENTS`. subjects: an application, or rows with an `application_id`, or rows of no application (alerts).
    facts: what else the payload says, the same for all: no personal data.
    """
    endpoints = list(WebhookEndpoint.objects.filter(active=True, events__contains=[event], user__is_active=True).select_related("user"))
    if not endpoints:
        return 0
    rows = [subjects] if isinstance(subjects, models.Model) else list(subjects)
    at = timezone.now().isoformat()
    owed = []
    for endpoint in endpoints:
        if event in NEEDS and not endpoint.user.has_perm(NEEDS[event]):
            continue
        seen = _seen_by(endpoint, rows)
        owed += [
            WebhookDelivery(endpoint=endpoint, event=event, payload={"type": event, "timestamp": at, "data": _data(row) | facts})
            for row in rows
            if row.pk in seen
        ]
    WebhookDelivery.objects.bulk_create(owed)
    return len(owed)


def _application_id(row: models.Model) -> int | None:
    return row.pk if isinstance(row, LoanApplication) else getattr(row, "application_id", None)


def _seen_by(endpoint: WebhookEndpoint, rows: list[models.Model]) -> set[int]:
    """The rows whose application the endpoint's user may see, and those that belong to none."""
    ids = {_application_id(row) for row in rows} - {None}
    visible = set(LoanApplication.objects.visible_to(endpoint.user).filter(pk__in=ids).values_list("pk", flat=True)) if ids else set()
    return {row.pk for row in rows if _application_id(row) is None or _application_id(row) in visible}


def _data(row: models.Model) -> dict[str, Any]:
    application = _application_id(row)
    data: dict[str, Any] = {"object": row._meta.model_name, "id": row.pk}
    return data | ({"application": application, "url": f"/api/v1/applications/{application}/"} if application is not None else {})


def signature(secret: str, uid: str, timestamp: int, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.digest(key, f"{uid}.{timestamp}.".encode() + body, "sha256")).decode()


# --- delivering -----------------------------------------------------------------------------------------------------------

# At most a few of one endpoint a round: one that answers slowly must not hold up the others.
_CLAIM = """
    WITH turn AS (
        SELECT delivery.id, row_number() OVER (PARTITION BY endpoint_id ORDER BY due_at, delivery.id) AS place
        FROM loans_webhookdelivery delivery JOIN loans_webhookendpoint endpoint ON endpoint.id = endpoint_id
        WHERE state = 'pending' AND due_at <= clock_timestamp() AND (lease_until IS NULL OR lease_until < clock_timestamp())
          AND endpoint.active),
    picked AS MATERIALIZED (
        SELECT delivery.id FROM loans_webhookdelivery delivery JOIN turn ON turn.id = delivery.id
        WHERE turn.place <= %(each)s AND state = 'pending' AND (lease_until IS NULL OR lease_until < clock_timestamp())
        ORDER BY delivery.due_at, delivery.id LIMIT %(limit)s FOR UPDATE OF delivery SKIP LOCKED)
    UPDATE loans_webhookdelivery delivery SET attempts = attempts + 1, lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
    FROM picked WHERE delivery.id = picked.id RETURNING delivery.id
"""


@dataclass(frozen=True)
class _Answer:
    status: int | None
    error: str
    milliseconds: int
    final: bool = False


def deliver_due() -> int:
    """One round: post what is due, several at once. Returns how many were tried."""
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, {"each": AT_ONCE, "limit": BATCH, "lease": LEASE_SECONDS})
        ids = [row[0] for row in cursor.fetchall()]
    if not ids:
        return 0
    deliveries = WebhookDelivery.objects.filter(pk__in=ids).select_related("endpoint").order_by("due_at", "pk")
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="webhook") as pool:
        # The threads do nothing with the database: they get what to send and give back what was answered.
        posted = {pool.submit(_post, each.endpoint.url, each.endpoint.secret, str(each.uid), each.payload): each for each in deliveries}
        for future in as_completed(posted):
            _note(posted[future], future.result())
    return len(ids)


def _post(url: str, secret: str, uid: str, payload: dict[str, Any]) -> _Answer:
    body = json.dumps(payload).encode()
    timestamp = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Loandesk-Webhooks/1",
        "webhook-id": uid,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(secret, uid, timestamp, body),
    }
    began = time.monotonic()
    status, error, final = None, "", False
    try:
        status = webhook_http.post(url, body, headers, allowed=settings.WEBHOOK_ALLOWED_NETWORKS, seconds=SECONDS)
        if not 200 <= status < 300:
            error, final = f"It answered {status}.", status == GONE
    except webhook_http.Refused as refusal:
        error, final = str(refusal), True
    except webhook_http.Unreachable as failure:
        error = str(failure)
    return _Answer(status, error, round(1000 * (time.monotonic() - began)), final)


def wait_after(attempt: int) -> float:
    """Seconds until the next attempt: 10 s, 30 s, 90 s … at most 12 h, give or take a tenth, so that many don't come back together."""
    return min(FIRST_WAIT * 3 ** (attempt - 1), LONGEST_WAIT) * random.uniform(0.9, 1.1)


def _note(delivery: WebhookDelivery, answer: _Answer) -> None:
    entry = {"at": timezone.now().isoformat(timespec="seconds"), "status": answer.status, "error": answer.error, "ms": answer.milliseconds}
    given_up = answer.error and (answer.final or delivery.attempts >= settings.WEBHOOK_MAX_ATTEMPTS)
    state = DeliveryState.PENDING if answer.error and not given_up else DeliveryState.FAILED if given_up else DeliveryState.DELIVERED
    due = {"due_at": Now() + timedelta(seconds=wait_after(delivery.attempts))} if state == DeliveryState.PENDING else {}
    # Guarded by the attempt: whoever took it over after our lease keeps its own book.
    WebhookDelivery.objects.filter(pk=delivery.pk, attempts=delivery.attempts, state=DeliveryState.PENDING).update(
        state=state,
        status_code=answer.status,
        error=answer.error[:200],
        lease_until=None,
        finished_at=None if due else Now(),
        log=[*delivery.log, entry][-30:],
        **due,
    )


def replay(delivery: WebhookDelivery) -> bool:
    """Send it once more from the beginning, with the same id; False where it waits to be sent anyhow."""
    with transaction.atomic():
        return bool(
            WebhookDelivery.objects.filter(pk=delivery.pk)
            .exclude(state=DeliveryState.PENDING)
            .update(state=DeliveryState.PENDING, attempts=0, due_at=Now(), lease_until=None, finished_at=None)
        )


def keep_delivering(stop: threading.Event, *, every: float = 1.0) -> threading.Thread:
    """The courier: a thread beside the sweeper's own work, for a receiver that hangs must not delay a score."""

    def loop() -> None:
        while not stop.is_set():
            try:
                close_old_connections()
                tried = deliver_due()
            except DatabaseError as error:
                tried = 0
                logger.warning("Database away (%s); webhooks wait.", type(error).__name__)
            except Exception:
                tried = 0
                logger.exception("A round of webhooks failed; the next one follows.")
            if not tried:
                stop.wait(every)
        connection.close()

    thread = threading.Thread(target=loop, name="webhooks", daemon=True)
    thread.start()
    return thread
