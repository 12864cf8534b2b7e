"""What a world brings forth: applications as a lender sees them, and beside them the truth that he never sees."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime

import numpy as np
import pandas as pd

from mlcore.risk.base import Dataset
from mlcore.schema import Schema
from mlcore.synth.truth import DIRECTIONS
from mlcore.synth.world import FEATURES, World


@dataclass(frozen=True)
class Generated:
    """n applications in the order of their time.

    world: what they were made from. number: (n,) int64, each one's place in its world, from 0.

    What the lender sees: frame (n, columns of `schema`) as `mlcore.schema` describes. submitted_at: (n,) datetime64[ns, UTC].
    applicant: (n, 8) object, `people.COLUMNS`, None where not given; no columns where identities were not asked for.
    protected: (n, 2) object: age_band and sex.

    What comes of it: default (n,) int8, 1 where it defaults within `world.outcome_months`. defaulted_on: (n,) datetime64[D], NaT otherwise.
    months_to_default: (n,) int16, the month on book in which it defaults, -1 otherwise. window_closed_on: (n,) datetime64[D], the day from
    which its outcome counts. loss: (n,) float64 currency lost, NaN without default.

    The truth: true_default_probability (n,). baseline: the average honest applicant's log-odds. true_contributions: (n, f) log-odds in the
    order of `features`, and true_hidden: (n,) log-odds that no column shows (fraud, level shifts); baseline + contributions + hidden
    are `true_log_odds`. fraud_ring, hub: (n,) int32 numbers, -1 for none. person: (n,) int64, the same for the same person.
    """

    world: World
    number: np.ndarray
    frame: pd.DataFrame
    submitted_at: pd.Series
    applicant: pd.DataFrame
    protected: pd.DataFrame
    default: np.ndarray
    defaulted_on: np.ndarray
    months_to_default: np.ndarray
    window_closed_on: np.ndarray
    loss: np.ndarray
    true_default_probability: np.ndarray
    baseline: float
    true_contributions: np.ndarray
    true_hidden: np.ndarray
    fraud_ring: np.ndarray
    hub: np.ndarray
    person: np.ndarray

    def __len__(self) -> int:
        return len(self.default)

    @property
    def schema(self) -> Schema:
        return self.world.schema

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns of `true_contributions`."""
        return FEATURES

    @property
    def true_directions(self) -> dict[str, int]:
        """{feature: +1 where more means more risk, -1 where less, 0 where neither}."""
        return DIRECTIONS

    @property
    def true_log_odds(self) -> np.ndarray:
        return self.baseline + self.true_contributions.sum(axis=1) + self.true_hidden

    def outcome(self, as_of: datetime | np.datetime64 | str) -> np.ndarray:
        """(n,) object: what is a label on that day: "default" or "repaid", and "immature" until the loan's window has closed.

        A loan that has defaulted already is immature too while its window is open: of its vintage only the bad would be labelled.
        """
        closed = self.window_closed_on <= np.datetime64(as_of, "D")
        return np.where(closed, np.where(self.default == 1, "default", "repaid"), "immature").astype(object)

    def dataset(self, as_of: datetime | np.datetime64 | str | None = None) -> Dataset:
        """Labelled applications for a fit: those whose outcome is known on that day (None: all of them)."""
        rows = np.arange(len(self)) if as_of is None else np.flatnonzero(self.outcome(as_of) != "immature")
        whole = Dataset(
            frame=self.frame,
            default=self.default,
            schema=self.schema,
            submitted_at=self.submitted_at,
            amount=self.frame["amount"].to_numpy(dtype=float),
            protected=self.protected,
        )
        return whole.take(rows)

    def take(self, rows: np.ndarray | slice) -> Generated:
        """The given rows (positions, mask or slice), everything alongside."""
        return Generated(**{name: _rows(value, rows) for name, value in self._parts().items()})

    @classmethod
    def joined(cls, parts: list[Generated]) -> Generated:
        """Blocks of one world behind each other."""
        if len(parts) == 1:
            return parts[0]
        pieces = [part._parts() for part in parts]
        return cls(**{name: _joined([piece[name] for piece in pieces]) for name in pieces[0]})

    def _parts(self) -> dict[str, object]:
        return {each.name: getattr(self, each.name) for each in fields(self)}


def _rows(value: object, rows: np.ndarray | slice) -> object:
    if isinstance(value, pd.DataFrame | pd.Series):
        return value.iloc[rows].reset_index(drop=True)
    return value[rows] if isinstance(value, np.ndarray) else value


def _joined(values: list) -> object:
    if isinstance(values[0], pd.DataFrame | pd.Series):
        return pd.concat(values, ignore_index=True)
    return np.concatenate(values) if isinstance(values[0], np.ndarray) else values[0]
