"""What was done, by whom, to what: append-only, and sealed into hash chains by the database when its transaction commits."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from loans.models.job import by_time


class ActorKind(models.TextChoices):
    USER = "user", "Person"
    KEY = "key", "API key"
    SYSTEM = "system", "System"


class AuditEventQuerySet(models.QuerySet):
    def about(self, subject: models.Model) -> AuditEventQuerySet:
        return self.filter(subject_type=subject._meta.model_name, subject_id=str(subject.pk))


class AuditEvent(models.Model):
    """No foreign keys on purpose: an event outlives what it is about. `facts` hold no personal data, so nothing ever needs erasing here."""

    at = models.DateTimeField(db_default=Now())
    action = models.CharField(max_length=64)
    actor_kind = models.CharField(max_length=6, choices=ActorKind)
    actor_id = models.BigIntegerField(null=True)
    actor_name = models.CharField(max_length=150, blank=True)
    user_id = models.BigIntegerField(null=True, help_text="Whom a key acts as; else the person.")
    subject_type = models.CharField(max_length=64, blank=True)
    subject_id = models.CharField(max_length=64, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    facts = models.JSONField(default=dict)

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        verbose_name = "audit event"
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["subject_type", "subject_id", "-id"], name="auditevent_subject_ix"),
            models.Index(fields=["user_id", "-id"], name="auditevent_user_ix"),
            models.Index(fields=["action", "-id"], name="auditevent_action_ix"),
            by_time("at", "auditevent_at_ix"),
        ]

    def __str__(self) -> str:
        return f"Audit event {self.pk}"


class AuditSeal(models.Model):
    """An event's place in its chain. Written by a trigger alone (migration 0016); `digest` covers the event and the seal before."""

    event = models.OneToOneField(AuditEvent, on_delete=models.DO_NOTHING, primary_key=True, related_name="seal", db_constraint=False)
    chain = models.PositiveSmallIntegerField()
    position = models.BigIntegerField()
    previous = models.BinaryField(max_length=32)
    digest = models.BinaryField(max_length=32)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["chain", "position"], name="auditseal_place")]

    def __str__(self) -> str:
        return f"Seal {self.chain}/{self.position}"
