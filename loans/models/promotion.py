"""What a version has to show before it takes over, and the record that it did: limits, checks with findings, a person's approval."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from loans.models.model_version import ModelKind


def share(default: float, words: str, most: float = 1.0) -> models.FloatField:
    return models.FloatField(default=default, validators=[MinValueValidator(0.0), MaxValueValidator(most)], help_text=words)


class PromotionPolicyQuerySet(models.QuerySet):
    def in_force(self, kind: str) -> PromotionPolicy | None:
        return self.filter(kind=kind, effective_from__lte=Now()).order_by("-effective_from", "-pk").first()


class PromotionPolicy(models.Model):
    """The limits of one kind's promotions from a day on. A change is a new row, by its owner and with a reason."""

    kind = models.CharField(max_length=20, choices=ModelKind, default=ModelKind.DEFAULT_RISK)
    auc_margin = share(0.005, "AUC may be worse by less than this, shown with 95% confidence.", 0.1)
    brier_margin = share(0.01, "Brier score may be worse by less than this share of the serving model's, shown with 95% confidence.")
    oe_margin = share(0.02, "Observed / expected may be farther from 1 than the serving model's by this, unless its interval holds 1.")
    impact_margin = share(0.05, "Lowest adverse impact ratio and equal-opportunity gap may be worse by this much, unless within limits.")
    reasons_agreement = share(0.6, "Of the four main reasons of the serving model, the share that must be among the new version's.")
    least_rows = models.PositiveIntegerField(default=500, help_text="Later loans with a known outcome that both are judged on.")
    least_defaults = models.PositiveIntegerField(default=50, help_text="Defaults among them.")
    shadow_days = models.FloatField(
        default=14, validators=[MinValueValidator(0.0), MaxValueValidator(730.0)], help_text="In shadow for at least so many days."
    )
    shadow_scores = models.PositiveIntegerField(default=100, help_text="Applications scored in shadow, at least.")
    shadow_at_once = models.BooleanField(default=True, help_text="A newly trained version goes into shadow where none is there.")
    held_back = share(0.5, "Of the loans newer than those the serving model learned from, the latest share is left for judging.", 0.9)
    valid_days = models.PositiveSmallIntegerField(default=7, help_text="A check can be approved for so many days.")
    automatic = models.BooleanField(
        default=False, help_text="A version that passes everything serves without a second person. Findings to look at still stop it."
    )
    effective_from = models.DateTimeField(default=timezone.now)
    reason = models.CharField(max_length=300, help_text="Why the limits are what they are from that day on.")
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, editable=False, related_name="+"
    )

    objects = PromotionPolicyQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "promotion policies"
        ordering = ["kind", "-effective_from", "-pk"]
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=ModelKind.values), name="promotionpolicy_kind_known"),
            models.CheckConstraint(condition=Q(auc_margin__gte=0, auc_margin__lte=0.1), name="promotionpolicy_auc_margin_range"),
            models.CheckConstraint(condition=Q(shadow_days__gte=0, shadow_days__lte=730), name="promotionpolicy_shadow_range"),
            models.CheckConstraint(condition=Q(held_back__gte=0, held_back__lte=0.9), name="promotionpolicy_held_back_range"),
            models.CheckConstraint(condition=Q(reasons_agreement__gte=0, reasons_agreement__lte=1), name="promotionpolicy_agreement_range"),
        ]

    def __str__(self) -> str:
        return f"Promotion of {self.get_kind_display().lower()} from {self.effective_from:%Y-%m-%d}"


LIMITS = (
    "auc_margin", "brier_margin", "oe_margin", "impact_margin", "reasons_agreement", "least_rows", "least_defaults", "shadow_days",
    "shadow_scores", "valid_days", "automatic",
)  # fmt: skip
"""What a check is held to; each check keeps them as they were."""


class CheckState(models.TextChoices):
    OPEN = "open", "Passed, waits for approval"
    FAILED = "failed", "Did not pass"
    APPROVED = "approved", "Approved"
    REFUSED = "refused", "Refused"


class PromotionCheck(models.Model):
    """One look at whether a version may take over. Append-only but for its end: approved or refused, by whom and why."""

    version = models.ForeignKey("loans.ModelVersion", on_delete=models.PROTECT, related_name="checks")
    against = models.ForeignKey("loans.ModelVersion", on_delete=models.PROTECT, related_name="+", help_text="What served then.")
    policy = models.ForeignKey(PromotionPolicy, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    limits = models.JSONField(default=dict, help_text="What the policy asked for on that day.")
    state = models.CharField(max_length=8, choices=CheckState)
    automatic = models.BooleanField(
        default=False, help_text="May take over by rule: all passed, nothing to look at, and the policy says so."
    )
    evidence = models.JSONField(default=dict, help_text="Both models on the same later loans.")
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    reason = models.CharField(max_length=300, help_text="Why the version should serve.")
    created_at = models.DateTimeField(db_default=Now())
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    decision_reason = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=CheckState.values), name="promotioncheck_state_known"),
            models.CheckConstraint(
                condition=~Q(state__in=["approved", "refused"]) | Q(decided_at__isnull=False), name="promotioncheck_end_is_dated"
            ),
        ]

    def __str__(self) -> str:
        return f"Promotion check {self.pk}"


class FindingStatus(models.TextChoices):
    PASSED = "passed", "Passed"
    FAILED = "failed", "Failed"
    LOOK = "look", "To look at"


class PromotionFinding(models.Model):
    """One question of a check and its answer. “To look at” stops a promotion by rule, and is for the approver to weigh."""

    check_run = models.ForeignKey(PromotionCheck, on_delete=models.PROTECT, related_name="findings")
    position = models.PositiveSmallIntegerField()
    code = models.CharField(max_length=32)
    title = models.CharField(max_length=80)
    status = models.CharField(max_length=6, choices=FindingStatus)
    in_words = models.TextField()
    figures = models.JSONField(default=dict)

    class Meta:
        ordering = ["check_run", "position"]
        constraints = [
            models.UniqueConstraint(fields=["check_run", "code"], name="promotionfinding_once"),
            models.CheckConstraint(condition=Q(status__in=FindingStatus.values), name="promotionfinding_status_known"),
        ]

    def __str__(self) -> str:
        return f"{self.title}: {self.get_status_display()}"
