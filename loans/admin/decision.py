"""The history: every decision that was made, by whom and why. It is read, never edited."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import BooleanRadioFilter
from unfold.decorators import display

from loans.admin.application import SEES_PEOPLE
from loans.admin.base import DeskAdmin, ReadOnly, badge, grade_badge
from loans.admin.filters import DaysFilter, DecidedByFilter, OutcomeFilter
from loans.models import Decision, LoanApplication
from loans.models.scope import in_scope
from loans.queries import inbox
from loans.queries.application_page import DECIDED
from loans.queries.words import money, percent

TONES = {"approve": "success", "decline": "danger", "refer": "warning", "counter": "info"}


@admin.register(Decision)
class DecisionAdmin(ReadOnly, DeskAdmin):
    ordering = ("-pk",)
    list_display = ("reference", "outcome_shown", "reason_shown", "amount_shown", "risk", "officer_shown", "created")
    list_display_links = None
    list_filter = (OutcomeFilter, ("override", BooleanRadioFilter), DecidedByFilter, ("created_at", DaysFilter))
    search_fields = ("application__external_reference",)
    search_help_text = _("Reference, or a whole name, phone or email")
    list_before_template = "loans/synthetic_list.html"
    empty_title = _("No decisions yet")
    empty_text = _("Each approval, refusal and referral shows here with who made it, why, and the score it rested on.")

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        queryset = super().get_queryset(request).select_related("application", "officer", "prediction")
        queryset = queryset.only(
            "outcome", "reason_text", "note", "advice", "override", "created_at",
            "application__external_reference", "application__amount", "application__synthetic", "officer__username",
            "officer__first_name", "officer__last_name", "prediction__probability", "prediction__grade",
        )  # fmt: skip
        return queryset.filter(in_scope(request.user, "application__"))

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        if not search_term.strip():
            return queryset, False
        found = inbox.search(
            LoanApplication.objects.visible_to(request.user), search_term, personal_data=request.user.has_perm(SEES_PEOPLE)
        )
        return queryset.filter(application__in=found), False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """A decision's page is its application's."""
        decision = self.seen_or_refused(request, object_id)
        if decision is None:
            return self.gone(request, object_id)
        return HttpResponseRedirect(self._application(decision))

    def _application(self, decision: Decision) -> str:
        return reverse("admin:loans_loanapplication_change", args=[decision.application_id])

    def is_synthetic(self, row: Decision) -> bool:
        return row.application.synthetic

    @display(description=_("Application"))
    def reference(self, obj: Decision) -> SafeString:
        return format_html('<a class="ld-link" href="{}">{}</a>', self._application(obj), obj.application)

    @display(description=_("Decision"))
    def outcome_shown(self, obj: Decision) -> SafeString:
        shown = badge(DECIDED[obj.outcome], TONES[obj.outcome])
        return (
            format_html('{} <span class="ld-badge" title="The advice was: {}">override</span>', shown, obj.get_advice_display().lower())
            if obj.override
            else shown
        )

    @display(description=_("Reason"))
    def reason_shown(self, obj: Decision) -> SafeString:
        note = obj.note if len(obj.note) <= 120 else f"{obj.note[:119]}…"
        return format_html(
            '<span class="ld-wrap">{}</span>{}',
            obj.reason_text,
            format_html('<span class="ld-under ld-wrap">{}</span>', note) if note else "",
        )

    @display(description=_("Amount"))
    def amount_shown(self, obj: Decision) -> SafeString:
        return format_html('<span class="ld-number">{}</span>', money(obj.application.amount))

    @display(description=_("Score it rested on"))
    def risk(self, obj: Decision) -> SafeString:
        if obj.prediction is None:
            return mark_safe('<span class="ld-subtle">none</span>')
        return format_html('{} <span class="ld-number">{}</span>', grade_badge(obj.prediction.grade), percent(obj.prediction.probability))

    @display(description=_("Officer"), ordering="officer")
    def officer_shown(self, obj: Decision) -> str:
        return obj.officer.get_full_name() or obj.officer.get_username()
