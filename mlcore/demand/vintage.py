"""One call from history to vintage: clean, backtest, choose, reconcile, and say how sure and why."""

from __future__ import annotations

from datetime import date, datetime

import numpy as np

from mlcore.demand.backtest import LEAST_ORIGINS as LEAST_ORIGINS
from mlcore.demand.backtest import Trials, origins_of, parents, run
from mlcore.demand.calendar import moment, start_of
from mlcore.demand.choose import Chosen, choose
from mlcore.demand.intervals import intervals
from mlcore.demand.panel import IMPLAUSIBLE, Panel, build
from mlcore.demand.reconcile import reconcile, reported
from mlcore.demand.result import QUANTUM, Backtest, Forecast, ForecastSet, Row
from mlcore.demand.series import SeriesSet
from mlcore.demand.short import chance, mean_forecast, too_little
from mlcore.progress import Progress, part, silent

YOUNG = {"daily": 28, "weekly": 13, "monthly": 8}
"""A series with fewer periods than this takes its share of its parent's forecast."""
SPARSE = 0.05
"""A series is sparse when more than this share of its periods is zero: a Poisson mean below 3."""
MOST_NOTES = 6


def forecast(
    history: SeriesSet,
    *,
    horizon: int,
    frequency: str,
    country: str | None,
    as_of: date | datetime | str | np.datetime64,
    measure: str = "count",
    progress: Progress = silent,
    seed: int = 0,
) -> ForecastSet:
    """The vintage of `as_of`: every series of the history (total, products, regions, cells), `horizon` periods from the unfinished one on.

    history: applications or counts; what lies after `as_of` is not looked at. frequency: daily, weekly (from Monday) or monthly.
    country: ISO code for public holidays, or None. as_of: an instant (UTC), or a date, on which that day has not begun. measure: "count" of
    applications or "amount" of money. The same arguments give the same vintage.

    Never raises for what the data are like: a history that can't be forecast gives series without rows and a reason. Raises
    CalendarError (unknown frequency, or one finer than the counts), SeriesError (unknown measure, no amounts), ValueError (horizon < 1).
    """
    if horizon < 1:
        raise ValueError(f"The horizon is {horizon}; it must be at least 1.")
    instant = moment(as_of)
    progress(0.0, "Ordering the history")
    panel = build(history, frequency=frequency, as_of=instant, measure=measure, country=country, horizon=horizon)
    made = _Vintage(history, panel, instant, horizon, country, measure, seed)
    reason = too_little(panel)
    if reason:
        return made.empty(reason)
    if len(origins_of(panel, horizon + panel.lead)) < LEAST_ORIGINS:
        return made.short()
    trials = run(panel, horizon + panel.lead, seed, part(progress, 0.05, 0.9))
    progress(0.9, "Choosing, reconciling and measuring the intervals")
    result = made.whole(trials)
    progress(1.0, "Done")
    return result


