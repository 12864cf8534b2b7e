"""Any two versions beside each other on any window: a form above the list, a page to print and a table as CSV for each."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import display

from loans.admin import exports
from loans.admin.base import DeskAdmin, ReadOnly, post_only
from loans.admin.chart_card import ChartCard, Charted
from loans.admin.model_charts import calibration_card
from loans.models import ModelComparison, ModelKind, ModelVersion
from loans.queries.comparison import comparison_page, csv_rows
from loans.queries.model_page import SYNTHETIC
from loans.queries.words import whole
from loans.services import comparison

COMPARES = "loans.add_modelcomparison"


@admin.register(ModelComparison)
class ModelComparisonAdmin(Charted, ReadOnly, DeskAdmin):
    list_display = ("pair", "window", "known", "created_by", "created")
    list_before_template = "admin/loans/comparison/form.html"
    empty_title = gettext_lazy("No comparisons yet")
    empty_text = gettext_lazy(
        "Choose two versions above. Both score the same applications anew; nothing that an applicant is told changes."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        found = super().get_queryset(request).select_related("first", "second", "created_by")
        return found.defer("first__report", "second__report")

    def custom_paths(self) -> list[URLPattern]:
        return [
            self.at("compare/", self.compare_view, "compare"),
            self.at("<int:object_id>/table.csv", self.csv_view, "csv"),
            *self.chart_paths(),
        ]

    def chart_cards(self, request: HttpRequest, obj: ModelComparison) -> list[ChartCard]:
        page = comparison_page(obj.result)
        sides = zip(("first", "second"), (page.first, page.second), page.reliability, strict=False)
        return [
            calibration_card(f"calibration-{side}", _("{version}: predicted and observed").format(version=name), curve)
            for side, name, curve in sides
            if curve
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        known = ModelVersion.objects.filter(kind=ModelKind.DEFAULT_RISK).only("kind", "version", "state")
        versions = [(version.pk, f"{version} ({version.get_state_display().lower()})") for version in known]
        # The serving one beside the newest other, where a link does not say otherwise.
        chosen = [str(request.GET.get(name, "")) for name in ("first", "second")]
        context = {
            "compare_url": reverse("admin:loans_modelcomparison_compare") if request.user.has_perm(COMPARES) else "",
            "versions": versions,
            "chosen": chosen,
        }
        # They are the form's, not filters of the list.
        request.GET = request.GET.copy()
        for name in ("first", "second"):
            request.GET.pop(name, None)
        return super().changelist_view(request, context | (extra_context or {}))

    @post_only
    def compare_view(self, request: HttpRequest) -> HttpResponse:
        from mlcore.artifacts import ArtifactError

        if not request.user.has_perm(COMPARES):
            raise PermissionDenied
        try:
            first, second = (ModelVersion.objects.get(pk=int(request.POST.get(name, ""))) for name in ("first", "second"))
            since, until = (_day(request.POST.get(name, "")) for name in ("since", "until"))
            made = comparison.hold_beside(first, second, since=since, until=until, by=request.user)
        except (ValueError, ModelVersion.DoesNotExist):
            problem = _("Choose two versions, and write days as 2026-01-31 or leave them empty.")
        except (comparison.NotComparable, ArtifactError, OSError) as refusal:
            problem = str(refusal)
        else:
            return HttpResponseRedirect(self.page_of(made))
        self.message_user(request, problem, messages.ERROR)
        return HttpResponseRedirect(self.the_list())

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        found = self.seen_or_refused(request, object_id)
        if found is None:
            return self.gone(request, object_id)
        page = comparison_page(found.result)
        context = {
            "title": str(found),
            "original": found,
            "found": found,
            "page": page,
            "cards": self.placed(found, self.chart_cards(request, found)),
            "csv_url": reverse("admin:loans_modelcomparison_csv", args=[found.pk]),
            "list_url": self.the_list(),
            "synthetic": SYNTHETIC if found.first.synthetic or found.second.synthetic else "",
        }
        return self.render(request, "admin/loans/comparison/page.html", context)

    def csv_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        found = self.seen_or_refused(request, str(object_id))
        if found is None:
            return self.gone(request, str(object_id))
        heads, *rows = csv_rows(comparison_page(found.result))
        return exports.table(request, found, "tables", heads, rows)

    @display(description=gettext_lazy("Comparison"), ordering="pk")
    def pair(self, obj: ModelComparison) -> str:
        return str(obj)

    @display(description=gettext_lazy("Window"))
    def window(self, obj: ModelComparison) -> str:
        return f"{obj.since or 'the first'} to {obj.until or 'the last'}"

    @display(description=gettext_lazy("Outcomes known"))
    def known(self, obj: ModelComparison) -> str:
        return whole(obj.result.get("known") or 0)


def _day(text: str) -> date | None:
    """Raises ValueError for what is neither empty nor a day."""
    return date.fromisoformat(text.strip()) if text.strip() else None
