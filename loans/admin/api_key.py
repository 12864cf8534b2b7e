"""API clients' keys: made, shown once, revoked. A key's text is in no database, no session and no message."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.decorators import display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from loans.admin.base import DeskAdmin, badge, post_only
from loans.models import ApiKey
from loans.models.api_key import SCOPES
from loans.services import audit

MEANINGS = {"submit": "submit applications", "read": _("read applications, scores and models"), "decide": "record decisions"}


class ApiKeyForm(forms.ModelForm):
    scopes = forms.MultipleChoiceField(
        choices=[(scope, f"{scope}: {MEANINGS.get(scope, scope)}") for scope in SCOPES],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text=_("Give no more than the client needs; it can't do more than its user may."),
    )

    class Meta:
        model = ApiKey
        fields = ("name", "user", "scopes", "expires_at")


@admin.register(ApiKey)
class ApiKeyAdmin(DeskAdmin):
    form = ApiKeyForm
    list_display = ("name", "prefix", "user", "scopes_shown", "state_shown", "last_used_at", "expires_at")
    list_filter = (("user", RelatedDropdownFilter),)
    list_select_related = ("user",)
    search_fields = ("name", "prefix")
    autocomplete_fields = ("user",)
    fields = ("name", "user", "scopes", "expires_at")
    empty_title = _("No API keys yet")
    empty_text = _("A key lets a system submit applications and read their scores. Add one; its text is shown once.")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # A key is issued and revoked, never edited: a wider scope is a new key.
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).select_related("user")

    def custom_paths(self) -> list[URLPattern]:
        return [self.at("<int:object_id>/revoke/", self.revoke_view, "revoke")]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> type[forms.ModelForm]:
        made = super().get_form(request, obj, change=change, **kwargs)
        if "user" in made.base_fields and not request.user.is_superuser:
            # A key acts as its user: an administrator must not get a superuser's powers through one.
            made.base_fields["user"].queryset = made.base_fields["user"].queryset.filter(is_superuser=False)
        return made

    def save_model(self, request: HttpRequest, obj: ApiKey, form: forms.ModelForm, change: bool) -> None:
        key, text = ApiKey.issue(user=obj.user, name=obj.name, scopes=tuple(form.cleaned_data["scopes"]), expires_at=obj.expires_at)
        obj.pk, obj.prefix = key.pk, key.prefix
        audit.record("api_key.issued", actor=request.user, subject=key, scopes=key.scopes, acts_as=key.user_id)
        request.issued_key = text

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        # In the answer to the POST itself: a redirect would need the text to be kept somewhere.
        context = {"title": f"Key for {obj.name}", "key": request.issued_key, "api_key": obj, "list_url": self.the_list()}
        response = self.render(request, "admin/loans/apikey/issued.html", context)
        response["Cache-Control"] = "no-store"
        return response

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        key = self.seen_or_refused(request, object_id)
        if key is None:
            return self.gone(request, object_id)
        text, tone = state(key)
        may_revoke = key.revoked_at is None and request.user.has_perm("loans.change_apikey")
        context = {
            "title": str(key),
            "original": key,
            "api_key": key,
            "state": text,
            "tone": tone,
            "scopes": [(scope, MEANINGS.get(scope, "")) for scope in key.scopes],
            "revoke_url": reverse("admin:loans_apikey_revoke", args=[key.pk]) if may_revoke else "",
        }
        return self.render(request, "admin/loans/apikey/page.html", context)

    @post_only
    def revoke_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        key = self.seen_or_refused(request, str(object_id), "loans.change_apikey")
        if key is None:
            return self.gone(request, str(object_id))
        with transaction.atomic():
            if ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=timezone.now()):
                self.log_change(request, key, "Revoked")
                audit.record("api_key.revoked", actor=request.user, subject=key)
        return self.told(request, key, gettext("%(key)s is revoked: requests with it are refused from now on.") % {"key": key})

    @display(description=_("May"))
    def scopes_shown(self, obj: ApiKey) -> str:
        return ", ".join(obj.scopes)

    @display(description=_("State"))
    def state_shown(self, obj: ApiKey) -> SafeString:
        return badge(*state(obj))


def state(key: ApiKey) -> tuple[str, str]:
    if key.revoked_at is not None:
        return "Revoked", "danger"
    if key.expires_at is not None and key.expires_at <= timezone.now():
        return "Expired", "warning"
    return ("Valid", "success") if key.user.is_active else (gettext("Its user is inactive"), "warning")
