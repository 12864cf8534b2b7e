"""A large piece of scoring, cut into ranges of applications that any number of workers take one by one."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from loans.models.job import LongRun, RunState


class BulkKind(models.TextChoices):
    PENDING = "pending", "Score what waits"
    RESCORE = "rescore", "Score open applications again"


class BulkRun(LongRun):
    """rows: applications in its chunks when they were cut. paused: workers finish what they have and take no more."""

    kind = models.CharField(max_length=8, choices=BulkKind)
    rows = models.PositiveBigIntegerField(null=True, blank=True)
    stored = models.PositiveBigIntegerField(default=0)
    paused = models.BooleanField(default=False)

    class Meta:
        ordering = ["-pk"]
        verbose_name = "bulk job"
        constraints = [
            models.UniqueConstraint(fields=["kind"], condition=Q(state__in=["queued", "running"]), name="bulkrun_one_active"),
            models.CheckConstraint(condition=Q(state__in=RunState.values), name="bulkrun_state_known"),
            models.CheckConstraint(condition=Q(kind__in=BulkKind.values), name="bulkrun_kind_known"),
        ]
        permissions = [("control_bulkrun", "Can start, pause and cancel bulk jobs")]

    def __str__(self) -> str:
        return f"Bulk job {self.pk}: {self.get_kind_display().lower()}"


class ChunkState(models.TextChoices):
    WAITING = "waiting", "Waiting"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    LEFT = "left", "Left to ordinary scoring"


class BulkChunk(models.Model):
    """The applications with ids from `first` to below `end`. A worker holds it by a lease that it renews."""

    run = models.ForeignKey(BulkRun, on_delete=models.CASCADE, related_name="chunks")
    first = models.BigIntegerField()
    end = models.BigIntegerField()
    state = models.CharField(max_length=7, choices=ChunkState, default=ChunkState.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    claimed_by = models.CharField(max_length=120, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    rows = models.PositiveIntegerField(default=0)
    stored = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "first"], name="bulkchunk_range_once"),
            models.CheckConstraint(condition=Q(first__lt=models.F("end")), name="bulkchunk_range_not_empty"),
            models.CheckConstraint(condition=Q(state__in=ChunkState.values), name="bulkchunk_state_known"),
            models.CheckConstraint(condition=~Q(state="running") | Q(lease_until__isnull=False), name="bulkchunk_running_has_lease"),
        ]
        indexes = [models.Index(fields=["run", "first"], name="bulkchunk_open_ix", condition=Q(state__in=["waiting", "running"]))]

    def __str__(self) -> str:
        return f"Applications {self.first} to {self.end - 1}"
