"""What is learned of fraud, as one model: how unusual an application is and, from enough findings on, how likely a fraud."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mlcore.fraud.anomaly import Anomaly, Odd
from mlcore.fraud.merge import Judged
from mlcore.fraud.supervised import FraudModel
from mlcore.schema import Schema

DRIVERS = 3


@dataclass(frozen=True)
class Overview:
    """What the parts say of n applications. odd: None without an anomaly model. probability: (n,), drivers: (n, columns); None without a
    supervised one.
    """

    labels: dict[str, str]
    odd: Odd | None
    probability: np.ndarray | None
    drivers: np.ndarray | None
    names: tuple[str, ...]

    def of(self, row: int) -> Judged:
        drivers = self.drivers
        return Judged(
            unusual=None if self.odd is None else float(self.odd.unusual[row]),
            odd=[] if self.odd is None else self.odd.strongest(row),
            probability=None if self.probability is None else float(self.probability[row]),
            drivers=[] if drivers is None else [(self.names[at], float(drivers[row, at])) for at in np.argsort(-drivers[row])[:DRIVERS]],
            labels=self.labels,
        )


@dataclass(frozen=True)
class FraudDetector:
    """At least one of the two parts is there."""

    anomaly: Anomaly | None
    supervised: FraudModel | None

    @property
    def schema(self) -> Schema:
        """The columns that a frame needs; what was learned from findings may use fewer of them than the anomaly."""
        part = self.anomaly or self.supervised
        return part.schema if part else Schema(())

    @property
    def name(self) -> str:
        return "+".join([*(["anomaly"] if self.anomaly else []), *([self.supervised.name] if self.supervised else [])])

    def judge(self, frame: pd.DataFrame, submitted_at: pd.Series | None = None) -> list[Judged]:
        """One for each row of the (n, columns of `schema`) frame."""
        found = self.overview(frame, submitted_at)
        return [found.of(row) for row in range(len(frame))]

    def overview(self, frame: pd.DataFrame, submitted_at: pd.Series | None = None) -> Overview:
        """The same as columns, from which single rows can be judged: of many applications few need the words."""
        return Overview(
            {column.name: column.title for column in self.schema},
            self.anomaly.score(frame) if self.anomaly else None,
            self.supervised.probability(frame, submitted_at) if self.supervised else None,
            self.supervised.contributions(frame, submitted_at) if self.supervised else None,
            self.schema.names,
        )

    def answers(self, frame: pd.DataFrame, submitted_at: pd.Series | None = None) -> dict[str, np.ndarray]:
        """What must not change while the model is stored (`mlcore.golden`)."""
        made = {}
        if self.anomaly is not None:
            odd = self.anomaly.score(frame)
            made |= {"unusual": odd.unusual, "odd": odd.reasons}
        if self.supervised is not None:
            made |= {
                "log_odds": self.supervised.log_odds(frame, submitted_at),
                "contributions": self.supervised.contributions(frame, submitted_at),
            }
        return made

    def to_state(self) -> dict[str, Any]:
        return {
            "anomaly": self.anomaly.to_state() if self.anomaly else None,
            "supervised": self.supervised.to_state() if self.supervised else None,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> FraudDetector:
        return cls(
            Anomaly.from_state(state["anomaly"]) if state["anomaly"] else None,
            FraudModel.from_state(state["supervised"]) if state["supervised"] else None,
        )
