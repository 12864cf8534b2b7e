"""Past vintages held against what came: the only accuracy that counts, beside seasonal naive's at the same moments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np

from mlcore.demand.calendar import moment, period_of, start_of
from mlcore.demand.intervals import CLOSED
from mlcore.demand.panel import Panel, build
from mlcore.demand.result import ForecastSet, Key, level_name
from mlcore.demand.series import SeriesSet


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How the vintages did on one level (total, product, region, cell or all) or one series, at one step or all (`horizon` None).

    origins: vintages that had something to be held against. values: forecasts compared. wape: Σ|error| / Σ actual, None where nothing
    came; mase: mean of |error| / seasonal naive's mean error in the history before the vintage. coverage: shares inside the intervals,
    closed days (a Sunday forecast at less than a twentieth of the mean) left out: they are always right.
    """

    level: str
    product: str | None
    region: str | None
    horizon: int | None
    origins: int
    values: int
    wape: float | None
    naive_wape: float | None
    mase: float
    naive_mase: float
    coverage80: float | None
    coverage95: float | None

    @property
    def one_minus_wape(self) -> float | None:
        return None if self.wape is None else 1 - self.wape

    @property
    def naive_one_minus_wape(self) -> float | None:
        return None if self.naive_wape is None else 1 - self.naive_wape

    @property
    def mase_ratio(self) -> float | None:
        """Below 1: better than seasonal naive."""
        return self.mase / self.naive_mase if self.naive_mase > 0 else None


@dataclass(frozen=True)
class Errors:
    """One row a forecast that has met its period: (r,) arrays."""

    key: list[Key]
    vintage: np.ndarray
    step: np.ndarray
    actual: np.ndarray
    business: np.ndarray
    error: np.ndarray
    naive: np.ndarray
    scale: np.ndarray
    inside80: np.ndarray
    inside95: np.ndarray

    def summary(self, mask: np.ndarray, level: str, key: Key = (None, None), horizon: int | None = None) -> Accuracy:
        actual, error, naive, scale = (each[mask] for each in (self.actual, self.error, self.naive, self.scale))
        total = float(actual.sum())
        return Accuracy(
            level,
            *key,
            horizon,
            origins=len(np.unique(self.vintage[mask])),
            values=int(mask.sum()),
            wape=float(error.sum() / total) if total > 0 else None,
            naive_wape=float(naive.sum() / total) if total > 0 else None,
            mase=float((error / scale).mean()) if mask.any() else 0.0,
            naive_mase=float((naive / scale).mean()) if mask.any() else 0.0,
            coverage80=float(self.inside80[mask & self.business].mean()) if (mask & self.business).any() else None,
            coverage95=float(self.inside95[mask & self.business].mean()) if (mask & self.business).any() else None,
        )


def actuals(
    history: SeriesSet, *, frequency: str, as_of: date | datetime | str, measure: str = "count", country: str | None = None
) -> dict[Key, dict[str, float]]:
    """What came: {(product, region): {first day of the period, ISO: value}} of complete, known periods before `as_of`. Also for charts."""
    panel = _panel(history, frequency, as_of, measure, country)
    days = [str(day) for day in start_of(panel.periods, frequency)]
    return {
        key: {day: float(value) for day, value in zip(days, row, strict=True) if not np.isnan(value)}
        for key, row in zip(panel.keys, panel.observed, strict=True)
    }


def _panel(history: SeriesSet, frequency: str, as_of: date | datetime | str, measure: str, country: str | None) -> Panel:
    return build(history, frequency=frequency, as_of=moment(as_of), measure=measure, country=country, horizon=1, whole=True)


def errors(vintages: Iterable[ForecastSet], history: SeriesSet, as_of: date | datetime | str) -> Errors:
    """Every forecast of the vintages (of one frequency and measure) whose period is known at `as_of`, the naive one beside it."""
    vintages = list(vintages)
    rows: dict[str, list] = {name: [] for name in Errors.__dataclass_fields__}
    if vintages:
        kinds = {(each.frequency, each.measure, each.country) for each in vintages}
        if len(kinds) > 1:
            raise ValueError("Vintages of several frequencies, measures or countries can't be held against one history.")
        frequency, measure, country = kinds.pop()
        panel = _panel(history, frequency, as_of, measure, country)
        place = {key: k for k, key in enumerate(panel.keys)}
        for number, vintage in enumerate(vintages):
            _compare(vintage, number, panel, place, rows)
    return Errors(rows.pop("key"), **{name: np.array(values) for name, values in rows.items()})


def _compare(vintage: ForecastSet, number: int, panel: Panel, place: dict[Key, int], rows: dict[str, list]) -> None:
    if not panel.t:
        return
    first = int(panel.periods[0])
    at = int(period_of(np.datetime64(vintage.origin), vintage.frequency)) - first
    before = panel.observed[:, : max(at, 0)]  # shorter than that where the vintage is later than all that is known
    moves = np.abs(before[:, vintage.season :] - before[:, : max(before.shape[1] - vintage.season, 0)])
    known = ~np.isnan(moves)
    scale = np.where(known, moves, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    for series in vintage.series:
        node = place.get(series.key)
        if node is None:
            continue
        usual = CLOSED * np.mean([row.point for row in series.rows] or [0.0])
        for row in series.rows:
            position = at + row.step - 1
            actual = panel.observed[node, position] if 0 <= position < panel.t else np.nan
            if np.isnan(actual) or row.baseline is None or scale[node] <= 0:
                continue
            found = {
                "key": series.key,
                "vintage": number,
                "step": row.step,
                "actual": actual,
                "business": row.point >= usual,
                "error": abs(actual - row.point),
                "naive": abs(actual - row.baseline),
                "scale": scale[node],
                "inside80": row.lo80 <= actual <= row.hi80,
                "inside95": row.lo95 <= actual <= row.hi95,
            }
            for name, value in found.items():
                rows[name].append(value)


def accuracy(
    vintages: Sequence[ForecastSet], history: SeriesSet, as_of: date | datetime | str, *, by_series: bool = False, by_step: bool = False
) -> list[Accuracy]:
    """Accuracy of each level, of all, and if asked of each series and each step; empty where no forecast has met its period yet."""
    table = errors(vintages, history, as_of)
    if not table.key:
        return []
    level = np.array([level_name(*key) for key in table.key])
    everything = np.ones(len(level), dtype=bool)
    found = [table.summary(level == name, name) for name in ("total", "product", "region", "cell") if (level == name).any()]
    found.append(table.summary(everything, "all"))
    if by_step:
        for name in dict.fromkeys(level.tolist()):
            found += [
                table.summary((level == name) & (table.step == k), name, horizon=int(k)) for k in np.unique(table.step[level == name])
            ]
    if by_series:
        index: dict[Key, list[int]] = {}
        for k, key in enumerate(table.key):
            index.setdefault(key, []).append(k)
        for key, at in index.items():
            mask = np.zeros(len(level), dtype=bool)
            mask[at] = True
            found.append(table.summary(mask, level_name(*key), key))
    return found
