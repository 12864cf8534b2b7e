"""What a look at a window says: figures with their null and their interval, what breaches, and what could not be said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mlcore.metrics import rounded

GROUPS = ("inputs", "joint", "outputs", "performance", "estimated", "early")

# metric → share of the family-wise level that its tests have together. O/E gets the most: a level that is wrong costs money at once.
WEIGHTS: dict[str, float] = {
    "psi": 0.20, "missing": 0.05, "outside": 0.05, "joint_auc": 0.10, "output_psi": 0.15, "oe": 0.20, "auc": 0.10, "slope": 0.10,
    "residual": 0.05,
}  # fmt: skip

EFFECTS: dict[str, float] = {
    "psi": 0.10, "missing": 0.05, "outside": 0.01, "joint_auc": 0.55, "output_psi": 0.10, "oe": 0.0, "auc": 0.02, "slope": 0.10,
    "residual": 0.10,
}  # fmt: skip
"""What is too small to act on, however sure. psi: .10 is the convention's "moderate". missing, outside: in share of rows. joint_auc: AUC.
oe: |O/E − 1|; its interval decides alone. auc: drop below what the probabilities promise. slope: |slope − 1|. residual: log-odds.
"""
GRAVE: dict[str, float] = {"psi": 0.25, "output_psi": 0.25, "missing": 0.25, "outside": 0.10, "oe": 0.25, "auc": 0.05, "slope": 0.30}
"""From here on a breach is grave: the .25 that is conventional for the PSI, and what is as bad elsewhere."""


@dataclass(frozen=True)
class Limits:
    """level: chance of any false breach in a window, all tests together. effects, grave: by metric, or by (metric, feature)."""

    level: float = 0.03
    effects: Mapping[Any, float] = field(default_factory=lambda: dict(EFFECTS))
    grave: Mapping[Any, float] = field(default_factory=lambda: dict(GRAVE))

    def effect(self, metric: str, feature: str) -> float:
        return self.effects.get((metric, feature), self.effects.get(metric, 0.0))

    def is_grave(self, metric: str, feature: str, size: float) -> bool:
        limit = self.grave.get((metric, feature), self.grave.get(metric))
        return limit is not None and size >= limit


@dataclass(frozen=True)
class Figure:
    """One number of one window.

    group: of `GROUPS`. feature: the column or output, "" for the whole. baseline: the reference's value, or what no change would give.
    low, high: an interval of the value (95 %; of O/E at the level at which it is tested). null_limit: 95 % of values lie below it where
    nothing has changed. p: of no change, None where it is not tested; p_adjusted: Holm's, over all of the window. size: what is held
    against the effect limit. detail: plain JSON for a picture. value None: `note` says why there is none.
    """

    group: str
    metric: str
    feature: str = ""
    title: str = ""
    value: float | None = None
    baseline: float | None = None
    low: float | None = None
    high: float | None = None
    null_limit: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    size: float | None = None
    breach: bool = False
    grave: bool = False
    note: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)

    def judged(self, p_adjusted: float, limits: Limits) -> Figure:
        """With the verdict: sure enough, and large enough to act on."""
        size = abs(self.size) if self.size is not None else 0.0
        breach = p_adjusted <= limits.level and size >= limits.effect(self.metric, self.feature)
        return replace(self, p_adjusted=p_adjusted, breach=breach, grave=breach and limits.is_grave(self.metric, self.feature, size))

    def to_json(self) -> dict[str, Any]:
        return rounded({name: getattr(self, name) for name in self.__dataclass_fields__}, 8)


@dataclass(frozen=True)
class Reading:
    """All figures of a window and what a reader should know; notes say what could not be said, and why."""

    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()
    rows: int = 0
    labelled: int = 0

    @property
    def alarms(self) -> tuple[Figure, ...]:
        return tuple(figure for figure in self.figures if figure.breach)

    def of(self, metric: str, feature: str = "") -> Figure | None:
        return next((figure for figure in self.figures if (figure.metric, figure.feature) == (metric, feature)), None)
