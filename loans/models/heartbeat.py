"""When each process was last alive, by the database's clock."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.db.models.functions import Now


class HeartbeatQuerySet(models.QuerySet):
    def alive(self, role: str, *, within: timedelta) -> HeartbeatQuerySet:
        return self.filter(role=role, at__gte=Now() - within)


class Heartbeat(models.Model):
    """Asking workers over the broker (`control ping`) always waits its whole time-out; a row costs nothing to read."""

    role = models.CharField(max_length=20)
    process = models.CharField(max_length=120, unique=True, help_text="host:pid")
    at = models.DateTimeField(db_default=Now())

    objects = HeartbeatQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["role", "-at"], name="heartbeat_role_ix")]

    def __str__(self) -> str:
        return f"{self.role} {self.process}"
