"""Trainings under way and past: how far, how it ended, and what came of it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from loans.admin.base import RUN_TONES, DeskAdmin, Progressing, ReadOnly, badge, post_only
from loans.models import TrainingRun
from loans.queries.quality import quality_page
from loans.queries.words import percent, whole
from loans.services import training

TRAINS = "loans.train_modelversion"


@admin.register(TrainingRun)
class TrainingRunAdmin(ReadOnly, Progressing, DeskAdmin):
    list_display = ("run_shown", "state_shown", "result", "rows", "seconds_shown", "memory_shown", "started_by", "created")
    list_filter = ("state",)
    list_filter_submit = False
    list_select_related = ("started_by",)
    empty_title = _("No trainings yet")
    empty_text = _("Start one with “Train” on the page of model versions. It needs past loans with their outcomes.")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("started_by", "model_version").defer("model_version__report")

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
            return self.gone(request, object_id)
        version = run.model_version
        report = version.report if version is not None and isinstance(version.report, dict) else {}
        context = {
            "title": str(run),
            "original": run,
            "run": run,
            "tone": RUN_TONES[run.state],
            "percent": round(100 * run.share_done),
            "progress_url": reverse("admin:loans_trainingrun_progress", args=[run.pk]) if run.is_active else "",
            "cancel_url": reverse("admin:loans_trainingrun_cancel", args=[run.pk])
            if run.is_active and not run.cancel_requested and request.user.has_perm(TRAINS)
            else "",
            "version_url": reverse("admin:loans_modelversion_change", args=[version.pk])
            if version and request.user.has_perm("loans.view_modelversion")
            else "",
            "quality": quality_page(report.get("quality")),
            "augmentation": (report.get("augmentation") or {}).get("in_words", ""),
            "sample": (report.get("sample") or {}).get("in_words", ""),
            "held_back": (report.get("held_back") or {}).get("in_words", ""),
            "facts": [
                ("Kind", run.get_kind_display()),
                (gettext("Loans learned from"), whole(run.rows) if run.rows else "–"),
                ("Time", seconds(run.seconds)),
                (gettext("Peak memory"), f"{whole(run.peak_memory_mb)} MB" if run.peak_memory_mb else "–"),
                ("Attempts", str(run.attempts)),
                ("Seed", str(run.seed)),
                (
                    gettext("Started by"),
                    (run.started_by.get_full_name() or run.started_by.get_username())
                    if run.started_by
                    else gettext("the schedule or a command"),
                ),
            ],
        }
        return self.render(request, "admin/loans/trainingrun/page.html", context)

    @post_only
    def cancel_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        run = self.seen_or_refused(request, str(object_id), TRAINS)
        if run is None:
            return self.gone(request, str(object_id))
        if not run.is_active:
            return self.told(
                request, run, gettext("It is over already: %(lower)s.") % {"lower": run.get_state_display().lower()}, messages.WARNING
            )
        training.cancel(run, by=request.user)
        return self.told(request, run, gettext("Asked to stop. Nothing of this training is kept."))

    @display(description=_("Training"), ordering="pk")
    def run_shown(self, obj: TrainingRun) -> str:
        return str(obj)

    @display(description=_("State"))
    def state_shown(self, obj: TrainingRun) -> SafeString:
        return badge(
            f"{obj.get_state_display()} {percent(obj.share_done, 0)}" if obj.state == "running" else obj.get_state_display(),
            RUN_TONES[obj.state],
        )

    @display(description=_("Result"))
    def result(self, obj: TrainingRun) -> SafeString | str:
        if obj.model_version_id is None:
            return "–"
        return format_html(
            '<a class="ld-link" href="{}">{}</a>',
            reverse("admin:loans_modelversion_change", args=[obj.model_version_id]),
            obj.model_version,
        )

    @display(description=_("Time"))
    def seconds_shown(self, obj: TrainingRun) -> str:
        return seconds(obj.seconds)

    @display(description=_("Peak memory"))
    def memory_shown(self, obj: TrainingRun) -> str:
        return f"{whole(obj.peak_memory_mb)} MB" if obj.peak_memory_mb else "–"


def seconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f} s" if value < 120 else f"{value / 60:.0f} min"
