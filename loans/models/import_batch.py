"""One file brought in: a long job, and the rows of it that were refused."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from loans.models.job import ACTIVE_RUN, LongRun, RunState


class ImportBatch(LongRun):
    file_name = models.CharField(max_length=255)
    sha256 = models.CharField(max_length=64, help_text="Of the file's bytes.")
    mapping_name = models.CharField(max_length=100)
    mapping = models.TextField(help_text="The mapping's TOML as it was used.")
    strict = models.BooleanField(default=False, help_text="Load nothing where one row is bad.")
    open_since = models.DateField(
        null=True, blank=True, help_text="Applications from this day on came in undecided, their outcomes withheld."
    )
    branch = models.ForeignKey(
        "loans.Branch", on_delete=models.PROTECT, null=True, blank=True, related_name="+", help_text="Whose applications these become."
    )
    rows_read = models.PositiveIntegerField(default=0)
    rows_loaded = models.PositiveIntegerField(default=0)
    rows_unchanged = models.PositiveIntegerField(default=0, help_text="Already here from an earlier import.")
    quality = models.JSONField(default=dict, blank=True, help_text="What was found in the rows that were loaded (`mlcore.quality`).")
    rows_rejected = models.PositiveIntegerField(default=0)
    undone_at = models.DateTimeField(null=True, blank=True, help_text="When all that it had loaded was taken out again.")
    undone_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        ordering = ["-pk"]
        verbose_name_plural = "import batches"
        constraints = [
            models.CheckConstraint(condition=Q(state__in=RunState.values), name="importbatch_state_known"),
            models.CheckConstraint(condition=Q(undone_at__isnull=True) | Q(state="done"), name="importbatch_undone_was_done"),
        ]

    def __str__(self) -> str:
        return f"Import {self.pk}: {self.file_name}"


class ImportUndo(LongRun):
    """An undo of a large import, done by a worker. One that is over stays, so that the page can say how it ended."""

    batch = models.ForeignKey(ImportBatch, on_delete=models.CASCADE, related_name="undos")

    class Meta:
        ordering = ["-pk"]
        default_permissions = ()
        constraints = [
            models.CheckConstraint(condition=Q(state__in=RunState.values), name="importundo_state_known"),
            models.UniqueConstraint(fields=["batch"], condition=Q(state__in=ACTIVE_RUN), name="importundo_one_active"),
        ]

    def __str__(self) -> str:
        return f"Undo of import {self.batch_id}"


class ImportRowError(models.Model):
    """One reason why a row was refused. The value is quoted only where its column holds no personal data."""

    batch = models.ForeignKey(ImportBatch, on_delete=models.CASCADE, related_name="errors")
    line = models.PositiveIntegerField()
    column = models.CharField(max_length=200, blank=True)
    value = models.CharField(max_length=100, blank=True)
    message = models.CharField(max_length=300)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"Line {self.line}, {self.column}: {self.message}"
