"""What a person decided, and on what it rested. Append-only: a decision is never edited, a later one is another row."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from loans.models.policy import Advice


class Outcome(models.TextChoices):
    APPROVE = "approve", "Approve"
    DECLINE = "decline", "Decline"
    REFER = "refer", "Refer"


class Decision(models.Model):
    application = models.ForeignKey("loans.LoanApplication", on_delete=models.PROTECT, related_name="decisions")
    outcome = models.CharField(max_length=8, choices=Outcome)
    officer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="decisions")
    reason = models.CharField(max_length=64, help_text="Code of the reason, from the rule pack in force.")
    reason_text = models.CharField(max_length=300, help_text="The reason as it read on the day.")
    note = models.TextField(blank=True, max_length=4000)
    prediction = models.ForeignKey("loans.Prediction", on_delete=models.PROTECT, null=True, blank=True, related_name="decisions")
    advice = models.CharField(max_length=7, blank=True, choices=Advice, help_text="What the officer was advised.")
    override = models.BooleanField(default=False, help_text="The officer decided against the advice.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(condition=Q(outcome__in=Outcome.values), name="decision_outcome_known"),
            models.UniqueConstraint(fields=["application"], condition=Q(outcome__in=["approve", "decline"]), name="decision_one_final"),
            models.CheckConstraint(
                condition=~Q(outcome="approve") | Q(prediction__isnull=False), name="decision_no_approval_without_score"
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="decision_reason_given"),
        ]
        indexes = [
            models.Index(fields=["officer", "-id"], name="decision_officer_ix"),
            models.Index(fields=["application", "-id"], name="decision_application_ix"),
        ]

    def __str__(self) -> str:
        return f"{self.get_outcome_display()}: application {self.application_id}"
