"""The lender's own rules about the model's answers: where to approve, and what rules an application out whatever its score."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from loans.models.fields import APPLICATION_FIELDS


class Advice(models.TextChoices):
    APPROVE = "approve", "Approve"
    REFER = "refer", "Look closer"
    DECLINE = "decline", "Decline"


class PolicyQuerySet(models.QuerySet):
    def in_force(self) -> Policy | None:
        return self.filter(effective_from__lte=Now()).order_by("-effective_from", "-pk").first()


class Policy(models.Model):
    """What to advise at which default probability, and what a loan earns or costs. A change is a new row: what was in force stays known."""

    approve_below = models.FloatField("approve below", help_text="Default probability below which approval is advised, as a fraction.")
    decline_from = models.FloatField("decline from", help_text="Default probability from which on declining is advised, as a fraction.")
    margin = models.FloatField(default=0.12, help_text="Earned over the life of a repaid loan, as a share of the amount.")
    loss_given_default = models.FloatField(default=0.6, help_text="Lost on a defaulted loan, as a share of the amount.")
    effective_from = models.DateTimeField(default=timezone.now)
    reason = models.CharField(max_length=300, help_text="Why the policy is what it is from that day on.")
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, editable=False, related_name="+"
    )

    objects = PolicyQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "policies"
        ordering = ["-effective_from", "-pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(approve_below__gte=0, decline_from__lte=1, approve_below__lte=F("decline_from")), name="policy_bands_in_order"
            ),
            models.CheckConstraint(condition=Q(margin__gt=0, margin__lte=10), name="policy_margin_range"),
            models.CheckConstraint(condition=Q(loss_given_default__gt=0, loss_given_default__lte=1), name="policy_loss_range"),
        ]

    def __str__(self) -> str:
        return f"Approve below {self.approve_below:.1%}, decline from {self.decline_from:.1%}"

    def advice(self, probability: float) -> str:
        if probability < self.approve_below:
            return Advice.APPROVE
        return Advice.DECLINE if probability >= self.decline_from else Advice.REFER


OPERATORS = [("below", "is below"), ("above", "is above"), ("is", "is"), ("is_not", "is not"), ("missing", "is missing")]


class KnockOutRuleQuerySet(models.QuerySet):
    def in_force(self) -> KnockOutRuleQuerySet:
        return self.filter(active=True)


class KnockOutRule(models.Model):
    """One condition that rules an application out whatever the model says. It is named as the reason when it decides."""

    name = models.CharField(max_length=100, unique=True)
    field = models.CharField(max_length=63, help_text="A field of the application, or an attribute of the lender's own.")
    operator = models.CharField(max_length=8, choices=OPERATORS)
    value = models.CharField(max_length=200, blank=True, help_text="A number, or the text to compare with; empty for “is missing”.")
    reason = models.CharField(max_length=64, help_text="Code of the decline reason in the rule pack.")
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, editable=False, related_name="+"
    )

    objects = KnockOutRuleQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=Q(operator__in=[code for code, _ in OPERATORS]), name="knockout_operator_known"),
            models.CheckConstraint(condition=Q(operator="missing") | ~Q(value=""), name="knockout_value_given"),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.operator in ("below", "above"):
            try:
                float(self.value)
            except ValueError:
                raise ValidationError({"value": f"{self.value!r} is not a number, which “{self.get_operator_display()}” needs."}) from None
        spec = APPLICATION_FIELDS.get(self.field)
        if spec is not None and spec.choices and self.operator in ("is", "is_not") and self.value not in spec.choices:
            raise ValidationError({"value": f"{self.field} is one of: {', '.join(spec.choices)}."})

    def hits(self, value: Any) -> bool | None:
        """Whether the rule holds for this value; None where it does not apply because the value is missing."""
        missing = value is None or value == "" or value != value
        if self.operator == "missing":
            return missing
        if missing:
            return None
        if self.operator in ("below", "above"):
            limit = float(self.value)
            return float(value) < limit if self.operator == "below" else float(value) > limit
        same = str(value).casefold() == self.value.casefold()
        return same if self.operator == "is" else not same
