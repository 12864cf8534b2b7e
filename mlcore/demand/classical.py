"""Exponential smoothing and ARIMA by maximum likelihood (statsmodels), for the few largest series.

Cost is bounded by rule, not by the clock, so that the same history gives the same forecast: at most `SERIES` series, the largest first,
at most `LONGEST` periods back, parameters estimated once before the first backtest origin and once at the end; in between, only the
states follow the data, which uses nothing that was not known at each origin.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from scipy.signal import lfilter

from mlcore.demand.calendar import Frequency
from mlcore.demand.season import ahead, deseasonalised, indices

SERIES = 4
LONGEST = {"daily": 280, "weekly": 208, "monthly": 180}
SHORTEST = {"daily": 42, "weekly": 30, "monthly": 24}
ITERATIONS = 40

Predict = Callable[[np.ndarray, int], np.ndarray]
"""(t,) values → (horizon,) forecast, with parameters that stay."""


def largest(history: np.ndarray, most: int = SERIES) -> np.ndarray:
    """Positions of the series with most applications, ties in their order (parents first)."""
    return np.argsort(-np.nansum(history, axis=1), kind="stable")[:most]


def _ets(values: np.ndarray, kind: Frequency) -> Predict:
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    m = kind.season if kind.season <= 12 and len(values) >= 3 * kind.season else 1
    model = ETSModel(
        values, error="add", trend="add", damped_trend=True, seasonal="add" if m > 1 else None, seasonal_periods=m if m > 1 else None
    )
    found = dict(zip(model.param_names, model.fit(disp=False, maxiter=ITERATIONS).params, strict=True))
    alpha, beta, phi = found["smoothing_level"], found["smoothing_trend"], found["damping_trend"]
    gamma = found.get("smoothing_seasonal", 0.0)
    initial = [found.get(f"initial_seasonal.{k}", 0.0) for k in range(m)][::-1]  # statsmodels numbers them backwards in time

    def predict(series: np.ndarray, horizon: int) -> np.ndarray:
        # ETSModel.smooth would compute a Hessian for every origin: a hundred times the cost of this loop, for the same states
        level, trend, season = found["initial_level"], found["initial_trend"], list(initial)
        for at, value in enumerate(series.tolist()):
            expected = level + phi * trend
            error = value - expected - season[at % m]
            level, trend = expected + alpha * error, phi * trend + beta * error
            season[at % m] += gamma * error
        steps = np.cumsum(phi ** np.arange(1, horizon + 1))
        return level + trend * steps + np.array(season)[(len(series) + np.arange(horizon)) % m]

    return predict


def _bounded(weight: float) -> float:
    """Kept off 1, where the unknown first shocks would never be forgotten."""
    return float(np.clip(weight, -0.9, 0.9))


def _arima(values: np.ndarray, kind: Frequency) -> Predict:
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    m = kind.season if kind.season <= 12 and len(values) >= 3 * kind.season else 0
    orders: dict = {"order": (0, 1, 1), "seasonal_order": (0, 1, 1, m)} if m else {"order": (1, 1, 1)}
    model = SARIMAX(values, **orders, concentrate_scale=True)
    found = dict(zip(model.param_names, model.fit(disp=0, maxiter=ITERATIONS, method="lbfgs", cov_type="none").params, strict=True))
    ar = np.array([1.0, -found.get("ar.L1", 0.0)])
    ma = np.array([1.0, _bounded(found["ma.L1"])])
    differences = np.array([1.0, -1.0])
    if m:
        ma = np.convolve(ma, [1.0, *[0.0] * (m - 1), _bounded(found[f"ma.S.L{m}"])])
        differences = np.convolve(differences, [1.0, *[0.0] * (m - 1), -1.0])

    def predict(series: np.ndarray, horizon: int) -> np.ndarray:
        # Innovations given the first values, instead of a Kalman filter anew for every origin: a hundredth of the time
        moves = np.convolve(series, differences, mode="valid")
        shocks = lfilter(ar, ma, moves)
        moves = lfilter(ma, ar, np.append(shocks, np.zeros(horizon)))
        path = series.tolist()
        for move in moves[-horizon:]:
            path.append(move - sum(differences[k] * path[-k] for k in range(1, len(differences)) if differences[k]))
        return np.array(path[-horizon:])

    return predict


KINDS: dict[str, Callable[[np.ndarray, Frequency], Predict]] = {"damped trend by likelihood": _ets, "ARIMA": _arima}


class Classical:
    """Both models for one set of series. `fit` on the history before the first origin, then `predict` at any later one."""

    def __init__(self, kind: Frequency) -> None:
        self.kind = kind

    def fit(self, history: np.ndarray, nodes: np.ndarray) -> Classical:
        """history: (n, t) clean values. nodes: positions of the series to fit. A series that a model can't take is left to the others."""
        import statsmodels.api  # noqa: F401  (puts its own warning filters first, so it must be imported before ours)

        self.start_ = max(0, history.shape[1] - LONGEST[self.kind.name])  # stays, since the first states belong to it
        self.fitted_: dict[tuple[str, int], Predict] = {}
        for node in nodes:
            series = self._series(history, int(node))
            if len(series) < SHORTEST[self.kind.name] or not series.std() > 0:
                continue
            scaled, *_ = self._prepared(history, int(node))
            for name, make in KINDS.items():
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # "may not have converged": the backtest judges that
                    try:
                        self.fitted_[name, int(node)] = make(scaled, self.kind)
                    except (ValueError, np.linalg.LinAlgError, FloatingPointError):
                        continue
        return self

    def predict(self, history: np.ndarray, horizon: int) -> dict[str, np.ndarray]:
        """{method: (n, horizon)}, NaN for series that it does not take."""
        found = {name: np.full((len(history), horizon), np.nan) for name in KINDS}
        prepared: dict[int, tuple] = {}
        for (name, node), predict in self.fitted_.items():
            if node not in prepared:
                prepared[node] = self._prepared(history, node)
            scaled, back = prepared[node]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    forecast = back(predict(scaled, horizon))
                except (ValueError, np.linalg.LinAlgError, FloatingPointError):
                    continue
            if np.isfinite(forecast).all():
                found[name][node] = forecast
        return found

    def _series(self, history: np.ndarray, node: int) -> np.ndarray:
        series = history[node, self.start_ :]
        return series[~np.isnan(series)]

    def _prepared(self, history: np.ndarray, node: int) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
        """The series on logarithms (as it is where it comes near zero), long seasons divided out, and the way back."""
        series = self._series(history, node)
        season = None
        if self.kind.season > 12:
            whole = history[[node]]
            index = indices(whole, self.kind)
            season = lambda horizon: ahead(index, whole.shape[1], horizon)[0]  # noqa: E731
            series = deseasonalised(whole, index)[0, self.start_ :]
            series = series[~np.isnan(series)]
        logs = series.min() > 0.02 * series.mean()
        scaled = np.log(series) if logs else series
        top = scaled.max() + 3.0

        def back(forecast: np.ndarray) -> np.ndarray:
            raw = np.exp(np.minimum(forecast, top)) if logs else np.maximum(forecast, 0.0)
            return raw * season(len(raw)) if season else raw

        return scaled, back
