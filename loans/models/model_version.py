"""A fitted model as the desk knows it: where its artifact lies, what it is worth, and whether it serves."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class ModelKind(models.TextChoices):
    DEFAULT_RISK = "default_risk", "Default risk"
    LOAN_AMOUNT = "loan_amount", "Loan amount"
    SEGMENTS = "segments", "Segments"
    FRAUD = "fraud", "Fraud"


class ModelState(models.TextChoices):
    CANDIDATE = "candidate", "Candidate"
    CHALLENGER = "challenger", "Challenger"
    SHADOW = "shadow", "Shadow"
    CHAMPION = "champion", "Champion"
    RETIRED = "retired", "Retired"


class PromotedHow(models.TextChoices):
    FIRST = "first", "First of its kind"
    APPROVED = "approved", "Approved by a second person"
    AUTOMATIC = "automatic", "By rule"
    ROLLED_BACK = "rolled_back", "Rolled back to"


class ModelVersionQuerySet(models.QuerySet):
    def champion(self, kind: str = ModelKind.DEFAULT_RISK) -> ModelVersion | None:
        return self.filter(kind=kind, state=ModelState.CHAMPION).first()

    def shadow(self, kind: str = ModelKind.DEFAULT_RISK) -> ModelVersion | None:
        return self.filter(kind=kind, state=ModelState.SHADOW).first()


class ModelVersion(models.Model):
    kind = models.CharField(max_length=20, choices=ModelKind)
    version = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=ModelState, default=ModelState.CANDIDATE)
    algorithm = models.CharField(max_length=40, help_text="The rung of the ladder that was chosen.")
    artifact = models.CharField(max_length=200, help_text="File in ARTIFACTS_DIR.")
    sha256 = models.CharField(max_length=64, help_text="Over the digests of all the artifact's parts.")
    report = models.JSONField(default=dict)
    data_fingerprint = models.CharField(max_length=64, blank=True)
    environment = models.JSONField(
        default=dict, blank=True, help_text="Libraries, and digest and commit of the code, that the model was made with."
    )
    learned_until = models.DateTimeField(
        null=True, blank=True, help_text="When the latest application that it learned from was made. Later ones can judge it."
    )
    synthetic = models.BooleanField(default=False, help_text="Trained on generated applications: worth nothing for real ones.")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    promoted_at = models.DateTimeField(null=True, blank=True)
    promoted_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    promotion_reason = models.CharField(max_length=300, blank=True)
    promoted_how = models.CharField(max_length=11, choices=PromotedHow, blank=True)
    predecessor = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="+", help_text="Served before it; a roll-back returns to it."
    )
    shadow_since = models.DateTimeField(null=True, blank=True)
    shadow_seconds = models.FloatField(default=0, help_text="In shadow before the present spell.")

    objects = ModelVersionQuerySet.as_manager()

    class Meta:
        ordering = ["kind", "-version"]
        constraints = [
            models.UniqueConstraint(fields=["kind", "version"], name="modelversion_number_unique"),
            models.UniqueConstraint(fields=["kind"], condition=Q(state="champion"), name="modelversion_one_champion"),
            models.UniqueConstraint(fields=["kind"], condition=Q(state="shadow"), name="modelversion_one_shadow"),
            models.CheckConstraint(condition=~Q(state="shadow") | Q(shadow_since__isnull=False), name="modelversion_shadow_has_begun"),
            models.CheckConstraint(condition=Q(state__in=ModelState.values), name="modelversion_state_known"),
            models.CheckConstraint(condition=Q(kind__in=ModelKind.values), name="modelversion_kind_known"),
        ]
        permissions = [("train_modelversion", "Can train models"), ("promote_modelversion", "Can promote models")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} v{self.version}"

    @property
    def is_champion(self) -> bool:
        return self.state == ModelState.CHAMPION


class ModelAction(models.TextChoices):
    TRAINED = "trained", "Trained"
    SHADOW_STARTED = "shadow_started", "Put into shadow"
    SHADOW_STOPPED = "shadow_stopped", "Taken out of shadow"
    CHECKED = "checked", "Checked for promotion"
    APPROVED = "approved", "Promotion approved"
    REFUSED = "refused", "Promotion refused"
    PROMOTED = "promoted", "Promoted"
    RETIRED = "retired", "Retired"
    ROLLED_BACK = "rolled_back", "Rolled back"


class ModelEvent(models.Model):
    """One step in a version's life: what, by whom, why. Append-only; the version's own fields say only where it stands now."""

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="events")
    action = models.CharField(max_length=14, choices=ModelAction)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    reason = models.CharField(max_length=300, blank=True)
    facts = models.JSONField(default=dict)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-pk"]
        constraints = [models.CheckConstraint(condition=Q(action__in=ModelAction.values), name="modelevent_action_known")]

    def __str__(self) -> str:
        return f"{self.get_action_display()}: {self.version_id}"
