"""Who is told of what happens, and every notice that was owed: the outbox and its log in one."""

from __future__ import annotations

import base64
import secrets
import uuid

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from loans.models.crypto import EncryptedTextField

EVENTS = {
    "application.scored": "a score was stored, or a person must decide without one",
    "application.decided": "somebody approved, declined or referred",
    "application.flagged": "a fraud flag was raised",
    "monitoring.alert": "monitoring raised an alert",
}


def new_secret() -> str:
    """As the Standard Webhooks specification writes it: receivers' libraries take it as it is."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


def _check_events(value: object) -> None:
    unknown = set(value) - set(EVENTS) if isinstance(value, list) else {"…"}
    if unknown or not value:
        raise ValidationError(f"Choose from: {', '.join(EVENTS)}.")


class DeliveryState(models.TextChoices):
    PENDING = "pending", "Waiting"
    DELIVERED = "delivered", "Delivered"
    FAILED = "failed", "Given up"


class WebhookEndpoint(models.Model):
    """An address that is told. It hears of what its user may see, no more."""

    name = models.CharField(max_length=100)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="+",
        help_text="It hears of applications that this account may see.",
    )
    url = models.URLField("address", max_length=500, help_text="https://…; private and local addresses are refused.")
    events = models.JSONField(default=list, validators=[_check_events])
    secret = EncryptedTextField(default=new_secret, editable=False)
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "webhook"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class WebhookDeliveryQuerySet(models.QuerySet):
    def due(self) -> WebhookDeliveryQuerySet:
        return self.filter(Q(lease_until__isnull=True) | Q(lease_until__lt=Now()), state=DeliveryState.PENDING, due_at__lte=Now())


class WebhookDelivery(models.Model):
    """One notice to one endpoint, written in the transaction of what it tells of. `payload` holds ids and states, no personal data."""

    # The same in every attempt: receivers drop repeats by it.
    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="deliveries")
    event = models.CharField(max_length=32)
    payload = models.JSONField()
    state = models.CharField(max_length=9, choices=DeliveryState, default=DeliveryState.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(db_default=Now())
    lease_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)
    status_code = models.PositiveSmallIntegerField("answer", null=True, blank=True)
    error = models.CharField(max_length=200, blank=True)
    log = models.JSONField(default=list, help_text="Each attempt: when, what was answered, in how many milliseconds.")

    objects = WebhookDeliveryQuerySet.as_manager()

    class Meta:
        verbose_name = "webhook delivery"
        verbose_name_plural = "webhook deliveries"
        ordering = ["-pk"]
        permissions = [("replay_webhookdelivery", "Can have a webhook delivered again")]
        constraints = [models.CheckConstraint(condition=Q(state__in=DeliveryState.values), name="webhookdelivery_state_known")]
        indexes = [
            models.Index(fields=["due_at", "id"], name="webhookdelivery_due_ix", condition=Q(state="pending")),
            models.Index(fields=["endpoint", "-id"], name="webhookdelivery_endpoint_ix"),
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.uid}"
