"""Two versions held beside each other on a window of applications: asked for by a person, kept to be read and printed again."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now


class ModelComparison(models.Model):
    first = models.ForeignKey("loans.ModelVersion", on_delete=models.PROTECT, related_name="+")
    second = models.ForeignKey("loans.ModelVersion", on_delete=models.PROTECT, related_name="+")
    since = models.DateField(null=True, blank=True, help_text="First day of the window; from the first application on where empty.")
    until = models.DateField(null=True, blank=True, help_text="Last day of the window, itself included; up to today where empty.")
    result = models.JSONField(default=dict)
    seconds = models.FloatField(default=0)
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(condition=~Q(first=F("second")), name="modelcomparison_two_versions"),
            models.CheckConstraint(
                condition=Q(since__isnull=True) | Q(until__isnull=True) | Q(since__lte=F("until")), name="modelcomparison_days_in_order"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.first} beside {self.second}"
