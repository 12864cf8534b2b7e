"""The answer that a client got for its Idempotency-Key, to be given again."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from loans.models.crypto import EncryptedTextField


class IdempotentAnswer(models.Model):
    """Written in the transaction of the work: where one is, both are. The answer may quote an applicant, so it is encrypted."""

    client = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=64, help_text="SHA-256 of the client's key.")
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of what was asked: method, address and body.")
    status = models.PositiveSmallIntegerField()
    body = EncryptedTextField()
    location = models.CharField(max_length=200, blank=True)
    applications = models.JSONField(default=list, help_text="Ids that the answer quotes: an erasure takes it with them.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["client", "key"], name="idempotency_one_answer")]
        indexes = [models.Index(fields=["created_at"], name="idempotency_age_ix")]

    def __str__(self) -> str:
        return f"Answer {self.pk}"
