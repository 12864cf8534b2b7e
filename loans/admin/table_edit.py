"""Edits of a model's tables: the form that proposes one, and the page on which a second person decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from loans.admin.base import DeskAdmin, ReadOnly, badge, post_only
from loans.models import ModelVersion, TableEdit
from loans.queries.model_page import SYNTHETIC
from loans.queries.table_edit import edit_page
from loans.queries.words import whole
from loans.services import model_tables, table_edits

TONES = {"proposed": "info", "approved": "success", "rejected": "danger", "withdrawn": "default"}


@admin.register(TableEdit)
class TableEditAdmin(ReadOnly, DeskAdmin):
    list_display = ("edit_shown", "state_shown", "cells_shown", "reason", "proposed_by", "decided_by", "result", "created")
    list_filter = ("state",)
    list_filter_submit = False
    empty_title = _("No edits of tables")
    empty_text = _(
        "A model owner proposes one from a version's tables; a second person decides. The edited version is promoted as any other."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        found = super().get_queryset(request).select_related("base", "result", "proposed_by", "decided_by")
        return found.defer("base__report", "result__report", "effect")

    def custom_paths(self) -> list[URLPattern]:
        return [
            self.at("propose/<int:version_id>/", self.propose_view, "propose"),
            self.at("<int:object_id>/approve/", self.approve_view, "approve"),
            self.at("<int:object_id>/reject/", self.reject_view, "reject"),
            self.at("<int:object_id>/withdraw/", self.withdraw_view, "withdraw"),
        ]

    def propose_view(self, request: HttpRequest, version_id: int) -> HttpResponse:
        """GET: one table (`?table=3-7`) as a form. POST: the proposal, which changes nothing that scores."""
        from mlcore.artifacts import ArtifactError

        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        if not (request.user.has_perm(table_edits.PROPOSES) and request.user.has_perm("loans.view_modelversion")):
            raise PermissionDenied
        version = ModelVersion.objects.filter(pk=version_id).first()
        if version is None:
            return HttpResponseRedirect(reverse("admin:loans_modelversion_changelist"))
        given = request.POST if request.method == "POST" else request.GET
        key = given.get("table", "")
        unit = given.get("unit", "") if given.get("unit") in model_tables.UNITS else model_tables.LOG_ODDS
        posted, problem = {}, ""
        try:
            if request.method == "POST":
                posted = {name: value[:40] for name, value in request.POST.items() if name.startswith("c-")}
                try:
                    wanted = [table_edits.Wanted(*cell) for cell in model_tables.read_form(version, key, unit, posted)]
                    if not wanted:
                        raise table_edits.EditRefused(gettext("No cell is changed: write a new value into at least one."))
                    edit = table_edits.propose(
                        version, wanted, reason=request.POST.get("reason", ""), keep_level="keep_level" in request.POST, by=request.user
                    )
                except (table_edits.EditRefused, ValueError) as refusal:
                    problem = str(refusal)
                else:
                    text = gettext("Proposed. Below is what it does; a second person has to decide, and nothing changes until then.")
                    return self.told(request, edit, text)
            table = model_tables.editable(version, key, unit, posted)
        except (model_tables.NoTables, ArtifactError, OSError) as refusal:
            self.message_user(request, str(refusal), messages.ERROR)
            return HttpResponseRedirect(reverse("admin:loans_modelversion_tables", args=[version.pk]))
        here = f"{reverse('admin:loans_tableedit_propose', args=[version.pk])}?table={table.key}"
        context = {
            "title": f"Edit a table: {table.title}",
            "version": version,
            "table": table,
            "units": [(unit, f"{here}&unit={unit}", unit == table.unit) for unit in model_tables.UNITS],
            "problem": problem,
            "reason": request.POST.get("reason", "")[:1000],
            "keep_level": request.method != "POST" or "keep_level" in request.POST,
            "tables_url": reverse("admin:loans_modelversion_tables", args=[version.pk]),
            "synthetic": SYNTHETIC if version.synthetic else "",
        }
        return self.render(request, "admin/loans/tableedit/propose.html", context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        edit = self.seen_or_refused(request, object_id)
        if edit is None:
            return self.gone(request, object_id)
        return self._page(request, edit)

    @post_only
    def approve_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        return self._decide(
            request, object_id, table_edits.approve, gettext("Approved: {result} is a candidate now, to be promoted as any other.")
        )

    @post_only
    def reject_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        return self._decide(request, object_id, table_edits.reject, "Rejected.")

    @post_only
    def withdraw_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        edit = self.seen_or_refused(request, str(object_id), table_edits.PROPOSES)
        if edit is None:
            return self.gone(request, str(object_id))
        try:
            edit = table_edits.withdraw(edit, by=request.user)
        except table_edits.EditRefused as refusal:
            return self.told(request, edit, str(refusal), messages.ERROR)
        return self.told(request, edit, "Withdrawn.")

    def _decide(self, request: HttpRequest, object_id: int, decide: Callable[..., TableEdit], text: str) -> HttpResponse:
        from mlcore.artifacts import ArtifactError

        edit = self.seen_or_refused(request, str(object_id), table_edits.DECIDES)
        if edit is None:
            return self.gone(request, str(object_id))
        reason = request.POST.get("reason", "")
        try:
            edit = decide(edit, reason=reason, by=request.user)
        except (table_edits.EditRefused, ArtifactError, OSError) as refusal:
            return self._page(request, edit, reason=reason[:1000], problem=str(refusal))
        return self.told(request, edit, text.format(result=edit.result))

    def _page(self, request: HttpRequest, edit: TableEdit, *, reason: str = "", problem: str = "") -> HttpResponse:
        def to(name: str, allowed: bool) -> str:
            return reverse(f"admin:loans_tableedit_{name}", args=[edit.pk]) if allowed else ""

        may = table_edits.may_decide(edit, request.user)
        context = {
            "title": str(edit),
            "original": edit,
            "edit": edit,
            "page": edit_page(edit),
            "tone": TONES[edit.state],
            "approve_url": to("approve", may),
            "reject_url": to("reject", may),
            "withdraw_url": to("withdraw", edit.waits and edit.is_proposer(request.user)),
            "base_url": reverse("admin:loans_modelversion_change", args=[edit.base_id]),
            "result_url": reverse("admin:loans_modelversion_change", args=[edit.result_id]) if edit.result_id else "",
            "synthetic": SYNTHETIC if edit.base.synthetic else "",
            "reason": reason,
            "problem": problem,
        }
        return self.render(request, "admin/loans/tableedit/page.html", context)

    @display(description=_("Edit"))
    def edit_shown(self, obj: TableEdit) -> str:
        return str(obj)

    @display(description=_("State"))
    def state_shown(self, obj: TableEdit) -> SafeString:
        return badge(obj.get_state_display(), TONES[obj.state])

    @display(description=_("Cells"))
    def cells_shown(self, obj: TableEdit) -> str:
        tables = list(dict.fromkeys(str(cell.get("table")) for cell in obj.cells))
        return f"{whole(len(obj.cells))} in {', '.join(tables[:2])}" + (f" and {len(tables) - 2} more" if len(tables) > 2 else "")
