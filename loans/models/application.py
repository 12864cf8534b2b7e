"""An application for a loan, from the moment it is received."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from loans.models.fields import APPLICATION_FIELDS, CHANNELS, EMPLOYMENT_STATUSES, HOME_OWNERSHIPS, choices
from loans.models.scope import in_scope


class Status(models.TextChoices):
    RECEIVED = "received", "Waiting for its score"
    OPEN = "open", "Open"
    NEEDS_REVIEW = "needs_review", "Needs review"
    REFERRED = "referred", "Referred"
    OFFERED = "offered", "Offered other terms"
    APPROVED = "approved", "Approved"
    DECLINED = "declined", "Declined"
    WITHDRAWN = "withdrawn", "Withdrawn"
    HISTORICAL = "historical", "Decided before Loandesk"


TRANSITIONS: dict[str, tuple[str, ...]] = {
    Status.RECEIVED: (Status.OPEN, Status.NEEDS_REVIEW, Status.WITHDRAWN),
    Status.NEEDS_REVIEW: (
        Status.RECEIVED,
        Status.OPEN,
        Status.REFERRED,
        Status.OFFERED,
        Status.APPROVED,
        Status.DECLINED,
        Status.WITHDRAWN,
    ),
    Status.OPEN: (Status.REFERRED, Status.OFFERED, Status.APPROVED, Status.DECLINED, Status.WITHDRAWN),
    Status.REFERRED: (Status.OFFERED, Status.APPROVED, Status.DECLINED, Status.WITHDRAWN),
    Status.OFFERED: (Status.APPROVED, Status.DECLINED, Status.WITHDRAWN),
    Status.APPROVED: (),
    Status.DECLINED: (),
    Status.WITHDRAWN: (),
    Status.HISTORICAL: (),
}
"""Held by a trigger in the database too (the migrations with “guards” in their names), so that no path around this code can skip a step."""

UNDECIDED = (Status.RECEIVED, Status.NEEDS_REVIEW, Status.OPEN, Status.REFERRED)
TO_DECIDE = (Status.NEEDS_REVIEW, Status.OPEN, Status.REFERRED)


class LoanApplicationQuerySet(models.QuerySet):
    def undecided(self) -> LoanApplicationQuerySet:
        return self.filter(status__in=UNDECIDED)

    def to_decide(self) -> LoanApplicationQuerySet:
        return self.filter(status__in=TO_DECIDE)

    def inbox_order(self) -> LoanApplicationQuerySet:
        """Oldest first, and among those of the same time the riskiest first; an unscored one counts as risky."""
        return self.order_by("submitted_at", F("default_probability").desc(nulls_first=True), "pk")

    def visible_to(self, user: object) -> LoanApplicationQuerySet:
        """Those in the user's scope: see `loans.models.scope`."""
        return self.filter(in_scope(user))


def _within(name: str) -> models.CheckConstraint:
    spec = APPLICATION_FIELDS[name]
    return models.CheckConstraint(
        condition=Q(**{f"{name}__isnull": True}) | Q(**{f"{name}__gte": spec.minimum, f"{name}__lte": spec.maximum}),
        name=f"application_{name}_range",
    )


