"""Rules that look for fraud, the flags they raise, and what investigators made of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from loans.models.fields import APPLICATION_FIELDS, FEATURE_FIELDS
from loans.models.scope import in_scope


class Severity(models.IntegerChoices):
    NONE = 0, "Sample"
    LOW = 1, "Low"
    MEDIUM = 2, "Medium"
    HIGH = 3, "High"
    CRITICAL = 4, "Critical"


class FraudRuleQuerySet(models.QuerySet):
    def in_force(self) -> FraudRuleQuerySet:
        return self.filter(active=True).order_by("code")


class FraudRule(models.Model):
    """One version of a rule. A change is a new version: what a trace names stays readable. conditions: see `mlcore.fraud.rules`."""

    code = models.CharField(max_length=63, validators=[RegexValidator(r"^[a-z][a-z0-9_]*$", "Lower-case letters, digits and underscores.")])
    version = models.PositiveIntegerField(default=1, editable=False)
    name = models.CharField(max_length=200, help_text="What a hit means, in words an investigator reads.")
    severity = models.PositiveSmallIntegerField(choices=[choice for choice in Severity.choices if choice[0]], default=Severity.MEDIUM)
    conditions = models.JSONField(
        help_text='All must hold: [{"feature": "phone_24h", "operator": "at_least", "value": 3}, …]. docs/FRAUD.md lists what there is.'
    )
    family = models.CharField(max_length=63, blank=True, help_text="Of the rules that tell one story only the gravest counts.")
    active = models.BooleanField(default=True)
    source = models.CharField(max_length=300, blank=True, help_text="Where the rule comes from, and since when.")
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, editable=False, related_name="+"
    )

    objects = FraudRuleQuerySet.as_manager()

    class Meta:
        ordering = ["code", "-version"]
        constraints = [
            models.UniqueConstraint(fields=["code", "version"], name="fraudrule_version_unique"),
            models.UniqueConstraint(fields=["code"], condition=Q(active=True), name="fraudrule_one_active"),
            models.CheckConstraint(condition=Q(severity__gte=1, severity__lte=4), name="fraudrule_severity_known"),
        ]

    def __str__(self) -> str:
        return f"{self.name} (v{self.version})"

    def clean(self) -> None:
        from mlcore.fraud.rules import RuleError, parse

        try:
            parse(self.conditions, known=known_features())
        except RuleError as error:
            raise ValidationError({"conditions": str(error)}) from error

    def parsed(self) -> Any:
        """As a `mlcore.fraud.rules.Rule`; raises its RuleError. An attribute that is gone makes it not applicable, and stops nothing."""
        from mlcore.fraud.rules import Rule, parse

        severity = Severity(self.severity).name.lower()
        return Rule(self.code, self.version, self.name, severity, parse(self.conditions), self.family)


class FraudRuleSet(models.Model):
    """The rules in force at one time, in full, and the names of the link features: what assessments keep in short refers to it.

    Append-only, one row for each distinct content, so that a trace can be read whatever becomes of the rules. terms: see
    `mlcore.fraud.findings.Terms`.
    """

    digest = models.CharField(max_length=64, unique=True, help_text="SHA-256 of the terms.")
    terms = models.JSONField()
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"Fraud rules in force from {self.created_at:%Y-%m-%d %H:%M}"


def known_features() -> dict[str, str]:
    """{what a rule may look at: number, text or yes_no}: link features, the fields of an application, the lender's own attributes."""
    from loans.models.attribute import AttributeDefinition
    from mlcore.fraud.facts import LINK_NAMES

    kinds = {"number": "number", "boolean": "yes_no"}
    # Protected ones lie where no search for fraud reads.
    own = AttributeDefinition.objects.filter(protected=False).values_list("name", "kind")
    return {
        **{name: kinds.get(kind, "text") for name, kind in own},
        **{name: "number" if APPLICATION_FIELDS[name].kind in ("money", "ratio", "count") else "text" for name in FEATURE_FIELDS},
        **dict.fromkeys(LINK_NAMES, "number"),
    }


class FlagState(models.TextChoices):
    OPEN = "open", "Open"
    SNOOZED = "snoozed", "Snoozed"
    CONFIRMED = "confirmed", "Confirmed fraud"
    CLEARED = "cleared", "Cleared"


class FlagKind(models.TextChoices):
    ALERT = "alert", "Raised by evidence"
    SAMPLE = "sample", "Drawn at random"


