"""Which new segment is which old one, and who moved: one-to-one so that the most applicants stay where they were."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlcore.segments.cluster import contingency

SAME = 0.5
"""From this overlap on (Jaccard) a new group is the old one, and keeps its key."""


def match(old: np.ndarray, new: np.ndarray, old_keys: list[int], k: int) -> tuple[list[int | None], dict[str, Any]]:
    """old: (n,) keys that the former model gives; new: (n,) labels 0 to k − 1 of the same applications.

    Returns the old key of each new group (None for a new one), and the movement: {stayed (share), matches, counts (old × new)}.
    """
    from scipy.optimize import linear_sum_assignment

    place = {key: number for number, key in enumerate(old_keys)}
    before = np.array([place[int(key)] for key in old], dtype=np.int64)
    counts = contingency(before, new.astype(np.int64), len(old_keys), k)
    union = counts.sum(axis=1)[:, None] + counts.sum(axis=0) - counts
    overlap = counts / np.maximum(union, 1)
    kept: list[int | None] = [None] * k
    matches = []
    stayed = 0
    for row, column in zip(*linear_sum_assignment(-overlap), strict=True):
        same = bool(overlap[row, column] >= SAME)
        if same:
            kept[column] = old_keys[row]
            stayed += int(counts[row, column])
        matches.append({"old": old_keys[row], "new": int(column), "jaccard": float(overlap[row, column]), "same": same})
    return kept, {"stayed": stayed / max(len(new), 1), "matches": matches, "counts": counts.tolist(), "old_keys": list(old_keys)}
