"""Logging in and out, noted in the audit trail. Django tells of it by signals alone."""

from __future__ import annotations

import hashlib
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver

from loans.services import audit

ROLES = "roles"
"""Where a session keeps what its owner's roles were at login."""


def roles_of(user: Any) -> str:
    """A digest of all that the user may do by role: another one ends his sessions."""
    groups = sorted(user.groups.values_list("pk", flat=True))
    return hashlib.sha256(f"{user.is_staff} {user.is_superuser} {groups}".encode()).hexdigest()[:16]


def refused_code(request: Any, user: Any) -> None:
    """The password was right and the code was not: it counts as a login that failed."""
    user_login_failed.send(sender=__name__, credentials={get_user_model().USERNAME_FIELD: user.get_username()}, request=request)


def client_address(request: Any) -> str:
    """Where a login comes from: behind a proxy what that says, in its own entry, the last; a client can write the ones before it."""
    said = request.META.get("HTTP_X_FORWARDED_FOR", "") if settings.BEHIND_PROXY else ""
    return said.rpartition(",")[2].strip()[:45] or request.META.get("REMOTE_ADDR", "")


@receiver(user_logged_in)
def _logged_in(sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
    if getattr(request, "session", None) is not None:
        request.session[ROLES] = roles_of(user)
    audit.record("login.succeeded", actor=user, subject=user)


@receiver(user_logged_out)
def _logged_out(sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
    if user is not None:
        audit.record("login.ended", actor=user, subject=user)


@receiver(user_login_failed)
def _refused(sender: Any, credentials: dict[str, Any], **kwargs: Any) -> None:
    # What was typed as a name may be a password or somebody's email: only a name that exists is kept, as whom it names.
    name = credentials.get(get_user_model().USERNAME_FIELD) or ""
    audit.record("login.refused", subject=get_user_model().objects.filter(username=str(name)[:150]).first())