FLAG_STEPS: dict[str, tuple[str, ...]] = {
    FlagState.OPEN: (FlagState.SNOOZED, FlagState.CONFIRMED, FlagState.CLEARED),
    FlagState.SNOOZED: (FlagState.OPEN, FlagState.SNOOZED, FlagState.CONFIRMED, FlagState.CLEARED),
    FlagState.CONFIRMED: (FlagState.OPEN,),
    FlagState.CLEARED: (FlagState.OPEN,),
}


class FraudFlagQuerySet(models.QuerySet):
    def undisposed(self) -> FraudFlagQuerySet:
        return self.filter(state__in=(FlagState.OPEN, FlagState.SNOOZED))

    def in_queue(self) -> FraudFlagQuerySet:
        """Open, or snoozed until a time that has come."""
        return self.filter(Q(state=FlagState.OPEN) | Q(state=FlagState.SNOOZED, snoozed_until__lte=Now()))

    def visible_to(self, user: Any) -> FraudFlagQuerySet:
        """A client that could see the flags on what it sent in would learn what to send instead: it takes the permission."""
        return self.filter(in_scope(user, "application__")) if user.has_perm("loans.view_fraudflag") else self.none()


class FraudFlag(models.Model):
    application = models.ForeignKey("loans.LoanApplication", on_delete=models.CASCADE, related_name="fraud_flags")
    kind = models.CharField(max_length=6, choices=FlagKind, default=FlagKind.ALERT)
    severity = models.PositiveSmallIntegerField(choices=Severity)
    score = models.FloatField(help_text="Merged score, 0 to 1.")
    calibrated = models.BooleanField(default=False, help_text="Whether the score is a probability, or a ranking by stated weights.")
    expected_loss = models.DecimalField(max_digits=14, decimal_places=2, help_text="Score × amount × loss given default.")
    evidence = models.JSONField(default=list)
    in_words = models.TextField(blank=True)
    state = models.CharField(max_length=9, choices=FlagState, default=FlagState.OPEN)
    snoozed_until = models.DateTimeField(null=True, blank=True)
    assignee = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="fraud_flags")
    disposed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    disposed_at = models.DateTimeField(null=True, blank=True)
    note = models.TextField(blank=True, max_length=4000)
    created_at = models.DateTimeField(db_default=Now())

    objects = FraudFlagQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["application", "kind"], name="fraudflag_one_of_a_kind"),
            models.CheckConstraint(condition=Q(state__in=FlagState.values), name="fraudflag_state_known"),
            models.CheckConstraint(condition=Q(kind__in=FlagKind.values), name="fraudflag_kind_known"),
            models.CheckConstraint(condition=Q(severity__gte=0, severity__lte=4), name="fraudflag_severity_known"),
            models.CheckConstraint(condition=Q(score__gte=0, score__lte=1), name="fraudflag_score_range"),
            models.CheckConstraint(
                condition=Q(state="snoozed", snoozed_until__isnull=False) | (~Q(state="snoozed") & Q(snoozed_until__isnull=True)),
                name="fraudflag_snoozed_until",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["confirmed", "cleared"], disposed_by__isnull=False, disposed_at__isnull=False)
                | Q(state__in=["open", "snoozed"], disposed_by__isnull=True, disposed_at__isnull=True),
                name="fraudflag_disposed_by_somebody",
            ),
        ]
        indexes = [
            models.Index(fields=["-expected_loss", "id"], name="fraudflag_queue_ix", condition=Q(state__in=["open", "snoozed"])),
            models.Index(fields=["state", "-id"], name="fraudflag_state_ix"),
            # How much of today's capacity is used up, asked whenever the queue is looked at.
            models.Index(fields=["disposed_at"], name="fraudflag_disposed_ix", condition=Q(disposed_at__isnull=False)),
        ]
        permissions = [("investigate_fraudflag", "Can work on fraud flags")]

    def __str__(self) -> str:
        return f"Fraud flag {self.pk}"

    def can_become(self, state: str) -> bool:
        return state in FLAG_STEPS[self.state]

    def is_waiting(self, now: datetime | None = None) -> bool:
        """Whether it is asleep at this moment."""
        return self.state == FlagState.SNOOZED and self.snoozed_until > (now or timezone.now())

    @property
    def is_disposed(self) -> bool:
        return self.state in (FlagState.CONFIRMED, FlagState.CLEARED)


class FraudFlagEvent(models.Model):
    """What happened to a flag, by whom. Append-only."""

    flag = models.ForeignKey(FraudFlag, on_delete=models.CASCADE, related_name="events")
    action = models.CharField(max_length=12)
    from_state = models.CharField(max_length=9, blank=True)
    to_state = models.CharField(max_length=9, choices=FlagState)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    note = models.TextField(blank=True, max_length=4000)
    data = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.action}: flag {self.flag_id}"
