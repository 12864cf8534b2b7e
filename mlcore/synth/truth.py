"""The true risk: what each column adds to the log-odds of default, known exactly because it was written down first.

    log-odds = baseline + Σ contributions + hidden

`baseline` is the average honest applicant's log-odds; contributions are centred on that applicant, so that they mean what a model's
`Scores.contributions` mean; `hidden` is what no column shows (a fraud, a level shift). Every column to which `mlcore.schema` gives a
direction acts in that direction, the interaction included. For a missing value there is an effect of its own: being missing is information.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit

from mlcore.synth import features as facts
from mlcore.synth.features import Columns
from mlcore.synth.world import FEATURES, LEVELS, PRODUCTS, REGION_SHARES, SCHEMA, Drift, World

FRAUD_LOG_ODDS = 5.2
"""What belonging to a fraud ring adds: nine in ten never pay."""
PILOT = 40_000

DIRECTIONS: dict[str, int] = {
    **{column.name: column.direction for column in SCHEMA if column.name in FEATURES},
    "amount": 1,
    "term_months": 1,
}
"""+1 where a higher value truly raises the risk, -1 where it lowers it, 0 where there is no order, no effect, or one that turns."""
NO_EFFECT = ("open_accounts", "revolving_balance")
"""Columns that say nothing about risk beyond the others."""
INTERACTION = ("debt_to_income", "revolving_utilisation")
"""Debt weighs more on those whose cards are full already; each of the two is given half of it."""

_CATEGORIES: dict[str, tuple[float, ...]] = {
    "product": (0.0, -0.35, -0.15, 0.40),
    "channel": (0.10, -0.15, 0.30, 0.0, 0.05),
    "employment_status": (0.0, 0.22, 0.75, -0.10, 0.20),
    "home_ownership": (0.12, -0.20, -0.12, 0.20),
    "region": (-0.12, 0.15, 0.05, -0.05, 0.0, 0.10),
    "purpose": (0.05, 0.10, 0.15, 0.0, -0.10, -0.10, 0.10, -0.05, 0.10, -0.20, -0.05, 0.20, 0.10),
}
_CATEGORY_MISSING = 0.15


def _numbers(columns: Columns) -> dict[str, tuple[np.ndarray, float]]:
    """{column: (effect of its value, effect of its being missing)}."""
    c = columns
    months_since = c["months_since_delinquency"]
    return {
        "amount": (0.22 * np.log(c["amount"] / 10_000), 0.0),
        "term_months": (0.007 * (c["term_months"] - 36), 0.1),
        "annual_income": (-0.55 * np.clip(np.log(np.maximum(c["annual_income"], 1) / 52_000), -1.6, 1.6), 0.55),
        "debt_to_income": (2.4 * (np.minimum(c["debt_to_income"], 0.8) - 0.22), 0.15),
        "employment_months": (-0.24 * np.log1p(np.minimum(c["employment_months"], 360) / 12) + 0.33, 0.25),
        "credit_score": (-0.0085 * (c["credit_score"] - 690), 0.45),
        "credit_history_months": (-0.22 * np.log((np.minimum(c["credit_history_months"], 400) + 12) / 130), 0.2),
        # An ordinary number of accounts is best: a true effect without a direction.
        "total_accounts": (0.004 * np.minimum(np.abs(c["total_accounts"] - 9), 15) ** 1.5, 0.1),
        "open_accounts": (np.zeros_like(c["amount"]), 0.0),
        "delinquencies_24m": (0.38 * np.minimum(c["delinquencies_24m"], 4), 0.1),
        "months_since_delinquency": (0.55 - 0.006 * np.minimum(months_since, 84), -0.12),
        "public_records": (0.42 * np.minimum(c["public_records"], 3), 0.1),
        "inquiries_6m": (0.15 * np.minimum(c["inquiries_6m"], 8), 0.3),
        "revolving_balance": (np.zeros_like(c["amount"]), 0.0),
        "revolving_utilisation": (0.85 * (np.minimum(c["revolving_utilisation"], 1.05) - 0.4), 0.10),
        "savings_balance": (-0.20 * np.log1p(np.minimum(c["savings_balance"], 1e6) / 1_500) + 0.12, 0.16),
        "existing_customer": (-0.30 * c["existing_customer"], 0.0),
    }


def raw_effects(columns: Columns) -> np.ndarray:
    """(n, f) float64 log-odds of each column, in the order of `FEATURES`, before centring and `World.signal`."""
    effects = np.empty((len(columns["amount"]), len(FEATURES)))
    numbers = _numbers(columns)
    for position, name in enumerate(FEATURES):
        if name in numbers:
            value, missing = numbers[name]
            effects[:, position] = np.where(np.isnan(columns[name]), missing, value)
        else:
            effects[:, position] = np.array([*_CATEGORIES[name], _CATEGORY_MISSING])[columns[name]]
    first, second = INTERACTION
    both = 5.0 * np.clip(columns[first] - 0.25, 0, 0.55) * np.clip(columns[second] - 0.45, 0, 0.6)
    for name in INTERACTION:
        effects[:, FEATURES.index(name)] += 0.5 * np.nan_to_num(both)
    return effects


@dataclass(frozen=True)
class Anchor:
    """Where a world's log-odds are pinned: by a pilot of honest applicants, the same for every seed.

    baseline: the average applicant's log-odds. centre: (f,) average effects. pilot: (m, f) centred contributions.
    """

    baseline: float
    centre: np.ndarray
    signal: float
    pilot: np.ndarray

    def contributions(self, columns: Columns) -> np.ndarray:
        """(n, f) centred log-odds of each column; they add to `baseline`."""
        return self.signal * raw_effects(columns) - self.centre

    def offset(self, drift: Drift) -> float:
        """The shift of everybody's log-odds that a level shift means, or that keeps the default rate through a concept drift."""
        usual = self.baseline + self.pilot.sum(axis=1)
        changed, wanted = usual, expit(usual).mean()
        if drift.kind == "level":
            wanted = min(wanted * drift.size, 0.995)
        else:
            at = [FEATURES.index(name) for name in drift.columns]
            changed = usual + (drift.size - 1) * self.pilot[:, at].sum(axis=1)
        return _shift_to(changed, wanted)


