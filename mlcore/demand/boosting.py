"""One gradient boosting for all series: what they have in common about weekdays, months, holidays and momentum.

Each row is (series, origin, step ahead); everything is measured against the series' own level at the origin, so that large and small
series, and a growing one early and late, teach each other. Direct forecasts: the step is an input, nothing is fed back.
After Montero-Manso and Hyndman (2021) on global models and the LightGBM entries of the M5 competition.
"""

from __future__ import annotations

import numpy as np

from mlcore.demand.calendar import start_of
from mlcore.demand.panel import Panel

ROWS = 60_000
LEAST_SERIES = 8
LEAST_ROWS = 4_000
"""Fewer (series × periods) than this teach a boosting less than they mislead it."""
CAP = 6.0
"""A target of more than six times the level is taken as six: one campaign shall not rule all series."""


def worthwhile(panel: Panel, first_origin: int, horizon: int) -> bool:
    kind = panel.frequency
    usable = first_origin - _shortest(panel) - horizon
    return panel.n >= LEAST_SERIES and usable >= kind.season and panel.n * usable >= LEAST_ROWS


def _shortest(panel: Panel) -> int:
    return 2 * panel.frequency.level


class Boosting:
    """`fit` on the targets up to an origin, `predict` at any origin from then on."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, panel: Panel, until: int, horizon: int) -> Boosting:
        """Learns from targets at positions before `until` only."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        generator = np.random.default_rng(self.seed)
        steps = np.unique(np.linspace(1, horizon, min(horizon, 10)).round().astype(int))
        origins = np.arange(_shortest(panel), until)
        keep = max(ROWS // (panel.n * len(steps)), 4)
        if len(origins) > keep:
            origins = np.sort(generator.permutation(origins)[:keep])
        inputs, targets = [], []
        for origin in origins:
            inside = steps[origin + steps <= until]
            if not len(inside):
                continue
            features, level = _features(panel, int(origin), inside)
            target = panel.clean[:, origin + inside - 1] / np.where(level > 0, level, np.nan)[:, None]
            good = ~np.isnan(target)
            inputs.append(features[good])
            targets.append(np.minimum(target[good], CAP))
        x, y = np.concatenate(inputs), np.concatenate(targets)
        if len(y) > ROWS:
            rows = np.sort(generator.permutation(len(y))[:ROWS])
            x, y = x[rows], y[rows]
        self.model_ = HistGradientBoostingRegressor(
            max_iter=150, learning_rate=0.06, max_leaf_nodes=15, min_samples_leaf=60, l2_regularization=5.0, random_state=self.seed
        ).fit(x, y)
        return self

    def predict(self, panel: Panel, origin: int, horizon: int) -> np.ndarray:
        """(n, horizon); NaN for series without a level."""
        features, level = _features(panel, origin, np.arange(1, horizon + 1))
        ratio = self.model_.predict(features.reshape(-1, features.shape[-1])).reshape(panel.n, horizon)
        return np.where((level > 0)[:, None], np.maximum(ratio, 0.0) * level[:, None], np.nan)


def _features(panel: Panel, origin: int, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, s, f) inputs for the periods at positions origin + steps − 1, from values before `origin`; and (n,) levels."""
    kind = panel.frequency
    past = panel.clean[:, :origin]
    m = kind.season
    target = origin + steps - 1
    level = _mean(past[:, -kind.level :])
    safe = np.where(level > 0, level, np.nan)
    short = max(kind.level // 4, 2)
    flat = [
        np.log1p(level),
        past[:, -1] / safe,
        _mean(past[:, -short:]) / safe,
        _mean(past[:, -2 * kind.level : -kind.level]) / safe,
        _spread(past[:, -kind.level :]) / safe,
        panel.levels.astype(float),
    ]
    n, s = len(past), len(steps)
    columns = [np.repeat(each[:, None], s, axis=1) for each in flat]
    same = (steps - 1) % m
    if m <= 12:
        back = [origin - m * k + same for k in range(1, 5)]
        seasons = [past[:, np.maximum(at, 0)] / safe[:, None] for at in back if at.min() >= 0]
        columns.append(seasons[0] if seasons else np.full((n, s), np.nan))
        columns.append(np.mean(seasons, axis=0) if seasons else np.full((n, s), np.nan))
    year = {"daily": 364, "weekly": 52, "monthly": 12}[kind.name]
    at = target - year * (1 + (steps - 1) // year)
    before = origin - year * (1 + (steps - 1) // year)
    known = (at >= 0) & (before - kind.level >= 0)
    last_year = np.full((n, s), np.nan)
    if known.any():
        base = np.stack([_mean(past[:, b - kind.level : b]) for b in before[known]], axis=1)
        around = np.stack([_mean(past[:, max(a - short // 2, 0) : min(a + short // 2 + 1, origin)]) for a in at[known]], axis=1)
        last_year[:, known] = np.where(base > 0, around / np.maximum(base, 1e-9), np.nan)
    columns.append(np.minimum(last_year, CAP))
    columns += [np.repeat(each[None, :].astype(float), n, axis=0) for each in _calendar(panel, target, steps)]
    return np.stack(columns, axis=-1), np.nan_to_num(level)


def _calendar(panel: Panel, target: np.ndarray, steps: np.ndarray) -> list[np.ndarray]:
    first = int(panel.periods[0])
    days = start_of(first + target, panel.frequency.name)
    months = days.astype("datetime64[M]")
    day_of_year = (days - days.astype("datetime64[Y]").astype("datetime64[D]")).astype(int)
    found = [steps, months.astype(int) % 12, panel.working[np.minimum(target, len(panel.working) - 1)]]
    if panel.frequency.name == "monthly":
        found.append(((months + 1).astype("datetime64[D]") - days).astype(int))
    else:
        found += [day_of_year, (days - months.astype("datetime64[D]")).astype(int)]
    if panel.frequency.name == "daily":
        found.append((days.astype(np.int64) + 3) % 7)
    return found


def _mean(values: np.ndarray) -> np.ndarray:
    known = ~np.isnan(values)
    return np.where(known, values, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)


def _spread(values: np.ndarray) -> np.ndarray:
    centred = np.where(np.isnan(values), np.nan, values - _mean(values)[:, None])
    return np.sqrt(_mean(centred**2))
