"""Numbers to geometry for our inline SVG: no library, no script, sharp in print, in the page's own colours.

All coordinates are strings, so that no locale's decimal comma ever gets into an SVG.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext

from loans.queries.words import fixed, percent, whole

WIDTH, HEIGHT = 360, 240
LEFT, RIGHT, TOP, BOTTOM = 44, 18, 10, 34


@dataclass(frozen=True)
class Dots:
    """One square a person: `filled` and `empty` are SVG paths of squares."""

    filled: str
    empty: str
    width: int
    height: int


def dots(many: int, of: int) -> Dots:
    across = {100: 20, 1000: 50}.get(of, 100)
    step, size = {100: (9, 7), 1000: (4, 3)}.get(of, (2, 1))
    paths: list[list[str]] = [[], []]
    for number in range(of):
        row, column = divmod(number, across)
        paths[number < many].append(f"M{column * step} {row * step}h{size}v{size}h-{size}z")
    return Dots(filled="".join(paths[True]), empty="".join(paths[False]), width=across * step, height=(of // across) * step)


@dataclass(frozen=True)
class Tick:
    at: str
    label: str


@dataclass(frozen=True)
class Chart:
    """marks: one dict a mark, of coordinates and a `title` to be read out. line: points of a polyline. band: of a polygon, an interval."""

    marks: list[dict[str, str]]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    line: str = ""
    band: str = ""
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def calibration(rows: list[dict[str, Any]]) -> Chart | None:
    """Predicted against observed, with the observed share's interval; on the diagonal the two agree."""
    rows = [row for row in rows if row.get("predicted") is not None and row.get("observed") is not None]
    if not rows:
        return None
    most = max(max(float(row["predicted"]), float(row.get("high") or row["observed"])) for row in rows)
    x, y, ticks = scales(most)
    marks = [
        {
            "x": x(row["predicted"]),
            "y": y(row["observed"]),
            "low": y(row.get("low") if row.get("low") is not None else row["observed"]),
            "high": y(row.get("high") if row.get("high") is not None else row["observed"]),
            "title": gettext("%(count)s loans: %(share)s predicted, %(share_2)s defaulted")
            % {"count": whole(row.get("rows", 0)), "share": percent(row["predicted"]), "share_2": percent(row["observed"])},
        }
        for row in rows
    ]
    return Chart(
        marks,
        [Tick(x(tick), share_label(tick)) for tick in ticks],
        [Tick(y(tick), share_label(tick)) for tick in ticks],
        line=f"{x(0)},{y(0)} {x(ticks[-1])},{y(ticks[-1])}",
    )


def distribution(data: dict[str, Any]) -> Chart | None:
    """Stacked columns: how many loans got which probability, those that defaulted at the foot."""
    edges, repaid, defaulted = data.get("edges") or [], data.get("repaid") or [], data.get("defaulted") or []
    if len(edges) < 2 or len(repaid) != len(edges) - 1 or len(defaulted) != len(repaid):
        return None
    most = max(a + b for a, b in zip(repaid, defaulted, strict=True)) or 1
    x, _, ticks = scales(float(edges[-1]), whole=False)
    span = HEIGHT - BOTTOM - TOP
    width = (WIDTH - LEFT - RIGHT) / len(repaid)
    marks = []
    for number, (good, bad) in enumerate(zip(repaid, defaulted, strict=True)):
        low, high = span * bad / most, span * (good + bad) / most
        marks.append(
            {
                "x": f"{LEFT + number * width + 0.5:.1f}",
                "width": f"{max(width - 1, 1):.1f}",
                "bad_y": f"{HEIGHT - BOTTOM - low:.1f}",
                "bad": f"{low:.1f}",
                "good_y": f"{HEIGHT - BOTTOM - high:.1f}",
                "good": f"{high - low:.1f}",
                "title": f"{percent(edges[number])}–{percent(edges[number + 1])}: {whole(good)} repaid, {whole(bad)} defaulted",
            }
        )
    counts = steps(most)
    return Chart(
        marks,
        [Tick(x(tick), share_label(tick)) for tick in ticks if tick <= edges[-1]],
        [Tick(f"{HEIGHT - BOTTOM - span * step / most:.1f}", whole(step)) for step in counts if step <= most],
    )