class _Vintage:
    """The parts that every outcome shares."""

    def __init__(
        self, history: SeriesSet, panel: Panel, instant: np.datetime64, horizon: int, country: str | None, measure: str, seed: int
    ) -> None:
        self.panel, self.instant, self.horizon = panel, instant, horizon
        self.country, self.measure, self.seed = country, measure, seed
        self.sizes = history.sizes
        self.size: float | None = None
        if measure == "amount":
            known, _ = history.known(instant)
            counts = np.nansum(known.counts)
            self.size = float(np.nansum(known.amounts) / counts) if counts > 0 else 1.0
            self.size = self.size if self.size > 0 else 1.0
        self.season = panel.frequency.season

    def empty(self, reason: str) -> ForecastSet:
        series = [Forecast(product, region, self._origin, "none", reason=reason) for product, region in self.panel.keys]
        return self._set(series, reason)

    def short(self) -> ForecastSet:
        panel = self.panel
        points, bounds = mean_forecast(panel, self.horizon, self.size, self.sizes)
        noun = panel.frequency.noun
        note = (
            f"Only {panel.t} complete {noun}s: too few to compare methods, so the forecast is their mean, and nothing is known of seasons."
        )
        for notes in panel.node_notes:
            notes.append(note)
        self.season = 1
        return self._series(points, bounds, np.full(points.shape, np.nan), [f"mean of {panel.t} {noun}s"] * panel.n, [None] * panel.n)

    def whole(self, trials: Trials) -> ForecastSet:
        panel, lead = self.panel, self.panel.lead
        young = (panel.t - panel.first < YOUNG[panel.frequency.name]) & (panel.levels > 0)
        sparse = (panel.clean == 0).sum(axis=1) > SPARSE * (panel.t - panel.first)
        chosen = choose(trials, 2 * panel.levels + sparse, young, sparse)
        points = self._reconciled(chosen.points, trials)
        past, ahead = points[:-1], points[-1]
        least = np.sqrt(np.maximum(ahead, 0.0) * (1.0 if self.size is None else self.size * self.sizes))
        bounds = intervals(past, trials.actual[:-1], ahead, panel.levels, least, trials.origins)
        silent_series = np.nansum(panel.clean, axis=1) == 0
        if silent_series.any():
            bounds[:, silent_series] = np.maximum(bounds, chance(np.zeros(panel.n), panel.t, self.size, self.sizes)[:, :, None])[
                :, silent_series
            ]
        self.season = trials.season
        self._remark(trials, young, silent_series)
        methods = [_named(chosen, node) for node in range(panel.n)]
        backtests = [_record(past[:, node], trials, node) for node in range(panel.n)]
        baseline = trials.forecasts[0, -1, :, lead:]
        return self._series(ahead[:, lead:], bounds[:, :, lead:], baseline, methods, backtests)

    def _reconciled(self, points: np.ndarray, trials: Trials) -> np.ndarray:
        """(k, n, h) coherent; weights are the mean squared backtest errors relative to the level at the time."""
        k, n, h = points.shape
        error = points - trials.actual
        known = ~np.isnan(error)
        # Recent errors tell the size of the next ones better where a series grows
        weight = np.where(known, 0.9 ** np.arange(k)[::-1][:, None, None], 0.0)
        variance = (weight * np.nan_to_num(error) ** 2).sum(axis=(0, 2)) / np.maximum(weight.sum(axis=(0, 2)), 1e-12)
        variance = np.maximum(variance, 1e-4 * np.maximum(np.nan_to_num(self.panel.clean).mean(axis=1), 1e-6) ** 2)
        flat = np.moveaxis(points, 1, 0).reshape(n, k * h)
        return np.moveaxis(reconcile(flat, self.panel.parts, variance).reshape(n, k, h), 0, 1)

    def _remark(self, trials: Trials, young: np.ndarray, silent_series: np.ndarray) -> None:
        panel, noun = self.panel, self.panel.frequency.noun
        parent = parents(panel)
        for node in np.flatnonzero(young):
            of = panel.keys[parent[node]]
            name = of[0] or of[1] or "the total"
            age = panel.t - int(panel.first[node])
            panel.node_notes[node].append(f"Only {age} {noun}{'s' * (age != 1)} old: it takes its share of the forecast of {name}.")
        for node in np.flatnonzero(silent_series):
            panel.node_notes[node].append(f"Nothing came in {panel.t} {noun}s: the forecast is zero, the interval what chance allows then.")
        if trials.season == 1 and panel.frequency.season > 1:
            panel.notes.append(
                f"Less than {panel.frequency.season + 2 + LEAST_ORIGINS} {noun}s: too few for a season, so the yardstick is the last value."
            )
        known = np.where(np.isnan(panel.clean), np.nan_to_num(panel.clean[:, -1:]), panel.clean)
        constant = (known == known[:, -1:]).all(axis=1) & ~silent_series & ~young
        for node in np.flatnonzero(constant):
            panel.node_notes[node].append(f"The same value in all {panel.t} {noun}s; the interval says only that it never changed.")
        origins = len(trials.origins) - 1
        if origins < 19:
            panel.notes.append(f"The 95 % intervals rest on {origins} origins; fewer than 19 can't show one miss in twenty.")

    @property
    def _origin(self) -> str:
        return str(start_of(self.panel.origin, self.panel.frequency.name))

    def _series(
        self, points: np.ndarray, bounds: np.ndarray, baseline: np.ndarray, methods: list[str], backtests: list[Backtest | None]
    ) -> ForecastSet:
        panel = self.panel
        points, bounds, baseline = self._with_what_came(points, bounds, baseline)
        whole = reported(points[panel.leaves], panel.parts) / QUANTUM
        bounds = np.round(bounds, 2)
        low, high = np.minimum(bounds[[0, 2]], whole), np.maximum(bounds[[1, 3]], whole)
        starts = [str(day) for day in start_of(panel.origin + np.arange(self.horizon), panel.frequency.name)]
        base = np.round(baseline, 2)
        series = []
        for node, (product, region) in enumerate(panel.keys):
            rows = tuple(
                Row(
                    starts[k],
                    k + 1,
                    float(whole[node, k]),
                    *(float(each[node, k]) for each in (low[0], high[0], low[1], high[1])),
                    None if np.isnan(base[node, k]) else float(base[node, k]),
                )
                for k in range(self.horizon)
            )
            series.append(
                Forecast(product, region, self._origin, methods[node], rows, _brief(panel.node_notes[node]), backtest=backtests[node])
            )
        return self._set(series)

    def _with_what_came(self, points: np.ndarray, bounds: np.ndarray, baseline: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The unfinished period is what has come in it and the rest of its forecast; only the rest is uncertain, as a part of a sum is."""
        panel = self.panel
        came, rest = panel.parts.astype(float) @ panel.so_far, 1.0 - panel.elapsed
        missed = panel.elapsed * points[0, 0] / (self.size or 1.0)
        if not came.any() and (panel.elapsed == 0 or missed >= IMPLAUSIBLE):
            return points, bounds, baseline  # nothing where much was due: not delivered yet, rather than not applied
        points, bounds, baseline = points.copy(), bounds.copy(), baseline.copy()
        first = points[:, 0].copy()
        points[:, 0] = came + rest * first
        bounds[:, :, 0] = np.maximum(points[:, 0] + np.sqrt(rest) * (bounds[:, :, 0] - first), came)
        baseline[:, 0] = came + rest * baseline[:, 0]
        return points, bounds, baseline

    def _set(self, series: list[Forecast], reason: str = "") -> ForecastSet:
        return ForecastSet(
            origin=self._origin,
            as_of=str(self.instant.astype("datetime64[s]")),
            frequency=self.panel.frequency.name,
            measure=self.measure,
            horizon=self.horizon,
            country=self.country,
            season=self.season,
            seed=self.seed,
            series=tuple(series),
            notes=tuple(self.panel.notes),
            reason=reason,
        )


def _brief(notes: list[str]) -> tuple[str, ...]:
    """The last few: the newest outliers matter most."""
    if len(notes) <= MOST_NOTES:
        return tuple(notes)
    return (f"{len(notes) - MOST_NOTES} earlier remarks are left out.", *notes[-MOST_NOTES:])


def _named(chosen: Chosen, node: int) -> str:
    """The method in words; a combination by the methods that make up nine tenths of it."""
    method = int(chosen.method[node])
    if method < len(chosen.names) - 1:
        return chosen.names[method]
    order = np.argsort(-chosen.weights[:, node], kind="stable")
    reach = int(np.searchsorted(np.cumsum(chosen.weights[order, node]), 0.9)) + 1
    names = [chosen.names[k] for k in order[:reach]]
    return f"combination of {', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def _record(points: np.ndarray, trials: Trials, node: int) -> Backtest:
    """points: (k, h) of one node, reconciled."""
    actual = trials.actual[:-1, node]
    known = ~np.isnan(actual)
    scale = trials.scale[:-1, node][:, None]
    error, naive = np.abs(points - actual), np.abs(trials.forecasts[0, :-1, node] - actual)
    total = float(np.where(known, actual, 0.0).sum())

    def wape(each: np.ndarray) -> float | None:
        return float(each[known].sum() / total) if total > 0 else None

    def mase(each: np.ndarray) -> float:
        return float((each / scale)[known].mean()) if known.any() else 0.0

    return Backtest(int(known.any(axis=1).sum()), points.shape[1], wape(error), mase(error), wape(naive), mase(naive))
