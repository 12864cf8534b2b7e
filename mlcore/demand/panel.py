"""From sums per leaf to one dense table: total, products, regions and cells, as far as the day of the forecast knows them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mlcore.demand.calendar import Frequency, coarser, frequency_of, holiday_codes, holiday_names, holidays_within, period_of, start_of
from mlcore.demand.clean import cap_outliers, empty_runs, fill, forget_unborn
from mlcore.demand.result import Key, level_name
from mlcore.demand.series import SeriesSet

IMPLAUSIBLE = 10.0
"""Nothing came where at least this many were to be expected: e⁻¹⁰ by chance, so it is a gap and not a zero."""
HOLE = {"daily": 56, "weekly": 26, "monthly": 12}
"""A gap of more periods than this cuts the history: what lies before it says little about now."""
LATELY = {"weekly": 26, "monthly": 12}
"""Periods that say how a period's applications spread over its days."""
OLDEST = {"daily": 365 * 6, "weekly": 52 * 12, "monthly": 12 * 40}


@dataclass
class Panel:
    """t complete periods of n nodes, parents before parts; `parts` (n, leaves) bool says which leaves a node sums.

    observed: (n, t) float64, NaN where not known. clean: the same without gaps, closures, holidays and outliers, NaN only before a node
    was born (`first`, (n,) int). Every cleaned value rests on earlier ones only, so that `clean[:, :o]` is what was known at o.
    origin: the first period that is not over. lead: periods between the last known one and `origin`, to be bridged.
    so_far: (leaves,) what has come in the unfinished period; elapsed: the share of a usual one that has come by this point of it.
    reason: why there is nothing to forecast, else "".
    """

    frequency: Frequency
    keys: list[Key]
    parts: np.ndarray
    periods: np.ndarray
    origin: int
    observed: np.ndarray
    clean: np.ndarray
    first: np.ndarray
    so_far: np.ndarray
    holiday: np.ndarray
    holiday_titles: tuple[str, ...] = ()
    working: np.ndarray = field(default_factory=lambda: np.zeros(0))
    lead: int = 0
    elapsed: float = 0.0
    notes: list[str] = field(default_factory=list)
    node_notes: list[list[str]] = field(default_factory=list)
    reason: str = ""

    @property
    def n(self) -> int:
        return len(self.keys)

    @property
    def t(self) -> int:
        return self.observed.shape[1]

    @property
    def levels(self) -> np.ndarray:
        """(n,) int: 0 total, 1 product, 2 region, 3 cell."""
        order = {"total": 0, "product": 1, "region": 2, "cell": 3}
        return np.array([order[level_name(*key)] for key in self.keys])

    @property
    def leaves(self) -> np.ndarray:
        """(leaves,) int: the node that each leaf is, in the order of `parts`' columns. They are the last nodes."""
        return np.arange(self.n - self.parts.shape[1], self.n)


def build(
    history: SeriesSet, *, frequency: str, as_of: np.datetime64, measure: str, country: str | None, horizon: int, whole: bool = False
) -> Panel:
    """The panel of what was known at `as_of` (datetime64, UTC), with room for `horizon` periods of holidays ahead.

    whole: with the years before `OLDEST` as well, for comparing rather than for forecasting.
    """
    kind = frequency_of(frequency)
    history, later = history.known(as_of)
    values = history.values(measure)
    period = coarser(history.period, history.base, frequency)
    now = int(period_of(np.array(as_of), frequency))
    notes = list(history.notes)
    if later > 0:
        notes.append(f"{_number(later)} applications are dated after {str(as_of)[:10]} and are left out.")
    keys, parts = nodes_of(history)
    current = period == now
    so_far = np.zeros(len(history))
    if current.any():
        notes.append(
            f"The current {kind.noun} is not over: its forecast is what has come in it and what the rest of one usually brings;"
            " it is not part of the history."
        )
        if history.from_rows:  # counts of an unfinished week or month may be whole or not, who knows
            so_far = np.bincount(history.leaf[current], np.nan_to_num(values[current]), minlength=len(history))
    past = period < now
    if past.any() and not whole:
        past &= period >= period[past].max() - OLDEST[frequency]
    panel = Panel(kind, keys, parts, np.zeros(0, int), now, *_empty(len(keys)), so_far, np.zeros(0, int), notes=notes)
    panel.node_notes = [[] for _ in keys]
    if not past.any():
        panel.reason = "There is no complete period with applications before the day of the forecast."
        return panel
    first = _first_whole(history, period, past, kind, panel)
    past &= period >= first
    if not past.any():
        panel.reason = f"There is no complete {kind.noun} of applications yet."
        return panel
    dense = np.zeros((len(history), now - first))
    np.add.at(dense, (history.leaf[past], period[past] - first), values[past])
    named = np.zeros(now - first, dtype=bool)
    named[period[past] - first] = True
    size = _mean_size(history) if measure == "amount" else 1.0
    _holidays(panel, first, country, horizon)
    dense, start = _without_gaps(panel, dense, named, history, first, size)
    if not dense.shape[1]:
        panel.reason = f"No complete {kind.noun} has a known value."
        return panel
    if history.from_rows and not panel.lead:
        panel.elapsed = _elapsed(history, kind, now, as_of)
    panel.periods = np.arange(start, start + dense.shape[1])
    panel.holiday, panel.working = panel.holiday[start - first :], panel.working[start - first :]
    _tidy(panel, dense, floor=0.5 if measure == "count" else 0.0)
    return panel


