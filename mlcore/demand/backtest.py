"""Every candidate from every rolling origin, each by what was known there."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mlcore.demand.boosting import Boosting, worthwhile
from mlcore.demand.classical import Classical, largest
from mlcore.demand.panel import Panel
from mlcore.demand.season import FLOOR
from mlcore.demand.smoothing import family, naive, seasonal_naive
from mlcore.progress import Progress, silent

LEAST_ORIGINS = 8
ORIGINS, ORIGINS_MANY, MANY = 24, 14, 300
"""Origins from which the whole horizon is seen; fewer for more than `MANY` series, whose errors can be pooled."""
CEILING = 4.0
"""No forecast above four times the highest value so far: an exploding trend is not a forecast."""
SEASONAL_NAIVE = "seasonal naive"
NAIVE = "naive"
SHARE = "share of parent"
BOOSTING = "boosting"
COMBINATION = "combination"


@dataclass
class Trials:
    """Forecasts of c candidates from k origins for n series, h periods ahead.

    origins: (k,) positions, ascending, the last is t (the forecast itself). forecasts: (c, k, n, h), NaN where a candidate does not take a
    series; 0 is seasonal naive. actual: (k, n, h), NaN where not known. scale: (k, n) seasonal naive's mean error before each origin.
    """

    names: list[str]
    origins: np.ndarray
    forecasts: np.ndarray
    actual: np.ndarray
    scale: np.ndarray
    season: int
    notes: list[str] = field(default_factory=list)


def origins_of(panel: Panel, horizon: int) -> np.ndarray:
    """(k,) positions to forecast from in the backtest; fewer than `LEAST_ORIGINS` where the history is too short for more."""
    kind = panel.frequency
    full = ORIGINS if panel.n <= MANY else ORIGINS_MANY
    for least in (max(kind.season + 2, panel.t // 3), 8):
        for step in dict.fromkeys((kind.step, 1)):
            count = full + (horizon - 1) // step
            found = np.arange(panel.t - step, least - 1, -step)[:count]
            if len(found) >= LEAST_ORIGINS:
                return found[::-1]
    return found[::-1]


def run(panel: Panel, horizon: int, seed: int = 0, progress: Progress = silent) -> Trials:
    """All candidates from all origins and from the end. horizon: periods after the last known one."""
    kind = panel.frequency
    past = origins_of(panel, horizon)
    origins = np.append(past, panel.t)
    season = kind.season if past[0] >= kind.season + 2 else 1
    raw = np.nan_to_num(np.where(np.isnan(panel.observed), panel.clean, panel.observed))
    big = largest(panel.clean[:, : past[0]])
    classical = Classical(kind).fit(panel.clean[:, : past[0]], big)
    boosting = None
    if worthwhile(panel, int(past[0]), horizon):
        progress(0.1, "Boosting on what came before the first origin")
        boosting = Boosting(seed).fit(panel, int(past[0]), horizon)
    rows: list[dict[str, np.ndarray]] = []
    for k, origin in enumerate(origins):
        progress(0.15 + 0.75 * k / len(origins), f"Backtest origin {k + 1} of {len(origins)}")
        if origin == panel.t:
            classical = Classical(kind).fit(panel.clean, big)
            boosting = Boosting(seed).fit(panel, panel.t, horizon) if boosting else None
        rows.append(_candidates(panel, int(origin), horizon, season, raw, classical, boosting))
    names = list(rows[0])
    forecasts = np.stack([[row[name] for row in rows] for name in names])
    actual = np.full(forecasts.shape[1:], np.nan)
    for k, origin in enumerate(origins):
        some = panel.observed[:, origin : origin + horizon]
        actual[k, :, : some.shape[1]] = some
    return Trials(names, origins, forecasts, actual, _scales(panel, origins, season), season)


def _candidates(
    panel: Panel, origin: int, horizon: int, season: int, raw: np.ndarray, classical: Classical, boosting: Boosting | None
) -> dict[str, np.ndarray]:
    known = panel.clean[:, :origin]
    smoothed = family(known, panel.frequency, horizon)
    found = {NAIVE: naive(known, horizon), **smoothed}
    if panel.n > 1:
        found[SHARE] = _from_parent(panel, known, np.mean(list(smoothed.values()), axis=0))
    found |= classical.predict(known, horizon)
    if boosting:
        found[BOOSTING] = boosting.predict(panel, origin, horizon)
    with np.errstate(all="ignore"):
        top = CEILING * np.nan_to_num(known).max(axis=1)
    factor = holiday_factors(panel, origin, horizon)
    found = {name: np.clip(values, 0.0, top[:, None]) * factor for name, values in found.items()}
    return {SEASONAL_NAIVE: seasonal_naive(raw[:, :origin], season, horizon), **found}


def parents(panel: Panel) -> np.ndarray:
    """(n,) int: the node that each is a share of: a cell's product, else the total; the total itself is its own."""
    place = {key: k for k, key in enumerate(panel.keys)}
    above = [(product, None) if product is not None and region is not None else (None, None) for product, region in panel.keys]
    return np.array([place[key] for key in above])


def _from_parent(panel: Panel, known: np.ndarray, smoothed: np.ndarray) -> np.ndarray:
    """A parent's forecast times the part that this series had of it lately, since it was born."""
    span = 2 * panel.frequency.level
    parent = parents(panel)
    own = known[:, -span:]
    alive = ~np.isnan(own)
    mine = np.where(alive, own, 0.0).sum(axis=1)
    theirs = np.where(alive, np.nan_to_num(own[parent]), 0.0).sum(axis=1)
    share = np.where(theirs > 0, mine / np.where(theirs > 0, theirs, 1.0), 0.0)
    return smoothed[parent] * share[:, None]


def holiday_factors(panel: Panel, origin: int, horizon: int) -> np.ndarray:
    """(horizon,) what a holiday leaves of a usual day of its weekday, from the total's holidays before `origin`; 1 on other days.

    A name seen seldom is drawn towards all holidays together, and these towards 1, by the weight of one usual day each.
    """
    result = np.ones(horizon)
    codes = panel.holiday[:origin]
    target = panel.holiday[origin : origin + horizon]
    if not (codes >= 0).any() or not (target >= 0).any():
        return result
    past = np.flatnonzero(codes >= 0)
    came, usual = panel.observed[0, past], panel.clean[0, past]
    good = ~np.isnan(came) & ~np.isnan(usual)
    came, usual, code = came[good], usual[good], codes[past][good]
    day = usual.mean() if len(usual) else 0.0
    if not day > FLOOR:
        return result
    overall = (came.sum() + day) / (usual.sum() + day)
    for step, name in enumerate(target):
        if name >= 0:
            mine = code == name
            result[step] = (came[mine].sum() + day * overall) / (usual[mine].sum() + day)
    return result


def _scales(panel: Panel, origins: np.ndarray, season: int) -> np.ndarray:
    """(k, n): seasonal naive's mean absolute error within the history before each origin; the mean value where that is zero."""
    moves = np.abs(panel.observed[:, season:] - panel.observed[:, :-season])
    known = ~np.isnan(moves)
    sums, counts = np.cumsum(np.where(known, moves, 0.0), axis=1), np.cumsum(known, axis=1)
    at = np.maximum(origins - season - 1, 0)
    scale = (sums[:, at] / np.maximum(counts[:, at], 1)).T
    mean = np.nan_to_num(panel.observed).mean(axis=1)
    return np.where(scale > 0, scale, np.where(mean > 0, mean, 1.0)[None, :])
