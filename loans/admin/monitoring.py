"""Monitoring: how a model goes over its windows, what one window shows in full, and the button that looks now."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from loans.admin.base import STANDING, DeskAdmin, ReadOnly, badge, post_only
from loans.admin.chart_card import ChartCard, Charted, card_csv
from loans.admin.monitoring_cards import course_cards, distribution_card
from loans.models import ModelVersion, MonitoringFigure, MonitoringWindow
from loans.queries import monitoring as found
from loans.queries.words import day_of, fixed, percent, whole
from loans.services import alerts, wakeups

RUNS = "loans.run_monitoring"
SYNTHETIC = _("Watches a model that was trained on generated applications: it says nothing of real ones.")
BLIND_SPOT = _(
    "Estimated from the model's own probabilities, before any outcome is known. It sees a change in who "
    "applies, and is blind to a change in what makes applicants default: only outcomes show that. “Outcome "
    "less estimate” holds it against them when they have come."
)
SHARES = ("missing", "outside", "default_rate", "approval_rate", "override_rate", "override_default", "fraud_precision", "failures")
SHARES += ("retries", "cbpe_rate", "early_bad", "forecast_error")
SECONDS = ("latency_p50", "latency_p95", "throughput")


@admin.register(MonitoringWindow)
class MonitoringWindowAdmin(Charted, ReadOnly, DeskAdmin):
    list_display = ("window_shown", "model_shown", "rows_shown", "labelled_shown", "state_shown", "seconds_shown", "created")
    list_filter = ("model_version",)
    list_filter_submit = False
    list_before_template = "loans/monitoring.html"
    ordering = ("-start", "-pk")
    empty_title = _("No window has been looked at yet")
    empty_text = _("Each night the windows of the serving models that are over are looked at. To have it now: manage.py monitor")

    def is_synthetic(self, row: MonitoringWindow) -> bool:
        return row.synthetic

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).select_related("model_version").defer("model_version__report")

    def custom_paths(self) -> list[URLPattern]:
        return [
            self.at("run/", self.run_view, "run"),
            self.at("model/<int:version_id>/", self.model_view, "model"),
            self.at("model/<int:version_id>/chart/<slug:name>.csv", self.model_chart_view, "model_chart"),
            *self.chart_paths(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {
            "run_url": reverse("admin:loans_monitoringwindow_run") if request.user.has_perm(RUNS) else "",
            "models": [
                (health, *STANDING[health.state], reverse("admin:loans_monitoringwindow_model", args=[health.version.pk]))
                for health in found.health()
            ],
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    @post_only
    def run_view(self, request: HttpRequest) -> HttpResponse:
        if not request.user.has_perm(RUNS):
            raise PermissionDenied
        if wakeups.wake_monitoring():
            self.message_user(request, gettext("A worker looks at every window that is due; what it finds appears here."))
        else:
            self.message_user(request, gettext("The broker is away; try again in a minute, or wait for the night."), messages.WARNING)
        return HttpResponseRedirect(self.the_list())

    def model_view(self, request: HttpRequest, version_id: int) -> HttpResponse:
        version = self._version(request, version_id)
        course = found.course(version)
        address = "admin:loans_monitoringwindow_model_chart"
        cards = [
            replace(card, csv_url=reverse(address, args=[version.pk, card.name])) for card in course_cards(course, alerts.Rules.in_force())
        ]
        context = {
            "title": f"Monitoring of {version}",
            "version": version,
            "course": course,
            "synthetic": SYNTHETIC if version.synthetic else "",
            "cards": cards,
            "windows": [(window, self.page_of(window)) for window in reversed(course.windows)],
            "alerts": [(alert, reverse("admin:loans_alert_change", args=[alert.pk])) for alert in course.alerts],
            "retrainings": [(one, reverse("admin:loans_trainingrun_change", args=[one.training_run_id])) for one in course.retrainings],
            "version_url": reverse("admin:loans_modelversion_change", args=[version.pk]),
        }
        return self.render(request, "admin/loans/monitoringwindow/model.html", context)

    def model_chart_view(self, request: HttpRequest, version_id: int, name: str) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        version = self._version(request, version_id)
        return card_csv(request, version, course_cards(found.course(version), alerts.Rules.in_force()), name)

    def _version(self, request: HttpRequest, version_id: int) -> ModelVersion:
        if not self.has_view_permission(request):
            raise PermissionDenied
        version = ModelVersion.objects.filter(pk=version_id).first()
        if version is None:
            raise Http404(gettext("There is no such version."))
        return version

    def chart_cards(self, request: HttpRequest, obj: MonitoringWindow) -> list[ChartCard]:
        groups = {group.name: group for group in found.groups(obj)}
        inputs, outputs = (groups[name].figures if name in groups else [] for name in ("inputs", "outputs"))
        return [*_input_cards(found.inputs(inputs)), *_output_cards(outputs)]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        window = self.seen_or_refused(request, object_id)
        if window is None:
            return self.gone(request, object_id)
        groups = {group.name: group for group in found.groups(window)}
        rows = found.inputs(groups["inputs"].figures) if "inputs" in groups else []
        other = [group for name, group in groups.items() if name != "inputs"]
        context = {
            "title": str(window),
            "original": window,
            "window": window,
            "synthetic": SYNTHETIC if window.synthetic else "",
            "off": [(figure, alerts.in_words(window, figure)) for group in groups.values() for figure in group.figures if figure.breach],
            "inputs": [
                (row, _shown(row.psi), _chance(row.psi), _shown(row.missing), _before(row.missing), _shown(row.outside)) for row in rows
            ],
            "pictures": self.placed(window, _input_cards(rows)),
            "groups": [
                (
                    group,
                    BLIND_SPOT if group.name == "estimated" else "",
                    [(figure, _shown(figure), *_beside(figure), _chance(figure)) for figure in group.figures],
                )
                for group in other
            ],
            "output_pictures": self.placed(window, _output_cards(groups["outputs"].figures) if "outputs" in groups else []),
            "model_url": reverse("admin:loans_monitoringwindow_model", args=[window.model_version_id]),
        }
        return self.render(request, "admin/loans/monitoringwindow/page.html", context)

    @display(description=_("Window"), ordering="start")
    def window_shown(self, obj: MonitoringWindow) -> SafeString:
        return format_html('<span class="ld-number">{} – {}</span>', day_of(obj.start), day_of(obj.end))

    @display(description=_("Model"))
    def model_shown(self, obj: MonitoringWindow) -> str:
        return str(obj.model_version)

    @display(description=_("Applications"))
    def rows_shown(self, obj: MonitoringWindow) -> str:
        return whole(obj.rows)

    @display(description=_("With an outcome"))
    def labelled_shown(self, obj: MonitoringWindow) -> str:
        return whole(obj.labelled) if obj.labelled else "none yet"

    @display(description=_("State"))
    def state_shown(self, obj: MonitoringWindow) -> SafeString:
        if not obj.rows:
            return badge("Empty")
        return badge(f"{obj.breaches} off", "danger") if obj.breaches else badge(gettext("As it was"), "success")

    @display(description=_("Took"))
    def seconds_shown(self, obj: MonitoringWindow) -> str:
        return f"{fixed(obj.seconds, 1)} s"


def _input_cards(rows: list[found.InputRow]) -> list[ChartCard]:
    """The six inputs that drifted most."""
    cards = [distribution_card(row.psi, row.title, off=row.breach) for row in rows[:6] if row.psi.value]
    return [card for card in cards if card.chart]


def _output_cards(figures: list[MonitoringFigure]) -> list[ChartCard]:
    cards = [distribution_card(figure, figure.title or figure.get_metric_display()) for figure in figures]
    return [card for card in cards if card.chart]


def _shown(figure: MonitoringFigure | None) -> str:
    if figure is None or figure.value is None:
        return "–"
    if figure.metric in SHARES:
        return percent(figure.value)
    return fixed(figure.value, 1) if figure.metric in SECONDS else fixed(figure.value, 3)


def _before(figure: MonitoringFigure | None) -> str:
    return "–" if figure is None else percent(figure.baseline)


def _chance(figure: MonitoringFigure) -> str:
    """The adjusted p; below a ten-thousandth it is not nothing."""
    p = figure.p_adjusted
    return "" if p is None else "<0.0001" if p < 0.0001 else f"{p:.4f}"


def _beside(figure: MonitoringFigure) -> tuple[str, str]:
    """Baseline and interval in words."""

    def said(value: float | None) -> str:
        if value is None:
            return ""
        return percent(value) if figure.metric in SHARES else fixed(value, 3)

    interval = f"{said(figure.low)} – {said(figure.high)}" if figure.low is not None and figure.high is not None else ""
    return said(figure.baseline), interval
