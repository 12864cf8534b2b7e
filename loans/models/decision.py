"""What people decided, and on what it rested. Append-only: a decision is never edited, a later one is another row."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from loans.models.policy import Advice


class Outcome(models.TextChoices):
    APPROVE = "approve", "Approve"
    DECLINE = "decline", "Decline"
    REFER = "refer", "Refer"
    COUNTER = "counter", "Counter-offer"


class Terms(models.Model):
    """What a counter-offer offers instead of what was asked for. The rate is a year's, as a fraction."""

    offered_amount = models.DecimalField(max_digits=14, decimal_places=2, null=True, blank=True)
    offered_term_months = models.PositiveSmallIntegerField(null=True, blank=True)
    offered_rate = models.DecimalField(max_digits=7, decimal_places=5, null=True, blank=True)

    class Meta:
        abstract = True


def _terms(name: str) -> list[models.CheckConstraint]:
    return [
        models.CheckConstraint(
            condition=Q(outcome="counter", offered_amount__gt=0) | (~Q(outcome="counter") & Q(offered_amount__isnull=True)),
            name=f"{name}_offer_complete",
        ),
        models.CheckConstraint(
            condition=Q(offered_rate__isnull=True) | Q(offered_rate__gte=0, offered_rate__lte=10), name=f"{name}_rate_range"
        ),
    ]


class Decision(Terms):
    application = models.ForeignKey("loans.LoanApplication", on_delete=models.PROTECT, related_name="decisions")
    outcome = models.CharField(max_length=8, choices=Outcome)
    officer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="decisions")
    second = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Who confirmed it, where one person was not enough.",
    )
    reason = models.CharField(max_length=64, help_text="Code of the reason, from the rule pack in force.")
    reason_text = models.CharField(max_length=300, help_text="The reason as it read on the day.")
    note = models.TextField(blank=True, max_length=4000)
    # Held by a trigger: a partitioned table has no key of the id alone. One that was archived is not here any more.
    prediction = models.ForeignKey(
        "loans.Prediction", on_delete=models.PROTECT, null=True, blank=True, related_name="decisions", db_constraint=False
    )
    advice = models.CharField(max_length=7, blank=True, choices=Advice, help_text="What the officer was advised.")
    override = models.BooleanField(default=False, help_text="The officer decided against the advice.")
    override_reason = models.CharField(max_length=64, blank=True, help_text="Code of why, from the rule pack in force.")
    amount = models.DecimalField(
        max_digits=14, decimal_places=2, null=True, blank=True, help_text="The money that an approval or an offer commits."
    )
    officer_limit = models.DecimalField(
        max_digits=14, decimal_places=2, null=True, blank=True, help_text="Up to which amount the officer could decide alone that day."
    )
    accepts = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="accepted_by", help_text="The offer that the applicant took."
    )
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
            # Maker is not checker, and a limit holds, whoever writes the row; a trigger adds what needs another table.
            models.CheckConstraint(condition=Q(second__isnull=True) | ~Q(second=F("officer")), name="decision_second_is_another"),
            models.CheckConstraint(
                condition=Q(second__isnull=False)
                | Q(amount__isnull=True)
                | Q(officer_limit__isnull=True)
                | Q(accepts__isnull=False)
                | Q(amount__lte=F("officer_limit")),
                name="decision_limit_held",
            ),
            *_terms("decision"),
        ]
        indexes = [
            models.Index(fields=["officer", "-id"], name="decision_officer_ix"),
            models.Index(fields=["application", "-id"], name="decision_application_ix"),
        ]
        permissions = [("confirm_decision", "Can be the second person on a decision")]

    def __str__(self) -> str:
        return f"{self.get_outcome_display()}: application {self.application_id}"


class ProposalState(models.TextChoices):
    WAITING = "waiting", "Waits for a second person"
    CONFIRMED = "confirmed", "Confirmed"
    RETURNED = "returned", "Returned"
    WITHDRAWN = "withdrawn", "Withdrawn"


class DecisionProposal(Terms):
    """A decision that one person may not make alone: made by one, confirmed or returned by another. What was proposed is never edited."""

    application = models.ForeignKey("loans.LoanApplication", on_delete=models.PROTECT, related_name="proposals")
    outcome = models.CharField(max_length=8, choices=Outcome)
    maker = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="proposals")
    reason = models.CharField(max_length=64)
    note = models.TextField(blank=True, max_length=4000)
    override_reason = models.CharField(max_length=64, blank=True)
    prediction = models.ForeignKey(
        "loans.Prediction", on_delete=models.PROTECT, null=True, blank=True, related_name="+", db_constraint=False
    )
    needs = models.JSONField(default=list, help_text="Why one person is not enough: `limit`, `advice`.")
    state = models.CharField(max_length=9, choices=ProposalState, default=ProposalState.WAITING)
    checker = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    answer = models.TextField(blank=True, max_length=4000, help_text="What the second person said.")
    answered_at = models.DateTimeField(null=True, blank=True)
    decision = models.OneToOneField(Decision, on_delete=models.PROTECT, null=True, blank=True, related_name="proposal")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(condition=Q(outcome__in=Outcome.values), name="proposal_outcome_known"),
            models.CheckConstraint(condition=Q(state__in=ProposalState.values), name="proposal_state_known"),
            models.UniqueConstraint(fields=["application"], condition=Q(state="waiting"), name="proposal_one_waiting"),
            models.CheckConstraint(
                condition=Q(state__in=["waiting", "withdrawn"]) | (Q(checker__isnull=False) & ~Q(checker=F("maker"))),
                name="proposal_checker_is_another",
            ),
            models.CheckConstraint(condition=~Q(state="confirmed") | Q(decision__isnull=False), name="proposal_confirmed_is_decided"),
            *_terms("proposal"),
        ]
        indexes = [models.Index(fields=["-id"], name="proposal_waiting_ix", condition=Q(state="waiting"))]

    def __str__(self) -> str:
        return f"Proposal to {self.get_outcome_display().lower()}: application {self.application_id}"
