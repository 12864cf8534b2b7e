"""The inbox's filters. None of them asks the table which values it holds: that would read all of it."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import DropdownFilter, RangeDateFilter
from unfold.utils import parse_date_str

from loans.models import Status
from loans.models.application import UNDECIDED
from loans.models.decision import Outcome
from loans.queries import fraud, inbox, officers
from loans.services import deadlines

GRADES = "ABCDEFG"


class ViewFilter(DropdownFilter):
    """Which part of the desk: opens on what is to be decided; a search without a choice looks everywhere."""

    title = _("status")
    parameter_name = "view"
    all_option = None

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        views = [(name, title) for name, (title, _) in inbox.VIEWS.items()]
        return views + [(status.value, f"Only “{status.label.lower()}”") for status in Status]

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        self.default = "all" if request.GET.get("q") else "decide"
        super().__init__(request, *args)

    def value(self) -> str:
        chosen = super().value()
        return chosen if chosen in inbox.VIEWS or chosen in Status.values else self.default

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        name = self.value()
        return inbox.of_view(queryset, name) if name in inbox.VIEWS else queryset.filter(status=name)


class GradeFilter(DropdownFilter):
    title = _("grade")
    parameter_name = "grade"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(letter, letter) for letter in GRADES]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(grade=self.value()) if self.value() else queryset


class BandFilter(DropdownFilter):
    title = _("default probability")
    parameter_name = "band"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, title) for name, (title, _, _) in inbox.BANDS.items()] + [("none", gettext("No score"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        known = self.value() == "none" or self.value() in inbox.BANDS
        return inbox.of_band(queryset, self.value()) if known else queryset


class FlagFilter(DropdownFilter):
    title = _("fraud flag")
    parameter_name = "flag"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        # Who may not see flags learns nothing of them by filtering either.
        return (
            [("open", gettext("Has an open flag")), ("none", gettext("Has none"))] if request.user.has_perm("loans.view_fraudflag") else []
        )

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() not in ("open", "none") or not request.user.has_perm("loans.view_fraudflag"):
            return queryset
        return fraud.with_open_flag(queryset, flagged=self.value() == "open")


class DueFilter(DropdownFilter):
    """By how near the notice's last day is, for what nobody has decided."""

    title = _("notice due")
    parameter_name = "due"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("-1", "Overdue"), ("0", gettext("Today or overdue")), ("7", "Within 7 days")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() not in ("-1", "0", "7"):
            return queryset
        return queryset.filter(submitted_at__lt=deadlines.submitted_before(int(self.value())), status__in=UNDECIDED)


class DaysFilter(RangeDateFilter):
    """From the first day's beginning to the last day's end, in UTC as all times here."""

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        start = parse_date_str(self.used_parameters.get(f"{self.parameter_name}_from") or "")
        end = parse_date_str(self.used_parameters.get(f"{self.parameter_name}_to") or "")
        if start:
            queryset = queryset.filter(**{f"{self.parameter_name}__gte": _midnight(start)})
        if end:
            queryset = queryset.filter(**{f"{self.parameter_name}__lt": _midnight(end + timedelta(days=1))})
        return queryset


class OutcomeFilter(DropdownFilter):
    title = _("outcome")
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(Outcome.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(outcome=self.value()) if self.value() in Outcome.values else queryset


class PersonFilter(DropdownFilter):
    """By one of the desk's people: those who may decide, never every account there is."""

    field = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(user.pk), user.get_full_name() or user.get_username()) for user in officers.officers()]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(**{self.field: int(self.value())}) if (self.value() or "").isdecimal() else queryset


class DecidedByFilter(PersonFilter):
    title = _("officer")
    parameter_name = "officer"
    field = "officer"


class AssigneeFilter(PersonFilter):
    title = _("assigned to")
    parameter_name = "assigned"
    field = "assigned_to"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("me", "Me"), ("nobody", "Nobody"), *super().lookups(request, model_admin)]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() == "me":
            return queryset.filter(assigned_to=request.user)
        if self.value() == "nobody":
            return queryset.filter(assigned_to__isnull=True)
        return super().queryset(request, queryset)


def _midnight(day: Any) -> datetime:
    return datetime.combine(day, time.min, tzinfo=timezone.get_default_timezone())
