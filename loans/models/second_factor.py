"""A person's second factor: a secret shared with an authenticator app."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from loans.models.crypto import EncryptedTextField


class SecondFactor(models.Model):
    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="second_factor")
    secret = EncryptedTextField()
    created_at = models.DateTimeField(db_default=Now())
    confirmed_at = models.DateTimeField(null=True, blank=True)
    # The last code's step: a code that was seen over a shoulder is good for nothing after its owner used it.
    last_step = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"Second factor of {self.user_id}"
