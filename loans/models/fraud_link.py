"""What connects applications, as far as the database knows it: blind indexes of their identifiers, and which were found to be frauds."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class ApplicationLink(models.Model):
    """One identifier of one application. kind: position in `mlcore.fraud.facts.KINDS`. digest: its blind index; nothing is readable here.

    submitted_at and name (the applicant's name's blind index) are repeated, so that a search for neighbours reads one index and no table.
    """

    pk = models.CompositePrimaryKey("application_id", "kind", "digest")
    # No constraint: it would be asked for each identifier. A trigger drops the links of an application that goes.
    application = models.ForeignKey(
        "loans.LoanApplication", on_delete=models.CASCADE, related_name="+", db_index=False, db_constraint=False
    )
    kind = models.SmallIntegerField()
    digest = models.BinaryField(max_length=16)
    submitted_at = models.DateTimeField()
    name = models.BinaryField(max_length=16, null=True)

    class Meta:
        indexes = [
            models.Index(fields=["kind", "digest", "submitted_at", "application"], include=["name"], name="applicationlink_key_ix"),
        ]

    def __str__(self) -> str:
        return f"Identifier of application {self.application_id}"


class FraudLabel(models.Model):
    """One finding about an application, from when it was known; taken back, it ends and stays. Models learn it from `learn_from` on."""

    application = models.ForeignKey("loans.LoanApplication", on_delete=models.CASCADE, related_name="fraud_labels")
    fraud = models.BooleanField()
    sampled = models.BooleanField(default=False, help_text="Found in a random review, so it stands for many.")
    known_at = models.DateTimeField()
    learn_from = models.DateTimeField()
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["application"], condition=Q(withdrawn_at__isnull=True), name="fraudlabel_one_standing"),
            models.CheckConstraint(condition=Q(learn_from__gte=models.F("known_at")), name="fraudlabel_learned_after_known"),
        ]
        indexes = [models.Index(fields=["application"], name="fraudlabel_fraud_ix", condition=Q(fraud=True))]

    def __str__(self) -> str:
        return f"{'Fraud' if self.fraud else 'No fraud'}: application {self.application_id}"


class AssessmentState(models.TextChoices):
    WAITING = "waiting", "Not assessed yet"
    LINKED = "linked", "Linked, not assessed yet"
    ASSESSED = "assessed", "Assessed"
    FAILED = "failed", "Not assessed: it failed and is tried again"
    HISTORY = "history", "Decided before Loandesk: linked, not assessed"


class FraudAssessment(models.Model):
    """What fraud detection made of an application. Its row is written by a trigger with the application's own, so none can be forgotten."""

    application = models.OneToOneField("loans.LoanApplication", on_delete=models.CASCADE, primary_key=True, related_name="fraud_assessment")
    state = models.CharField(max_length=8, choices=AssessmentState, default=AssessmentState.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(db_default=Now())
    assessed_at = models.DateTimeField(null=True, blank=True)
    score = models.FloatField(null=True, blank=True)
    calibrated = models.BooleanField(default=False, help_text="Whether the score is a probability, or a ranking by stated weights.")
    unusual = models.FloatField(null=True, blank=True, help_text="Share of applications that look less unusual.")
    probability = models.FloatField(null=True, blank=True, help_text="Of fraud, by the supervised model.")
    # Both in short where there is a rule set (`findings` gives them in full), else as they were written before there were any.
    features = models.JSONField(default=dict, help_text="Link features as they were strictly before the application.")
    trace = models.JSONField(default=list, help_text="What each rule made of it: hit, no hit or not applicable, with value and threshold.")
    # No constraint: rule sets are never deleted (a trigger sees to it), and asking for each of a million rows costs more than storing it.
    rule_set = models.ForeignKey(
        "loans.FraudRuleSet", on_delete=models.PROTECT, null=True, blank=True, related_name="+", db_constraint=False, db_index=False
    )
    model = models.ForeignKey("loans.ModelVersion", on_delete=models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    error = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(state__in=AssessmentState.values), name="fraudassessment_state_known"),
            models.CheckConstraint(condition=Q(score__isnull=True) | Q(score__gte=0, score__lte=1), name="fraudassessment_score_range"),
            models.CheckConstraint(condition=~Q(state="assessed") | Q(score__isnull=False), name="fraudassessment_assessed_has_score"),
        ]
        indexes = [
            models.Index(fields=["application"], name="fraudassessment_waiting_ix", condition=Q(state="waiting")),
            models.Index(fields=["due_at"], name="fraudassessment_due_ix", condition=Q(state__in=["linked", "failed"])),
        ]

    def __str__(self) -> str:
        return f"Fraud assessment of application {self.application_id}"

    def findings(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """({link feature: value, None where it does not apply}, every rule's trace as `mlcore.fraud.rules.Trace.to_json` writes it).

        Both are empty while it is not assessed.
        """
        from mlcore.fraud.findings import Terms

        if self.rule_set is None:
            return self.features, self.trace
        return Terms.from_json(self.rule_set.terms).in_full(self.features, self.trace)

    @property
    def is_assessed(self) -> bool:
        return self.state == AssessmentState.ASSESSED
