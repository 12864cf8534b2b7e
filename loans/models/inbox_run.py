"""One deed on many applications: a long job with its list of them, and the searches that somebody keeps."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from loans.models.job import LongRun, RunState

MOST_AT_ONCE = 5_000


class InboxAction(models.TextChoices):
    SCORE = "score", "Score again"
    ASSIGN = "assign", "Assign"
    RELEASE = "release", "Release"


class InboxRun(LongRun):
    """done: how many it was done to; skipped: how many it did not fit, such as decided ones. The list was in its starter's scope."""

    action = models.CharField(max_length=8, choices=InboxAction)
    assignee = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    applications = ArrayField(models.BigIntegerField(), help_text="Ids, in the order in which they are done.")
    done = models.PositiveIntegerField(default=0)
    skipped = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=RunState.values), name="inboxrun_state_known"),
            models.CheckConstraint(condition=Q(action__in=InboxAction.values), name="inboxrun_action_known"),
            models.CheckConstraint(condition=~Q(action="assign") | Q(assignee__isnull=False), name="inboxrun_assigns_to_somebody"),
        ]
        indexes = [models.Index(fields=["started_by", "-id"], name="inboxrun_starter_ix")]

    def __str__(self) -> str:
        return f"{self.get_action_display()}: {len(self.applications):,} applications"


class SavedView(models.Model):
    """A search with filters and order that somebody comes back to. query: the list's query string, without a position in it."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_views")
    name = models.CharField(max_length=60)
    query = models.CharField(max_length=2000, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["user", "name"], name="savedview_name_once")]

    def __str__(self) -> str:
        return self.name
