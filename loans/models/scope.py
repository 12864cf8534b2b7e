"""Whose applications somebody sees. Lists, pages, autocompletes, actions, exports and the API all ask here and nowhere else."""

from __future__ import annotations

from typing import Any

from django.db.models import Q

SEES = "loans.view_loanapplication"
SEES_ALL = "loans.view_all_applications"


def in_scope(user: Any, path: str = "") -> Q:
    """A filter for rows whose application the user may see. path: from the row to its application, `application__` for a decision.

    Staff who may view applications: those of all branches with `view_all_applications`, else those of their own branch and those that
    are assigned to them; who has no branch works on those that have none. Anybody else, an API client too: what he sent in himself.
    """
    if not user.is_authenticated:
        return Q(pk__in=[])
    if not (user.is_staff and user.has_perm(SEES)):
        return Q(**{f"{path}submitted_by": user})
    if user.has_perm(SEES_ALL):
        return Q()
    branch = branch_of(user)
    own = Q(**{f"{path}branch__isnull": True}) if branch is None else Q(**{f"{path}branch": branch})
    return own | Q(**{f"{path}assigned_to": user})


def branch_of(user: Any) -> int | None:
    """The id of the user's branch. The profile is read once a request: Django keeps it with the user, even where there is none."""
    profile = getattr(user, "officer_profile", None)
    return profile.branch_id if profile is not None else None
