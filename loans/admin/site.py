"""What unfold asks of us on every page: the badge in the corner, and which entries of the sidebar this person may use."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest


def environment(request: HttpRequest) -> list[str] | None:
    """A badge where this is not the real desk; none in production, where it would be noise."""
    return ["Development", "warning"] if settings.DEBUG else None


def may_view_applications(request: HttpRequest) -> bool:
    return request.user.has_perm("loans.view_loanapplication")


def may_view_imports(request: HttpRequest) -> bool:
    return request.user.has_perm("loans.view_importbatch")


def may_view_models(request: HttpRequest) -> bool:
    return request.user.has_perm("loans.view_modelversion")
