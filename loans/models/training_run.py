"""One training of one kind of model: a long job whose result is a model version."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from loans.models.job import LongRun, RunState
from loans.models.model_version import ModelKind


class TrainingRun(LongRun):
    kind = models.CharField(max_length=20, choices=ModelKind)
    seed = models.PositiveIntegerField(default=0)
    rows = models.PositiveIntegerField(null=True, blank=True)
    model_version = models.OneToOneField("loans.ModelVersion", on_delete=models.PROTECT, null=True, blank=True, related_name="training_run")

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["kind"], condition=Q(state__in=["queued", "running"]), name="trainingrun_one_active"),
            models.CheckConstraint(condition=Q(state__in=RunState.values), name="trainingrun_state_known"),
            models.CheckConstraint(condition=~Q(state="done") | Q(model_version__isnull=False), name="trainingrun_done_has_model"),
        ]

    def __str__(self) -> str:
        return f"Training {self.pk}: {self.get_kind_display()}"
