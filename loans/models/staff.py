"""Where officers work, and up to which amount each may decide alone."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q


class Branch(models.Model):
    """A place or team whose officers work on its applications. A lender without any needs none: all is then one pool."""

    code = models.SlugField(max_length=32, unique=True)
    name = models.CharField(max_length=200)
    active = models.BooleanField(default=True, help_text="An inactive branch takes no new officers; its applications stay its own.")

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "branches"

    def __str__(self) -> str:
        return self.name


class OfficerProfile(models.Model):
    """What the desk knows of one of its people besides the account. Who has none sees the applications that belong to no branch."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="officer_profile")
    branch = models.ForeignKey(Branch, on_delete=models.PROTECT, null=True, blank=True, related_name="officers")
    approval_limit = models.DecimalField(
        max_digits=14,
        decimal_places=2,
        null=True,
        blank=True,
        help_text="Up to this amount the officer approves alone; above it a second person confirms. Empty: the desk's APPROVAL_LIMIT.",
    )

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(approval_limit__isnull=True) | Q(approval_limit__gte=0), name="officerprofile_limit_range")
        ]

    def __str__(self) -> str:
        return f"Profile of {self.user}"
