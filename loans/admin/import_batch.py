"""Files brought in: what was read, what was loaded, and why the rest was not."""

from __future__ import annotations

import csv
import io
from typing import Any

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import display

from loans.admin import exports
from loans.admin.base import RUN_TONES, DeskAdmin, Progressing, ReadOnly, badge, post_only
from loans.admin.import_upload import IMPORTS, upload_url
from loans.models import ImportBatch, ImportUpload, RunState
from loans.queries.quality import quality_page
from loans.queries.words import percent, whole
from loans.services import audit
from loans.services.imports import undo, undo_runs
from loans.services.imports.batches import cancel_import

ERRORS_A_PAGE = 100
KEPT_PROBLEMS = 1_000  # as `validate` has it, which takes half a second to import
SEES_ERRORS = "loans.view_importrowerror"


@admin.register(ImportBatch)
class ImportBatchAdmin(ReadOnly, Progressing, DeskAdmin):
    list_display = (
        "file_name",
        "state_shown",
        "rows_read",
        "rows_loaded",
        "rows_unchanged",
        "rejected",
        "mapping_name",
        "started_by",
        "created",
    )
    list_filter = ("state",)
    list_filter_submit = False
    list_select_related = ("started_by",)
    search_fields = ("file_name",)
    search_help_text = gettext_lazy("File name")
    empty_title = gettext_lazy("Nothing imported yet")
    empty_text = gettext_lazy(
        "Bring in your own loans with “Import a file”, or on the server with: manage.py import_loans FILE --mapping NAME"
    )
    list_before_template = "loans/start_import.html"

    def custom_paths(self) -> list[URLPattern]:
        return [
            self.at("<int:object_id>/progress/", self.progress_view, "progress"),
            self.at("<int:object_id>/cancel/", self.cancel_view, "cancel"),
            self.at("<int:object_id>/errors.csv", self.errors_view, "errors"),
            self.at("<int:object_id>/undo/", self.undo_view, "undo"),
            self.at("<int:object_id>/undo/progress/", self.undo_progress_view, "undo_progress"),
            self.at("<int:object_id>/undo/cancel/", self.undo_cancel_view, "undo_cancel"),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        waiting = ImportUpload.objects.filter(uploaded_by=request.user).count() if request.user.has_perm(IMPORTS) else 0
        more = {"import_url": upload_url(request), "waiting": waiting}
        return super().changelist_view(request, {**more, **(extra_context or {})})

    @post_only
    def cancel_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        batch = self.seen_or_refused(request, str(object_id), IMPORTS)
        if batch is None:
            return self.gone(request, str(object_id))
        if not batch.is_active:
            return self.told(request, batch, _("It is over; there is nothing to cancel."), messages.WARNING)
        cancel_import(batch)
        audit.record("import.cancelled", actor=request.user, subject=batch)
        return self.told(request, batch, _("Asked to stop. Nothing of it is kept."))

    def errors_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """The rows that were refused, to mend in the file: line, column, value, why."""
        batch = self.seen_or_refused(request, str(object_id), SEES_ERRORS)
        if batch is None:
            return self.gone(request, str(object_id))
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["line", "column", "value", "why"])
        for row in batch.errors.iterator():
            writer.writerow([row.line, *(exports.safe(cell) for cell in (row.column, row.value, row.message))])
        audit.record("import.errors_exported", actor=request.user, subject=batch)
        response = HttpResponse(b"\xef\xbb\xbf" + text.getvalue().encode(), content_type=exports.KINDS["csv"])
        response["Content-Disposition"] = f'attachment; filename="import-{batch.pk}-errors.csv"'
        return response

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        batch = self.seen_or_refused(request, object_id)
        if batch is None:
            return self.gone(request, object_id)
        return self._page(request, batch)

    def _page(self, request: HttpRequest, batch: ImportBatch, *, asks_undo: bool = False) -> HttpResponse:
        may_see = request.user.has_perm(SEES_ERRORS)
        imports = request.user.has_perm(IMPORTS)
        upload = ImportUpload.objects.filter(batch=batch, uploaded_by=request.user).first() if imports else None
        errors = Paginator(batch.errors.all(), ERRORS_A_PAGE).get_page(request.GET.get("p")) if may_see else None
        undo_run = undo_runs.of(batch)
        active = undo_run is not None and undo_run.is_active
        context = {
            "title": str(batch),
            "original": batch,
            "run": batch,
            "tone": RUN_TONES[batch.state],
            "percent": round(100 * batch.share_done),
            "progress_url": reverse("admin:loans_importbatch_progress", args=[batch.pk]) if batch.is_active else "",
            "cancel_url": reverse("admin:loans_importbatch_cancel", args=[batch.pk])
            if batch.is_active and not batch.cancel_requested and imports
            else "",
            "again_url": reverse("admin:loans_importupload_change", args=[upload.pk]) if upload and not batch.is_active else "",
            "undoing": undo.undoing(batch) if imports and batch.state == RunState.DONE and batch.undone_at is None and not active else None,
            "undo_run": undo_run,
            "undo_tone": RUN_TONES[undo_run.state] if undo_run else "",
            "undo_percent": round(100 * undo_run.share_done) if undo_run else 0,
            "undo_progress_url": reverse("admin:loans_importbatch_undo_progress", args=[batch.pk]) if active else "",
            "undo_cancel_url": reverse("admin:loans_importbatch_undo_cancel", args=[batch.pk])
            if active and not undo_run.cancel_requested and imports
            else "",
            "undo_url": reverse("admin:loans_importbatch_undo", args=[batch.pk]),
            "most_at_once": undo.AT_ONCE,
            "asks_undo": asks_undo,
            "errors": errors,
            "errors_url": reverse("admin:loans_importbatch_errors", args=[batch.pk]),
            "errors_kept": KEPT_PROBLEMS,
            "quality": quality_page(batch.quality),
            "may_see_errors": may_see,
            "counts": [
                (_("Rows read"), batch.rows_read, ""),
                (_("Loaded"), batch.rows_loaded, "success"),
                (_("Already here"), batch.rows_unchanged, ""),
                (_("Rejected"), batch.rows_rejected, "danger" if batch.rows_rejected else ""),
            ],
        }
        return self.render(request, "admin/loans/importbatch/page.html", context)

    @post_only
    def undo_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Asked first, with what it would take out; done where `sure` is sent."""
        batch = self.seen_or_refused(request, str(object_id), IMPORTS)
        if batch is None:
            return self.gone(request, str(object_id))
        if "sure" not in request.POST:
            return self._page(request, batch, asks_undo=True)
        try:
            if batch.applications.count() > undo.AT_ONCE:
                undo_runs.start(batch, by=request.user)
                return self.told(
                    request, batch, _("A worker undoes it. Until it is done it can be cancelled, and then all stays as it is.")
                )
            gone = undo.undo(batch, by=request.user)
        except undo.NotUndoable as refusal:
            return self.told(request, batch, str(refusal), messages.ERROR)
        text = _("Undone: %(applications)s applications are taken out, with all that was made of them.")
        return self.told(request, batch, text % {"applications": whole(gone)})

    def undo_progress_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        batch = self.seen_or_refused(request, str(object_id))
        return self.progress_of(batch and batch.undos.first())

    @post_only
    def undo_cancel_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        batch = self.seen_or_refused(request, str(object_id), IMPORTS)
        if batch is None:
            return self.gone(request, str(object_id))
        run = undo_runs.of(batch)
        if run is None or not run.is_active:
            return self.told(request, batch, _("It is over; there is nothing to cancel."), messages.WARNING)
        undo_runs.cancel(run)
        audit.record("import.undo_cancelled", actor=request.user, subject=batch)
        return self.told(request, batch, _("Asked to stop. All that was imported stays."))

    @display(description=gettext_lazy("State"))
    def state_shown(self, obj: ImportBatch) -> SafeString:
        if obj.undone_at is not None:
            return badge(_("Undone"), "default")
        text = f"{obj.get_state_display()} {percent(obj.share_done, 0)}" if obj.state == "running" else obj.get_state_display()
        return badge(text, RUN_TONES[obj.state])

    @display(description=gettext_lazy("Rejected"), ordering="rows_rejected")
    def rejected(self, obj: ImportBatch) -> SafeString:
        return format_html('<span class="{}">{}</span>', "ld-late" if obj.rows_rejected else "", obj.rows_rejected)
