"""The import wizard: a file comes in, its columns are settled, its first rows are looked at, and a worker takes it from there."""

from __future__ import annotations

import json
import tomllib
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.defaultfilters import filesizeformat
from django.urls import URLPattern, reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from loans.admin.base import DeskAdmin, ReadOnly, badge, post_only
from loans.models import Branch, ImportBatch, ImportUpload, RunState
from loans.models.attribute import DIRECTIONS, KINDS
from loans.queries.words import percent, whole
from loans.services.imports import sheet, stored
from loans.services.imports.problems import ImportProblem

IMPORTS = "loans.add_importbatch"
MOST_TEXT = 1_000_000
MOST_CELL = 300
STEPS = ("File", "Columns", "Preview", "Import")


@admin.register(ImportUpload)
class ImportUploadAdmin(ReadOnly, DeskAdmin):
    """Everybody's own: nobody else sees what waits here, whatever his role."""

    list_display = ("file_name", "size_shown", "state_shown", "mapping_from", "created")
    list_select_related = ("batch",)
    list_before_template = "loans/start_import.html"
    empty_title = _("No file waits")
    empty_text = _("Bring one with “Import a file”. It waits here until it is imported, discarded or too old.")

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return request.user.has_perm(IMPORTS)

    def has_view_permission(self, request: HttpRequest, obj: ImportUpload | None = None) -> bool:
        return request.user.has_perm(IMPORTS)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(IMPORTS)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).filter(uploaded_by=request.user)

    def custom_paths(self) -> list[URLPattern]:
        return [
            self.at("<int:object_id>/mapping/", self.mapping_view, "mapping"),
            self.at("<int:object_id>/preview/", self.preview_view, "preview"),
            self.at("<int:object_id>/start/", self.start_view, "start"),
            self.at("<int:object_id>/discard/", self.discard_view, "discard"),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"import_url": upload_url(request), **(extra_context or {})})

    # --- 1: the file ------------------------------------------------------------------------------------------------------

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """GET: the form. POST: the file, looked at and kept; what can't be imported is told and not kept."""
        from loans.services.imports import uploads

        if not self.has_add_permission(request):
            raise PermissionDenied
        problem = ""
        if request.method == "POST":
            file = request.FILES.get("file")
            try:
                if getattr(request, "upload_too_large", ""):
                    raise ImportProblem(stored.too_large(request.upload_too_large))
                if file is None:
                    raise ImportProblem(gettext("Choose a file first."))
                upload = uploads.store(file.chunks(), file_name=file.name or "file", by=request.user)
                return HttpResponseRedirect(self.page_of(upload))
            except uploads.HereAlready as here:
                return self.told(request, here.upload, str(here), messages.WARNING)
            except ImportProblem as refusal:
                problem = str(refusal)
        context = {
            **self._step(0),
            "title": gettext("Import a file"),
            "problem": problem,
            "most": f"{whole(settings.IMPORT_MAX_BYTES / 1e6)} MB",
            "hours": settings.IMPORT_KEEP_HOURS,
            "waiting": self.get_queryset(request)[:20],
        }
        return self.render(request, "admin/loans/importupload/file.html", context)

    # --- 2: what its columns mean -----------------------------------------------------------------------------------------

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        upload = self.seen_or_refused(request, object_id)
        if upload is None:
            return self.gone(request, object_id)
        if upload.is_busy:
            return HttpResponseRedirect(reverse("admin:loans_importbatch_change", args=[upload.batch_id]))
        return self._columns_page(request, upload, upload.mapping)

    @post_only
    def mapping_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """The corrected lines, a known mapping, or the mapping's own text; `then=preview` goes on where all is well."""
        from loans.services.imports import uploads

        upload = self.seen_or_refused(request, str(object_id))
        if upload is None:
            return self.gone(request, str(object_id))
        text, source, notes = upload.mapping, upload.mapping_from, []
        try:
            if upload.is_busy:
                raise uploads.UnderWay(upload.batch)
            if request.POST.get("how") == "known":
                text, source = _known(request.POST.get("known", ""))
            elif request.POST.get("how") == "text":
                text, source = request.POST.get("text", "")[:MOST_TEXT].replace("\r\n", "\n"), gettext("Written by hand.")
            else:
                text, notes = _corrected(upload, request.POST)
                source = upload.mapping_from if text == upload.mapping else gettext("Corrected by hand.")
            uploads.use_mapping(upload, text, source=source[:200])
        except ImportProblem as refusal:
            if request.POST.get("how") == "known":
                return self.told(request, upload, str(refusal), messages.ERROR)
            return self._columns_page(request, upload, text, problem=str(refusal), notes=notes)
        for note in notes:
            self.message_user(request, note, messages.WARNING)
        if request.POST.get("then") == "preview" and not notes:
            return HttpResponseRedirect(reverse("admin:loans_importupload_preview", args=[upload.pk]))
        return self.told(request, upload, gettext("The mapping is kept."))

    def _columns_page(
        self, request: HttpRequest, upload: ImportUpload, text: str, *, problem: str = "", notes: list[str] | None = None
    ) -> HttpResponse:
        from loans.services.imports import uploads

        head = json.loads(upload.head)
        try:
            document = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError, ValueError):
            document = tomllib.loads(upload.mapping)
        lines = sheet.lines(document, head["columns"])
        details = {role: needs for _, group in sheet.roles() for role, _, needs in group}
        context = {
            **self._step(1),
            "title": f"Columns of {upload.file_name}",
            "original": upload,
            "upload": upload,
            "lines": [(line, details.get(line.role, ""), _facts(line)) for line in lines],
            "rows": head["rows"],
            "roles": sheet.roles(),
            "units": list(sheet.UNITS.items()),
            "kinds": KINDS,
            "directions": [(str(value), label) for value, label in DIRECTIONS],
            "states": list(sheet.STATES.items()),
            "unsettled": sum(line.to_check for line in lines),
            "known": [(str(place), label) for place, (label, _) in enumerate(uploads.known_mappings())],
            "text": text,
            "text_open": request.POST.get("how") == "text",
            "problem": problem,
            "notes": notes or [],
            "before": self._same_file(request, upload),
            "failed": upload.batch if upload.batch_id else None,
            "mapping_url": reverse("admin:loans_importupload_mapping", args=[upload.pk]),
            "discard_url": reverse("admin:loans_importupload_discard", args=[upload.pk]),
        }
        return self.render(request, "admin/loans/importupload/columns.html", context)

    def _same_file(self, request: HttpRequest, upload: ImportUpload) -> ImportBatch | None:
        """An import of the very same bytes whose rows are still here."""
        same = ImportBatch.objects.filter(sha256=upload.sha256, state=RunState.DONE, undone_at=None)
        return same.order_by("-pk").first()

    # --- 3: what would come of it -----------------------------------------------------------------------------------------

    def preview_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        upload = self.seen_or_refused(request, str(object_id))
        if upload is None:
            return self.gone(request, str(object_id))
        if upload.is_busy:
            return HttpResponseRedirect(reverse("admin:loans_importbatch_change", args=[upload.batch_id]))
        return self._preview_page(request, upload)

    def _preview_page(self, request: HttpRequest, upload: ImportUpload, *, problem: str = "") -> HttpResponse:
        from loans.services.imports.preview import preview

        try:
            page = preview(upload)
        except ImportProblem as refusal:
            return self.told(request, upload, str(refusal), messages.ERROR)
        context = {
            **self._step(2),
            "title": f"Preview of {upload.file_name}",
            "original": upload,
            "upload": upload,
            "page": page,
            "problem": problem,
            "posted": request.POST,
            "branches": Branch.objects.filter(active=True),
            "before": self._same_file(request, upload),
            "columns_url": self.page_of(upload),
            "start_url": reverse("admin:loans_importupload_start", args=[upload.pk]),
        }
        return self.render(request, "admin/loans/importupload/preview.html", context)

    @post_only
    def start_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        from loans.services.imports import uploads

        upload = self.seen_or_refused(request, str(object_id))
        if upload is None:
            return self.gone(request, str(object_id))
        given = request.POST
        branch = Branch.objects.filter(active=True, pk=given["branch"]).first() if given.get("branch", "").isdecimal() else None
        since = {"month": "last-month", "day": given.get("day", "").strip()[:20]}.get(given.get("open", ""), "")
        try:
            if given.get("open") == "day" and not since:
                raise ImportProblem(gettext("Say from which day on applications are undecided."))
            batch = uploads.confirm(upload, by=request.user, strict="strict" in given, open_since=since, branch=branch)
        except uploads.UnderWay as busy:
            self.message_user(request, str(busy), messages.WARNING)
            if busy.batch is None:
                return HttpResponseRedirect(self.the_list())
            batch = busy.batch
        except ImportProblem as refusal:
            return self._preview_page(request, upload, problem=str(refusal))
        return HttpResponseRedirect(reverse("admin:loans_importbatch_change", args=[batch.pk]))

    @post_only
    def discard_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        from loans.services.imports import uploads

        upload = self.seen_or_refused(request, str(object_id))
        if upload is None:
            return self.gone(request, str(object_id))
        try:
            uploads.discard(upload)
        except uploads.UnderWay as busy:
            return self.told(request, upload, str(busy), messages.WARNING)
        self.message_user(request, gettext("%(file_name)s is discarded; nothing of it was kept.") % {"file_name": upload.file_name})
        return HttpResponseRedirect(reverse("admin:loans_importbatch_changelist"))

    def _step(self, at: int) -> dict[str, Any]:
        return {"steps": [(number, name, number == at + 1, number <= at) for number, name in enumerate(STEPS, start=1)]}

    @display(description=_("Size"), ordering="size")
    def size_shown(self, obj: ImportUpload) -> str:
        return filesizeformat(obj.size)

    @display(description=_("State"))
    def state_shown(self, obj: ImportUpload) -> SafeString:
        if obj.batch is None:
            return badge(gettext("Waits for you"), "info")
        return (
            badge(gettext("Being imported"), "primary") if obj.is_busy else badge(f"{obj.batch.get_state_display()}; try again", "warning")
        )


