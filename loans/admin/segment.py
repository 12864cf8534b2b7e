"""The page of a version of segments, the inbox's filter by them, and the line on an application's page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import DropdownFilter

from loans.admin.chart_card import ChartCard, decimal, share, text, whole
from loans.admin.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Tick
from loans.models import LoanApplication, ModelVersion
from loans.queries import segments as pages
from loans.queries.words import percent
from loans.queries.words import whole as figure

COLOURS = ("#2563eb", "#d97706", "#059669", "#b91c1c", "#7c3aed", "#0891b2", "#db2777", "#65a30d", "#475569", "#a16207")
TEMPLATE = "admin/loans/segment/page.html"


@dataclass(frozen=True)
class Picture:
    """marks: of the map dots {x, y, colour}, of the shares bars {x, y, width, height, colour, title}. All coordinates are strings."""

    marks: list[dict[str, str]]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def context(version: ModelVersion) -> dict[str, Any]:
    """What the template needs beside the common context of a version's page."""
    page = pages.segments_page(version)
    return {
        "page": page,
        "colours": COLOURS,
        "legend": [(row, COLOURS[row.number % len(COLOURS)]) for row in page.segments],
        "cards": cards(version, page),
    }


def cards(version: ModelVersion, page: pages.SegmentsPage | None = None) -> list[ChartCard]:
    """The map and the shares over time, where the report has them."""
    page = page or pages.segments_page(version)
    names = [row.name for row in page.segments]
    made = []
    points = [row for row in page.map.get("points") or [] if isinstance(row, list) and len(row) == 3]
    if points:
        says = _(
            "{many} applicants drawn at random, on the two directions in which applicants differ most; these show {explained} of all "
            "differences, so groups that overlap here may be apart."
        ).format(many=len(points), explained=page.explained)
        columns = [decimal(_("Across"), 3), decimal(_("Up"), 3), text(_("Segment"))]
        rows = [(x, y, names[int(group)] if int(group) < len(names) else group) for x, y, group in points]
        made.append(
            ChartCard("map", _("Map"), says, columns, rows, map_picture(page.map), "loans/charts/map.html", beside=_("a picture only"))
        )
    picture = share_picture(page.over_time, names)
    if picture:
        columns = [text(_("From")), whole(_("Applications")), *(share(name) for name in names)]
        rows = [
            (row.get("period"), row.get("rows"), *row["shares"]) for row in page.over_time if len(row.get("shares") or []) == len(names)
        ]
        says = _("Each column is all applications of its period, by segment in the colours of the table above.")
        made.append(ChartCard("shares", _("Share over time"), says, columns, rows, picture, "loans/charts/shares.html", _("submitted")))
    return made


def map_picture(data: dict[str, Any]) -> Picture | None:
    """The sampled applicants on two axes; positions have no unit, so there are no ticks."""
    points = [row for row in data.get("points") or [] if isinstance(row, list) and len(row) == 3]
    if not points:
        return None
    across, down = (WIDTH - LEFT - RIGHT) / 2, (HEIGHT - BOTTOM - TOP) / 2
    marks = [
        {
            "x": f"{LEFT + across * (1 + float(x)):.1f}",
            "y": f"{HEIGHT - BOTTOM - down * (1 + float(y)):.1f}",
            "colour": COLOURS[int(group) % len(COLOURS)],
        }
        for x, y, group in points
    ]
    return Picture(marks, [], [])


def share_picture(rows: list[dict[str, Any]], names: list[str]) -> Picture | None:
    """Stacked columns, one a period, each of them the whole of its applications."""
    rows = [row for row in rows if len(row.get("shares") or []) == len(names)]
    if len(rows) < 2:
        return None
    span, step = HEIGHT - BOTTOM - TOP, (WIDTH - LEFT - RIGHT) / len(rows)
    every = -(-len(rows) // 5)
    marks, ticks = [], []
    for number, row in enumerate(rows):
        foot = 0.0
        for group, part in enumerate(row["shares"]):
            part = float(part or 0.0)
            marks.append(
                {
                    "x": f"{LEFT + number * step + 0.5:.1f}",
                    "width": f"{max(step - 1, 1):.1f}",
                    "y": f"{HEIGHT - BOTTOM - span * (foot + part):.1f}",
                    "height": f"{span * part:.1f}",
                    "colour": COLOURS[group % len(COLOURS)],
                    "title": f"From {row.get('period')}, {names[group]}: {percent(part)} of {figure(row.get('rows', 0))}",
                }
            )
            foot += part
        if number % every == 0:
            ticks.append(Tick(f"{LEFT + (number + 0.5) * step:.1f}", str(row.get("period", ""))[:7]))
    return Picture(marks, ticks, [Tick(f"{HEIGHT - BOTTOM - span * share:.1f}", percent(share, 0)) for share in (0.0, 0.5, 1.0)])


def segment_line(application: LoanApplication) -> dict[str, Any]:
    """For `admin/loans/segment/line.html`; no query for an application without a segment."""
    found = pages.assignment_of(application)
    return {"segment": found, "segment_share": percent(found.share, 0)} if found else {}


class SegmentFilter(DropdownFilter):
    """The groups that serve now; the filter is not there where there are none."""

    title = gettext_lazy("segment")
    parameter_name = "segment"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return pages.choices()

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        chosen = self.value() or ""
        return queryset.filter(segment=int(chosen)) if chosen.isascii() and chosen.isdecimal() and len(chosen) < 5 else queryset
