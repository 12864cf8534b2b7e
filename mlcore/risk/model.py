"""A default-risk model in service: a rung, its calibrator, the baseline of its reasons, its grades. Plain data to store, light to load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import exp
from typing import Any, Literal

import numpy as np
import pandas as pd

from mlcore.calibration import Calibrator
from mlcore.metrics import expit
from mlcore.risk import ladder
from mlcore.risk.base import Rung, Scores
from mlcore.risk.grades import Grades, PointScale
from mlcore.risk.reasons import MOST_REASONS, Families, Reason, reasons, reasons_of_one
from mlcore.schema import Schema

STATE_VERSION = 1
SUM_TOLERANCE = 1e-6
CACHED = 8192  # rows whose contributions are calibrated together: about a megabyte, which stays in the processor's cache
BLOCK = 65_536  # rows scored at a time: a million rows of 20 contributions stay in the processor's cache instead of in 160 MB temporaries


class ModelError(ValueError):
    """A stored state is not one of this model, or a score does not add up."""


@dataclass(frozen=True)
class Baseline:
    """What reasons are measured against: the mean of each column's uncalibrated contribution over a stated group of applicants.

    kind: "all" applicants of the training data, or those "at_cutoff": approved, and nearest to the probability that no longer is.
    """

    kind: Literal["all", "at_cutoff"]
    means: np.ndarray
    intercept: float
    rows: int
    cutoff: float | None = None

    @property
    def log_odds(self) -> float:
        """Uncalibrated log-odds of the baseline applicant."""
        return float(self.intercept + self.means.sum())

    def in_words(self) -> str:
        if self.kind == "all":
            return f"the average of all {self.rows:,} applicants that the model learned from"
        return f"the average of the {self.rows:,} applicants who would only just be approved (probability just below {self.cutoff:.1%})"


@dataclass(frozen=True)
class OneScore:
    """`Scores` of a single application as plain numbers. contributions: one for each column of the model's schema."""

    probability: float
    log_odds: float
    contributions: list[float]
    baseline: float


