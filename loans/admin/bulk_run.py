"""Bulk jobs: start one, look how far it is, pause, resume and cancel it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Max, Q, Sum
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from loans.admin.base import RUN_TONES, DeskAdmin, Progressing, ReadOnly, badge, post_only
from loans.admin.training_run import seconds
from loans.models import BulkKind, BulkRun, ChunkState
from loans.queries.words import percent, whole
from loans.services.bulk import run as bulk

CONTROLS = "loans.control_bulkrun"
MOST_SHOWN = 20
_DONE = {
    "pause": _("Paused. What workers have in hands is finished."),
    "resume": _("It goes on."),
    "cancel": _("Cancelled. What is scored stays scored."),
}


@admin.register(BulkRun)
class BulkRunAdmin(ReadOnly, Progressing, DeskAdmin):
    list_display = ("run_shown", "state_shown", "rows_shown", "stored_shown", "seconds_shown", "started_by", "created")
    list_filter = ("state",)
    list_filter_submit = False
    list_select_related = ("started_by",)
    list_before_template = "loans/start_bulk.html"
    empty_title = _("No bulk jobs yet")
    empty_text = _("After a large import, or when another model serves, start one above: all workers take part in it.")

    def custom_paths(self) -> list[URLPattern]:
        return [
            self.at("start/", self.start_view, "start"),
            self.at("<int:object_id>/progress/", self.progress_view, "progress"),
            *(self.at(f"<int:object_id>/{step}/", getattr(self, f"{step}_view"), step) for step in _DONE),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        kinds = [(kind, label) for kind, label in BulkKind.choices if bulk.active(kind) is None]
        start_url = reverse("admin:loans_bulkrun_start") if request.user.has_perm(CONTROLS) else ""
        return super().changelist_view(request, {"start_url": start_url, "kinds": kinds, **(extra_context or {})})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        run = self.seen_or_refused(request, object_id)
        if run is None:
            return self.gone(request, object_id)
        context = {
            "title": str(run),
            "original": run,
            "run": run,
            "tone": RUN_TONES[run.state],
            "percent": round(100 * run.share_done),
            "progress_url": reverse("admin:loans_bulkrun_progress", args=[run.pk]) if run.is_active else "",
            "steps": self._steps(request, run),
            "facts": [
                ("Kind", run.get_kind_display()),
                ("Applications", whole(run.rows) if run.rows is not None else gettext("not counted yet")),
                ("Scored", whole(run.stored)),
                ("Time", seconds(run.seconds)),
                (gettext("Peak memory of a worker"), f"{whole(run.peak_memory_mb)} MB" if run.peak_memory_mb else "–"),
                (
                    gettext("Started by"),
                    (run.started_by.get_full_name() or run.started_by.get_username()) if run.started_by else "a command",
                ),
            ],
            "workers": self._workers(run),
            "troubles": run.chunks.filter(~Q(error="") | Q(state=ChunkState.LEFT)).order_by("first")[:MOST_SHOWN],
        }
        return self.render(request, "admin/loans/bulkrun/page.html", context)

    def _steps(self, request: HttpRequest, run: BulkRun) -> list[tuple[str, str]]:
        if not run.is_active or run.cancel_requested or not request.user.has_perm(CONTROLS):
            return []
        names = ["resume" if run.paused else "pause", "cancel"]
        return [(name.capitalize(), reverse(f"admin:loans_bulkrun_{name}", args=[run.pk])) for name in names]

    def _workers(self, run: BulkRun) -> list[dict[str, Any]]:
        worked = run.chunks.exclude(claimed_by="").values("claimed_by").order_by("claimed_by")
        rows = list(
            worked.annotate(
                chunks=Count("pk", filter=Q(state=ChunkState.DONE)),
                stored=Sum("stored"),
                running=Count("pk", filter=Q(state=ChunkState.RUNNING)),
                last=Max("finished_at"),
            )[:MOST_SHOWN]
        )
        return [row | {"stored": whole(row["stored"] or 0)} for row in rows]

    @post_only
    def start_view(self, request: HttpRequest) -> HttpResponse:
        if not request.user.has_perm(CONTROLS):
            raise PermissionDenied
        try:
            run = bulk.start(request.POST.get("kind", ""), by=request.user)
        except bulk.BulkRefused as refusal:
            self.message_user(request, str(refusal), messages.WARNING)
            return HttpResponseRedirect(self.the_list())
        return HttpResponseRedirect(self.page_of(run))

    @post_only
    def pause_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        return self._stepped(request, object_id, "pause")

    @post_only
    def resume_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        return self._stepped(request, object_id, "resume")

    @post_only
    def cancel_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        return self._stepped(request, object_id, "cancel")

    def _stepped(self, request: HttpRequest, object_id: int, step: str) -> HttpResponse:
        run = self.seen_or_refused(request, str(object_id), CONTROLS)
        if run is None:
            return self.gone(request, str(object_id))
        try:
            getattr(bulk, step)(run, by=request.user)
        except bulk.BulkRefused as refusal:
            return self.told(request, run, str(refusal), messages.WARNING)
        return self.told(request, run, _DONE[step])

    @display(description=_("Job"), ordering="pk")
    def run_shown(self, obj: BulkRun) -> str:
        return str(obj)

    @display(description=_("State"))
    def state_shown(self, obj: BulkRun) -> Any:
        word = "Paused" if obj.is_active and obj.paused else obj.get_state_display()
        return badge(f"{word} {percent(obj.share_done, 0)}" if obj.state == "running" else word, RUN_TONES[obj.state])

    @display(description=_("Applications"), ordering="rows")
    def rows_shown(self, obj: BulkRun) -> str:
        return "–" if obj.rows is None else whole(obj.rows)

    @display(description=_("Scored"), ordering="stored")
    def stored_shown(self, obj: BulkRun) -> str:
        return whole(obj.stored)

    @display(description=_("Time"))
    def seconds_shown(self, obj: BulkRun) -> str:
        return seconds(obj.seconds)
