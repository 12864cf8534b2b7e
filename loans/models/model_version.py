"""A fitted model as the desk knows it: where its artifact lies, what it is worth, and whether it serves."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q


class ModelKind(models.TextChoices):
    DEFAULT_RISK = "default_risk", "Default risk"
    LOAN_AMOUNT = "loan_amount", "Loan amount"
    SEGMENTS = "segments", "Segments"


class ModelState(models.TextChoices):
    CANDIDATE = "candidate", "Candidate"
    CHALLENGER = "challenger", "Challenger"
    SHADOW = "shadow", "Shadow"
    CHAMPION = "champion", "Champion"
    RETIRED = "retired", "Retired"


class ModelVersionQuerySet(models.QuerySet):
    def champion(self, kind: str = ModelKind.DEFAULT_RISK) -> ModelVersion | None:
        return self.filter(kind=kind, state=ModelState.CHAMPION).first()


class ModelVersion(models.Model):
    kind = models.CharField(max_length=20, choices=ModelKind)
    version = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=ModelState, default=ModelState.CANDIDATE)
    algorithm = models.CharField(max_length=40, help_text="The rung of the ladder that was chosen.")
    artifact = models.CharField(max_length=200, help_text="File in ARTIFACTS_DIR.")
    sha256 = models.CharField(max_length=64, help_text="Over the digests of all the artifact's parts.")
    report = models.JSONField(default=dict)
    data_fingerprint = models.CharField(max_length=64, blank=True)
    synthetic = models.BooleanField(default=False, help_text="Trained on generated applications: worth nothing for real ones.")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    promoted_at = models.DateTimeField(null=True, blank=True)
    promoted_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    promotion_reason = models.CharField(max_length=300, blank=True)

    objects = ModelVersionQuerySet.as_manager()

    class Meta:
        ordering = ["kind", "-version"]
        constraints = [
            models.UniqueConstraint(fields=["kind", "version"], name="modelversion_number_unique"),
            models.UniqueConstraint(fields=["kind"], condition=Q(state="champion"), name="modelversion_one_champion"),
            models.CheckConstraint(condition=Q(state__in=ModelState.values), name="modelversion_state_known"),
            models.CheckConstraint(condition=Q(kind__in=ModelKind.values), name="modelversion_kind_known"),
        ]
        permissions = [("train_modelversion", "Can train models"), ("promote_modelversion", "Can promote models")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} v{self.version}"

    @property
    def is_champion(self) -> bool:
        return self.state == ModelState.CHAMPION