class RiskModel:
    """Calibrated default probabilities whose contributions add up.

    A calibrator bends the scale on which a rung's contributions add up. Each application's contributions, taken against the baseline, are
    therefore stretched by one factor, (calibrated − calibrated baseline) / (uncalibrated − uncalibrated baseline): the rising calibrator
    makes it positive, so no reason changes its sign or its place, and baseline + contributions.sum() is exactly the calibrated log-odds.
    """

    def __init__(
        self,
        rung: Rung,
        calibrator: Calibrator,
        *,
        schema: Schema,
        baseline: Baseline,
        families: Families | None = None,
        grades: Grades | None = None,
        points: PointScale | None = None,
        ranges: dict[str, list[Any]] | None = None,
    ) -> None:
        if len(baseline.means) != len(schema):
            raise ModelError(f"The baseline has {len(baseline.means)} columns, the schema {len(schema)}.")
        self.rung = rung
        self.calibrator = calibrator
        self.schema = schema
        self.baseline = baseline
        self.families = families or Families.of_schema(schema)
        self.grades = grades or Grades()
        self.point_scale = points or PointScale()
        self.ranges = ranges or {}  # what applicants have, for the changeable columns (`mlcore.risk.counterfactual`)
        self._means = baseline.means.tolist()
        self._raw_baseline = baseline.log_odds
        self._calibrated_baseline = calibrator.one(self._raw_baseline)
        # The stretch at the baseline itself, where the quotient is 0 / 0.
        self._slope = (calibrator.one(self._raw_baseline + 1e-4) - calibrator.one(self._raw_baseline - 1e-4)) / 2e-4

    @property
    def name(self) -> str:
        return self.rung.name

    def score(self, frame: pd.DataFrame, submitted_at: pd.Series | None = None) -> Scores:
        """Calibrated scores of n applications. frame: (n, …) with the schema's columns; one that is absent counts as missing in every row.

        Raises ModelError where baseline and contributions do not add up to the log-odds within 1e-6.
        """
        frame = aligned(frame, self.schema)
        n = len(frame)
        if n <= BLOCK:
            contributions, intercept = self.rung.contributions(frame, submitted_at)
            log_odds, scaled = self._calibrate(np.array(contributions, dtype=float), intercept)
        else:
            log_odds, scaled = np.empty(n), np.empty((n, len(self.schema)))
            for start in range(0, n, BLOCK):
                rows = slice(start, start + BLOCK)
                dates = None if submitted_at is None else submitted_at.iloc[rows]
                contributions, intercept = self.rung.contributions(frame.iloc[rows], dates)
                log_odds[rows], scaled[rows] = self._calibrate(np.array(contributions, dtype=float), intercept)
        return Scores(expit(log_odds), log_odds, scaled, self.schema.names, self._calibrated_baseline)

    def score_one(self, row: Mapping[str, Any], submitted_at: datetime | None = None) -> OneScore:
        """One application without building a frame, where the rung can (`one`): microseconds instead of milliseconds.

        row: {column: value}, None or absent where missing; dates as date or datetime. Other rungs score a frame of one row.
        """
        one = getattr(self.rung, "one", None)
        if one is None:
            frame = one_row(row, self.schema)
            scores = self.score(frame, None if submitted_at is None else pd.Series(pd.to_datetime([submitted_at], utc=True)))
            return OneScore(float(scores.probability[0]), float(scores.log_odds[0]), scores.contributions[0].tolist(), scores.baseline)
        total, parts = one(row, submitted_at)
        moved = total - self._raw_baseline
        log_odds = self.calibrator.one(total)
        wanted = log_odds - self._calibrated_baseline
        stretch = wanted / moved if abs(moved) >= 1e-9 else self._slope
        contributions = [(part - mean) * stretch for part, mean in zip(parts, self._means, strict=True)]
        if not abs(sum(contributions) - wanted) < SUM_TOLERANCE:
            raise ModelError(f"Contributions miss the score by {abs(sum(contributions) - wanted):.2g} log-odds.")
        return OneScore(1.0 / (1.0 + exp(-log_odds)), log_odds, contributions, self._calibrated_baseline)

    def adverse_one(self, one: OneScore, row: Mapping[str, Any] | None = None, limit: int = MOST_REASONS) -> list[Reason]:
        """`adverse` of what `score_one` gave."""
        return reasons_of_one(one.contributions, one.log_odds, self.families, row=row, side="adverse", limit=limit)

    def favourable_one(self, one: OneScore, row: Mapping[str, Any] | None = None, limit: int = MOST_REASONS) -> list[Reason]:
        """`favourable` of what `score_one` gave."""
        return reasons_of_one(one.contributions, one.log_odds, self.families, row=row, side="favourable", limit=limit)

    def probability(self, frame: pd.DataFrame, submitted_at: pd.Series | None = None) -> np.ndarray:
        """(n,) calibrated probabilities only: quicker where no reasons are wanted."""
        return expit(self.calibrator.transform(self.rung.log_odds(aligned(frame, self.schema), submitted_at)))

    def grade(self, probability: np.ndarray) -> np.ndarray:
        """(n,) letters A–G."""
        return self.grades.of(probability)

    def points(self, log_odds: np.ndarray) -> np.ndarray:
        """(n,) scorecard points: 600 at 50 good to one bad, 20 more for twice the odds, unless the model says otherwise."""
        return self.point_scale.of(log_odds)

    def grade_one(self, probability: float) -> str:
        """`grade` of a single application."""
        return self.grades.one(probability)

    def points_one(self, log_odds: float) -> int:
        """`points` of a single application, as a whole number."""
        return int(self.point_scale.one(log_odds))

    def adverse(self, scores: Scores, frame: pd.DataFrame | None = None, limit: int = MOST_REASONS) -> list[list[Reason]]:
        """Each application's reasons against it, at most four."""
        return reasons(scores, self.families, frame=frame, side="adverse", limit=limit)

    def favourable(self, scores: Scores, frame: pd.DataFrame | None = None, limit: int = MOST_REASONS) -> list[list[Reason]]:
        """What spoke for each application."""
        return reasons(scores, self.families, frame=frame, side="favourable", limit=limit)

    def answers(self, frame: pd.DataFrame, submitted_at: pd.Series | None = None) -> dict[str, np.ndarray]:
        """What must not change while the model is stored (`mlcore.golden`)."""
        scores = self.score(frame, submitted_at)
        return {"log_odds": scores.log_odds, "contributions": scores.contributions}

    def to_state(self) -> dict[str, Any]:
        return {
            "version": STATE_VERSION,
            "rung": self.rung.to_state(),
            "calibrator": self.calibrator.to_state(),
            "schema": self.schema.to_json(),
            "families": self.families.to_state(),
            "baseline": {
                "kind": self.baseline.kind,
                "means": self.baseline.means,
                "intercept": self.baseline.intercept,
                "rows": self.baseline.rows,
                "cutoff": self.baseline.cutoff,
            },
            "grades": list(self.grades.bounds),
            "points": self.point_scale.to_state(),
            "ranges": self.ranges,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> RiskModel:
        """The model of a state that `to_state` gave. Raises ModelError for another version."""
        if state.get("version") != STATE_VERSION:
            raise ModelError(f"This risk model has the version {state.get('version')!r}; {STATE_VERSION} is known.")
        baseline = dict(state["baseline"])
        baseline["means"] = np.asarray(baseline["means"], dtype=float)
        return cls(
            ladder.load(state["rung"]),
            Calibrator.from_state(state["calibrator"]),
            schema=Schema.from_json(state["schema"]),
            families=Families.from_state(state["families"]),
            baseline=Baseline(**baseline),
            grades=Grades(tuple(state["grades"])),
            points=PointScale(**state["points"]),
            ranges=dict(state["ranges"]),
        )

    def _calibrate(self, contributions: np.ndarray, intercept: float) -> tuple[np.ndarray, np.ndarray]:
        """Log-odds (n,) and contributions against the baseline (n, f), both calibrated; `contributions` is overwritten."""
        if contributions.shape[1] != len(self.schema):
            raise ModelError(f"The rung gave {contributions.shape[1]} contributions for {len(self.schema)} columns.")
        moves = intercept - self.baseline.intercept
        log_odds = np.empty(len(contributions))
        for start in range(0, len(contributions), CACHED):
            part = contributions[start : start + CACHED]
            part -= self.baseline.means
            moved = part.sum(axis=1) + moves
            calibrated = self.calibrator.transform(self._raw_baseline + moved)
            wanted = calibrated - self._calibrated_baseline
            near = np.abs(moved) < 1e-9
            part *= np.where(near, self._slope, wanted / np.where(near, 1.0, moved))[:, None]
            error = np.abs(part.sum(axis=1) - wanted).max()
            if not error < SUM_TOLERANCE:
                raise ModelError(f"Contributions miss the score by {error:.2g} log-odds; at most {SUM_TOLERANCE:g} is allowed.")
            log_odds[start : start + CACHED] = calibrated
        return log_odds, contributions


def make_baseline(
    rung: Rung,
    frame: pd.DataFrame,
    submitted_at: pd.Series | None = None,
    *,
    probability: np.ndarray | None = None,
    cutoff: float | None = None,
) -> Baseline:
    """The baseline over these applicants: all of them, or with `cutoff` the tenth (at least 30) of the approved who are nearest to it.

    probability: (n,) calibrated, needed with `cutoff`. Where fewer than 30 would be approved, all applicants are the baseline.
    """
    contributions, intercept = rung.contributions(frame, submitted_at)
    if cutoff is not None and probability is not None:
        nearest = at_cutoff(probability, cutoff)
        if nearest is not None:
            return Baseline("at_cutoff", contributions[nearest].mean(axis=0), float(intercept), len(nearest), float(cutoff))
    return Baseline("all", contributions.mean(axis=0), float(intercept), len(frame))


def at_cutoff(probability: np.ndarray, cutoff: float) -> np.ndarray | None:
    """Positions of the tenth (at least 30) of those below the cut-off who are nearest to it; None where fewer than 30 are below."""
    approved = np.flatnonzero(probability < cutoff)
    if len(approved) < 30:
        return None
    return approved[np.argsort(-probability[approved], kind="stable")][: max(30, len(approved) // 10)]


def aligned(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The schema's columns of a frame, in its order; those that are absent are missing in every row. The frame itself where nothing is to
    do.
    """
    if tuple(frame.columns) == schema.names:
        return frame
    made = {}
    for column in schema:
        if column.name in frame:
            made[column.name] = frame[column.name]
        else:
            made[column.name] = pd.Series([None] * len(frame), index=frame.index, dtype=_dtype(column.kind))
    return pd.DataFrame(made, index=frame.index)


def one_row(row: Mapping[str, Any], schema: Schema) -> pd.DataFrame:
    """A frame of one row with the schema's columns and types."""
    return pd.DataFrame({column.name: pd.Series([row.get(column.name)], dtype=_dtype(column.kind)) for column in schema})


def _dtype(kind: str) -> Any:
    return {"category": object, "text": object, "date": "datetime64[ns, UTC]"}.get(kind, float)
