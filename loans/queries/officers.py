"""The desk's people, as lists of them to choose from."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import QuerySet

DECIDES = "loans.decide_loanapplication"
BACKEND = "django.contrib.auth.backends.ModelBackend"
MOST = 500


def officers() -> QuerySet[Any]:
    """Active staff who may decide applications, by name; at most MOST. Superusers are left out: they work by a role as anybody else."""
    people = get_user_model().objects.with_perm(DECIDES, backend=BACKEND, include_superusers=False)
    return people.filter(is_staff=True).select_related("officer_profile__branch").order_by("first_name", "last_name", "username")[:MOST]


def officer(pk: int) -> Any | None:
    """One of them, or None."""
    people = get_user_model().objects.with_perm(DECIDES, backend=BACKEND, include_superusers=False)
    return people.filter(is_staff=True, pk=pk).first()