def _empty(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.zeros((n, 0)), np.zeros((n, 0)), np.zeros(n, int)


def nodes_of(history: SeriesSet) -> tuple[list[Key], np.ndarray]:
    """The nodes, parents first, leaves last in the set's order; and (nodes, leaves) bool. A dimension with one value is no level."""
    products, regions = sorted(set(history.products)), sorted(set(history.regions))
    many_products, many_regions = len(products) > 1, len(regions) > 1
    keys: list[Key] = [(None, None)]
    rows = [np.ones(len(history), dtype=bool)]
    if not (many_products or many_regions):
        return keys, np.array(rows)
    if many_products and many_regions:
        keys += [(name, None) for name in products] + [(None, name) for name in regions]
        rows += [history.products == name for name in products] + [history.regions == name for name in regions]
    for k, (product, region) in enumerate(zip(history.products, history.regions, strict=True)):
        keys.append((product if many_products else None, region if many_regions else None))
        rows.append(np.arange(len(history)) == k)
    return keys, np.array(rows, dtype=bool)


def _first_whole(history: SeriesSet, period: np.ndarray, past: np.ndarray, kind: Frequency, panel: Panel) -> int:
    """The first period, or the second where rows begin so late in the first that it can't be whole."""
    first = int(period[past].min())
    if history.base != "daily" or kind.name == "daily":
        return first
    day = int(history.period[past].min())
    bounds = start_of(np.array([first, first + 1]), kind.name).astype(np.int64)
    late = (day - bounds[0]) / (bounds[1] - bounds[0])
    per_period = np.nansum(history.counts[past]) / max(panel.origin - first, 1)
    if late * per_period < IMPLAUSIBLE or late < 0.1:
        return first
    panel.notes.append(f"The first {kind.noun} begins on its day {day - int(bounds[0]) + 1}: it is not whole, and left out.")
    return first + 1


def _without_gaps(
    panel: Panel, dense: np.ndarray, named: np.ndarray, history: SeriesSet, first: int, size: float
) -> tuple[np.ndarray, int]:
    """`dense` with NaN where nothing is known, cut behind the last hole and before what was not delivered; and its first period."""
    kind = panel.frequency
    if history.from_rows:
        total = np.where(np.isnan(dense).any(axis=0), np.nan, np.nansum(dense, axis=0))
        gaps = empty_runs(total / size, kind, IMPLAUSIBLE, excused=panel.holiday[: dense.shape[1]] >= 0)
    else:
        gaps = _runs(~named | np.isnan(dense).all(axis=0))
    for start, end in gaps:
        dense[:, start:end] = np.nan
    if gaps and gaps[-1][1] == dense.shape[1]:
        start, _ = gaps.pop()
        since = _day(first + start, kind)
        panel.lead = dense.shape[1] - start
        dense = dense[:, :start]
        panel.notes.append(f"Nothing is known since {since}: these {kind.noun}s are taken as not delivered, not as zero.")
        if panel.lead > HOLE[kind.name]:
            panel.reason = f"Nothing has come in since {since}: too long ago to forecast from."
    for start, end in gaps:
        days = f"{_day(first + start, kind)} to {_day(first + end - 1, kind)}"
        panel.notes.append(f"No applications from {days}: a gap or closure, not zeros.")
    cut = max((end for start, end in gaps if end - start > HOLE[kind.name]), default=0)
    if cut:
        panel.notes.append(f"The history before {_day(first + cut, kind)} lies behind a hole and is not used.")
    return dense[:, cut:], first + cut


def _elapsed(history: SeriesSet, kind: Frequency, now: int, as_of: np.datetime64) -> float:
    """The share of a period's applications that has usually come by this point of it: by days over the last periods, evenly in a day."""
    start, end = start_of(np.array([now, now + 1]), kind.name).astype("datetime64[us]")
    point = float((as_of - start) / (end - start))
    if kind.name == "daily" or point <= 0:
        return point
    day = history.period
    period = coarser(day, history.base, kind.name)
    lately = (period < now) & (period >= now - LATELY[kind.name])
    bounds = start_of(np.stack([period[lately], period[lately] + 1]), kind.name).astype(np.int64)
    # How much of each day lies before the same point of its own period
    before = np.clip(bounds[0] + point * (bounds[1] - bounds[0]) - day[lately], 0.0, 1.0)
    counts = np.nan_to_num(history.counts[lately])
    return float((before * counts).sum() / counts.sum()) if counts.sum() > 0 else point


def _tidy(panel: Panel, dense: np.ndarray, floor: float) -> None:
    """Sums, births, holidays, closures and outliers, into `observed` and `clean` and into words. floor: see `cap_outliers`."""
    kind = panel.frequency
    known = np.where(np.isnan(dense), fill(dense.copy(), kind), dense)
    panel.observed = np.where((panel.parts @ ~np.isnan(dense)) > 0, panel.parts.astype(float) @ np.nan_to_num(known), np.nan)
    panel.clean, panel.first = forget_unborn(panel.observed.copy())
    panel.clean[:, panel.holiday[: panel.t] >= 0] = np.nan
    _closures(panel)
    panel.clean = fill(panel.clean, kind)
    capped = cap_outliers(panel.clean, kind, floor=floor)
    for node, at in zip(*np.nonzero((capped != panel.clean) & ~np.isnan(capped)), strict=True):
        was, now = _number(panel.clean[node, at]), _number(capped[node, at])
        panel.node_notes[node].append(f"{_day(int(panel.periods[at]), kind)}: {was} is an outlier, taken as {now}.")
    panel.clean = capped


def _holidays(panel: Panel, first: int, country: str | None, horizon: int) -> None:
    """Which days are holidays (daily), or how many working days fall on one (weekly, monthly), up to the last period asked for."""
    kind = panel.frequency
    ahead = np.arange(first, panel.origin + horizon + 1)
    panel.holiday = np.full(len(ahead), -1)
    panel.working = np.zeros(len(ahead))
    days = start_of(ahead, kind.name)
    names, note = holiday_names(country, days[0], days[-1] + 31)
    if note:
        panel.notes.append(note)
    panel.working = holidays_within(ahead, kind.name, names)
    if kind.name == "daily" and names:
        panel.holiday, panel.holiday_titles = holiday_codes(days, names)


def _closures(panel: Panel) -> None:
    """A node that stops for a while and comes back was closed: those zeros are not its demand. Into `clean` and its notes."""
    if panel.n == 1:
        return
    kind = panel.frequency
    for node in np.flatnonzero((np.nan_to_num(panel.clean) == 0).any(axis=1)):
        series = panel.clean[node]
        start = int(panel.first[node])
        for a, b in empty_runs(series[start:], kind, 2 * IMPLAUSIBLE):
            if b == len(series) - start:
                continue  # it may never come back: zeros until it does
            panel.clean[node, start + a : start + b] = np.nan
            panel.node_notes[node].append(
                f"Closed from {_day(int(panel.periods[start + a]), kind)} to {_day(int(panel.periods[start + b - 1]), kind)}, as it seems."
            )


def _mean_size(history: SeriesSet) -> float:
    total = np.nansum(history.counts)
    return float(np.nansum(history.amounts) / total) or 1.0 if total > 0 else 1.0


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _day(period: int, kind: Frequency) -> str:
    day = str(start_of(period, kind.name))
    return day[:7] if kind.name == "monthly" else day


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == round(value) else f"{value:,.2f}"
