"""What a model said of an application, and the facts it said it of. Both append-only."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from loans.models.job import by_time
from loans.models.model_version import ModelKind
from loans.models.policy import Advice


class FeatureSnapshot(models.Model):
    """The features exactly as they went into the models of one scoring job."""

    scoring_job = models.OneToOneField("loans.ScoringJob", on_delete=models.PROTECT, primary_key=True, related_name="snapshot")
    application = models.ForeignKey("loans.LoanApplication", on_delete=models.PROTECT, related_name="snapshots")
    values = models.JSONField()
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"Features of application {self.application_id}"


class PredictionQuerySet(models.QuerySet):
    def latest_of(self, application: object, kind: str = ModelKind.DEFAULT_RISK) -> Prediction | None:
        """The score that counts: the newest that is not a shadow's."""
        return self.filter(application=application, kind=kind, shadow=False).order_by("-pk").select_related("model_version").first()


class BaselineKind(models.TextChoices):
    """Whom the contributions of a score compare with: `mlcore.risk.model.Baseline`."""

    ALL = "all", "All applicants that the model learned from"
    AT_CUTOFF = "at_cutoff", "Applicants who would only just be approved"


class Prediction(models.Model):
    application = models.ForeignKey("loans.LoanApplication", on_delete=models.PROTECT, related_name="predictions")
    scoring_job = models.ForeignKey("loans.ScoringJob", on_delete=models.PROTECT, related_name="predictions")
    model_version = models.ForeignKey("loans.ModelVersion", on_delete=models.PROTECT, related_name="predictions")
    kind = models.CharField(max_length=20, choices=ModelKind, default=ModelKind.DEFAULT_RISK)
    probability = models.FloatField()
    log_odds = models.FloatField()
    baseline = models.FloatField(help_text="Log-odds of the applicants that the contributions compare with.")
    baseline_kind = models.CharField(max_length=9, choices=BaselineKind, default=BaselineKind.ALL, db_default=BaselineKind.ALL)
    grade = models.CharField(max_length=2)
    points = models.SmallIntegerField()
    contributions = models.JSONField(help_text="Log-odds added by each feature against the baseline; they add up to the score.")
    reasons = models.JSONField(help_text="The main reasons against and for, by family, in the order of their weight.")
    advice = models.CharField(max_length=7, blank=True, choices=Advice, help_text="What the policy in force made of the score.")
    knock_outs = models.JSONField(default=list, help_text="The rules that ruled the application out whatever its score.")
    policy = models.ForeignKey("loans.Policy", on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    shadow = models.BooleanField(default=False, help_text="A shadow's score is watched and never reaches a decision.")
    created_at = models.DateTimeField(db_default=Now())

    objects = PredictionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["scoring_job", "model_version"], name="prediction_one_per_job_and_model"),
            models.CheckConstraint(condition=Q(probability__gte=0, probability__lte=1), name="prediction_probability_range"),
            models.CheckConstraint(condition=Q(baseline_kind__in=BaselineKind.values), name="prediction_baseline_known"),
            models.CheckConstraint(condition=Q(log_odds__gte=-100, log_odds__lte=100), name="prediction_log_odds_finite"),
            models.CheckConstraint(condition=Q(shadow=False) | Q(advice="", policy__isnull=True), name="prediction_shadow_advises_nothing"),
        ]
        indexes = [
            models.Index(fields=["application", "kind", "-id"], name="prediction_latest_ix"),
            by_time("created_at", "prediction_created_ix"),
        ]

    def __str__(self) -> str:
        return f"{self.probability:.1%} ({self.model_version_id})"
