"""Notices to be sent, by deadline: corrected, read as the applicant will, and marked as sent."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display

from loans.admin.application import SEES_PEOPLE
from loans.admin.base import DeskAdmin, ReadOnly, badge, post_only
from loans.models import AdverseActionNotice, LoanApplication
from loans.models.notice import MOST_REASONS
from loans.queries import inbox
from loans.queries.application_page import headline
from loans.queries.words import day_of
from loans.services import deadlines, letters, notices, rulepack

SENDS = "loans.send_adverseactionnotice"


class SentFilter(DropdownFilter):
    """Opens on what is still to be sent."""

    title = _("state")
    parameter_name = "state"
    all_option = None

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("unsent", _("To be sent")), ("sent", _("Sent")), ("all", _("All"))]

    def value(self) -> str:
        return super().value() if super().value() in ("sent", "all") else "unsent"

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() == "all":
            return queryset
        return queryset.filter(sent_at__isnull=self.value() == "unsent")


@admin.register(AdverseActionNotice)
class NoticeAdmin(ReadOnly, DeskAdmin):
    ordering = ("due_on", "pk")
    list_display = ("reference", "due_shown", "reasons_shown", "officer_shown", "state_shown")
    list_filter = (SentFilter,)
    search_fields = ("application__external_reference",)
    search_help_text = _("Reference, or a whole name, phone or email")
    empty_title = _("No notice to send")
    empty_text = _("Each decline drafts one; it stays here until somebody notes that it was sent.")

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return AdverseActionNotice.objects.visible_to(request.user).select_related("application", "decision__officer", "sent_by")

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        if not search_term.strip():
            return queryset, False
        visible = LoanApplication.objects.visible_to(request.user)
        found = inbox.search(visible, search_term, personal_data=request.user.has_perm(SEES_PEOPLE))
        return queryset.filter(application__in=found), False

    def is_synthetic(self, row: AdverseActionNotice) -> bool:
        return row.application.synthetic

    @display(description=_("Application"))
    def reference(self, obj: AdverseActionNotice) -> str:
        return str(obj.application)

    @display(description=_("To be sent by"), ordering="due_on")
    def due_shown(self, obj: AdverseActionNotice) -> SafeString:
        day = format_html('<span class="ld-number">{}</span>', day_of(obj.due_on))
        if obj.is_sent:
            return day
        due = deadlines.until(obj.due_on)
        return format_html('{}<span class="ld-under{}">{}</span>', day, " ld-late" if due.tone else "", due.in_words)

    @display(description=_("Reasons"))
    def reasons_shown(self, obj: AdverseActionNotice) -> SafeString:
        return format_html_join("", '<span class="ld-wrap" style="display: block">{}</span>', ((text,) for text in obj.reasons))

    @display(description=_("Declined by"))
    def officer_shown(self, obj: AdverseActionNotice) -> str:
        return obj.decision.officer.get_full_name() or obj.decision.officer.get_username()

    @display(description=_("State"))
    def state_shown(self, obj: AdverseActionNotice) -> SafeString:
        return badge(f"Sent {day_of(obj.sent_at)}", "success") if obj.is_sent else badge("Draft", "warning")

    # --- the page ---------------------------------------------------------------------------------------------------------

    def custom_paths(self) -> list[URLPattern]:
        return [
            self.at("<int:object_id>/revise/", self.revise_view, "revise"),
            self.at("<int:object_id>/send/", self.send_view, "send"),
            self.at("<int:object_id>/letter/", self.letter_view, "letter"),
            self.at("<int:object_id>/letter.pdf", self.pdf_view, "pdf"),
        ]

    def get_object(self, request: HttpRequest, object_id: Any, from_field: str | None = None) -> AdverseActionNotice | None:
        related = ("application__applicant", "application__product") if request.user.has_perm(SEES_PEOPLE) else ("application__product",)
        try:
            return self.get_queryset(request).select_related(*related).get(pk=int(object_id))
        except (AdverseActionNotice.DoesNotExist, ValueError, OverflowError):
            return None

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        notice = self.seen_or_refused(request, object_id)
        return self.gone(request, str(object_id)) if notice is None else self._page(request, notice)

    def _page(
        self, request: HttpRequest, notice: AdverseActionNotice, *, reasons: list[str] | None = None, error: str = ""
    ) -> HttpResponse:
        given = reasons if reasons is not None else notice.reasons
        pack, sees = rulepack.in_force(), request.user.has_perm(SEES_PEOPLE)
        context = {
            "title": str(notice),
            "original": notice,
            "notice": notice,
            "due": None if notice.is_sent else deadlines.until(notice.due_on),
            "reasons": [*given, *[""] * (MOST_REASONS - len(given))][:MOST_REASONS],
            "suggestions": [reason.text for reason in pack.reasons["decline"].values() if not reason.note_required],
            "error": error,
            "edits": request.user.has_perm(SENDS) and not notice.is_sent,
            "missing": notices.missing_in(notice) if sees and not notice.is_sent else [],
            "rules": pack.notice,
            "letter": notices.letter(notice, request=headline(notice.application)) if sees else None,
            "urls": {
                name: reverse(f"admin:loans_adverseactionnotice_{name}", args=[notice.pk]) for name in ("revise", "send", "letter", "pdf")
            },
            "application_url": reverse("admin:loans_loanapplication_change", args=[notice.application_id]),
            "list_url": self.the_list(),
        }
        return self.render(request, "admin/loans/adverseactionnotice/page.html", context)

    @post_only
    def revise_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        notice = self.seen_or_refused(request, str(object_id), SENDS)
        if notice is None:
            return self.gone(request, str(object_id))
        reasons = [text[:1000] for text in request.POST.getlist("reason")[:10]]
        try:
            notices.revise(notice.pk, reasons=reasons, by=request.user)
        except notices.NoticeRefused as refusal:
            return self._page(request, notice, reasons=reasons, error=str(refusal))
        return self.told(request, notice, _("Saved."))

    @post_only
    def send_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        notice = self.seen_or_refused(request, str(object_id), SENDS)
        if notice is None:
            return self.gone(request, str(object_id))
        try:
            sent = notices.send(notice.pk, by=request.user)
        except notices.NoticeRefused as refusal:
            return self.told(request, notice, str(refusal), messages.ERROR)
        return self.told(
            request,
            notice,
            gettext("Noted as sent today. It is kept until %(keep_until)s at least.") % {"keep_until": day_of(sent.keep_until)},
        )

    def letter_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """As a page to print."""
        notice = self.seen_or_refused(request, str(object_id), SEES_PEOPLE)
        if notice is None:
            return self.gone(request, str(object_id))
        letter = notices.letter(notice, request=headline(notice.application))
        return TemplateResponse(request, "letters/notice.html", {"letter": letter, "notice": notice})

    def pdf_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        notice = self.seen_or_refused(request, str(object_id), SEES_PEOPLE)
        if notice is None:
            return self.gone(request, str(object_id))
        letter = notices.letter(notice, request=headline(notice.application))
        try:
            made = letters.pdf(letter, reference=str(notice.application))
        except letters.CannotShow as problem:
            return self.told(request, notice, str(problem), messages.ERROR)
        response = HttpResponse(made, content_type="application/pdf")
        response["Content-Disposition"] = f'attachment; filename="notice-{notice.pk}.pdf"'
        response["Cache-Control"] = "no-store"
        return response
