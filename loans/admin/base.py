"""What our admin pages share: lists that never count a whole table, pages that only read, views that only listen to POST."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.core.exceptions import PermissionDenied
from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.views import ChangeList

from loans.queries.inbox import MOST_COUNTED, Emptiness


class BoundedPaginator(Paginator):
    """Counts no further than MOST_COUNTED; pages beyond are still reached, since each looks one row ahead for its successor."""

    template_name = "loans/pagination.html"
    number = 1
    more = False
    shown = 0

    @cached_property
    def count(self) -> int:
        return self.object_list.order_by()[: MOST_COUNTED + 1].count()

    @property
    def beyond(self) -> bool:
        return self.count > MOST_COUNTED

    @cached_property
    def num_pages(self) -> int:
        return 10**6 if self.beyond else super().num_pages

    def page(self, number: int | str) -> Page:
        number = self.validate_number(number)
        start = (number - 1) * self.per_page
        rows = list(self.object_list[start : start + self.per_page + 1])
        self.number, self.more, self.shown = number, len(rows) > self.per_page, min(len(rows), self.per_page)
        return self._get_page(rows[: self.per_page], number, self)

    @property
    def in_words(self) -> str:
        if self.count <= self.per_page:
            return f"{self.count:,}"
        start = (self.number - 1) * self.per_page
        total = f"more than {MOST_COUNTED:,}" if self.beyond else f"{self.count:,}"
        return f"{start + 1:,}–{start + self.shown:,} of {total}"


class DeskChangeList(ChangeList):
    emptiness: Emptiness | None = None
    synthetic = False

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        # Where the two differ, unfold's header offers to "show all", which would count and clear in one click.
        self.full_result_count = self.result_count
        self.result_list = list(self.result_list)
        marks = {self.model_admin.is_synthetic(row) for row in self.result_list}
        self.synthetic = True in marks
        for row in self.result_list:
            # Where all rows are made up, the banner above the list says it once for all.
            row.marked = len(marks) > 1 and self.model_admin.is_synthetic(row)
        if not self.result_count:
            self.emptiness = self.model_admin.emptiness(request, self)

    @property
    def next_page(self) -> str:
        return self.get_query_string({"p": self.paginator.number + 1}) if self.paginator.more else ""

    @property
    def previous_page(self) -> str:
        return self.get_query_string({"p": self.paginator.number - 1}) if self.paginator.number > 1 else ""


class DeskAdmin(ModelAdmin):
    """Subclasses may set `empty_title` and `empty_text`: what an empty list says, and what to do about it."""

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = ShowFacets.NEVER  # they count the table once a choice
    list_per_page = 50
    list_filter_submit = True
    actions = None
    compressed_fields = True
    empty_title = "Nothing here yet"
    empty_text = ""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return DeskChangeList

    def is_synthetic(self, row: Any) -> bool:
        return False

    def emptiness(self, request: HttpRequest, changelist: ChangeList) -> Emptiness:
        if changelist.query or changelist.has_active_filters:
            return Emptiness("Nothing matches", "Nothing matches this search and these filters.", "?", "Clear search and filters")
        return Emptiness(self.empty_title, self.empty_text)

    @display(description="When", ordering="pk")
    def created(self, obj: Any) -> SafeString:
        return format_html('<span class="ld-number">{}</span>', f"{obj.created_at:%Y-%m-%d %H:%M}")

    def custom_paths(self) -> list[URLPattern]:
        """Further views, made with `self.at`."""
        return []

    def at(self, route: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
        return path(route, self.admin_site.admin_view(view), name=f"{self.opts.app_label}_{self.opts.model_name}_{name}")

    def get_urls(self) -> list[URLPattern]:
        return self.custom_paths() + super().get_urls()

    def page_of(self, obj: Any) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[obj.pk])

    def the_list(self) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")

    def render(self, request: HttpRequest, template: str, context: dict[str, Any]) -> TemplateResponse:
        """A page of our own in unfold's frame."""
        request.current_app = self.admin_site.name
        return TemplateResponse(request, template, {**self.admin_site.each_context(request), "opts": self.opts, **context})

    def seen_or_refused(self, request: HttpRequest, object_id: str, permission: str | None = None) -> Any:
        """The object, if this person may see it (and has `permission`); None where there is none in his scope. Raises PermissionDenied."""
        if permission is not None and not request.user.has_perm(permission):
            raise PermissionDenied
        obj = self.get_object(request, object_id)
        if not self.has_view_permission(request, obj):
            raise PermissionDenied
        return obj

    def gone(self, request: HttpRequest, object_id: str) -> HttpResponseRedirect:
        return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)

    def told(self, request: HttpRequest, obj: Any, text: str | SafeString, level: int = messages.SUCCESS) -> HttpResponseRedirect:
        """Back to the object's page with a message."""
        self.message_user(request, text, level)
        return HttpResponseRedirect(self.page_of(obj))


class ReadOnly:
    """Nobody adds, changes or deletes here, superusers included: these rows are written by services only."""

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def post_only(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A change of state listens to POST alone: links, prefetchers and images must not decide or train anything."""

    @wraps(view)
    def only(self: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        return view(self, request, *args, **kwargs)

    return only


def badge(text: str, tone: str = "default") -> SafeString:
    return format_html('<span class="ld-badge ld-{}">{}</span>', tone, text)


def grade_badge(grade: str) -> SafeString:
    return (
        format_html('<span class="ld-grade ld-grade-{}" title="Grade {}">{}</span>', grade or "none", grade, grade)
        if grade
        else SafeString("")
    )


class Progressing:
    """For admins of long jobs: a JSON view that the page's script asks every second. Without the script, loading again does as well."""

    def progress_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        run = self.seen_or_refused(request, object_id)
        if run is None:
            return JsonResponse({"detail": "Not found."}, status=404)
        response = JsonResponse(
            {
                "state": run.state,
                "label": run.get_state_display(),
                "active": run.is_active,
                "percent": round(100 * run.share_done),
                "step": run.step,
                "cancelling": run.is_active and run.cancel_requested,
            }
        )
        response["Cache-Control"] = "no-store"
        return response


RUN_TONES = {"queued": "info", "running": "primary", "done": "success", "failed": "danger", "cancelled": "default"}
