"""Inbox runs: each officer's own, with their progress; who may assign sees all of them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from loans.admin.base import RUN_TONES, DeskAdmin, Progressing, ReadOnly, badge, post_only
from loans.models import InboxRun
from loans.services import inbox_runs


@admin.register(InboxRun)
class InboxRunAdmin(Progressing, ReadOnly, DeskAdmin):
    ordering = ("-pk",)
    list_display = ("title", "started_by", "done", "skipped", "state_shown", "created")
    list_select_related = ("started_by",)
    empty_title = _("Nothing was done to many at once")
    empty_text = _("Choose applications in the inbox, then an action above the list.")

    def has_view_permission(self, request: HttpRequest, obj: InboxRun | None = None) -> bool:
        return request.user.has_perm(inbox_runs.DECIDES) or super().has_view_permission(request, obj)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        rows = super().get_queryset(request).select_related("started_by", "assignee")
        if request.user.has_perm(inbox_runs.ASSIGNS) or request.user.has_perm("loans.view_inboxrun"):
            return rows
        return rows.filter(started_by=request.user)

    @display(description=_("What"))
    def title(self, obj: InboxRun) -> str:
        return str(obj)

    @display(description=_("State"))
    def state_shown(self, obj: InboxRun) -> SafeString:
        return badge(obj.get_state_display(), RUN_TONES[obj.state])

    def custom_paths(self) -> list[URLPattern]:
        return [
            self.at("<int:object_id>/progress/", self.progress_view, "progress"),
            self.at("<int:object_id>/cancel/", self.cancel_view, "cancel"),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        run = self.seen_or_refused(request, object_id)
        if run is None:
            return self.gone(request, str(object_id))
        context = {
            "title": str(run),
            "original": run,
            "run": run,
            "tone": RUN_TONES[run.state],
            "percent": round(100 * run.share_done),
            "chosen": len(run.applications),
            "progress_url": reverse("admin:loans_inboxrun_progress", args=[run.pk]) if run.is_active else "",
            "cancel_url": reverse("admin:loans_inboxrun_cancel", args=[run.pk]) if self._may_cancel(request, run) else "",
            "inbox_url": reverse("admin:loans_loanapplication_changelist"),
        }
        return self.render(request, "admin/loans/inboxrun/page.html", context)

    def _may_cancel(self, request: HttpRequest, run: InboxRun) -> bool:
        theirs = run.started_by_id == request.user.pk or request.user.has_perm(inbox_runs.ASSIGNS)
        return theirs and run.is_active and not run.cancel_requested

    @post_only
    def cancel_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        run = self.seen_or_refused(request, str(object_id), inbox_runs.DECIDES)
        if run is None:
            return self.gone(request, str(object_id))
        if self._may_cancel(request, run):
            inbox_runs.cancel(run)
        return HttpResponseRedirect(self.page_of(run))
