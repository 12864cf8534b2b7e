"""What was expected of demand, kept as it was said: a vintage is never changed, only followed by a later one."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

FREQUENCIES = [("daily", "Days"), ("weekly", "Weeks"), ("monthly", "Months")]
MEASURES = [("count", "Applications"), ("amount", "Money asked for")]
HORIZONS = {"daily": 28, "weekly": 13, "monthly": 12}


class DemandForecastQuerySet(models.QuerySet):
    def latest(self, frequency: str, measure: str) -> DemandForecast | None:
        return self.filter(frequency=frequency, measure=measure).order_by("-as_of", "-pk").first()


class DemandForecast(models.Model):
    """data: the vintage as `mlcore.demand.ForecastSet.to_json` writes it, every series with its intervals, method, notes and backtest."""

    frequency = models.CharField(max_length=7, choices=FREQUENCIES)
    measure = models.CharField(max_length=6, choices=MEASURES)
    as_of = models.DateTimeField(help_text="What was known then; nothing later went into it.")
    horizon = models.PositiveSmallIntegerField(help_text="Periods ahead.")
    country = models.CharField(max_length=8, blank=True, help_text="Whose public holidays count.")
    data = models.JSONField()
    synthetic = models.BooleanField(default=False, help_text="Rests on generated applications: says nothing of real demand.")
    seconds = models.FloatField()
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")

    objects = DemandForecastQuerySet.as_manager()

    class Meta:
        ordering = ["-as_of", "-pk"]
        constraints = [
            models.UniqueConstraint(fields=["frequency", "measure", "as_of"], name="forecast_one_vintage"),
            models.CheckConstraint(condition=Q(frequency__in=[code for code, _ in FREQUENCIES]), name="forecast_frequency_known"),
            models.CheckConstraint(condition=Q(measure__in=[code for code, _ in MEASURES]), name="forecast_measure_known"),
        ]
        permissions = [("make_demandforecast", "Can have the demand forecast made anew")]

    def __str__(self) -> str:
        return f"{self.get_measure_display()} by {self.get_frequency_display().lower()}, as of {self.as_of:%Y-%m-%d}"
