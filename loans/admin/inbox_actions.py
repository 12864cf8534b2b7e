"""What an officer does to applications from the list: take one or give it back, score or assign many, keep a search as a view."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlencode

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action

from loans.admin.base import post_only
from loans.models import LoanApplication, SavedView
from loans.models.inbox_run import MOST_AT_ONCE, InboxAction
from loans.queries import officers
from loans.services import assigning, inbox_runs

MOST_VIEWS = 20
NOT_IN_A_VIEW = ("p", "after", "before", "_changelist_filters", "e")


class InboxActions:
    """For the admin of applications."""

    actions = ("claim_selected", "score_selected", "assign_selected", "release_selected")

    @staticmethod
    def ticks(user: Any) -> bool:
        """Whether the list has boxes to tick for this reader."""
        return user.has_perm(inbox_runs.DECIDES) or user.has_perm(inbox_runs.ASSIGNS)

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(inbox_runs.DECIDES)

    def has_assign_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(inbox_runs.ASSIGNS)

    def action_paths(self) -> list[URLPattern]:
        return [
            self.at("assign/", self.assign_view, "assign"),
            self.at("views/", self.views_view, "views"),
            self.at("<int:object_id>/claim/", self.claim_view, "claim"),
        ]

    # --- one ----------------------------------------------------------------------------------------------------------------

    def claim_of(self, request: HttpRequest, application: LoanApplication) -> dict[str, Any] | None:
        """Who has it, and what this reader may do about that."""
        if not request.user.has_perm(inbox_runs.DECIDES) or not application.is_undecided:
            return None
        url = reverse("admin:loans_loanapplication_claim", args=[application.pk])
        if application.assigned_to_id is None:
            return {"url": url, "text": _("Nobody has it."), "step": "claim", "label": _("Take it")}
        if application.assigned_to_id == request.user.pk:
            return {"url": url, "text": _("You have it."), "step": "release", "label": _("Give it back")}
        who = application.assigned_to.get_full_name() or application.assigned_to.get_username()
        may = request.user.has_perm(inbox_runs.ASSIGNS)
        return {"url": url, "text": _("%(who)s has it.") % {"who": who}, "step": "release" if may else "", "label": _("Give it back")}

    @post_only
    def claim_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        application = self.seen_or_refused(request, str(object_id), inbox_runs.DECIDES)
        if application is None:
            return self.gone(request, str(object_id))
        try:
            if request.POST.get("step") == "release":
                assigning.release(application.pk, by=request.user, anybodys=request.user.has_perm(inbox_runs.ASSIGNS))
            else:
                assigning.claim(application.pk, by=request.user)
        except assigning.NotYours as problem:
            self.message_user(request, str(problem), messages.WARNING)
        # Given back, it may be out of scope.
        seen = LoanApplication.objects.visible_to(request.user).filter(pk=application.pk).exists()
        return HttpResponseRedirect(self.address(request, application) if seen else self.the_list())

    # --- many ---------------------------------------------------------------------------------------------------------------

    @action(description=_("Take them"), permissions=["decide"])
    def claim_selected(self, request: HttpRequest, queryset: QuerySet) -> None:
        got, missed = 0, []
        for pk, reference in queryset.order_by("pk").values_list("pk", "external_reference")[: self.list_per_page]:
            try:
                assigning.claim(pk, by=request.user)
                got += 1
            except assigning.NotYours as problem:
                missed.append(f"{reference}: {problem}")
        if got:
            self.message_user(request, gettext("You have %(got)s of them now.") % {"got": got})
        if missed:
            more = f" And {len(missed) - 5} more." if len(missed) > 5 else ""
            self.message_user(request, " ".join(missed[:5]) + more, messages.WARNING)

    @action(description=_("Score again"), permissions=["decide"])
    def score_selected(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        return self._start(request, queryset, InboxAction.SCORE)

    @action(description=_("Give back to the pool"), permissions=["assign"])
    def release_selected(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        return self._start(request, queryset, InboxAction.RELEASE)

    @action(description=_("Assign to…"), permissions=["assign"])
    def assign_selected(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse:
        ids = list(queryset.order_by("pk").values_list("pk", flat=True)[: MOST_AT_ONCE + 1])
        context = {
            "title": _("Assign"),
            "ids": ids,
            "many": len(ids),
            "people": officers.officers(),
            "name": ACTION_CHECKBOX_NAME,
            "url": reverse("admin:loans_loanapplication_assign"),
            "list_url": self.the_list(),
        }
        return self.render(request, "admin/loans/loanapplication/assign.html", context)

    @post_only
    def assign_view(self, request: HttpRequest) -> HttpResponse:
        if not request.user.has_perm(inbox_runs.ASSIGNS):
            raise PermissionDenied
        sent = [int(pk) for pk in request.POST.getlist(ACTION_CHECKBOX_NAME)[: MOST_AT_ONCE + 1] if pk.isdecimal() and len(pk) < 19]
        chosen = request.POST.get("officer", "")
        officer = officers.officer(int(chosen)) if chosen.isdecimal() and len(chosen) < 19 else None
        queryset = self.get_queryset(request).filter(pk__in=sent)
        return self._start(request, queryset, InboxAction.ASSIGN, officer) or HttpResponseRedirect(self.the_list())

    def _start(self, request: HttpRequest, queryset: QuerySet, wanted: str, officer: Any = None) -> HttpResponse | None:
        try:
            run = inbox_runs.start(queryset, action=wanted, by=request.user, assignee=officer)
        except inbox_runs.RunRefused as refusal:
            self.message_user(request, str(refusal), messages.ERROR)
            return None
        return HttpResponseRedirect(reverse("admin:loans_inboxrun_change", args=[run.pk]))

    # --- views --------------------------------------------------------------------------------------------------------------

    def saved_views(self, request: HttpRequest) -> dict[str, Any]:
        """The reader's own searches, which of them this is, and what would be kept."""
        present = _query(request.GET.urlencode())
        rows = list(SavedView.objects.filter(user=request.user)[:MOST_VIEWS])
        current = next((row for row in rows if row.query == present), None)
        return {
            "saved_views": [{"name": row.name, "url": f"?{row.query}", "current": row is current} for row in rows],
            "saved_current": current,
            "may_save": bool(present) and len(rows) < MOST_VIEWS,
            "present_query": present,
            "save_url": reverse("admin:loans_loanapplication_views"),
        }

    @post_only
    def views_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        forget = request.POST.get("forget", "")
        if forget:
            if forget.isdecimal() and len(forget) < 19:
                SavedView.objects.filter(user=request.user, pk=int(forget)).delete()
            return HttpResponseRedirect(self.the_list())
        name, query = " ".join(request.POST.get("name", "").split())[:60], _query(request.POST.get("query", ""))
        if not name or not query:
            self.message_user(request, _("A view needs a name, and a search or filter to keep."), messages.ERROR)
        elif SavedView.objects.filter(user=request.user).count() >= MOST_VIEWS:
            self.message_user(request, _("You keep as many views as there may be; forget one first."), messages.ERROR)
        else:
            try:
                with transaction.atomic():
                    SavedView.objects.create(user=request.user, name=name, query=query)
            except IntegrityError:
                self.message_user(request, _("You have a view of that name; forget it first."), messages.ERROR)
        return HttpResponseRedirect(f"{self.the_list()}?{query}")


def _query(text: str) -> str:
    """A query string without what only says where one is, in one order; empty where it is too long to keep."""
    kept = sorted((name, value) for name, value in parse_qsl(text[:4000]) if name not in NOT_IN_A_VIEW)
    query = urlencode(kept)
    return query if len(query) <= 2000 else ""
