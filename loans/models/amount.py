"""How much an applicant can carry, as the amount model of the day saw it. Append-only, beside the prediction."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now


class AmountEstimateQuerySet(models.QuerySet):
    def latest_of(self, application: object) -> AmountEstimate | None:
        return self.filter(application=application).order_by("-pk").select_related("model_version").defer("model_version__report").first()


class AmountEstimate(models.Model):
    """low, middle, high: the 10 %, 50 % and 90 % quantiles of what applicants like this one carried, none above the cap."""

    # No index of their own: two below begin with the first two, and nobody looks a version's rows up or deletes a version.
    application = models.ForeignKey("loans.LoanApplication", on_delete=models.PROTECT, related_name="amount_estimates", db_index=False)
    scoring_job = models.ForeignKey("loans.ScoringJob", on_delete=models.PROTECT, related_name="amount_estimates", db_index=False)
    model_version = models.ForeignKey("loans.ModelVersion", on_delete=models.PROTECT, related_name="amount_estimates", db_index=False)
    low = models.DecimalField(max_digits=14, decimal_places=2)
    middle = models.DecimalField(max_digits=14, decimal_places=2)
    high = models.DecimalField(max_digits=14, decimal_places=2)
    cap = models.DecimalField(
        max_digits=14, decimal_places=2, null=True, help_text="What the affordability rule allows; empty where the income is not known."
    )
    capped = models.BooleanField(help_text="The rule cut the range's upper end.")
    created_at = models.DateTimeField(db_default=Now())

    objects = AmountEstimateQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["scoring_job", "model_version"], name="amount_one_per_job_and_model"),
            models.CheckConstraint(condition=Q(low__gte=0, low__lte=F("middle"), middle__lte=F("high")), name="amount_range_in_order"),
        ]
        indexes = [models.Index(fields=["application", "-id"], name="amount_latest_ix")]

    def __str__(self) -> str:
        return f"{self.low:,.0f}–{self.high:,.0f} (application {self.application_id})"
