"""What became of a loan, as far as it is known."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class OutcomeState(models.TextChoices):
    DEFAULT = "default", "Defaulted"
    REPAID = "repaid", "Repaid"
    IMMATURE = "immature", "Not yet known"


class LoanOutcome(models.Model):
    """`immature` is not a label: the loan's outcome window has not closed."""

    application = models.OneToOneField("loans.LoanApplication", on_delete=models.CASCADE, primary_key=True, related_name="outcome")
    state = models.CharField(max_length=10, choices=OutcomeState)
    defaulted_on = models.DateField(null=True, blank=True)
    past_due_30_on = models.DateField(
        "30 days past due on", null=True, blank=True, help_text="The first day on which a payment was 30 days late: long before a default."
    )
    observed_on = models.DateField(null=True, blank=True, help_text="The day up to which the loan was watched.")
    loss = models.DecimalField(max_digits=14, decimal_places=2, null=True, blank=True)
    import_batch = models.ForeignKey("loans.ImportBatch", on_delete=models.PROTECT, null=True, blank=True, related_name="outcomes")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(state__in=OutcomeState.values), name="outcome_state_known"),
            models.CheckConstraint(condition=Q(defaulted_on__isnull=True) | Q(state="default"), name="outcome_date_only_for_default"),
        ]
        indexes = [models.Index(fields=["state"], name="outcome_state_ix")]

    def __str__(self) -> str:
        return f"{self.get_state_display()} (application {self.pk})"