class LoanApplication(models.Model):
    external_reference = models.CharField("reference", max_length=64, db_index=True)
    # Whose references these are: 0 the desk's own (staff, imports), else the API client's, so that none learns of another's by a clash.
    reference_scope = models.BigIntegerField(default=0, db_default=0, editable=False)
    submitted_at = models.DateTimeField("submitted", default=timezone.now)
    product = models.ForeignKey("loans.LoanProduct", on_delete=models.PROTECT, null=True, blank=True, related_name="applications")
    channel = models.CharField(max_length=16, blank=True, choices=choices(CHANNELS))
    amount = models.DecimalField("amount requested", max_digits=14, decimal_places=2)
    term_months = models.PositiveSmallIntegerField("term (months)", null=True, blank=True)
    purpose = models.CharField(max_length=64, blank=True)
    purpose_text = models.TextField("purpose in the applicant's words", max_length=4000, blank=True)
    annual_income = models.DecimalField(max_digits=14, decimal_places=2, null=True, blank=True)
    debt_to_income = models.FloatField("debt to income", null=True, blank=True)
    employment_status = models.CharField(max_length=16, blank=True, choices=choices(EMPLOYMENT_STATUSES))
    employment_months = models.PositiveSmallIntegerField("time in employment (months)", null=True, blank=True)
    home_ownership = models.CharField(max_length=16, blank=True, choices=choices(HOME_OWNERSHIPS))
    region = models.CharField(max_length=64, blank=True)
    credit_score = models.PositiveSmallIntegerField(null=True, blank=True)
    credit_history_months = models.PositiveSmallIntegerField("length of credit history (months)", null=True, blank=True)
    open_accounts = models.PositiveSmallIntegerField(null=True, blank=True)
    total_accounts = models.PositiveSmallIntegerField("accounts ever held", null=True, blank=True)
    delinquencies_24m = models.PositiveSmallIntegerField("delinquencies in 24 months", null=True, blank=True)
    months_since_delinquency = models.PositiveSmallIntegerField(null=True, blank=True)
    public_records = models.PositiveSmallIntegerField(null=True, blank=True)
    inquiries_6m = models.PositiveSmallIntegerField("credit inquiries in 6 months", null=True, blank=True)
    revolving_balance = models.DecimalField(max_digits=14, decimal_places=2, null=True, blank=True)
    revolving_utilisation = models.FloatField(null=True, blank=True)
    attributes = models.JSONField(default=dict, blank=True, help_text="The lender's own fields, each declared as an attribute definition.")
    applicant = models.OneToOneField("loans.Applicant", on_delete=models.PROTECT, null=True, blank=True, related_name="application")

    status = models.CharField(max_length=16, choices=Status, default=Status.RECEIVED)
    # Where a foreign key has no index of its own, one below begins with it: each index is written anew when a score is shown.
    submitted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    branch = models.ForeignKey("loans.Branch", on_delete=models.PROTECT, null=True, blank=True, related_name="applications", db_index=False)
    assigned_to = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="assigned_applications", db_index=False
    )
    assigned_at = models.DateTimeField(null=True, blank=True, editable=False)
    import_batch = models.ForeignKey(
        "loans.ImportBatch", on_delete=models.PROTECT, null=True, blank=True, related_name="applications", db_index=False
    )
    synthetic = models.BooleanField(default=False, help_text="Made up by the demo generator: no real person applied.")
    created_at = models.DateTimeField(auto_now_add=True)
    # The latest default-risk score, repeated here for the inbox's order and filters; the prediction row is what counts.
    default_probability = models.FloatField("default probability", null=True, blank=True, editable=False)
    grade = models.CharField(max_length=2, blank=True, editable=False)
    # The key of its latest segment, for the filters; the assignment row is what counts.
    segment = models.PositiveSmallIntegerField(null=True, blank=True, editable=False)

    objects = LoanApplicationQuerySet.as_manager()

    class Meta:
        verbose_name = "application"
        indexes = [
            models.Index(
                "submitted_at",
                F("default_probability").desc(nulls_first=True),
                "id",
                name="application_inbox_ix",
                condition=Q(status__in=TO_DECIDE),
            ),
            models.Index(
                F("default_probability").desc(nulls_last=True), "id", name="application_risk_ix", condition=Q(status__in=TO_DECIDE)
            ),
            models.Index(fields=["submitted_at", "id"], name="application_submitted_ix"),
            models.Index(fields=["submitted_by", "-id"], name="application_client_ix"),
            models.Index(fields=["import_batch"], name="application_batch_ix"),
            models.Index(fields=["status", "-id"], name="application_status_ix"),
            # For past loans next to an application in amount: see loans.queries.similar.
            models.Index(fields=["product", "amount", "id"], name="application_alike_ix", condition=Q(status=Status.HISTORICAL)),
            models.Index(fields=["segment", "-id"], name="application_segment_ix", condition=Q(segment__isnull=False)),
            models.Index(fields=["branch", "submitted_at", "id"], name="application_branch_ix", condition=Q(branch__isnull=False)),
            models.Index(
                fields=["assigned_to", "submitted_at", "id"], name="application_assigned_ix", condition=Q(assigned_to__isnull=False)
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["reference_scope", "external_reference"], name="application_external_reference_once"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="application_amount_positive"),
            models.CheckConstraint(condition=Q(status__in=Status.values), name="application_status_known"),
            models.CheckConstraint(
                condition=Q(default_probability__isnull=True) | Q(default_probability__gte=0, default_probability__lte=1),
                name="application_probability_range",
            ),
            models.CheckConstraint(condition=~Q(external_reference=""), name="application_reference_given"),
            models.CheckConstraint(
                condition=Q(assigned_to__isnull=True, assigned_at__isnull=True) | Q(assigned_to__isnull=False, assigned_at__isnull=False),
                name="application_assigned_since",
            ),
            *(_within(name) for name, spec in APPLICATION_FIELDS.items() if spec.minimum is not None and name != "amount"),
        ]
        permissions = [
            ("decide_loanapplication", "Can decide applications"),
            ("view_personal_data", "Can view applicants' personal data"),
            ("view_all_applications", "Can view the applications of all branches"),
            ("assign_loanapplication", "Can give applications to other officers"),
        ]

    def __str__(self) -> str:
        return self.external_reference

    def can_become(self, status: str) -> bool:
        return status in TRANSITIONS[self.status]

    @property
    def is_undecided(self) -> bool:
        return self.status in UNDECIDED

    @property
    def is_decidable(self) -> bool:
        """Whether a person may decide something about it now: of an offer, whether it was taken."""
        return self.status in TO_DECIDE or self.status == Status.OFFERED
