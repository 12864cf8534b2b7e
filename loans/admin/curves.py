"""Geometry of the pictures with a cut-off, a range or a course of time: what a policy earns, O/E by quarter, the amount range."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from loans.admin.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Tick, share_label, steps
from loans.queries.words import figure, money, with_currency

MOST_APPROVED = 0.985
"""The picture ends where nearly all are approved: the last few probabilities would take half of its width."""
MOST_OE = 3.0


@dataclass(frozen=True)
class Line:
    """points: of a polyline. dashed: what came, beside what was expected."""

    points: str
    label: str
    dashed: bool = False


@dataclass(frozen=True)
class Curves:
    """band: points of a polygon, an interval. marker: x of the policy's cut-off. zero: y of 0 where values fall below it."""

    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    marker: str = ""
    marker_anchor: str = "start"
    band: str = ""
    zero: str = ""
    here: tuple[str, str] | None = None
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def against_cutoff(
    page: Any, names: Sequence[tuple[str, str]], *, band: tuple[str, str] | None = None, of_money: bool = False
) -> Curves | None:
    """Curves over the cut-off of a `loans.queries.model_policy.PolicyPage`. names: (attribute of a point, label), the second one dashed."""
    if len(page.points) < 2:
        return None
    end = next((point.cutoff for point in page.points if point.approval_rate >= MOST_APPROVED), page.points[-1].cutoff)
    end = max(end, min(page.cutoff * 1.25, 1.0))
    points = [point for point in page.points if point.cutoff <= end + 1e-12]
    wanted = [name for name, _ in names] + list(band or ())
    values = [value for point in points for name in wanted if (value := getattr(point, name)) is not None]
    x, x_ticks = axis(0.0, end, LEFT, WIDTH - RIGHT, share_label)
    y, y_ticks = axis(min(*values, 0.0), max(*values, 1e-9), HEIGHT - BOTTOM, TOP, short_money if of_money else share_label, whole=True)
    lines = []
    for number, (name, label) in enumerate(names):
        known = [(point.cutoff, value) for point in points if (value := getattr(point, name)) is not None]
        lines.append(Line(" ".join(f"{x(cut)},{y(value)}" for cut, value in known), label, dashed=number > 0))
    polygon = ""
    if band:
        edges = [(point.cutoff, getattr(point, band[0]), getattr(point, band[1])) for point in points]
        edges = [edge for edge in edges if None not in edge]
        polygon = " ".join([*(f"{x(cut)},{y(low)}" for cut, low, _ in edges), *(f"{x(cut)},{y(high)}" for cut, _, high in reversed(edges))])
    inside = page.cutoff <= end
    height = getattr(page.here, names[0][0]) if page.here else None
    return Curves(
        lines,
        x_ticks,
        y_ticks,
        marker=x(page.cutoff) if inside else "",
        marker_anchor="end" if page.cutoff > 0.6 * end else "start",
        band=polygon,
        zero=y(0.0) if min(values) < 0 else "",
        here=(x(page.cutoff), y(height)) if inside and height is not None else None,
    )


def by_quarter(rows: list[dict[str, Any]]) -> Curves | None:
    """Observed over expected by quarter with its interval, cut off at 3, beside the line of 1.

    `lines` holds a whisker and a dot for each quarter.
    """
    known = [row for row in rows if row["interval"].value is not None]
    if len(known) < 2:
        return None
    most = min(max(max(row["interval"].high or row["interval"].value for row in known), 1.2), MOST_OE)
    y, y_ticks = axis(0.0, most, HEIGHT - BOTTOM, TOP, lambda value: f"{value:g}", whole=True)
    step = (WIDTH - LEFT - RIGHT) / len(known)
    every = -(-len(known) // 6)
    ticks, marks = [], []
    for number, row in enumerate(known):
        at = f"{LEFT + (number + 0.5) * step:.1f}"
        figure = row["interval"]
        low, high = (y(min(figure.value if bound is None else bound, most)) for bound in (figure.low, figure.high))
        marks.append(Line(f"{at},{low} {at},{high}", f"{quarter(row['period'])}: {row['oe']}, {row['rows']} loans"))
        marks.append(Line(f"{at},{y(min(figure.value, most))}", "dot"))
        if number % every == 0:
            ticks.append(Tick(at, quarter(row["period"])))
    return Curves(marks, ticks, y_ticks, zero=y(1.0))


def quarter(period: Any) -> str:
    """`2025-04-01` → `Q2 2025`."""
    text = str(period)
    return f"Q{(int(text[5:7]) + 2) // 3} {text[:4]}" if len(text) >= 7 and text[5:7].isdecimal() else text


@dataclass(frozen=True)
class AmountPicture:
    """x coordinates of a strip of `width` × `height`; the labels of what is asked for and of the cap stand at different heights."""

    low: str
    middle: str
    high: str
    span: str
    asked: str
    asked_anchor: str
    cap: str
    cap_anchor: str
    ticks: list[Tick]
    width: int = 640
    height: int = 76


def amount_range(low: Any, middle: Any, high: Any, asked: Any, cap: Any) -> AmountPicture:
    width, inset = AmountPicture.width, 24
    # A cap far beyond everything else is written, not drawn: it would press the range into a corner.
    reach = max(float(high), float(asked)) * 1.12 or 1.0
    drawn = cap is not None and float(cap) <= 1.6 * reach
    x, ticks = axis(0.0, max(reach, float(cap) * 1.05) if drawn else reach, inset, width - inset, short_money)

    def anchor(value: Any) -> str:
        at = float(x(float(value)))
        return "start" if at < 0.2 * width else "end" if at > 0.8 * width else "middle"

    return AmountPicture(
        low=x(float(low)),
        middle=x(float(middle)),
        high=x(float(high)),
        span=f"{max(float(x(float(high))) - float(x(float(low))), 2):.1f}",
        asked=x(float(asked)),
        asked_anchor=anchor(asked),
        cap=x(float(cap)) if drawn else "",
        cap_anchor=anchor(cap) if drawn else "middle",
        ticks=ticks,
    )


def short_money(value: float) -> str:
    """`$400k`, `−$1.2m`: for axes."""
    for size, unit in ((1e9, "bn"), (1e6, "m"), (1e3, "k")):
        if abs(value) >= size:
            short = with_currency(f"{figure(abs(value) / size)}{unit}")
            return f"−{short}" if value < 0 else short
    return money(round(value)).replace("-", "−")


def axis(
    low: float, high: float, start: float, end: float, label: Callable[[float], str], *, whole: bool = False
) -> tuple[Callable[[float], str], list[Tick]]:
    """A function from values to coordinates between start and end, and ticks at round values; with `whole` the axis ends at a tick."""
    marks = steps(high - low)
    step = marks[1] - marks[0]
    first, last = int(low // step) if low < 0 else 0, len(marks) - 1
    while whole and (first + last) * step < high:
        last += 1
    bottom, top = (first * step, (first + last) * step) if whole else (low, high)

    def at(value: float) -> str:
        return f"{start + (end - start) * (float(value) - bottom) / (top - bottom):.1f}"

    values = [round((first + number) * step, 12) for number in range(last + 1)]
    return at, [Tick(at(value), label(value)) for value in values if bottom - 1e-9 <= value <= top + 1e-9]