def _shift_to(log_odds: np.ndarray, rate: float) -> float:
    """What must be added to log-odds so that their probabilities average `rate`."""
    return float(brentq(lambda shift: expit(log_odds + shift).mean() - rate, -60, 60, xtol=1e-10))


def anchor_of(world: World) -> Anchor:
    return _anchor(world.default_rate, world.signal, world.proxy)


@lru_cache(maxsize=16)
def _anchor(default_rate: float, signal: float, proxy: float) -> Anchor:
    rng = np.random.default_rng(20_260_101)
    latents = facts.draw_latents(rng, PILOT)
    nobody = np.full(PILOT, -1)
    moment = np.full(PILOT, np.datetime64("2000-01-01", "s"))
    facts.shift_latents(latents, World(proxy=proxy), moment, rng.random(PILOT) < 0.5, nobody)
    product = rng.choice(len(PRODUCTS), PILOT, p=[each.share for each in PRODUCTS]).astype(np.int8)
    region = rng.choice(len(REGION_SHARES), PILOT, p=REGION_SHARES).astype(np.int8)
    columns = facts.draw_columns(rng, latents, age=facts.age_of(latents), product=product, region=region, ring=nobody)
    effects = signal * raw_effects(columns)
    centre = effects.mean(axis=0)
    pilot = effects - centre
    return Anchor(baseline=_shift_to(pilot.sum(axis=1), default_rate), centre=centre, signal=signal, pilot=pilot)


def true_terms(world: World, columns: Columns, moment: np.ndarray, ring: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """(n, f) contributions, (n,) hidden log-odds and the baseline, drift and fraud included."""
    anchor = anchor_of(world)
    contributions = anchor.contributions(columns)
    hidden = np.where(ring >= 0, FRAUD_LOG_ODDS, 0.0)
    for drift in world.drifts:
        if drift.kind not in ("level", "concept"):
            continue
        weight = drift.weight(moment)
        if drift.kind == "concept":
            at = [FEATURES.index(name) for name in drift.columns]
            contributions[:, at] *= 1 + (drift.size - 1) * weight[:, None]
        hidden += anchor.offset(drift) * weight
    return contributions, hidden, anchor.baseline


class Oracle:
    """The true model of a world before drift and fraud, for any frame: what a perfect lender would say.

    oracle = Oracle(world)
    oracle.log_odds(frame)          # (n,)
    oracle.contributions(frame)     # (n, f), baseline: as mlcore.risk.base.Rung gives them
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.features = FEATURES

    def contributions(self, frame: pd.DataFrame) -> tuple[np.ndarray, float]:
        anchor = anchor_of(self.world)
        return anchor.contributions(as_columns(frame)), anchor.baseline

    def log_odds(self, frame: pd.DataFrame) -> np.ndarray:
        contributions, baseline = self.contributions(frame)
        return baseline + contributions.sum(axis=1)

    def probability(self, frame: pd.DataFrame) -> np.ndarray:
        return expit(self.log_odds(frame))


def as_columns(frame: pd.DataFrame) -> Columns:
    """A frame's usable columns as numbers and positions; a value that the world does not know counts as missing."""
    return {
        name: pd.Categorical(frame[name], categories=LEVELS[name]).codes if name in LEVELS else frame[name].to_numpy(dtype=float)
        for name in FEATURES
    }
