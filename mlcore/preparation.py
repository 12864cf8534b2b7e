"""What a fit does with missing, absurd and rare values, column by column, and how many of each it met.

Nothing is filled in and no row is dropped: a missing value is a state of its own with its own weight of evidence, a number beyond the
outermost percentiles counts like the outermost one where a rung would otherwise run away with it, and a rare value is drawn towards the
rate of its group. This page says so in figures, so that a reader can see where that matters.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mlcore.metrics import wilson
from mlcore.schema import Column, Schema

EDGES = (0.01, 0.99)
RARE = 30
"""Rows: a value that fewer have can't show a rate of its own."""


def strategies(frame: pd.DataFrame, schema: Schema, default: np.ndarray) -> list[dict[str, Any]]:
    """For each usable column: what is done with missing, extreme and rare values, and how many rows that concerned.

    default: (n,) 0/1. informative: the default rate of rows with a missing value differs from the others' by more than chance (Wilson's
    intervals do not meet), so that filling them in would have thrown knowledge away.
    """
    return [_of(column, frame[column.name], default) for column in schema.usable() if column.name in frame]


def _of(column: Column, values: pd.Series, default: np.ndarray) -> dict[str, Any]:
    if column.kind in ("number", "boolean"):
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float)
        infinite = int(np.isinf(numbers).sum())
        missing = ~np.isfinite(numbers)
    else:
        infinite, missing = 0, values.isna().to_numpy()
    made: dict[str, Any] = {"name": column.name, "title": column.title, "kind": column.kind}
    made |= _missing(missing, infinite, default)
    if column.kind == "number" and (~missing).any():
        known = numbers[~missing]
        low, high = np.quantile(known, EDGES)
        beyond = int(((known < low) | (known > high)).sum())
        made |= {
            "outliers": f"beyond {low:g} and {high:g} (1st and 99th percentile) a value counts like the nearer of the two in smooth rungs; "
            "trees and tables put it into the outermost bin",
            "outlier_rows": beyond,
        }
    elif column.kind == "category" and (~missing).any():
        counts = values[~missing].astype(str).value_counts()
        rare = counts[counts < RARE]
        made |= {
            "outliers": f"{len(counts):,} values; the rate of one is drawn towards its group's by how few rows have it",
            "outlier_rows": int(rare.sum()),
        }
    else:
        made |= {
            "outliers": "none: there are only so many values" if column.kind == "boolean" else "as days before the application",
            "outlier_rows": 0,
        }
    return made


def _missing(missing: np.ndarray, infinite: int, default: np.ndarray) -> dict[str, Any]:
    rows = int(missing.sum())
    rates: list[float | None] = [float(default[side].mean()) if side.any() else None for side in (missing, ~missing)]
    ends = [wilson(float(default[side].sum()), int(side.sum())) for side in (missing, ~missing)]
    apart = None not in (*ends[0], *ends[1]) and (ends[0][0] > ends[1][1] or ends[0][1] < ends[1][0])
    words = "nothing was missing" if not rows else "kept as a state of its own"
    if infinite:
        words += f"; {infinite:,} infinite values count as missing"
    return {
        "imputation": words,
        "missing_rows": rows,
        "missing_rate": rates[0],
        "known_rate": rates[1],
        "informative": bool(rows and apart),
    }
