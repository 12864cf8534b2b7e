"""The audit trail, to be read: who did what, and everything that was done to one object."""

from __future__ import annotations

import json
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter
from unfold.decorators import display

from loans.admin.base import DeskAdmin, ReadOnly, badge
from loans.admin.filters import DaysFilter
from loans.models import AuditEvent
from loans.models.audit_event import ActorKind

GROUPS = {
    "applicant": (_("Views of personal data"), ("applicant.", "applicants.")),
    "decision": ("Decisions", ("decision.",)),
    "login": ("Logins", ("login.",)),
    "api_key": ("API keys", ("api_key.", "apikey.")),
    "model": (_("Models and training"), ("model.", "training.", "trainingrun.")),
    "fraud_flag": (_("Fraud flags"), ("fraud_flag.",)),
    "files": (_("Imports and exports"), ("import.", "list.", "chart.")),
    "account": (_("Accounts and roles"), ("user.", "group.", "account.")),
}


APPS = ("loans", "auth")


def _noun(model_name: str) -> str:
    for app in APPS:
        try:
            return str(apps.get_model(app, model_name)._meta.verbose_name)
        except LookupError:
            continue
    return model_name


def _short(value: Any) -> str:
    """A digest by its beginning; the whole of it is in the event's own page."""
    text = value if isinstance(value, str) else json.dumps(value)
    return f"{text[:12]}…" if len(text) == 64 and text.isalnum() else text


class WhatFilter(DropdownFilter):
    title = _("what")
    parameter_name = "what"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, title) for name, (title, _) in GROUPS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        prefixes = GROUPS.get(self.value() or "", ("", ()))[1]
        if not prefixes:
            return queryset
        # Ranges, which the index on the action serves; LIKE would need one of its own.
        wanted = Q()
        for prefix in prefixes:
            wanted |= Q(action__gte=prefix, action__lt=prefix + "\uffff")
        return queryset.filter(wanted)


class SubjectFilter(admin.SimpleListFilter):
    """Set by the links on the objects' pages: ?subject=loanapplication:12."""

    title = _("subject")
    parameter_name = "subject"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        chosen = request.GET.get("subject", "")
        return [(chosen, chosen.replace(":", " ")[:80])] if ":" in chosen else []

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        kind, _, key = (self.value() or "").partition(":")
        return queryset.filter(subject_type=kind, subject_id=key) if key else queryset


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnly, DeskAdmin):
    list_display = ("time_shown", "action_shown", "actor_shown", "subject_shown", "facts_shown", "request_shown")
    list_display_links = None
    list_filter = (WhatFilter, ("actor_kind", ChoicesDropdownFilter), SubjectFilter, ("at", DaysFilter))
    search_fields = ("=actor_name", "=request_id", "=subject_id")
    search_help_text = _("A whole user name, request id or object number")
    ordering = ("-pk",)
    empty_title = _("No audit events")
    empty_text = _("Decisions, logins, keys, promotions, imports and every look at personal data are noted here.")

    @display(description=_("When (UTC)"), ordering="pk")
    def time_shown(self, obj: AuditEvent) -> SafeString:
        return format_html('<span class="ld-number">{}</span>', f"{obj.at:%Y-%m-%d %H:%M:%S}")

    @display(description=_("What"))
    def action_shown(self, obj: AuditEvent) -> SafeString:
        return format_html('<span class="ld-strong">{}</span>', obj.action.replace(".", " ").replace("_", " "))

    @display(description=_("Who"))
    def actor_shown(self, obj: AuditEvent) -> SafeString | str:
        name = obj.actor_name or "the system"
        return format_html("{} {}", name, badge("API key")) if obj.actor_kind == ActorKind.KEY else name

    @display(description=_("To what"))
    def subject_shown(self, obj: AuditEvent) -> SafeString | str:
        if not obj.subject_type:
            return "–"
        label = f"{_noun(obj.subject_type)} {obj.subject_id}"
        for app in APPS:
            try:
                return format_html(
                    '<a class="ld-link" href="{}">{}</a>', reverse(f"admin:{app}_{obj.subject_type}_change", args=[obj.subject_id]), label
                )
            except NoReverseMatch:
                continue
        return label

    @display(description=_("Request"))
    def request_shown(self, obj: AuditEvent) -> SafeString:
        short = obj.request_id if len(obj.request_id) <= 12 else f"{obj.request_id[:12]}…"
        return format_html('<span class="ld-number ld-small" title="{}">{}</span>', obj.request_id, short)

    @display(description=_("Facts"))
    def facts_shown(self, obj: AuditEvent) -> SafeString | str:
        if not obj.facts:
            return ""
        text = "; ".join(f"{name.replace('_', ' ')}: {_short(value)}" for name, value in obj.facts.items())
        return format_html('<span class="ld-wrap ld-small">{}</span>', text if len(text) <= 200 else f"{text[:199]}…")
