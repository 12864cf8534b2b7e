"""From a score to a probability that happens as often as it says.

A calibrator maps log-odds to log-odds, strictly rising, so that it changes what a score means but never who is riskier than whom. It is
fitted on rows that its model was not fitted on: the latest window whose outcomes are known.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from mlcore.metrics import expit, logit, observed_expected, wilson

Method = Literal["level", "platt", "beta", "isotonic"]
LEAST_EVENTS: tuple[tuple[int, Method], ...] = ((1000, "isotonic"), (200, "beta"), (30, "platt"), (0, "level"))
"""The method by the number of defaults (or of repaid loans, if those are fewer): more freedom only where there are events to pay for it."""
LEAST_SLOPE = 0.05  # keeps every map strictly rising: two different scores never become one probability
SLOPE_SPREAD = 0.15
"""How far the true slope of a rung that was itself fitted for probabilities lies from 1 (standard deviation). Slopes are drawn towards 1 by
that much: a window of 250 defaults knows its slope to ±.12 only, and the next window's slope is another one again. Without it,
LendingClub's last quarter of 2009 would bend a score whose slope in 2010 was 1.00 to 1.32.
"""
REACH = 12.0  # log-odds beyond ±12 (six in a million) are not told apart by any data that a lender has


@dataclass(frozen=True)
class Calibrator:
    """A fitted map of log-odds, plain data.

    level: z + shift. platt: a·z + c. beta (Kull 2017): a·ln p − b·ln(1 − p) + c with a, b ≥ 0. isotonic: straight lines between `knots`
    (score, log-odds), continued beyond the ends with the slope `a`. `offset` is added to the score first, `shift` to the result last.
    """

    method: Method
    a: float = 1.0
    b: float = 1.0
    c: float = 0.0
    knots: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    shift: float = 0.0
    offset: float = 0.0
    rows: int = 0
    defaults: int = 0

    def transform(self, log_odds: np.ndarray) -> np.ndarray:
        """(n,) calibrated log-odds of (n,) log-odds, within ±12 and a little that keeps the order."""
        z = np.asarray(log_odds, dtype=float) + self.offset
        if self.method == "level":
            made = z
        elif self.method == "platt":
            made = self.a * z + self.c
        elif self.method == "beta":
            positive = np.logaddexp(0.0, z)
            made = self.a * (z - positive) + self.b * positive + self.c
        else:
            at, to = np.asarray(self.knots[0]), np.asarray(self.knots[1])
            made = np.interp(z, at, to) + self.a * (np.minimum(z - at[0], 0.0) + np.maximum(z - at[-1], 0.0))
        made = made + self.shift
        # Beyond ±12 the slope falls to a thousandth: no probability of 0 or 1, and still no ties.
        return np.clip(made, -REACH, REACH) + 0.001 * (made - np.clip(made, -REACH, REACH))

    def one(self, z: float) -> float:
        """`transform` of a single number, in plain Python."""
        z += self.offset
        if self.method == "level":
            made = z
        elif self.method == "platt":
            made = self.a * z + self.c
        elif self.method == "beta":
            positive = max(z, 0.0) + math.log1p(math.exp(-abs(z)))
            made = self.a * (z - positive) + self.b * positive + self.c
        else:
            at, to = self.knots
            right = min(max(bisect_right(at, z), 1), len(at) - 1)
            inside = min(max(z, at[0]), at[-1])
            share = (inside - at[right - 1]) / (at[right] - at[right - 1])
            made = to[right - 1] + share * (to[right] - to[right - 1]) + self.a * (z - inside)
        made += self.shift
        inside = min(max(made, -REACH), REACH)
        return inside + 0.001 * (made - inside)

    def levelled(self, log_odds: np.ndarray, default: np.ndarray) -> Calibrator:
        """The same map, moved so that on these rows as many defaults are expected as were observed."""
        return replace(self, shift=self.shift + level_shift(self.transform(log_odds), default))

    def carried_over(self, fitted_on: np.ndarray, refitted: np.ndarray, weight: np.ndarray | None = None) -> Calibrator:
        """The same map for the scores of the same rung fitted again on more rows. Both are (n,) scores of the same applicants. weight: (n,)
        of each, 1 by default.

        A rung that has meanwhile learned from a later level of risk would otherwise have that level corrected twice. Mean probabilities are
        matched, since they stay right even where a rung is too sure of rows that it was fitted on.
        """
        moved = level_shift(np.asarray(refitted, dtype=float), expit(np.asarray(fitted_on, dtype=float)), weight)
        return replace(self, offset=self.offset + moved)

    def to_state(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "a": self.a,
            "b": self.b,
            "c": self.c,
            "knots": [list(self.knots[0]), list(self.knots[1])],
            "shift": self.shift,
            "offset": self.offset,
            "rows": self.rows,
            "defaults": self.defaults,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Calibrator:
        return cls(**{**state, "knots": (tuple(state["knots"][0]), tuple(state["knots"][1]))})


IDENTITY = Calibrator("level")


def choose(default: np.ndarray) -> Method:
    """The method that this many events can pay for (`LEAST_EVENTS`)."""
    events = int(min(np.sum(default), len(default) - np.sum(default)))
    return next(method for least, method in LEAST_EVENTS if events >= least)


def fit(log_odds: np.ndarray, default: np.ndarray, method: Method | None = None, weight: np.ndarray | None = None) -> Calibrator:
    """A calibrator of (n,) uncalibrated log-odds on (n,) outcomes; the method by the number of defaults where none is named.

    A score that is constant, or that does not rise with risk on these rows, has its level corrected only. weight: (n,) of each row, 1 by
    default.
    """
    z = np.asarray(log_odds, dtype=float)
    default = np.asarray(default, dtype=float)
    weight = np.ones(len(z)) if weight is None else np.asarray(weight, dtype=float)
    if len(z) != len(default):
        raise ValueError(f"{len(z)} scores, but {len(default)} outcomes.")
    if not np.isfinite(z).all():
        raise ValueError("A score is not finite.")
    if method is None:
        method = choose(default)
    counts = {"rows": len(z), "defaults": int(default.sum())}
    if len(z) == 0:
        return Calibrator("level", **counts)
    level = Calibrator("level", shift=level_shift(z, default, weight), **counts)
    if method == "level" or np.ptp(z) < 1e-9 or default.min() == default.max():
        return level
    slope, constant = _near_identity(z[:, None], z, default, weight)
    if slope < LEAST_SLOPE:
        return level
    platt = Calibrator("platt", a=float(slope), c=float(constant), **counts)
    if method == "platt":
        return platt
    if method == "beta":
        positive = np.logaddexp(0.0, z)
        a, b, constant = _near_identity(np.column_stack([z - positive, positive]), z, default, weight)
        if min(a, b) < LEAST_SLOPE:  # one tail would fall or go flat: the straight line is the nearest map that rises
            return platt
        return Calibrator("beta", a=float(a), b=float(b), c=float(constant), **counts)
    return _isotonic(z, default, weight, platt)


def level_shift(log_odds: np.ndarray, default: np.ndarray, weight: np.ndarray | None = None) -> float:
    """What to add to all log-odds so that expected equals observed defaults; half an event where there are none (or nothing but)."""
    z, weight = np.asarray(log_odds, dtype=float), np.ones(len(log_odds)) if weight is None else weight
    total = float(weight.sum())
    if total <= 0:
        return 0.0
    wanted = float(np.clip((weight * default).sum(), min(0.5, total / 4), total - min(0.5, total / 4)))
    low, high = -60.0, 60.0
    for _ in range(80):  # bisection: the sum rises with the shift, and 120 / 2⁸⁰ is below any float's precision
        middle = (low + high) / 2
        if (weight * expit(z + middle)).sum() < wanted:
            low = middle
        else:
            high = middle
        if high - low < 1e-13:
            break
    return (low + high) / 2


def reliability(default: np.ndarray, probability: np.ndarray, bins: int = 10) -> list[dict[str, float | int | None]]:
    """Predicted against observed by equally large groups of rising probability; each observed rate with Wilson's interval."""
    default, probability = np.asarray(default, dtype=float), np.asarray(probability, dtype=float)
    rows = []
    for group in np.array_split(np.argsort(probability, kind="stable"), min(bins, max(len(default), 1))):
        if not len(group):
            continue
        events = float(default[group].sum())
        low, high = wilson(events, len(group))
        rows.append(
            {
                "rows": len(group),
                "defaults": int(events),
                "from": float(probability[group].min()),
                "to": float(probability[group].max()),
                "predicted": float(probability[group].mean()),
                "observed": events / len(group),
                "low": low,
                "high": high,
            }
        )
    return rows


