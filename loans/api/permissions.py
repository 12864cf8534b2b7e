"""What a key's scopes and a user's permissions allow. The table is in docs/API.md; tests/loans/api/test_access.py holds every cell of it.

A key's scope is a grant by whoever issued the key: `submit` and `read` need nothing else of its user, and reach what that user may see.
A decision is a person's, so `decide` needs the permission as well. Who is logged in on the site has no scopes, only permissions.
"""

from __future__ import annotations

from django.http import Http404
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from loans.models import ApiKey, LoanApplication

DECIDE = "loans.decide_loanapplication"
SESSION_PERMISSIONS = {"submit": "loans.add_loanapplication", "decide": DECIDE}
KEY_PERMISSIONS = {"decide": DECIDE}


class Scoped(BasePermission):
    """Reads the view's `scopes` ({method: scope}) and, for people who are logged in, its `session_permission`."""

    def has_permission(self, request: Request, view: object) -> bool:
        if not request.user.is_authenticated:
            return False
        scope = view.scopes.get("GET" if request.method == "HEAD" else request.method)
        if scope is None:
            return True  # the view has no such method, and says so with a 405
        require(request, scope)
        if view.session_permission and not isinstance(request.auth, ApiKey):
            _require_permission(request, view.session_permission)
        return True


def require(request: Request, scope: str) -> None:
    """Raises PermissionDenied, in words, unless this request may use this scope."""
    if isinstance(request.auth, ApiKey):
        if scope not in request.auth.scopes:
            raise PermissionDenied(f"This key lacks the scope “{scope}”; it has: {', '.join(request.auth.scopes) or 'none'}.")
        needed = KEY_PERMISSIONS.get(scope)
    else:
        needed = SESSION_PERMISSIONS.get(scope)
    if needed:
        _require_permission(request, needed)


def _require_permission(request: Request, permission: str) -> None:
    if not request.user.has_perm(permission):
        raise PermissionDenied(f"This account lacks the permission {permission}.")


def visible_application(request: Request, pk: int, *related: str) -> LoanApplication:
    """The application, or 404: that somebody else's exists is nobody's business."""
    applications = LoanApplication.objects.visible_to(request.user)
    if related:
        applications = applications.select_related(*related)
    application = applications.filter(pk=pk).first()
    if application is None:
        raise Http404
    return application


def sees_personal_data(user: object, application: LoanApplication) -> bool:
    """Whoever sent it in knows it already; everybody else needs the permission."""
    return application.submitted_by_id == user.pk or user.has_perm("loans.view_personal_data")
