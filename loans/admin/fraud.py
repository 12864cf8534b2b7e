"""The investigators' queue, and the rules that fill it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ORDER_VAR
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display

from loans.admin.base import DeskAdmin, DeskChangeList, ReadOnly, badge, post_only
from loans.admin.chart_card import ChartCard, Charted, text
from loans.models import FraudFlag, FraudRule, LoanApplication, Severity
from loans.queries import fraud as pages
from loans.queries import fraud_queue as queue
from loans.queries.words import day_of, moment_of, money
from loans.services.fraud import flags, rules

INVESTIGATES = "loans.investigate_fraudflag"
BACKEND = "django.contrib.auth.backends.ModelBackend"
SNOOZES = ((1, "until tomorrow"), (3, gettext_lazy("for three days")), (7, "for a week"), (30, "for a month"))


class QueueFilter(DropdownFilter):
    """Opens on what is to be looked at."""

    title = gettext_lazy("queue")
    parameter_name = "queue"
    all_option = None

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        self.user = request.user
        super().__init__(request, *args)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(queue.QUEUES.items())

    def value(self) -> str:
        chosen = super().value()
        return chosen if chosen in queue.QUEUES else "queue"

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        chosen = queue.of_queue(queryset, self.value(), request.user)
        if self.value() not in queue.IN_ORDER:
            return chosen
        return queue.in_order(chosen, queue.pace_of(FraudFlag.objects.visible_to(request.user)))


class SeverityFilter(DropdownFilter):
    title = gettext_lazy("severity")
    parameter_name = "severity"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(value), label) for value, label in Severity.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        known = {str(value) for value in Severity.values}
        return queryset.filter(severity=self.value()) if self.value() in known else queryset


class QueueList(DeskChangeList):
    """A queue comes in its own order, until somebody sorts by a column."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet) -> list[Any]:
        if "place" in queryset.query.annotations and ORDER_VAR not in self.params:
            return ["place"]
        return super().get_ordering(request, queryset)


