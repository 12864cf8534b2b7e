"""Cells of a pairwise model that somebody wants changed: proposed by one person, decided by another, never altered afterwards."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now


class EditState(models.TextChoices):
    PROPOSED = "proposed", "Waits for a second person"
    APPROVED = "approved", "Approved"
    REJECTED = "rejected", "Rejected"
    WITHDRAWN = "withdrawn", "Withdrawn"


class TableEdit(models.Model):
    """`base` stays as it is; an approval makes `result`, a version of its own that waits for promotion as any other.

    cells: [{"features": [positions in the encoder], "codes": [place in the table], "table", "cell": in words, "from", "to": log-odds}].
    effect: what it would do, as `mlcore.risk.editing.effect` gives it, when it was proposed. The database refuses a change of what was
    proposed, a second decision, and a decision by the proposer (who may only withdraw).
    """

    base = models.ForeignKey("loans.ModelVersion", on_delete=models.PROTECT, related_name="table_edits")
    cells = models.JSONField()
    reason = models.CharField(max_length=300)
    keep_level = models.BooleanField(default=True, help_text="The intercept moves so that the mean probability stays what it was.")
    effect = models.JSONField()
    state = models.CharField(max_length=9, choices=EditState, default=EditState.PROPOSED)
    proposed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    decision_reason = models.CharField(max_length=300, blank=True)
    result = models.OneToOneField("loans.ModelVersion", on_delete=models.PROTECT, null=True, blank=True, related_name="made_by_edit")

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=EditState.values), name="tableedit_state_known"),
            models.CheckConstraint(condition=~Q(reason=""), name="tableedit_reason_given"),
            models.CheckConstraint(
                condition=Q(state=EditState.PROPOSED, decided_by=None, decided_at=None)
                | (~Q(state=EditState.PROPOSED) & Q(decided_by__isnull=False, decided_at__isnull=False)),
                name="tableedit_decided_by_somebody",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=[EditState.APPROVED, EditState.REJECTED]) | ~Q(decided_by=F("proposed_by")),
                name="tableedit_second_person",
            ),
            models.CheckConstraint(
                condition=Q(state=EditState.APPROVED, result__isnull=False) | (~Q(state=EditState.APPROVED) & Q(result=None)),
                name="tableedit_result_if_approved",
            ),
        ]

    def __str__(self) -> str:
        return f"Edit {self.pk} of {self.base}"

    @property
    def waits(self) -> bool:
        return self.state == EditState.PROPOSED

    def is_proposer(self, user: Any) -> bool:
        return user is not None and user.pk == self.proposed_by_id