def calibration_error(default: np.ndarray, probability: np.ndarray, bins: int = 10) -> float | None:
    """The mean distance of predicted from observed over equally large groups, weighted by their size."""
    table = reliability(default, probability, bins)
    return sum(row["rows"] * abs(row["predicted"] - row["observed"]) for row in table) / len(default) if table else None


def by_period(default: np.ndarray, probability: np.ndarray, starts: np.ndarray) -> list[dict[str, Any]]:
    """Observed over expected by period. starts: (n,) datetime64 of each row's period, as `splits.period_starts` gives; NaT is left out."""
    rows = []
    for start in np.unique(starts[~np.isnat(starts)]):
        group = starts == start
        rows.append(
            {
                "period": str(start.astype("datetime64[D]")),
                "rows": int(group.sum()),
                "defaults": int(default[group].sum()),
                "expected": float(probability[group].sum()),
                "oe": observed_expected(default[group], probability[group]),
            }
        )
    return rows


def _near_identity(columns: np.ndarray, z: np.ndarray, default: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Coefficients of `columns` and a constant, by penalised likelihood: each is drawn to 1, with which the columns add up to `z`.

    Damped Newton steps on the difference from that; the penalty is a normal prior of standard deviation `SLOPE_SPREAD`.
    """
    columns = np.column_stack([columns, np.ones_like(z)])
    ridge = np.full(columns.shape[1], SLOPE_SPREAD**-2)
    ridge[-1] = 0.0
    change = np.zeros(columns.shape[1])
    change[-1] = level_shift(z, default, weight)

    def loss(at: np.ndarray) -> float:
        moved = z + columns @ at
        return float((weight * (np.logaddexp(0.0, moved) - default * moved)).sum() + (ridge * at * at).sum() / 2)

    current = loss(change)
    for _ in range(100):
        fitted = expit(z + columns @ change)
        gradient = columns.T @ (weight * (fitted - default)) + ridge * change
        hessian = (columns * (weight * fitted * (1 - fitted))[:, None]).T @ columns + np.diag(ridge + 1e-9)
        step = np.linalg.solve(hessian, gradient)
        scale = 1.0
        while scale > 1e-6 and loss(change - scale * step) > current + 1e-12:
            scale /= 2
        change = change - scale * step
        now = loss(change)
        if current - now < 1e-10 * (1 + abs(now)):
            break
        current = now
    return change + (ridge > 0)


def _isotonic(z: np.ndarray, default: np.ndarray, weight: np.ndarray, platt: Calibrator) -> Calibrator:
    """Pool-adjacent-violators on groups of at least 25 events, joined by straight lines (centred isotonic regression, Oron & Flournoy
    2017).
    """
    groups = int(np.clip(min(default.sum(), len(default) - default.sum()) // 25, 5, 100))
    base = float(np.average(default, weights=weight))
    blocks: list[list[float]] = []  # [weight, Σ weight·score, Σ weight·rate], rates smoothed by one row at the base rate
    for group in np.array_split(np.argsort(z, kind="stable"), groups):
        size = float(weight[group].sum())
        if size <= 0:
            continue
        rate = ((weight[group] * default[group]).sum() + base) / (size + 1)
        blocks.append([size, float((weight[group] * z[group]).sum()), rate * size])
        # Groups of the same mean score are pooled too: a knot has one height.
        while len(blocks) > 1 and (
            blocks[-2][2] / blocks[-2][0] >= blocks[-1][2] / blocks[-1][0] - 1e-12
            or blocks[-2][1] / blocks[-2][0] >= blocks[-1][1] / blocks[-1][0] - 1e-9
        ):
            last = blocks.pop()
            blocks[-1] = [one + other for one, other in zip(blocks[-1], last, strict=True)]
    if len(blocks) < 2:
        return platt
    at = tuple(total / size for size, total, _ in blocks)
    to = tuple(float(value) for value in logit(np.array([total / size for size, _, total in blocks])))
    made = Calibrator("isotonic", a=platt.a, knots=(at, to), rows=platt.rows, defaults=platt.defaults)
    # Straight lines in log-odds do not keep the mean exactly; the level does.
    return replace(made, shift=level_shift(made.transform(z), default, weight))