def upload_url(request: HttpRequest) -> str:
    return reverse("admin:loans_importupload_add") if request.user.has_perm(IMPORTS) else ""


def _known(place: str) -> tuple[str, str]:
    """(text, where it comes from) of a mapping chosen from the list. Raises ImportProblem."""
    from loans.services.imports import uploads

    for number, (label, mapping) in enumerate(uploads.known_mappings()):
        if str(number) == place:
            return mapping.text, f"Chosen: {label}."
    raise ImportProblem(gettext("Choose one of the known mappings."))


def _corrected(upload: ImportUpload, posted: Any) -> tuple[str, list[str]]:
    """(the mapping's text with the lines as they were sent, what else that changed)."""
    from loans.services.imports.draft_text import toml_of_document

    document = tomllib.loads(upload.mapping)
    lines = sheet.lines(document, json.loads(upload.head)["columns"])
    found, notes = sheet.corrected(document, lines, [_given(line, posted) for line in lines])
    return (upload.mapping, []) if found == document else (toml_of_document(found), notes)


def _given(line: sheet.Line, posted: Any) -> sheet.Given:
    """What was sent for one line; what was not sent stays as it is."""
    if f"role-{line.number}" not in posted:
        return sheet.given_of(line)

    def of(name: str, old: str) -> str:
        return posted.get(f"{name}-{line.number}", old)[:MOST_CELL].strip()

    return sheet.Given(
        role=of("role", line.role),
        unit=of("unit", line.unit),
        format=of("format", line.format),
        name=of("name", line.name),
        kind=of("kind", line.kind),
        direction=of("direction", line.direction),
        protected=f"protected-{line.number}" in posted,
        why=of("why", line.why),
        meanings={text: of(f"means-{place}", line.meanings[text]) for place, text in enumerate(line.meanings)},
    )


def _facts(line: sheet.Line) -> dict[str, Any]:
    """What the page says of a column besides its choices."""
    return {
        "samples": line.shown_samples(),
        "personal": line.personal,
        "empty": f"{percent(line.empty, 0)} empty" if line.empty >= 0.005 else "",
        "meanings": [(place, text, line.counts.get(text, 0), meaning) for place, (text, meaning) in enumerate(line.meanings.items())],
        "choices": [(choice, choice.replace("_", " ")) for choice in line.choices],
    }
