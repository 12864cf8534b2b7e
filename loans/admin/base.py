"""What our admin pages share: lists that never count a whole table, pages that only read, views that only listen to POST."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

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
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.views import ChangeList

from loans.admin import exports
from loans.queries import keyset
from loans.queries.inbox import MOST_COUNTED, Emptiness
from loans.queries.words import moment_of, whole
from loans.services import audit


class BoundedPaginator(Paginator):
    """Counts no further than MOST_COUNTED, and only where a list begins: further pages go by position and need no count."""

    template_name = "loans/pagination.html"
    number = 1
    more = False
    shown = 0
    start = 0
    counted = True

    @cached_property
    def count(self) -> int:
        if not self.counted:
            return MOST_COUNTED + 1
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
        self.number, self.more, self.shown, self.start = number, len(rows) > self.per_page, min(len(rows), self.per_page), start
        return self._get_page(rows[: self.per_page], number, self)

    @property
    def in_words(self) -> str:
        if not self.counted:
            return f"{whole(self.start + 1)}–{whole(self.start + self.shown)}" if self.shown else "none"
        if self.count <= self.per_page:
            return whole(self.count)
        total = f"more than {whole(MOST_COUNTED)}" if self.beyond else whole(self.count)
        return f"{whole(self.start + 1)}–{whole(self.start + self.shown)} of {total}"


class DeskChangeList(ChangeList):
    """Goes by position where the list's order allows it (`loans.queries.keyset`), by page number where it does not."""

    emptiness: Emptiness | None = None
    synthetic = False
    next_page = previous_page = ""

    def get_results(self, request: HttpRequest) -> None:
        keys = keyset.keys_of(self.queryset)
        if keys is None:
            self._by_number(request)
        else:
            self._by_position(request, keys)
        # Where the two differ, unfold's header offers to "show all", which would count and clear in one click.
        self.full_result_count = self.result_count
        self.result_list = list(self.result_list)
        marks = {self.model_admin.is_synthetic(row) for row in self.result_list}
        self.synthetic = True in marks
        for row in self.result_list:
            # Where all rows are made up, the banner above the list says it once for all.
            row.marked = len(marks) > 1 and self.model_admin.is_synthetic(row)
        if not self.result_list:
            self.emptiness = self.model_admin.emptiness(request, self)

    def _by_number(self, request: HttpRequest) -> None:
        super().get_results(request)
        paginator = self.paginator
        self.next_page = self._at({"p": paginator.number + 1}) if paginator.more else ""
        self.previous_page = self._at({"p": paginator.number - 1}) if paginator.number > 1 else ""

    def _by_position(self, request: HttpRequest, keys: list[keyset.Key]) -> None:
        size = self.list_per_page
        cursor = self._cursor(request, keys)
        found = keyset.page(self.queryset, keys, cursor, size)
        backward = cursor is not None and cursor.direction == keyset.BACKWARD
        if backward and len(found.rows) < size:
            # The way back ends here: the first page, whole.
            cursor, backward = None, False
            found = keyset.page(self.queryset, keys, None, size)
        start = 0 if cursor is None else max(cursor.start - size, 0) if backward else cursor.start
        paginator = self.paginator = self.model_admin.get_paginator(request, self.queryset, size)
        paginator.counted = cursor is None
        if cursor is None and not found.more:
            paginator.count = len(found.rows)
        paginator.start, paginator.shown, paginator.more = start, len(found.rows), found.more or backward
        # Of this page alone: "select all" would otherwise offer what nobody has looked at.
        self.result_list, self.result_count = found.rows, len(found.rows)
        self.can_show_all, self.multi_page, self.show_full_result_count = False, False, False
        if found.rows and (found.more or backward):
            after = keyset.Cursor(keyset.FORWARD, keyset.position(found.rows[-1], keys), start + len(found.rows))
            self.next_page = self._at({keyset.FORWARD: after.encode()})
        if found.rows and (found.more if backward else cursor is not None):
            before = keyset.Cursor(keyset.BACKWARD, keyset.position(found.rows[0], keys), start)
            self.previous_page = self._at({keyset.BACKWARD: before.encode()})

    def _cursor(self, request: HttpRequest, keys: list[keyset.Key]) -> keyset.Cursor | None:
        for direction in (keyset.FORWARD, keyset.BACKWARD):
            cursor = keyset.decode(request.GET.get(direction, ""), direction, self.model, keys)
            if cursor is not None:
                return cursor
        return None

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        # Where a page begins is no filter.
        found = super().get_filters_params(params)
        return {name: value for name, value in found.items() if name not in (keyset.FORWARD, keyset.BACKWARD)}

    def get_query_string(self, new_params: dict[str, Any] | None = None, remove: list[str] | None = None) -> str:
        # Another filter, search or order begins at its first page.
        return super().get_query_string(new_params, [*(remove or []), keyset.FORWARD, keyset.BACKWARD])

    @property
    def exports(self) -> list[tuple[str, str]]:
        """(kind, link) of this list as a file."""
        query = self.get_query_string()
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_export"
        return [(kind.upper(), reverse(name, args=[kind]) + query) for kind in exports.KINDS]

    def _at(self, params: dict[str, Any]) -> str:
        kept = {name: value for name, value in self.params.items() if name not in (keyset.FORWARD, keyset.BACKWARD, "p")}
        return f"?{urlencode(sorted((kept | params).items()), doseq=True)}"


