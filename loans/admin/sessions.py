"""Logging in with a second factor, and sessions that end when their owner's roles change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth import logout
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.forms import AuthenticationForm

from loans.services import logins, second_factor

FREE = ("second_factor", "admin:logout", "admin:login")


class LoginForm(AuthenticationForm):
    """Password and code are checked together: who fails learns nothing about which of them was wrong."""

    code = forms.CharField(
        label=gettext_lazy("Code from your authenticator app"), max_length=12, required=False,
        help_text=gettext_lazy("Only where you have set one up."),
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["code"].widget.attrs["class"] = self.fields["password"].widget.attrs["class"]

    def confirm_login_allowed(self, user: Any) -> None:
        super().confirm_login_allowed(user)
        if second_factor.has(user) and not second_factor.accept(user, self.cleaned_data.get("code") or self.data.get("code", "")):
            logins.refused_code(self.request, user)
            raise ValidationError(self.error_messages["invalid_login"], code="invalid_login", params={"username": "username"})


class RolesMiddleware:
    """Ends a session whose owner's roles are others than at login; sends staff to set a second factor up, where one is required."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # An API key has no session; nor does a health check.
        if hasattr(request, "session") and request.session.get("_auth_user_id") and request.user.is_authenticated:
            known, now = request.session.get(logins.ROLES), logins.roles_of(request.user)
            if known is not None and known != now:
                logout(request)
                if request.path_info.startswith("/admin/"):
                    messages.info(request, _("Your roles were changed. Log in again."))
                    return HttpResponseRedirect(reverse("admin:login"))
            elif self._lacks_factor(request):
                return HttpResponseRedirect(reverse("second_factor"))
        return self.get_response(request)

    @staticmethod
    def _lacks_factor(request: HttpRequest) -> bool:
        if not settings.MFA_REQUIRED or not request.user.is_staff or request.path_info in {reverse(name) for name in FREE}:
            return False
        return request.path_info.startswith(("/admin/", "/api/")) and not second_factor.has(request.user)


def second_factor_view(request: HttpRequest) -> HttpResponse:
    """Set a second factor up: the secret is shown until a code of it was given."""
    user, problem = request.user, ""
    if request.method == "POST":
        if second_factor.accept(user, request.POST.get("code", "")[:20], confirm=True):
            messages.success(request, _("Your second factor is set up. The next login asks for a code."))
            return HttpResponseRedirect(reverse("admin:index"))
        problem = _("This is not the code of now. Is the clock of your phone right?")
        factor = user.second_factor if hasattr(user, "second_factor") else second_factor.begin(user)
    else:
        factor = second_factor.begin(user)
    done = factor.confirmed_at is not None
    context = {
        **admin.site.each_context(request),
        "title": _("Second factor"),
        "done": factor.confirmed_at,
        "secret": "" if done else " ".join(factor.secret[at : at + 4] for at in range(0, len(factor.secret), 4)),
        "address": "" if done else second_factor.address(factor),
        "problem": problem,
        "required": settings.MFA_REQUIRED,
    }
    response = TemplateResponse(request, "admin/second_factor.html", context)
    response["Cache-Control"] = "no-store"
    return response
