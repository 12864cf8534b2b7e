"""A small world whose default probabilities are known, and rungs that are quick to fit."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mlcore.metrics import expit
from mlcore.risk.base import Dataset
from mlcore.schema import Column, Schema

SCHEMA = Schema(
    (
        Column("amount", "number", "Amount", family="amount", changeable=True),
        Column("debt", "number", "Debt to income", direction=1, family="obligations", changeable=True),
        Column("score", "number", "Credit score", direction=-1, family="credit_score"),
        Column("score_old", "number", "Earlier credit score", direction=-1, family="score_before"),
        Column("owner", "boolean", "Owns a home", family="residence"),
        Column("purpose", "category", "Purpose", family="purpose"),
        Column("note", "text", "Note"),
        Column("recovered", "number", "Recovered", known_at_application=False),
        Column("sex", "category", "Sex", protected=True),
    )
)
EFFECTS = {"amount": 0.0, "debt": 0.8, "score": -1.0, "score_old": 0.0, "owner": -0.5}
INTERCEPT = -1.6


def make_world(n=2500, seed=0, *, dates=True, interaction=0.0, later_shift=0.0):
    """(Dataset, true default probabilities). later_shift: log-odds added in the last fifth of the days."""
    rng = np.random.default_rng(seed)
    score = rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "amount": np.round(rng.lognormal(9, 0.5, n), 2),
            "debt": rng.normal(size=n),
            "score": score,
            "score_old": score + 0.05 * rng.normal(size=n),
            "owner": (rng.random(n) < 0.5).astype(float),
            "purpose": pd.Series(rng.choice(["car", "house", "other"], n), dtype=object),
            "note": pd.Series(["words"] * n, dtype=object),
            "recovered": rng.random(n),
            "sex": pd.Series(rng.choice(["f", "m"], n), dtype=object),
        }
    )
    day = np.sort(rng.integers(0, 720, n))
    when = pd.Series(pd.Timestamp("2020-01-01", tz="UTC") + pd.to_timedelta(day, unit="D"))
    log_odds = INTERCEPT + sum(effect * frame[name].to_numpy() for name, effect in EFFECTS.items() if effect)
    log_odds = log_odds + interaction * frame["debt"].to_numpy() * (2 * frame["owner"].to_numpy() - 1) + later_shift * (day >= 576)
    truth = expit(log_odds)
    default = (rng.random(n) < truth).astype(np.int8)
    protected = frame[["sex"]]
    return Dataset(frame, default, SCHEMA, when if dates else None, frame["amount"].to_numpy(), protected), truth


class Linear:
    """Logistic regression on the standardised numbers, missing at the mean; categories are not looked at."""

    name = "linear"
    product = False

    def __init__(self, schema, *, seed=0):
        self.schema = schema
        self.seed = seed

    def fit(self, frame, default, *, submitted_at=None, weight=None):
        self.settings = {"ridge": np.float64(1.0)}
        raw = self._numbers(frame)
        self.mean_, self.scale_ = np.nanmean(raw, axis=0), np.nanstd(raw, axis=0) + 1e-9
        x = np.column_stack([self._columns(frame), np.ones(len(frame))])
        w = np.zeros(x.shape[1])
        for _ in range(12):
            p = expit(x @ w)
            w -= np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + np.eye(len(w)), x.T @ (p - default) + w * ([1] * (len(w) - 1) + [0]))
        self.weights_ = w
        return self

    def _numbers(self, frame):
        made = np.column_stack(
            [frame[c.name].to_numpy(dtype=float) if c.kind in ("number", "boolean") else np.zeros(len(frame)) for c in self.schema]
        )
        return made

    def _columns(self, frame):
        x = np.nan_to_num((self._numbers(frame) - self.mean_) / self.scale_)
        if self.product:
            names = list(self.schema.names)
            x = np.column_stack([x, x[:, names.index("debt")] * x[:, names.index("owner")]])
        return x

    def log_odds(self, frame, submitted_at=None):
        contributions, intercept = self.contributions(frame)
        return contributions.sum(axis=1) + intercept

    def contributions(self, frame, submitted_at=None):
        parts = self._columns(frame) * self.weights_[:-1]
        if self.product:
            names = list(self.schema.names)
            for name in ("debt", "owner"):
                parts[:, names.index(name)] += parts[:, -1] / 2
            parts = parts[:, :-1]
        return parts, float(self.weights_[-1])

    def to_state(self):
        return {"rung": self.name, "schema": self.schema.to_json(), "mean": self.mean_, "scale": self.scale_, "weights": self.weights_}

    @classmethod
    def from_state(cls, state):
        self = cls(Schema.from_json(state["schema"]))
        self.mean_, self.scale_, self.weights_ = state["mean"], state["scale"], state["weights"]
        return self


class LinearAgain(Linear):
    """As good as `Linear`, and called less simple."""

    name = "linear_again"


class Product(Linear):
    """With the one product that `make_world(interaction=…)` plants."""

    name = "product"
    product = True


class Unfittable(Linear):
    name = "unfittable"

    def fit(self, frame, default, **_):
        from mlcore.risk.base import FitError

        raise FitError("No column varies.")


LADDER = {
    "prior": "mlcore.risk.prior:Prior",
    "linear": f"{__name__}:Linear",
    "linear_again": f"{__name__}:LinearAgain",
    "product": f"{__name__}:Product",
    "unfittable": f"{__name__}:Unfittable",
}
