"""From when on which figure is too far off, who answers for that limit and why; and what has rung."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from loans.models.monitoring import METRICS

RULES: dict[str, str] = {
    "level": "Chance of any false breach in a window, all tests together",
    "psi": "Stability index of an input, from",
    "missing": "Change in the share missing, from",
    "outside": "More outside of what was known, from",
    "joint_auc": "AUC that tells the window from the reference, from",
    "output_psi": "Stability index of an output, from",
    "oe": "Distance of observed / expected from 1 (its interval excludes 1 anyway), from",
    "auc": "AUC below what the probabilities promise, by",
    "slope": "Distance of the calibration slope from 1, from",
    "residual": "A column's meaning off by (log-odds)",
    "early_bad": "Share gone bad above earlier vintages of the same age, by",
    "override_rate": "Share of decisions against the advice, from",
    "fraud_precision": "Share of disposed flags that are confirmed, below",
    "latency_p95": "Seconds from submission to score of 95 %, from",
    "failures": "Share of jobs given to a person, from",
    "pending_age": "Seconds that the oldest job waits, from",
    "consecutive": "Breaches in a row that open a retraining",
    "model_age": "Days since the champion was trained that open a retraining",
    "new_labels": "New labels, as a share of those learned from, that open a retraining",
    "cooldown": "Days between two retrainings of one champion",
}


class AlertRuleQuerySet(models.QuerySet):
    def in_force(self) -> list[AlertRule]:
        """The latest row of each metric and feature that has come into force; one that was switched off is not among them."""
        latest = (
            self.filter(effective_from__lte=Now()).order_by("metric", "feature", "-effective_from", "-pk").distinct("metric", "feature")
        )
        return [rule for rule in latest if rule.active]


class AlertRule(models.Model):
    """A limit. A change is a new row from a day on: what was in force stays known. grave: from here on an alert is marked so."""

    metric = models.CharField(max_length=20, choices=list(RULES.items()))
    feature = models.CharField(max_length=80, blank=True, help_text="One column or output; empty for all.")
    limit = models.FloatField()
    grave = models.FloatField("grave from", null=True, blank=True)
    active = models.BooleanField(default=True, help_text="Off: this figure raises no alert.")
    owner = models.CharField(max_length=100, help_text="Person or role that answers for this limit.")
    reason = models.CharField(max_length=300, help_text="Why the limit is what it is from that day on.")
    effective_from = models.DateTimeField(default=timezone.now)
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, editable=False, related_name="+"
    )

    objects = AlertRuleQuerySet.as_manager()

    class Meta:
        ordering = ["metric", "feature", "-effective_from"]
        constraints = [
            models.CheckConstraint(condition=Q(metric__in=list(RULES)), name="alertrule_metric_known"),
            models.CheckConstraint(condition=Q(limit__gte=0), name="alertrule_limit_not_negative"),
            models.CheckConstraint(condition=~Q(owner="") & ~Q(reason=""), name="alertrule_owned_with_reason"),
            models.CheckConstraint(condition=~Q(metric="level") | Q(limit__gt=0, limit__lte=0.2), name="alertrule_level_range"),
            models.CheckConstraint(condition=~Q(metric="consecutive") | Q(limit__gte=1, limit__lte=24), name="alertrule_consecutive_range"),
        ]

    def __str__(self) -> str:
        return f"{self.get_metric_display()} {self.limit:g}" + (f" ({self.feature})" if self.feature else "")

    def clean(self) -> None:
        if self.limit is None or not self.limit == self.limit or self.limit in (float("inf"), float("-inf")):
            raise ValidationError({"limit": "A finite number."})
        if self.metric == "level" and not 0 < self.limit <= 0.2:
            raise ValidationError({"limit": "A chance above 0 and at most 0.2."})
        if self.metric == "consecutive" and (not 1 <= self.limit <= 24 or self.limit != int(self.limit)):
            raise ValidationError({"limit": "A whole number from 1 to 24."})
        if self.feature and self.metric not in METRICS:
            raise ValidationError({"feature": "This limit is not of one column."})


class AlertState(models.TextChoices):
    OPEN = "open", "Open"
    ACKNOWLEDGED = "acknowledged", "Acknowledged"
    CLOSED = "closed", "Closed"


RINGS = METRICS | {"monitoring": "Monitoring itself", "approval": "A promotion that waits"}
UNCLOSED = (AlertState.OPEN, AlertState.ACKNOWLEDGED)


class Alert(models.Model):
    """One thing that rings. While it is not closed, further breaches of the same figure count on it instead of ringing anew."""

    model_version = models.ForeignKey("loans.ModelVersion", on_delete=models.PROTECT, null=True, blank=True, related_name="alerts")
    window = models.ForeignKey("loans.MonitoringWindow", on_delete=models.PROTECT, null=True, blank=True, related_name="alerts")
    metric = models.CharField(max_length=20, choices=list(RINGS.items()))
    feature = models.CharField(max_length=80, blank=True)
    text = models.CharField(max_length=500)
    grave = models.BooleanField(default=False)
    owner = models.CharField(max_length=100, blank=True)
    breaches = models.PositiveIntegerField(default=1, help_text="Windows in a row in which it was off.")
    last_window = models.DateField(null=True, blank=True, help_text="Start of the last window in which it was off.")
    state = models.CharField(max_length=12, choices=AlertState, default=AlertState.OPEN)
    opened_at = models.DateTimeField(db_default=Now())
    notified_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    closed_at = models.DateTimeField(null=True, blank=True)
    note = models.TextField(blank=True, max_length=2000, help_text="What was made of it.")

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["model_version", "metric", "feature"],
                condition=Q(state__in=["open", "acknowledged"]),
                nulls_distinct=False,
                name="alert_one_unclosed",
            ),
            models.CheckConstraint(condition=Q(state__in=AlertState.values), name="alert_state_known"),
            models.CheckConstraint(condition=~Q(state="acknowledged") | Q(acknowledged_by__isnull=False), name="alert_acknowledged_by_one"),
            models.CheckConstraint(condition=~Q(state="closed") | (Q(closed_at__isnull=False) & ~Q(note="")), name="alert_closed_with_why"),
        ]
        indexes = [
            models.Index(fields=["state", "-id"], name="alert_state_ix"),
            models.Index(fields=["id"], name="alert_untold_ix", condition=Q(notified_at__isnull=True)),
        ]
        permissions = [("handle_alert", "Can acknowledge and close alerts")]

    def __str__(self) -> str:
        return self.text

    @property
    def is_unclosed(self) -> bool:
        return self.state in UNCLOSED


class Retraining(models.Model):
    """A retraining that monitoring asked for. key: one row for one reason, however many schedulers look at once."""

    CAUSES = [
        ("breaches", "Breaches in a row"),
        ("oe", "Observed / expected excludes 1"),
        ("age", "The champion's age"),
        ("labels", "New labels"),
    ]

    champion = models.ForeignKey("loans.ModelVersion", on_delete=models.PROTECT, related_name="retrainings")
    cause = models.CharField(max_length=8, choices=CAUSES)
    reason = models.CharField(max_length=500)
    key = models.CharField(max_length=120, unique=True)
    window = models.ForeignKey("loans.MonitoringWindow", on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    training_run = models.OneToOneField("loans.TrainingRun", on_delete=models.PROTECT, related_name="retraining")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-pk"]
        constraints = [models.CheckConstraint(condition=Q(cause__in=["breaches", "oe", "age", "labels"]), name="retraining_cause_known")]

    def __str__(self) -> str:
        return f"Retraining of {self.champion}: {self.get_cause_display().lower()}"
