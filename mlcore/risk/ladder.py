"""The rungs by name, the simplest first. Classes are imported when asked for: scikit-learn takes seconds to load."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from mlcore.risk.base import Rung
from mlcore.schema import Schema

LADDER: dict[str, str] = {
    "prior": "mlcore.risk.prior:Prior",
    "logistic": "mlcore.risk.logistic:Logistic",
    "scorecard": "mlcore.risk.scorecard:Scorecard",
    "tree": "mlcore.risk.tree:Tree",
    "pairwise": "mlcore.risk.pairwise:Pairwise",
    "forest": "mlcore.risk.forest:Forest",
    "boosting": "mlcore.risk.boosting:Boosting",
    "xgboost": "mlcore.risk.xgb:XGBoost",
    "neural": "mlcore.risk.neural:Neural",
}
"""Name → "module:class", in order of simplicity. Of two rungs that are equally good the earlier one is taken."""

OPTIONAL: dict[str, str] = {"xgboost": "xgboost"}
"""Rungs that need a package of their own."""


class UnknownRung(KeyError):
    """No rung has this name."""

    def __str__(self) -> str:
        return f"There is no rung {self.args[0]!r}; known are {', '.join(LADDER)}."


def available() -> tuple[str, ...]:
    """The names of the rungs that this machine can fit, the simplest first."""
    return tuple(name for name in LADDER if name not in OPTIONAL or find_spec(OPTIONAL[name]) is not None)


def rung_class(name: str) -> type:
    if name not in LADDER:
        raise UnknownRung(name)
    module, _, class_name = LADDER[name].partition(":")
    return getattr(import_module(module), class_name)


def make(name: str, schema: Schema, *, seed: int = 0) -> Rung:
    """An unfitted rung. Raises UnknownRung."""
    return rung_class(name)(schema, seed=seed)


def load(state: dict[str, Any]) -> Rung:
    """A fitted rung from what its `to_state` gave: the state names its rung."""
    return rung_class(state["rung"]).from_state(state)
