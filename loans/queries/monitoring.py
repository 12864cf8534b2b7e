"""What monitoring found, as its pages, the home page and the API show it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import Case, Count, F, JSONField, OuterRef, Q, Subquery, When
from django.db.models.functions import JSONObject
from django.utils import timezone
from django.utils.translation import gettext as _

from loans.models import Alert, ModelKind, ModelState, ModelVersion, MonitoringFigure, MonitoringWindow, Retraining
from loans.models.alert import UNCLOSED
from loans.models.monitoring import GROUPS
from loans.queries.words import day_of

STALE_DAYS = 8
"""The look is nightly; a version whose last window is due for longer than this is not being watched."""
MOST_WINDOWS = 36
MOST_COLUMNS = 5


@dataclass(frozen=True)
class Health:
    """How a serving model stands. state: "ok", "off" (its last window breaches or an alert is open), or "unwatched"."""

    version: ModelVersion
    state: str
    in_words: str
    window: MonitoringWindow | None
    alerts: int
    grave: int


def serving(*, report: bool = False) -> list[ModelVersion]:
    """The versions that serve, by kind, each with its last window and its open alerts: one query.

    report: with the report of the default risk model; the others' stay in the database.
    """
    last = MonitoringWindow.objects.filter(model_version=OuterRef("pk")).order_by("-start", "-pk")
    versions = ModelVersion.objects.filter(state=ModelState.CHAMPION).defer("report").order_by("kind")
    versions = versions.annotate(
        last_look=Subquery(last.values(look=JSONObject(pk="pk", start="start", end="end", breaches="breaches"))[:1]),
        alerts_open=Count("alerts", filter=Q(alerts__state__in=UNCLOSED)),
        alerts_grave=Count("alerts", filter=Q(alerts__state__in=UNCLOSED, alerts__grave=True)),
    )
    if report:
        risk = Case(When(kind=ModelKind.DEFAULT_RISK, then=F("report")), default=None, output_field=JSONField())
        versions = versions.annotate(risk_report=risk)
    found = list(versions)
    for version in found:
        if report and version.kind == ModelKind.DEFAULT_RISK:
            version.report = version.risk_report or {}
    return found


def health(versions: list[ModelVersion] | None = None, *, now: datetime | None = None) -> list[Health]:
    """One line for each model that serves, by kind; for the home page and the list of windows. versions: as `serving` gave them."""
    now, rows = now or timezone.now(), serving() if versions is None else versions
    return [_health(version, _look(version), version.alerts_open, version.alerts_grave, now) for version in rows]


def _look(version: ModelVersion) -> MonitoringWindow | None:
    look = version.last_look
    if look is None:
        return None
    start, end = (date.fromisoformat(look[name]) for name in ("start", "end"))
    return MonitoringWindow(pk=look["pk"], model_version_id=version.pk, start=start, end=end, breaches=look["breaches"])


def _health(version: ModelVersion, look: MonitoringWindow | None, count: int, grave: int, now: datetime) -> Health:
    if look is None:
        young = version.created_at > now - timedelta(days=35)
        words = _("Its first window is not over yet.") if young else _("It has never been monitored: is the scheduler running?")
        return Health(version, "off" if count else "unwatched", words, None, count, grave)
    span = f"{day_of(look.start)} to {day_of(look.end)}"
    length = (look.end - look.start).days
    if now.date() - look.end > timedelta(days=length + STALE_DAYS):
        return Health(
            version,
            "unwatched",
            _("Not looked at since the window %(span)s: is the scheduler running?") % {"span": span},
            look,
            count,
            grave,
        )
    if look.breaches or count:
        alerts = f"{count} alert{'s' if count != 1 else ''}"
        if look.breaches:
            words = _("%(breaches)s figure%(more)s off in %(span)s; %(alerts)s open.") % {
                "breaches": look.breaches,
                "more": "s" if look.breaches != 1 else "",
                "span": span,
                "alerts": alerts,
            }
        else:
            words = _("%(alerts)s of earlier windows still open; nothing is off in the last, %(span)s.") % {"alerts": alerts, "span": span}
        return Health(version, "off", words, look, count, grave)
    return Health(version, "ok", _("Nothing was off in %(span)s.") % {"span": span}, look, 0, 0)


@dataclass(frozen=True)
class Course:
    """A version over its windows, oldest first. series: {(metric, feature): [figure or None for each window]}. columns: inputs by how far
    they have drifted.
    """

    version: ModelVersion
    windows: list[MonitoringWindow]
    series: dict[tuple[str, str], list[MonitoringFigure | None]] = field(default_factory=dict)
    columns: list[tuple[str, str]] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    retrainings: list[Retraining] = field(default_factory=list)

    def of(self, metric: str, feature: str = "") -> list[MonitoringFigure | None]:
        return self.series.get((metric, feature), [None] * len(self.windows))


DRAWN = ("psi", "output_psi", "joint_auc", "oe", "auc", "ks", "brier", "slope", "cbpe_auc", "approval_rate", "override_rate", "latency_p95")


def course(version: ModelVersion) -> Course:
    """The last look at each window of the length that was looked at last."""
    latest = MonitoringWindow.objects.filter(model_version=version).order_by("-pk").first()
    if latest is None:
        return Course(version, [])
    length = _kind_of(latest)
    looks = MonitoringWindow.objects.filter(model_version=version).latest()
    windows = sorted((look for look in looks if _kind_of(look) == length), key=lambda look: look.start)[-MOST_WINDOWS:]
    place = {window.pk: number for number, window in enumerate(windows)}
    series: dict[tuple[str, str], list[MonitoringFigure | None]] = defaultdict(lambda: [None] * len(windows))
    for row in MonitoringFigure.objects.filter(window__in=windows, metric__in=DRAWN).defer("detail"):
        series[row.metric, row.feature][place[row.window_id]] = row
    worst: dict[str, tuple[float, str]] = {}
    for (metric, feature), figures in series.items():
        if metric == "psi":
            # What has drifted lately counts, not what was odd once two years ago.
            known = [figure for figure in figures[-6:] if figure is not None and figure.value is not None]
            if known:
                worst[feature] = (max(figure.value for figure in known), known[-1].title)
    order = sorted(worst, key=lambda name: -worst[name][0])
    return Course(
        version,
        windows,
        dict(series),
        [(name, worst[name][1]) for name in order[:MOST_COLUMNS]],
        list(version.alerts.filter(state__in=UNCLOSED).order_by("-grave", "-pk")[:20]),
        list(version.retrainings.select_related("training_run__model_version").defer("training_run__model_version__report")[:5]),
    )


def _kind_of(window: MonitoringWindow) -> str:
    days = (window.end - window.start).days
    return "week" if days == 7 else "month" if days <= 31 else "quarter"


@dataclass(frozen=True)
class Group:
    title: str
    name: str
    figures: list[MonitoringFigure]


def groups(window: MonitoringWindow) -> list[Group]:
    """The window's figures by group; within the inputs the breaches first, then by PSI."""
    found: dict[str, list[MonitoringFigure]] = defaultdict(list)
    for figure in window.figures.all():
        found[figure.group].append(figure)
    found["inputs"].sort(key=lambda figure: (not figure.breach, figure.metric != "psi", -(figure.value or 0)))
    return [Group(title, name, found[name]) for name, title in GROUPS.items() if found.get(name)]


@dataclass(frozen=True)
class InputRow:
    """One column of the inputs' table."""

    title: str
    feature: str
    psi: MonitoringFigure
    missing: MonitoringFigure | None
    outside: MonitoringFigure | None
    breach: bool


def inputs(window_figures: list[MonitoringFigure]) -> list[InputRow]:
    """A row a column, the most drifted first."""
    by_feature: dict[str, dict[str, Any]] = defaultdict(dict)
    for figure in window_figures:
        by_feature[figure.feature][figure.metric] = figure
    rows = [
        InputRow(
            each["psi"].title,
            feature,
            each["psi"],
            each.get("missing"),
            each.get("outside"),
            any(figure.breach for figure in each.values()),
        )
        for feature, each in by_feature.items()
        if "psi" in each
    ]
    return sorted(rows, key=lambda row: (not row.breach, -(row.psi.value or 0)))
