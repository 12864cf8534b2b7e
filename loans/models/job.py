"""Work to be done: the scoring job, which is the outbox of every submission, and what all long jobs share."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


def by_time(field: str, name: str) -> BrinIndex:
    """For tables whose rows lie in the order of their time: block ranges tell where some weeks are, at next to no cost to a write."""
    return BrinIndex(fields=[field], name=name, autosummarize=True, pages_per_range=32)


class ScoringState(models.TextChoices):
    PENDING = "pending", "Pending"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Given to a person"


class ScoringJobQuerySet(models.QuerySet):
    def unfinished(self) -> ScoringJobQuerySet:
        return self.filter(state__in=(ScoringState.PENDING, ScoringState.RUNNING))

    def due(self) -> ScoringJobQuerySet:
        """Pending and due, or running with a lease that ended. The database's clock decides: a worker's may be wrong."""
        return self.filter(Q(state=ScoringState.PENDING, due_at__lte=Now()) | Q(state=ScoringState.RUNNING, lease_until__lt=Now()))


class ScoringJob(models.Model):
    """The promise that an application gets a score. Written in the transaction that writes the application; nothing else promises it."""

    application = models.ForeignKey("loans.LoanApplication", on_delete=models.CASCADE, related_name="scoring_jobs")
    state = models.CharField(max_length=8, choices=ScoringState, default=ScoringState.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now())
    due_at = models.DateTimeField(db_default=Now())
    lease_until = models.DateTimeField(null=True, blank=True)
    claimed_by = models.CharField(max_length=120, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)

    objects = ScoringJobQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(state__in=ScoringState.values), name="scoringjob_state_known"),
            models.UniqueConstraint(
                fields=["application"], condition=Q(state__in=["pending", "running"]), name="scoringjob_one_unfinished"
            ),
            models.CheckConstraint(condition=~Q(state="running") | Q(lease_until__isnull=False), name="scoringjob_running_has_lease"),
        ]
        indexes = [
            models.Index(fields=["due_at", "id"], name="scoringjob_pending_ix", condition=Q(state="pending")),
            models.Index(fields=["lease_until", "id"], name="scoringjob_running_ix", condition=Q(state="running")),
            models.Index(fields=["id"], name="scoringjob_failed_ix", condition=Q(state="failed")),
            by_time("created_at", "scoringjob_created_ix"),
        ]

    def __str__(self) -> str:
        return f"Scoring job {self.pk}"


class RunState(models.TextChoices):
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


ACTIVE_RUN = (RunState.QUEUED, RunState.RUNNING)


class LongRun(models.Model):
    """What every long job has: who started it, where it is, how it ended, and that one can cancel it."""

    state = models.CharField(max_length=9, choices=RunState, default=RunState.QUEUED)
    share_done = models.FloatField(default=0)
    step = models.CharField(max_length=200, blank=True)
    started_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    cancel_requested = models.BooleanField(default=False)
    error = models.TextField(blank=True)
    peak_memory_mb = models.FloatField(null=True, blank=True)

    class Meta:
        abstract = True

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE_RUN

    @property
    def seconds(self) -> float | None:
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()
