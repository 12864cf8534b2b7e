"""The page of a version of segments, the inbox's filter by them, and the line on an application's page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import DropdownFilter

from loans.admin.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Tick
from loans.models import LoanApplication, ModelVersion
from loans.queries import segments as pages
from loans.queries.words import percent

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
        "map": map_picture(page.map),
        "shares": share_picture(page.over_time, [row.name for row in page.segments]),
    }


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
        for group, share in enumerate(row["shares"]):
            share = float(share or 0.0)
            marks.append(
                {
                    "x": f"{LEFT + number * step + 0.5:.1f}",
                    "width": f"{max(step - 1, 1):.1f}",
                    "y": f"{HEIGHT - BOTTOM - span * (foot + share):.1f}",
                    "height": f"{span * share:.1f}",
                    "colour": COLOURS[group % len(COLOURS)],
                    "title": f"From {row.get('period')}, {names[group]}: {share:.1%} of {row.get('rows', 0):,}",
                }
            )
            foot += share
        if number % every == 0:
            ticks.append(Tick(f"{LEFT + (number + 0.5) * step:.1f}", str(row.get("period", ""))[:7]))
    return Picture(marks, ticks, [Tick(f"{HEIGHT - BOTTOM - span * share:.1f}", f"{share:.0%}") for share in (0.0, 0.5, 1.0)])


def segment_line(application: LoanApplication) -> dict[str, Any]:
    """For `admin/loans/segment/line.html`; no query for an application without a segment."""
    found = pages.assignment_of(application)
    return {"segment": found, "segment_share": percent(found.share, 0)} if found else {}


class SegmentFilter(DropdownFilter):
    """The groups that serve now; the filter is not there where there are none."""

    title = "segment"
    parameter_name = "segment"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return pages.choices()

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        chosen = self.value() or ""
        return queryset.filter(segment=int(chosen)) if chosen.isascii() and chosen.isdecimal() and len(chosen) < 5 else queryset
