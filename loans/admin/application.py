"""The inbox, and the page on which an application is decided."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.decorators import display
from unfold.views import ChangeList

from loans.admin import charts, curves
from loans.admin.base import DeskAdmin, ReadOnly, badge, grade_badge
from loans.admin.deciding import DECIDES, Attempt, Deciding, decision_forms, proposed, terms
from loans.admin.documents import Documents
from loans.admin.filters import AssigneeFilter, BandFilter, DaysFilter, DueFilter, FlagFilter, GradeFilter, ViewFilter
from loans.admin.inbox_actions import InboxActions
from loans.admin.segment import SegmentFilter, segment_line
from loans.admin.training_run import TRAINS
from loans.admin.what_if import WhatIfPage
from loans.models import LoanApplication, ModelState
from loans.queries import fraud, inbox
from loans.queries.application_page import STATUS_TONES, Page, application_page
from loans.queries.inbox import Emptiness
from loans.queries.words import age, code, day_of, days, money, percent
from loans.services import audit
from loans.services.deadlines import due

SEES_PEOPLE = "loans.view_personal_data"
OLD_DAYS = 14
"""From then on an age is marked: half of the 30 days that Regulation B gives for a notice."""


@admin.register(LoanApplication)
class LoanApplicationAdmin(InboxActions, Deciding, Documents, WhatIfPage, ReadOnly, DeskAdmin):
    ordering = ("submitted_at", F("default_probability").desc(nulls_first=True), "pk")
    list_display = ("external_reference", "applicant_name", "amount_shown", "purpose_shown", "waiting", "risk", "status_shown")
    list_filter = (
        ViewFilter,
        GradeFilter,
        BandFilter,
        DueFilter,
        AssigneeFilter,
        FlagFilter,
        SegmentFilter,
        ("product", RelatedDropdownFilter),
        ("channel", ChoicesDropdownFilter),
        ("submitted_at", DaysFilter),
    )
    search_fields = ("external_reference",)
    search_help_text = _("Reference, name, whole phone or email")
    list_before_template = "loans/inbox_views.html"
    list_after_template = "loans/inbox_hints.html"

    # --- the list ---------------------------------------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return LoanApplication.objects.visible_to(request.user)

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        return tuple(name for name in self.list_display if name != "applicant_name" or request.user.has_perm(SEES_PEOPLE))

    @classmethod
    def by_risk(cls, user: Any) -> str:
        """The query that sorts the list by risk: its columns are numbered as this reader sees them, boxes to tick included."""
        columns = [name for name in cls.list_display if name != "applicant_name" or user.has_perm(SEES_PEOPLE)]
        return f"?o={columns.index('risk') + cls.ticks(user)}"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        base = super().get_changelist(request, **kwargs)
        people = request.user.has_perm(SEES_PEOPLE)
        related = ("product", "assigned_to", "applicant") if people else ("product", "assigned_to")
        wanted = [
            "external_reference",
            "submitted_at",
            "amount",
            "purpose",
            "status",
            "default_probability",
            "grade",
            "synthetic",
            "product__name",
            "assigned_to__first_name",
            "assigned_to__last_name",
            "assigned_to__username",
        ]

        class Inbox(base):
            def apply_select_related(self, queryset: QuerySet) -> QuerySet:
                # Only the columns that a row shows, so that one name a row is decrypted and nothing else.
                return queryset.select_related(*related).only(*wanted, *(["applicant__name"] if people else []))

            @property
            def current_view(self) -> str:
                return next((spec.value() for spec in self.filter_specs if isinstance(spec, ViewFilter)), "decide")

            @property
            def views(self) -> list[tuple[str, str, bool]]:
                """(title, link, whether it is this one): the same search under another status."""
                return [
                    (title, self.get_query_string({"view": name}, ["p"]), name == self.current_view)
                    for name, (title, _) in inbox.VIEWS.items()
                ]

        return Inbox

    def is_synthetic(self, row: LoanApplication) -> bool:
        return row.synthetic

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response = super().changelist_view(request, {"title": "Inbox", **self.saved_views(request), **(extra_context or {})})
        shown = getattr(response, "context_data", None) or {}
        if "cl" in shown and request.user.has_perm(SEES_PEOPLE):
            # Names are personal data too: one event says whose were on the page.
            listed = [row.pk for row in shown["cl"].result_list if row.applicant_id]
            if listed:
                audit.record("applicants.listed", actor=request.user, applications=listed)
        return response

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        return inbox.search(queryset, search_term, personal_data=request.user.has_perm(SEES_PEOPLE)), False

    def emptiness(self, request: HttpRequest, changelist: ChangeList) -> Emptiness:
        view = changelist.current_view
        others = set(changelist.filter_params) - {"view", "p", "o", "after", "before"}
        found = inbox.why_empty(
            self.get_queryset(request), view=view if view in inbox.VIEWS else "all", filtered=bool(others or view not in inbox.VIEWS)
        )
        if found.link == "model":
            may = request.user.has_perm("loans.view_modelversion")
            return Emptiness(found.title, found.text, reverse("admin:loans_modelversion_changelist") if may else "", found.link_text)
        return found

    @display(description=_("Applicant"))
    def applicant_name(self, obj: LoanApplication) -> str:
        return (obj.applicant.name if obj.applicant_id else "") or "–"

    @display(description=_("Amount"), ordering="amount")
    def amount_shown(self, obj: LoanApplication) -> SafeString:
        return format_html('<span class="ld-number">{}</span>', money(obj.amount))

    @display(description=_("Product, purpose"))
    def purpose_shown(self, obj: LoanApplication) -> SafeString:
        product = obj.product.name if obj.product_id else ""
        purpose = code(obj.purpose) if obj.purpose else ""
        if product and purpose:
            return format_html('{}<span class="ld-under">{}</span>', product, purpose)
        return format_html("{}", product or purpose or "–")

    @display(description=_("Submitted"), ordering="submitted_at")
    def waiting(self, obj: LoanApplication) -> SafeString:
        now = timezone.now()
        old = obj.is_undecided and days(obj.submitted_at, now) >= OLD_DAYS
        left = due(obj, today=now.date())
        return format_html(
            '<span class="{}">{}</span><span class="ld-under" title="{}">{}</span>',
            "ld-late" if old else "",
            f"{age(obj.submitted_at, now)} ago" if age(obj.submitted_at, now) != "just now" else "just now",
            left.source if left else "",
            f"notice {left.in_words}" if left and left.tone else day_of(obj.submitted_at),
        )

    @display(description=_("Default probability"), ordering=F("default_probability").desc(nulls_last=True))
    def risk(self, obj: LoanApplication) -> SafeString:
        if obj.default_probability is None:
            return mark_safe('<span class="ld-subtle">no score</span>')
        return format_html('{} <span class="ld-number">{}</span>', grade_badge(obj.grade), percent(obj.default_probability))

    @display(description=_("Status"), ordering="status")
    def status_shown(self, obj: LoanApplication) -> SafeString:
        shown = badge(obj.get_status_display(), STATUS_TONES.get(obj.status, "default"))
        if obj.assigned_to_id is not None:
            who = obj.assigned_to.get_full_name() or obj.assigned_to.get_username()
            shown = format_html('{}<span class="ld-under">{}</span>', shown, who)
        return (
            format_html('{} <span class="ld-badge ld-synthetic" title="Made up by the demo generator">synthetic</span>', shown)
            if obj.marked
            else shown
        )

    # --- the page ---------------------------------------------------------------------------------------------------------

    def custom_paths(self) -> list[URLPattern]:
        return [
            self.at("<int:object_id>/decide/", self.decide_view, "decide"),
            self.at("<int:object_id>/confirm/", self.confirm_view, "confirm"),
            *self.action_paths(),
            *self.document_paths(),
            self.at("<int:object_id>/score/", self.score_view, "score"),
            self.at("<int:object_id>/what-if/", self.what_if_view, "what_if"),
        ]

    def get_object(self, request: HttpRequest, object_id: Any, from_field: str | None = None) -> LoanApplication | None:
        related = ["product", "submitted_by", "import_batch", "branch", "assigned_to"]
        if request.user.has_perm(SEES_PEOPLE):
            related.append("applicant")
        try:
            return self.get_queryset(request).select_related(*related).get(pk=int(object_id))
        except (LoanApplication.DoesNotExist, ValueError, OverflowError):
            return None

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        application = self.seen_or_refused(request, object_id)
        if application is None:
            return self.gone(request, str(object_id))
        person = application.applicant_id and request.user.has_perm(SEES_PEOPLE)
        audit.record("applicant.viewed" if person else "application.viewed", actor=request.user, subject=application)
        return self.page(request, application, Attempt())

    def address(self, request: HttpRequest, application: LoanApplication) -> str:
        """The application's page, with the list's filters carried along for the way back."""
        kept = request.GET.get("_changelist_filters", "")
        return self.page_of(application) + (f"?{urlencode({'_changelist_filters': kept})}" if kept else "")

    def page(self, request: HttpRequest, application: LoanApplication, attempt: Attempt) -> HttpResponse:
        user = request.user
        page = application_page(
            application,
            self.get_queryset(request),
            now=timezone.now(),
            personal_data=user.has_perm(SEES_PEOPLE),
            outcomes=user.has_perm("loans.view_loanoutcome"),
        )
        may_decide = user.has_perm(DECIDES)
        kept = request.GET.get("_changelist_filters", "")
        waiting = proposed(application, user)
        notice = application.notices.order_by("-pk").first() if user.has_perm("loans.view_adverseactionnotice") else None
        newer = page.risk and page.risk.prediction.model_version.state != ModelState.CHAMPION and application.is_undecided
        context = {
            "title": str(application),
            "original": application,
            "page": page,
            "dots": charts.dots(page.risk.many, page.risk.of) if page.risk else None,
            **self._amounts(page, trains=user.has_perm(TRAINS)),
            "what_if_url": reverse("admin:loans_loanapplication_what_if", args=[application.pk]),
            **segment_line(application),
            "fraud": fraud.flags_for(application, self.get_queryset(request)) if user.has_perm("loans.view_fraudflag") else None,
            "documents": self.documents_of(request, application),
            "may_decide": may_decide and application.is_decidable,
            "why_not": "" if may_decide else gettext("Your role may look at applications, not decide them."),
            "may_score": may_decide and (newer or bool(page.no_score and page.no_score.may_ask)),
            "attempt": attempt,
            "forms": decision_forms(page, attempt, user) if may_decide and application.is_decidable and waiting is None else [],
            "waiting": waiting,
            "claim": self.claim_of(request, application),
            "confirm_url": reverse("admin:loans_loanapplication_confirm", args=[application.pk]),
            "offer": terms(page.last_decision) if page.last_decision else "",
            "due": due(application),
            "notice": notice,
            "notice_url": reverse("admin:loans_adverseactionnotice_change", args=[notice.pk]) if notice else "",
            "decide_url": reverse("admin:loans_loanapplication_decide", args=[application.pk])
            + (f"?{urlencode({'_changelist_filters': kept})}" if kept else ""),
            "score_url": reverse("admin:loans_loanapplication_score", args=[application.pk]),
            "inbox_url": self.the_list() + (f"?{kept}" if kept else ""),
            "next_url": self.address(request, page.next) if page.next else "",
            "previous_url": self.address(request, page.previous) if page.previous else "",
            "decisions_url": f"{reverse('admin:loans_decision_changelist')}?{urlencode({'q': application.external_reference})}",
            "model_url": reverse("admin:loans_modelversion_change", args=[page.worth.version.pk])
            if page.worth and user.has_perm("loans.view_modelversion")
            else "",
        }
        return self.render(request, "admin/loans/loanapplication/page.html", context)

    def _amounts(self, page: Page, *, trains: bool) -> dict[str, Any]:
        """The amount range's picture, or where to train a model that would give one."""
        estimate = page.amounts.estimate if page.amounts else None
        if estimate is None:
            return {"train_url": reverse("admin:loans_modelversion_changelist") if trains else ""}
        asked = page.application.amount
        return {
            "amount_picture": curves.amount_range(estimate.low, estimate.middle, estimate.high, asked, estimate.cap),
            "cap_label": money(estimate.cap) if estimate.cap is not None else "",
        }
