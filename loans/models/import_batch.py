"""One file brought in: a long job, and the rows of it that were refused."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from loans.models.job import LongRun, RunState


class ImportBatch(LongRun):
    file_name = models.CharField(max_length=255)
    sha256 = models.CharField(max_length=64, help_text="Of the file's bytes.")
    mapping_name = models.CharField(max_length=100)
    mapping = models.TextField(help_text="The mapping's TOML as it was used.")
    strict = models.BooleanField(default=False, help_text="Load nothing where one row is bad.")
    open_since = models.DateField(
        null=True, blank=True, help_text="Applications from this day on came in undecided, their outcomes withheld."
    )
    rows_read = models.PositiveIntegerField(default=0)
    rows_loaded = models.PositiveIntegerField(default=0)
    rows_unchanged = models.PositiveIntegerField(default=0, help_text="Already here from an earlier import.")
    rows_rejected = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["-pk"]
        verbose_name_plural = "import batches"
        constraints = [models.CheckConstraint(condition=Q(state__in=RunState.values), name="importbatch_state_known")]

    def __str__(self) -> str:
        return f"Import {self.pk}: {self.file_name}"


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
