"""The notice that tells an applicant of a decline: drafted with the decision, sent by a person, kept as long as the rule pack says."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from loans.models.scope import in_scope

MOST_REASONS = 4


class NoticeQuerySet(models.QuerySet):
    def visible_to(self, user: Any) -> NoticeQuerySet:
        return self.filter(in_scope(user, "application__"))

    def unsent(self) -> NoticeQuerySet:
        return self.filter(sent_at__isnull=True)


class AdverseActionNotice(models.Model):
    """Everything that the letter says besides the applicant's name and address, as it stood when it was last saved.

    Once sent it can't be changed, and not be deleted before `keep_until`: a trigger holds both.
    """

    decision = models.OneToOneField("loans.Decision", on_delete=models.PROTECT, related_name="notice")
    application = models.ForeignKey("loans.LoanApplication", on_delete=models.PROTECT, related_name="notices")
    reasons = models.JSONField(help_text="The principal reasons, at most four, as the applicant reads them.")
    rule_pack = models.CharField(max_length=200, help_text="Name and date of the rule pack that the draft was made by.")
    due_on = models.DateField(help_text="By then it has to be sent.")
    creditor = models.TextField(blank=True)
    agency = models.TextField(blank=True)
    rights = models.TextField(blank=True)
    sources = models.TextField(blank=True)
    created_at = models.DateTimeField(db_default=Now())
    sent_at = models.DateTimeField(null=True, blank=True)
    sent_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    keep_until = models.DateField(null=True, blank=True)

    objects = NoticeQuerySet.as_manager()

    class Meta:
        verbose_name = "adverse action notice"
        ordering = ["due_on", "pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(sent_at__isnull=True, sent_by__isnull=True, keep_until__isnull=True)
                | Q(sent_at__isnull=False, sent_by__isnull=False, keep_until__isnull=False),
                name="notice_sent_by_somebody",
            )
        ]
        indexes = [models.Index(fields=["due_on", "id"], name="notice_due_ix", condition=Q(sent_at__isnull=True))]
        permissions = [("send_adverseactionnotice", "Can correct and send notices")]

    def __str__(self) -> str:
        return f"Notice for {self.application}"

    @property
    def is_sent(self) -> bool:
        return self.sent_at is not None