@admin.register(FraudFlag)
class FraudFlagAdmin(Charted, ReadOnly, DeskAdmin):
    ordering = ("-pk",)
    list_display = ("reference", "severity_shown", "why", "loss_shown", "assignee_shown", "state_shown")
    list_filter = (QueueFilter, SeverityFilter)
    list_select_related = ("application", "assignee")
    search_fields = ("application__external_reference",)
    search_help_text = gettext_lazy("Reference")
    list_before_template = "loans/fraud_queue.html"
    empty_title = gettext_lazy("Nothing to look at")
    empty_text = gettext_lazy("Flags come with the score of an application: by a rule, by links to other applications, or drawn at random.")

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return FraudFlag.objects.visible_to(request.user)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[DeskChangeList]:
        return QueueList

    def is_synthetic(self, row: FraudFlag) -> bool:
        return row.application.synthetic

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"today": queue.today(self.get_queryset(request)), **(extra_context or {})})

    def custom_paths(self) -> list[URLPattern]:
        steps = ("confirm", "clear", "snooze", "reopen", "assign")
        return [*(self.at(f"<int:object_id>/{step}/", getattr(self, f"{step}_view"), step) for step in steps), *self.chart_paths()]

    def get_object(self, request: HttpRequest, object_id: Any, from_field: str | None = None) -> FraudFlag | None:
        related = ("application__product", "assignee", "disposed_by")
        try:
            return self.get_queryset(request).select_related(*related).get(pk=int(object_id))
        except (FraudFlag.DoesNotExist, ValueError, OverflowError):
            return None

    def chart_cards(self, request: HttpRequest, obj: FraudFlag) -> list[ChartCard]:
        graph = pages.link_graph(obj.application, LoanApplication.objects.visible_to(request.user))
        rows = [(row.label, row.shared, row.earlier, _("confirmed fraud") if row.fraud else "") for row in graph.rows] if graph else []
        columns = [text(_("Application")), text(_("Shares with this one")), text(_("Earlier by")), text(_("Known as"))]
        return [ChartCard("links", _("Links"), graph.in_words if graph else "", columns, rows)]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        flag = self.seen_or_refused(request, object_id)
        return self.gone(request, str(object_id)) if flag is None else self._page(request, flag)

    def _page(
        self, request: HttpRequest, flag: FraudFlag, *, error: str = "", step: str = "", sent: dict[str, str] | None = None
    ) -> HttpResponse:
        user = request.user
        works = user.has_perm(INVESTIGATES)
        following = queue.next_in_queue(self.get_queryset(request), flag)
        people = get_user_model().objects.with_perm(INVESTIGATES, backend=BACKEND)
        investigators = people.filter(is_staff=True).order_by("first_name", "username") if works else ()
        context = {
            "title": f"Fraud flag: {flag.application}",
            "original": flag,
            "flag": flag,
            "fraud": pages.flags_for(flag.application, LoanApplication.objects.visible_to(user)),
            "tone": pages.TONES[flag.severity],
            "state_tone": pages.STATE_TONES[flag.state],
            "amount": money(flag.application.amount),
            "loss": money(round(flag.expected_loss)),
            "synthetic": flag.application.synthetic,
            "events": flag.events.select_related("by"),
            "works": works and not flag.is_disposed,
            "reopens": works and flag.state != "open",
            "assigns": works,
            "investigators": investigators,
            "snoozes": SNOOZES,
            "error": error,
            "step": step,
            "sent": sent or {},
            "urls": {
                name: reverse(f"admin:loans_fraudflag_{name}", args=[flag.pk])
                for name in ("confirm", "clear", "snooze", "reopen", "assign")
            },
            "application_url": reverse("admin:loans_loanapplication_change", args=[flag.application_id])
            if user.has_perm("loans.view_loanapplication")
            else "",
            "queue_url": self.the_list(),
            "links_csv": reverse("admin:loans_fraudflag_chart", args=[flag.pk, "links"]),
            "next_url": self.page_of(following) if following else "",
        }
        return self.render(request, "admin/loans/fraudflag/page.html", context)

    def _step(self, request: HttpRequest, object_id: int, step: str, done: str, **values: Any) -> HttpResponse:
        flag = self.seen_or_refused(request, str(object_id), INVESTIGATES)
        if flag is None:
            return self.gone(request, str(object_id))
        note = request.POST.get("note", "")[:5000]
        if step != "assign":
            values["note"] = note
        try:
            getattr(flags, step)(flag.pk, by=request.user, **values)
        except flags.FlagRefused as refusal:
            return self._page(request, self.get_object(request, flag.pk), error=str(refusal), step=step, sent={"note": note})
        flag = self.get_object(request, flag.pk)
        following = queue.next_in_queue(self.get_queryset(request), flag)
        text = format_html("{}: {}.", flag.application, done)
        if following is not None and step != "assign":
            text = format_html(
                '{} <a class="ld-link" href="{}" data-key="n">Next: {} →</a>', text, self.page_of(following), following.application
            )
        return self.told(request, flag, text)

    @post_only
    def confirm_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        return self._step(request, object_id, "confirm", _("confirmed as fraud"))

    @post_only
    def clear_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        return self._step(request, object_id, "clear", "cleared")

    @post_only
    def snooze_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        days = request.POST.get("days", "")
        days = int(days) if days.isdecimal() and len(days) < 4 else 0
        return self._step(
            request,
            object_id,
            "snooze",
            _("out of the queue for %(days)s days") % {"days": days},
            until=timezone.now() + timedelta(days=days),
        )

    @post_only
    def reopen_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        return self._step(request, object_id, "reopen", _("back in the queue"))

    @post_only
    def assign_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        chosen = request.POST.get("to", "")
        to = get_user_model().objects.filter(pk=int(chosen)).first() if chosen.isdecimal() and len(chosen) < 10 else None
        if chosen and to is None:
            self.message_user(request, _("There is no such person."), messages.WARNING)
            return HttpResponseRedirect(self.the_list())
        return self._step(
            request, object_id, "assign", f"given to {to.get_full_name() or to.get_username()}" if to else _("given to nobody"), to=to
        )

    @display(description=gettext_lazy("Application"), ordering="application__external_reference")
    def reference(self, obj: FraudFlag) -> SafeString:
        since = moment_of(obj.created_at)
        return format_html('<span class="ld-number">{}</span><span class="ld-under ld-number">{}</span>', obj.application, since)

    @display(description=gettext_lazy("Severity"), ordering="severity")
    def severity_shown(self, obj: FraudFlag) -> SafeString:
        return badge(obj.get_severity_display(), pages.TONES[obj.severity])

    @display(description=gettext_lazy("Why"))
    def why(self, obj: FraudFlag) -> SafeString:
        first, more = pages.in_short(obj)
        return format_html('<span class="ld-wrap ld-wide">{}{}</span>', first, f" – and {more} more" if more else "")

    @display(description=gettext_lazy("Expected loss"), ordering="expected_loss")
    def loss_shown(self, obj: FraudFlag) -> SafeString:
        loss, amount = money(round(obj.expected_loss)), money(obj.application.amount)
        return format_html('<span class="ld-number ld-strong">{}</span><span class="ld-under ld-number">of {}</span>', loss, amount)

    @display(description=gettext_lazy("With"), ordering="assignee__username")
    def assignee_shown(self, obj: FraudFlag) -> str:
        return (obj.assignee.get_full_name() or obj.assignee.get_username()) if obj.assignee else "nobody"

    @display(description=gettext_lazy("State"), ordering="state")
    def state_shown(self, obj: FraudFlag) -> SafeString:
        return badge(obj.get_state_display(), pages.STATE_TONES[obj.state])


