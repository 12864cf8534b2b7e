"""What monitoring saw: a window of a model's time, and its figures. Append-only: a later look is another row."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

GROUPS = {
    "inputs": "Inputs",
    "joint": "Inputs together",
    "outputs": "Outputs",
    "performance": "Performance",
    "estimated": "Estimated performance",
    "early": "Early signals",
    "decisions": "Decisions",
    "operations": "Operations",
}
METRICS = {
    "psi": "Population stability index",
    "missing": "Missing",
    "outside": "Outside of what was known",
    "joint_auc": "Joint drift (AUC)",
    "output_psi": "Output's stability index",
    "default_rate": "Default rate",
    "oe": "Observed / expected",
    "auc": "AUC",
    "ks": "KS",
    "brier": "Brier score",
    "slope": "Calibration slope",
    "residual": "Meaning of a column",
    "cbpe_auc": "AUC, estimated",
    "cbpe_brier": "Brier score, estimated",
    "cbpe_rate": "Default rate, estimated",
    "cbpe_oe": "Observed / expected, range to expect",
    "check_auc": "AUC: outcome less estimate",
    "check_brier": "Brier score: outcome less estimate",
    "early_bad": "Gone bad by month on book",
    "override_rate": "Overrides",
    "override_default": "Defaults of overridden declines",
    "approval_rate": "Approvals",
    "forecast_error": "Demand forecast, 1 − WAPE",
    "fraud_precision": "Fraud flags confirmed",
    "latency_p50": "Scoring time, median (s)",
    "latency_p95": "Scoring time, 95 % (s)",
    "throughput": "Scores a day",
    "failures": "Jobs given to a person",
    "retries": "Jobs that needed another attempt",
    "pending_age": "Oldest job waiting (s)",
}


class MonitoringWindowQuerySet(models.QuerySet):
    def latest(self) -> MonitoringWindowQuerySet:
        """Of each version and window the last look."""
        return self.order_by("model_version_id", "start", "-end", "-pk").distinct("model_version_id", "start", "end")


class MonitoringWindow(models.Model):
    """One look at [start, end) of one version. reference: {"start", "end", "rows", "labelled"}. notes: what could not be said, and why."""

    model_version = models.ForeignKey("loans.ModelVersion", on_delete=models.PROTECT, related_name="monitoring_windows")
    start = models.DateField()
    end = models.DateField(help_text="The first day after it.")
    rows = models.PositiveIntegerField()
    labelled = models.PositiveIntegerField(default=0)
    scored_after = models.PositiveIntegerField(default=0, help_text="Rows without a stored score of this version, scored for this look.")
    reference = models.JSONField(default=dict)
    notes = models.JSONField(default=list)
    breaches = models.PositiveSmallIntegerField(default=0)
    synthetic = models.BooleanField(default=False)
    seconds = models.FloatField(default=0)
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")

    objects = MonitoringWindowQuerySet.as_manager()

    class Meta:
        ordering = ["-start", "-pk"]
        constraints = [models.CheckConstraint(condition=Q(start__lt=F("end")), name="monitoringwindow_in_order")]
        indexes = [models.Index(fields=["model_version", "-start", "-id"], name="monitoringwindow_latest_ix")]
        permissions = [("run_monitoring", "Can have models monitored now")]

    def __str__(self) -> str:
        return f"{self.model_version}, {self.start:%Y-%m-%d} to {self.end:%Y-%m-%d}"


class MonitoringFigure(models.Model):
    """`mlcore.monitor.Figure` as a row."""

    window = models.ForeignKey(MonitoringWindow, on_delete=models.CASCADE, related_name="figures")
    group = models.CharField(max_length=12, choices=list(GROUPS.items()))
    metric = models.CharField(max_length=20, choices=list(METRICS.items()))
    feature = models.CharField(max_length=80, blank=True)
    title = models.CharField(max_length=200, blank=True)
    value = models.FloatField(null=True)
    baseline = models.FloatField(null=True, help_text="The reference's, or what no change would give.")
    low = models.FloatField(null=True)
    high = models.FloatField(null=True)
    null_limit = models.FloatField(null=True, help_text="Below it lie 95 of 100 windows in which nothing has changed.")
    p = models.FloatField(null=True)
    p_adjusted = models.FloatField(null=True, help_text="By Holm, over all tests of the window.")
    breach = models.BooleanField(default=False)
    grave = models.BooleanField(default=False)
    note = models.CharField(max_length=500, blank=True)
    detail = models.JSONField(default=dict)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["window", "metric", "feature"], name="monitoringfigure_unique"),
            models.CheckConstraint(condition=~Q(breach=True) | Q(value__isnull=False), name="monitoringfigure_breach_has_value"),
        ]

    def __str__(self) -> str:
        return f"{self.get_metric_display()} {self.title}".strip()