def roc(data: dict[str, Any]) -> Chart | None:
    wrong, right = data.get("false_positive_rate") or [], data.get("true_positive_rate") or []
    if len(wrong) < 2 or len(wrong) != len(right):
        return None
    x, y, ticks = scales(1.0)
    return Chart(
        [],
        [Tick(x(tick), share_label(tick)) for tick in ticks],
        [Tick(y(tick), share_label(tick)) for tick in ticks],
        line=" ".join(f"{x(a)},{y(b)}" for a, b in zip(wrong, right, strict=True)),
    )


def scales(most: float, *, whole: bool = True) -> tuple[Any, Any, list[float]]:
    """Functions from a value to its x and its y, both from 0 to `most` (with `whole`, to the next round step), and the round steps."""
    ticks = steps(most)
    top = ticks[-1] if whole else most

    def x(value: float) -> str:
        return f"{LEFT + (WIDTH - LEFT - RIGHT) * float(value) / top:.1f}"

    def y(value: float) -> str:
        return f"{HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * float(value) / top:.1f}"

    return x, y, ticks


def steps(most: float) -> list[float]:
    """Round steps from 0 to the first that reaches `most`, four to six of them."""
    rough = max(most, 1e-6) / 4
    magnitude = 10 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough * 0.999)
    return [number * step for number in range(math.ceil(most / step - 1e-9) + 1)]


def share_label(share: float) -> str:
    return percent(share, 0) if abs(share * 100 - round(share * 100)) < 1e-6 else percent(share)


def lift(rows: list[dict[str, Any]]) -> Chart | None:
    """A column a tenth with its interval, beside the line of 1. rows: as `model_curves.lift_rows` gives them."""
    if not rows:
        return None
    top = max(row["lift"].high or row["lift"].value for row in rows)
    _, y, ticks = scales(max(top, 1.0))
    step = (WIDTH - LEFT - RIGHT) / len(rows)
    marks = []
    for number, row in enumerate(rows):
        figure, left = row["lift"], LEFT + number * step
        low, high = (figure.value if bound is None else bound for bound in (figure.low, figure.high))
        marks.append(
            {
                "left": f"{left + 0.15 * step:.1f}",
                "width": f"{0.7 * step:.1f}",
                "x": f"{left + 0.5 * step:.1f}",
                "y": y(figure.value),
                "height": f"{HEIGHT - BOTTOM - float(y(figure.value)):.1f}",
                "low": y(low),
                "high": y(high),
                "title": f"{number + 1}: {fixed(figure.value, 2)} ({fixed(low, 2)}–{fixed(high, 2)})",
            }
        )
    return Chart(
        marks,
        [Tick(mark["x"], str(number)) for number, mark in enumerate(marks, start=1)],
        [Tick(y(tick), f"{tick:g}") for tick in ticks],
        line=f"{LEFT},{y(1)} {WIDTH - RIGHT},{y(1)}",
    )


def gains(rows: list[dict[str, Any]]) -> Chart | None:
    """The share of defaults among the riskiest loans, with its interval as a band."""
    if not rows:
        return None
    x, y, ticks = scales(1.0)
    upper = [f"{x(row['looked_at'])},{y(row['caught'].high or row['caught'].value)}" for row in rows]
    lower = [f"{x(row['looked_at'])},{y(row['caught'].low or 0.0)}" for row in rows]
    marks = [
        {"x": x(row["looked_at"]), "y": y(row["caught"].value), "title": f"{percent(row['looked_at'], 0)}: {percent(row['caught'].value)}"}
        for row in rows
    ]
    return Chart(
        marks,
        [Tick(x(tick), share_label(tick)) for tick in ticks],
        [Tick(y(tick), share_label(tick)) for tick in ticks],
        line=" ".join([f"{x(0)},{y(0)}", *(f"{mark['x']},{mark['y']}" for mark in marks)]),
        band=" ".join([f"{x(0)},{y(0)}", *upper, *reversed(lower)]),
    )