class RuleForm(forms.ModelForm):
    class Meta:
        model = FraudRule
        fields = ("code", "name", "severity", "conditions", "family", "active", "source")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        from loans.models.fraud import known_features
        from mlcore.fraud.rules import OPERATORS

        super().__init__(*args, **kwargs)
        if "conditions" in self.fields:
            self.fields["conditions"].initial = []
            self.fields["conditions"].help_text = format_html(
                'All must hold: <code>[{{"feature": "phone_24h", "operator": "at_least", "value": 3}}]</code>. Operators: {}. '
                '<details><summary class="ld-link">The features</summary>{}</details>',
                ", ".join(OPERATORS),
                ", ".join(sorted(known_features())),
            )


@admin.register(FraudRule)
class FraudRuleAdmin(DeskAdmin):
    form = RuleForm
    list_display = ("named", "severity_shown", "words", "active")
    list_filter = ("active",)
    list_filter_submit = False
    search_fields = ("code", "name")
    fieldsets = (
        (None, {"fields": (("code", "severity"), "name", ("family", "active"))}),
        (gettext_lazy("A hit where all of these hold"), {"fields": ("conditions",)}),
        (gettext_lazy("Where it comes from"), {"fields": ("source",)}),
    )
    empty_title = gettext_lazy("No rules yet")
    empty_text = gettext_lazy("The starter set comes with the first application. A rule is never edited: saving writes its next version.")

    def get_readonly_fields(self, request: HttpRequest, obj: FraudRule | None = None) -> tuple[str, ...]:
        return ("code",) if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: FraudRule, form: Any, change: bool) -> None:
        """Saving is writing the next version: what a trace names must stay what it was."""
        if not change:
            obj.created_by = request.user
            super().save_model(request, obj, form, change)
            return
        wanted = {name: getattr(obj, name) for name in ("name", "severity", "conditions", "family", "active", "source")}
        made = rules.new_version(FraudRule.objects.get(pk=obj.pk), by=request.user, **wanted)
        obj.pk, obj.version = made.pk, made.version

    @display(description=gettext_lazy("Rule"), ordering="code")
    def named(self, obj: FraudRule) -> SafeString:
        return format_html(
            '<span class="ld-wrap ld-wide">{}</span><span class="ld-under">{} v{}, {}</span>',
            obj.name, obj.code, obj.version, day_of(obj.created_at),
        )  # fmt: skip

    @display(description=gettext_lazy("Severity"), ordering="severity")
    def severity_shown(self, obj: FraudRule) -> SafeString:
        return badge(obj.get_severity_display(), pages.TONES[obj.severity])

    @display(description=gettext_lazy("A hit where"))
    def words(self, obj: FraudRule) -> SafeString | str:
        from mlcore.fraud.facts import LABELS
        from mlcore.fraud.rules import RuleError

        try:
            said = "; ".join(condition.in_words(LABELS) for condition in obj.parsed().conditions)
            return format_html('<span class="ld-wrap ld-wide">{}</span>', said)
        except (RuleError, ValidationError):
            return _("can't be read, and is left out")
