"""Geometry of monitoring's pictures: a figure over windows with its interval and limits, and two distributions beside each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext

from loans.admin.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Tick
from loans.admin.curves import axis
from loans.models import MonitoringFigure, MonitoringWindow
from loans.queries.words import day_of, percent

BARS_WIDTH, BARS_HEIGHT, BARS_RIGHT = 280, 160, 36


@dataclass(frozen=True)
class Mark:
    """whisker: points of the interval. title: read out. off: it breaches."""

    x: str
    y: str
    whisker: str
    title: str
    off: bool


@dataclass(frozen=True)
class OverTime:
    """line: points of the figure's course. second: of what stands beside it. limits: (y, label) of dashed lines."""

    marks: list[Mark]
    line: str
    second: str
    limits: list[tuple[str, str]]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def over_time(
    windows: Sequence[MonitoringWindow],
    figures: Sequence[MonitoringFigure | None],
    *,
    second: Sequence[MonitoringFigure | None] = (),
    limits: Sequence[tuple[float, str]] = (),
    label: Callable[[float], str] = lambda value: f"{value:g}",
    from_zero: bool = True,
    most: float | None = None,
) -> OverTime | None:
    """None where fewer than one window has the figure. most: what is above is drawn at the edge."""
    known = [figure for figure in figures if figure is not None and figure.value is not None]
    beside = [figure for figure in second if figure is not None and figure.value is not None]
    if not known and not beside:
        return None
    values = [value for figure in known for value in (figure.value, figure.low, figure.high) if value is not None]
    values += [figure.value for figure in beside] + [limit for limit, _ in limits]
    top = max(values) if most is None else min(max(values), most)
    low = 0.0 if from_zero else min(values)
    span = max(top - low, 1e-6)
    bottom = low if from_zero else low - 0.05 * span
    y, y_ticks = _axis(bottom, top + 0.02 * span, label)
    step = (WIDTH - LEFT - RIGHT) / max(len(windows), 1)

    def x(number: int) -> str:
        return f"{LEFT + (number + 0.5) * step:.1f}"

    def inside(value: float) -> float:
        return min(max(value, bottom), top)

    marks, line, other = [], [], []
    for number, figure in enumerate(figures):
        if figure is None or figure.value is None:
            continue
        at, height = x(number), y(inside(figure.value))
        whisker = ""
        if figure.low is not None and figure.high is not None:
            whisker = f"{at},{y(inside(figure.low))} {at},{y(inside(figure.high))}"
        line.append(f"{at},{height}")
        marks.append(Mark(at, height, whisker, f"{day_of(windows[number].start)}: {label(figure.value)}", figure.breach))
    for number, figure in enumerate(second):
        if figure is not None and figure.value is not None:
            other.append(f"{x(number)},{y(inside(figure.value))}")
    every = -(-len(windows) // 5)
    ticks = [Tick(x(number), f"{window.start:%Y-%m}") for number, window in enumerate(windows) if number % every == every // 2]
    drawn = [(y(limit), text) for limit, text in limits if bottom <= limit <= top]
    return OverTime(marks, " ".join(line), " ".join(other), drawn, ticks, y_ticks)


def _axis(low: float, high: float, label: Callable[[float], str]) -> tuple[Callable[[float], str], list[Tick]]:
    if low == 0.0:
        return axis(0.0, high, HEIGHT - BOTTOM, TOP, label)
    # Round ticks within [low, high]: `axis` begins at 0.
    from loans.admin.charts import steps

    marks = steps(high - low)
    step = marks[1] - marks[0]

    def at(value: float) -> str:
        return f"{HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (float(value) - low) / (high - low):.1f}"

    first = int(low // step) + 1
    values = [round((first + number) * step, 12) for number in range(len(marks) + 1)]
    return at, [Tick(at(value), label(value)) for value in values if low <= value <= high]


@dataclass(frozen=True)
class Bars:
    """Two columns a bin: the reference's and the window's. bars: dicts of coordinates."""

    bars: list[dict[str, str]]
    y_ticks: list[Tick]
    x_ticks: list[Tick]
    width: int = BARS_WIDTH
    height: int = BARS_HEIGHT
    left: int = LEFT
    right: int = BARS_WIDTH - BARS_RIGHT
    top: int = TOP
    bottom: int = BARS_HEIGHT - BOTTOM


def two_distributions(detail: dict[str, Any]) -> Bars | None:
    labels, now, then = detail.get("labels") or [], detail.get("window") or [], detail.get("reference") or []
    if not labels or len(labels) != len(now) or len(now) != len(then):
        return None
    shown = [number for number in range(len(labels)) if now[number] or then[number]]
    most = max(max(now), max(then)) or 1.0
    y, y_ticks = axis(0.0, most, BARS_HEIGHT - BOTTOM, TOP, lambda value: percent(value, 0), whole=True)
    step = (BARS_WIDTH - LEFT - BARS_RIGHT) / len(shown)
    base = BARS_HEIGHT - BOTTOM
    bars = []
    for place, number in enumerate(shown):
        left = LEFT + place * step
        width = max(step * 0.36, 1.5)
        bars.append(
            {
                "then_x": f"{left + step * 0.1:.1f}",
                "then_y": y(then[number]),
                "then": f"{base - float(y(then[number])):.1f}",
                "now_x": f"{left + step * 0.1 + width:.1f}",
                "now_y": y(now[number]),
                "now": f"{base - float(y(now[number])):.1f}",
                "width": f"{width:.1f}",
                "title": gettext("%(labels)s: %(share)s in the window, %(share_2)s in the reference")
                % {"labels": labels[number], "share": percent(now[number]), "share_2": percent(then[number])},
            }
        )
    ends = [0, len(shown) - 1] if len(shown) > 4 else range(len(shown))
    ticks = [Tick(f"{LEFT + (place + 0.5) * step:.1f}", _short(labels[shown[place]])) for place in ends]
    return Bars(bars, y_ticks, ticks)


def _short(text: str) -> str:
    return text if len(text) <= 18 else text[:17] + "…"
