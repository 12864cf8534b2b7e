"""Segments at work: which group an application belongs to, and how far from its middle it stands. numpy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mlcore.schema import Schema
from mlcore.segments.cluster import Clusters
from mlcore.segments.prepare import Preparation

STATE_VERSION = 1
NOBODY = -1


@dataclass(frozen=True)
class Segment:
    """key: its number, kept over refits while it is the same group. typical: the median distance of its members from its centre."""

    key: int
    name: str
    share: float
    typical: float


class SegmentModel:
    """segments: one a cluster, in their order; none where the data support no groups, and then nobody is assigned."""

    def __init__(self, preparation: Preparation, clusters: Clusters | None, segments: list[Segment], next_key: int = 1) -> None:
        self.preparation = preparation
        self.clusters = clusters
        self.segments = segments
        self.next_key = next_key

    @property
    def schema(self) -> Schema:
        return self.preparation.schema

    @property
    def name(self) -> str:
        return self.clusters.method if self.clusters else "none"

    def __len__(self) -> int:
        return len(self.segments)

    def assign(self, frame: pd.DataFrame, submitted_at: pd.Series | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(n,) int64 keys of segments, `NOBODY` where there are no groups; (n,) float64 distances, NaN there.

        A distance is measured in those of the segment's own members: 1 is the median one, 3 says that the applicant fits nowhere well.
        """
        if self.clusters is None:
            return np.full(len(frame), NOBODY, dtype=np.int64), np.full(len(frame), np.nan)
        matrix = self.preparation.transform(frame, submitted_at)
        labels = self.clusters.labels(matrix)
        keys = np.array([segment.key for segment in self.segments], dtype=np.int64)
        typical = np.array([segment.typical for segment in self.segments])
        return keys[labels], self.clusters.distances(matrix, labels) / typical[labels]

    def positions(self, frame: pd.DataFrame, submitted_at: pd.Series | None = None) -> np.ndarray:
        """(n,) of each row the position of its group in `segments`."""
        if self.clusters is None:
            raise ValueError("These segments have no groups.")
        return self.clusters.labels(self.preparation.transform(frame, submitted_at))

    def of_key(self, key: int) -> Segment | None:
        return next((segment for segment in self.segments if segment.key == key), None)

    def answers(self, frame: pd.DataFrame, submitted_at: pd.Series | None = None) -> dict[str, np.ndarray]:
        """What must not change while the model is stored (`mlcore.golden`)."""
        keys, distances = self.assign(frame, submitted_at)
        return {"segment": keys, "distance": distances}

    def to_state(self) -> dict[str, Any]:
        clusters = None
        if self.clusters is not None:
            clusters = {name: getattr(self.clusters, name) for name in ("method", "centres", "variances", "weights")}
        return {
            "version": STATE_VERSION,
            "preparation": self.preparation.to_state(),
            "clusters": clusters,
            "segments": [vars(segment) for segment in self.segments],
            "next_key": self.next_key,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> SegmentModel:
        """The model of a state that `to_state` gave. Raises ValueError for another version."""
        if state.get("version") != STATE_VERSION:
            raise ValueError(f"This model of segments has the version {state.get('version')!r}; {STATE_VERSION} is known.")
        return cls(
            Preparation.from_state(state["preparation"]),
            Clusters(**state["clusters"]) if state["clusters"] else None,
            [Segment(**row) for row in state["segments"]],
            int(state["next_key"]),
        )
