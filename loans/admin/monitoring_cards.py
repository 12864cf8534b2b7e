"""The charts of monitoring: a figure over a version's windows, and how an input or an output is spread in one window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils.text import slugify
from django.utils.translation import gettext as _

from loans.admin.chart_card import ChartCard, decimal, share, text
from loans.admin.monitoring_charts import OverTime, over_time, two_distributions
from loans.models import MonitoringFigure
from loans.queries import monitoring as found
from loans.services import alerts

Figures = Sequence[MonitoringFigure | None]


def course_cards(course: found.Course, rules: alerts.Rules) -> list[ChartCard]:
    """Of what there is a figure for."""
    psi = rules.of("psi")
    conventions = [(psi.limit, f"{psi.limit:g}")] + ([(psi.grave, f"{psi.grave:g}")] if psi.grave else []) if psi else []

    def drawn(figures: Figures, **options: Any) -> OverTime | None:
        return over_time(course.windows, figures, **options)

    def stability(name: str, title: str, says: str, figures: Figures) -> ChartCard:
        return _card(name, title, says, course, figures, drawn(figures, limits=conventions))

    oe, auc, promised = course.of("oe"), course.of("auc"), course.of("cbpe_auc")
    slope, joint, against = course.of("slope"), course.of("joint_auc"), course.of("override_rate")
    made = [
        _card(
            "oe",
            _("Observed / expected defaults"),
            _("With the interval at which it is tested; at 1 the level is right. Windows appear as their labels mature."),
            *(course, oe, drawn(oe, limits=[(1.0, "1")], most=3.0)),
        ),
        _card(
            "auc",
            "AUC",
            _("Solid: what came, with its 95 % interval. Dashed: what the probabilities promise, before any outcome is known."),
            *(course, auc, drawn(auc, second=promised, from_zero=False)),
            second=(_("Promised"), promised),
        ),
        _card(
            "slope",
            _("Calibration slope"),
            _("Below 1 the model is too sure of itself, above 1 too timid."),
            *(course, slope, drawn(slope, limits=[(1.0, "1")], from_zero=False)),
        ),
        _card(
            "inputs",
            _("All inputs together"),
            _("AUC of a classifier that tries to tell the window from the reference; .5 is no difference."),
            *(course, joint, drawn(joint, limits=[(0.5, ".5")], from_zero=False)),
        ),
        *(
            stability(f"psi-{slugify(name)}", title, _("Stability index; dashed: the limits in force."), course.of("psi", name))
            for name, title in course.columns
        ),
        stability(
            "probability",
            _("Default probabilities given"),
            _("Stability index of what the model says."),
            course.of("output_psi", "probability"),
        ),
        _card(
            "overrides",
            _("Decisions against the advice"),
            _("Share of final decisions, with its interval."),
            *(course, against, drawn(against, label=lambda value: f"{value:.0%}")),
        ),
    ]
    return [card for card in made if card.chart is not None]


def _card(
    name: str,
    title: str,
    says: str,
    course: found.Course,
    figures: Figures,
    picture: OverTime | None,
    *,
    second: tuple[str, Figures] | None = None,
) -> ChartCard:
    columns = [text(_("From")), text(_("To")), decimal(_("Value")), decimal(_("Low")), decimal(_("High")), text(_("Off"))]
    beside = second[1] if second else [None] * len(figures)
    rows = []
    for window, figure, other in zip(course.windows, figures, beside, strict=True):
        if figure is None and other is None:
            continue
        value, low, high = (figure.value, figure.low, figure.high) if figure else (None, None, None)
        off = _("off") if figure is not None and figure.breach else ""
        row = [f"{window.start:%Y-%m-%d}", f"{window.end:%Y-%m-%d}", value, low, high, off]
        rows.append([*row, other.value if other else None] if second else row)
    if second:
        columns.append(decimal(second[0]))
    return ChartCard(name, title, says, columns, rows, picture, "loans/over_time.html")


def distribution_card(figure: MonitoringFigure, title: str, *, off: bool = False) -> ChartCard:
    """How a window's applications are spread over the bins, beside the reference's."""
    detail = figure.detail
    rows = list(zip(*(detail.get(name) or [] for name in ("labels", "window", "reference")), strict=False))
    name = slugify(f"{figure.metric}-{figure.feature}") or figure.metric
    says = _("Grey: the reference. Blue: this window.")
    columns = [text(_("Bin")), share(_("This window")), share(_("Reference"))]
    beside = _("off") if off else ""
    return ChartCard(name, title, says, columns, rows, two_distributions(detail), "loans/two_distributions.html", beside=beside)
