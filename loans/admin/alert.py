"""Alerts: what rings, who has seen it and what it was; and the limits, each with its owner and reason."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from loans.admin.base import DeskAdmin, ReadOnly, badge, post_only
from loans.admin.policy import Signed
from loans.models import Alert, AlertRule
from loans.models.alert import AlertState
from loans.queries.words import moment_of, whole
from loans.services import alerts

HANDLES = "loans.handle_alert"
TONES = {"open": "danger", "acknowledged": "warning", "closed": "default"}
LONGEST = 2000


@admin.register(Alert)
class AlertAdmin(ReadOnly, DeskAdmin):
    list_display = ("text_shown", "state_shown", "breaches_shown", "owner", "opened_shown", "acknowledged_by")
    list_filter = ("state", "grave", "metric")
    list_select_related = ("acknowledged_by",)
    ordering = ("-pk",)
    empty_title = _("Nothing rings")
    empty_text = _("When a figure of a model is off by more than its limit, it appears here, by mail and at the webhooks.")

    def custom_paths(self) -> list[URLPattern]:
        return [
            self.at("<int:object_id>/acknowledge/", self.acknowledge_view, "acknowledge"),
            self.at("<int:object_id>/close/", self.close_view, "close"),
        ]

    @post_only
    def acknowledge_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        return self._step(request, object_id, alerts.acknowledge, gettext("You look into it; that is kept with the alert."))

    @post_only
    def close_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        return self._step(request, object_id, alerts.close, gettext("Closed. If the figure is off again in a later window, it rings anew."))

    def _step(self, request: HttpRequest, object_id: int, step: Any, done: str) -> HttpResponse:
        alert = self.seen_or_refused(request, str(object_id), HANDLES)
        if alert is None:
            return self.gone(request, str(object_id))
        note = request.POST.get("note", "")
        if len(note) > LONGEST:
            return self._page(
                request, alert, note=note[:LONGEST], problem=gettext("At most %(longest)s characters.") % {"longest": whole(LONGEST)}
            )
        try:
            step(alert, by=request.user, note=note)
        except alerts.NotAllowed as refusal:
            return self._page(request, alert, note=note, problem=str(refusal))
        return self.told(request, alert, done)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        alert = self.seen_or_refused(request, object_id)
        return self.gone(request, object_id) if alert is None else self._page(request, alert)

    def _page(self, request: HttpRequest, alert: Alert, *, note: str = "", problem: str = "") -> HttpResponse:
        rule = alerts.Rules.in_force().of(alert.metric, alert.feature)
        sees = request.user.has_perm("loans.view_monitoringwindow")
        handles = request.user.has_perm(HANDLES) and alert.is_unclosed
        context = {
            "title": "Alert",
            "original": alert,
            "alert": alert,
            "tone": TONES[alert.state],
            "rule": rule,
            "window_url": reverse("admin:loans_monitoringwindow_change", args=[alert.window_id]) if sees and alert.window_id else "",
            "model_url": reverse("admin:loans_monitoringwindow_model", args=[alert.model_version_id])
            if sees and alert.model_version_id
            else "",
            "acknowledge_url": reverse("admin:loans_alert_acknowledge", args=[alert.pk])
            if handles and alert.state == AlertState.OPEN
            else "",
            "close_url": reverse("admin:loans_alert_close", args=[alert.pk]) if handles else "",
            "note": note,
            "problem": problem,
        }
        return self.render(request, "admin/loans/alert/page.html", context)

    @display(description=_("What is off"), ordering="pk")
    def text_shown(self, obj: Alert) -> SafeString | str:
        mark = badge("Grave", "danger") if obj.grave and obj.state != AlertState.CLOSED else ""
        return format_html('<span class="ld-wrap">{} {}</span>', obj.text, mark)

    @display(description=_("State"), ordering="state")
    def state_shown(self, obj: Alert) -> SafeString:
        return badge(obj.get_state_display(), TONES[obj.state])

    @display(description=_("Windows"))
    def breaches_shown(self, obj: Alert) -> str:
        return str(obj.breaches)

    @display(description=_("Since"), ordering="pk")
    def opened_shown(self, obj: Alert) -> str:
        return moment_of(obj.opened_at)


class AlertRuleForm(forms.ModelForm):
    class Meta:
        model = AlertRule
        fields = ("metric", "feature", "limit", "grave", "active", "owner", "reason", "effective_from")


@admin.register(AlertRule)
class AlertRuleAdmin(Signed, DeskAdmin):
    form = AlertRuleForm
    list_display = ("metric_shown", "limit_shown", "state", "owner_shown", "since")
    list_filter = ("metric",)
    list_filter_submit = False
    list_select_related = ("created_by",)
    ordering = ("metric", "feature", "-effective_from", "-pk")
    empty_title = _("No limits")
    empty_text = _("Without a rule nothing rings.")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        same = AlertRule.objects.filter(metric=OuterRef("metric"), feature=OuterRef("feature"), effective_from__lte=Now())
        return super().get_queryset(request).annotate(newest=Subquery(same.order_by("-effective_from", "-pk").values("pk")[:1]))

    @display(description=_("Rule"), ordering="metric")
    def metric_shown(self, obj: AlertRule) -> SafeString:
        name = obj.get_metric_display() + (f" ({obj.feature})" if obj.feature else "")
        return format_html('<span class="ld-wrap ld-strong">{}</span><span class="ld-under ld-wrap">{}</span>', name, obj.reason)

    @display(description=_("Limit"))
    def limit_shown(self, obj: AlertRule) -> SafeString:
        grave = f"grave from {obj.grave:g}" if obj.grave is not None else ""
        return format_html('<span class="ld-number">{}</span><span class="ld-under">{}</span>', f"{obj.limit:g}", grave)

    @display(description=_("Owner"))
    def owner_shown(self, obj: AlertRule) -> SafeString:
        by = (
            f"set by {obj.created_by.get_full_name() or obj.created_by.get_username()}"
            if obj.created_by
            else gettext("set with the installation")
        )
        return format_html('{}<span class="ld-under">{}</span>', obj.owner, by)

    @display(description=_("From"), ordering="effective_from")
    def since(self, obj: AlertRule) -> SafeString:
        return format_html('<span class="ld-number">{}</span>', moment_of(obj.effective_from))

    @display(description=_("State"))
    def state(self, obj: AlertRule) -> SafeString:
        if obj.effective_from > timezone.now():
            return badge(gettext("Begins later"), "info")
        if obj.pk != obj.newest:
            return badge("Replaced")
        return badge(gettext("In force"), "success") if obj.active else badge(gettext("Switched off"), "warning")
