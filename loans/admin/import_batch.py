"""Files brought in: what was read, what was loaded, and why the rest was not."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from loans.admin.base import RUN_TONES, DeskAdmin, Progressing, ReadOnly, badge
from loans.models import ImportBatch

ERRORS_A_PAGE = 100


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
    search_help_text = "File name"
    empty_title = "Nothing imported yet"
    empty_text = "Bring in your own loans with: manage.py import_loans FILE --mapping NAME"

    def custom_paths(self) -> list[URLPattern]:
        return [self.at("<int:object_id>/progress/", self.progress_view, "progress")]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        batch = self.seen_or_refused(request, object_id)
        if batch is None:
            return self.gone(request, object_id)
        may_see = request.user.has_perm("loans.view_importrowerror")
        errors = Paginator(batch.errors.all(), ERRORS_A_PAGE).get_page(request.GET.get("p")) if may_see else None
        context = {
            "title": str(batch),
            "original": batch,
            "run": batch,
            "tone": RUN_TONES[batch.state],
            "percent": round(100 * batch.share_done),
            "progress_url": reverse("admin:loans_importbatch_progress", args=[batch.pk]) if batch.is_active else "",
            "errors": errors,
            "may_see_errors": may_see,
            "counts": [
                ("Rows read", batch.rows_read, ""),
                ("Loaded", batch.rows_loaded, "success"),
                ("Already here", batch.rows_unchanged, ""),
                ("Rejected", batch.rows_rejected, "danger" if batch.rows_rejected else ""),
            ],
        }
        return self.render(request, "admin/loans/importbatch/page.html", context)

    @display(description="State")
    def state_shown(self, obj: ImportBatch) -> SafeString:
        text = f"{obj.get_state_display()} {obj.share_done:.0%}" if obj.state == "running" else obj.get_state_display()
        return badge(text, RUN_TONES[obj.state])

    @display(description="Rejected", ordering="rows_rejected")
    def rejected(self, obj: ImportBatch) -> SafeString:
        return format_html('<span class="{}">{}</span>', "ld-late" if obj.rows_rejected else "", obj.rows_rejected)