class DeskAdmin(ModelAdmin):
    """Subclasses may set `empty_title` and `empty_text`: what an empty list says, and what to do about it."""

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = ShowFacets.NEVER  # they count the table once a choice
    list_per_page = 50
    list_filter_submit = True
    actions = None
    compressed_fields = True
    empty_title = _("Nothing here yet")
    empty_text = _("")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return DeskChangeList

    def is_synthetic(self, row: Any) -> bool:
        return False

    def emptiness(self, request: HttpRequest, changelist: ChangeList) -> Emptiness:
        if changelist.query or changelist.has_active_filters:
            return Emptiness(
                gettext("Nothing matches"),
                gettext("Nothing matches this search and these filters."),
                "?",
                gettext("Clear search and filters"),
            )
        return Emptiness(self.empty_title, self.empty_text)

    @display(description=_("When"), ordering="pk")
    def created(self, obj: Any) -> SafeString:
        return format_html('<span class="ld-number">{}</span>', moment_of(obj.created_at))

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self._audit(request, "added", obj, message)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self._audit(request, "changed", obj, message)
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        for obj in queryset:
            self._audit(request, "deleted", obj, [])
        return super().log_deletions(request, queryset)

    def _audit(self, request: HttpRequest, done: str, obj: Any, message: Any) -> None:
        """What the admin's own forms do. A message in words comes from a view of ours, whose service records the deed itself."""
        if isinstance(message, str):
            return
        names = [name for each in message for name in each.get("changed", {}).get("fields", [])]
        audit.record(f"{obj._meta.model_name}.{done}", actor=request.user, subject=obj, **({"fields": names} if names else {}))

    def custom_paths(self) -> list[URLPattern]:
        """Further views, made with `self.at`."""
        return []

    def at(self, route: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
        return path(route, self.admin_site.admin_view(view), name=f"{self.opts.app_label}_{self.opts.model_name}_{name}")

    def get_urls(self) -> list[URLPattern]:
        return [*self.custom_paths(), self.at("export/<str:kind>/", self.export_view, "export"), *super().get_urls()]

    def export_view(self, request: HttpRequest, kind: str) -> HttpResponse:
        """The list as a file, for whoever may see the list."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return exports.export(self, request, kind)

    def page_of(self, obj: Any) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[obj.pk])

    def the_list(self) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")

    def render(self, request: HttpRequest, template: str, context: dict[str, Any]) -> TemplateResponse:
        """A page of our own in unfold's frame."""
        request.current_app = self.admin_site.name
        trail = self.audit_trail(request, context.get("original"))
        return TemplateResponse(
            request, template, {**self.admin_site.each_context(request), "opts": self.opts, "audit_url": trail, **context}
        )

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, obj: Any = None, **kwargs: Any) -> HttpResponse:
        return super().render_change_form(request, {**context, "audit_url": self.audit_trail(request, obj)}, *args, obj=obj, **kwargs)

    def audit_trail(self, request: HttpRequest, obj: Any) -> str:
        """Where the audit events about this object are listed, for those who may read them."""
        if obj is None or not request.user.has_perm("loans.view_auditevent"):
            return ""
        address = reverse("admin:loans_auditevent_changelist")
        return f"{address}?{urlencode({'subject': f'{obj._meta.model_name}:{obj.pk}'})}"

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
        return self.progress_of(self.seen_or_refused(request, object_id))

    def progress_of(self, run: Any) -> HttpResponse:
        if run is None:
            return JsonResponse({"detail": gettext("Not found.")}, status=404)
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
STANDING = {"ok": (_("As it was"), "success"), "off": (_("Needs a look"), "danger"), "unwatched": (_("Not watched"), "warning")}
"""How a model stands under monitoring: words and tone of a badge."""
