"""Golden rows: a few dozen inputs stored with a model and its answers to them; a model that has come to answer otherwise is not used.

A library upgrade, a changed line of code or another processor may move a score although every byte of the artifact is as it was signed.
Version numbers can't say whether one did; scoring the same rows again can.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd

from mlcore.artifacts import ArtifactError
from mlcore.quality import PLAUSIBLE
from mlcore.schema import Column, Schema

ROWS = 48
TOLERANCE = 1e-6
"""Absolute and relative. Another order of the same sums moves a log-odds by 1e-12; what an applicant could notice begins at 1e-3."""
UNSEEN = "a value that no training row had"
STATE_VERSION = 1


class Answering(Protocol):
    """What a model must be able to do: `answers` are arrays whose first axis are the rows."""

    def answers(self, frame: pd.DataFrame, submitted_at: pd.Series | None = None) -> dict[str, np.ndarray]: ...


class GoldenDrift(ArtifactError):
    """The model answers its golden rows otherwise than when it was stored."""


def draw(frame: pd.DataFrame, submitted_at: pd.Series | None, schema: Schema, *, rows: int = ROWS, seed: int = 0) -> dict[str, Any]:
    """Golden inputs from training data: {"columns": {name: (rows,) array}, "submitted_at": (rows,) int64 nanoseconds or None}.

    Each column's values are spread evenly over what it had, from the least to the greatest and with missing ones, and then shuffled by
    itself: no golden row is an applicant's. The last value of a category is one that no training row had.
    """
    chance = np.random.default_rng(seed)
    columns = {column.name: _spread(column, frame[column.name], rows, chance) for column in schema if column.name in frame}
    dates = None
    if submitted_at is not None and submitted_at.notna().any():
        known = np.sort(submitted_at.dropna().to_numpy("datetime64[ns]").astype(np.int64))
        dates = known[np.linspace(0, len(known) - 1, rows).astype(int)]
    return {"columns": columns, "submitted_at": dates}


def made_up(schema: Schema, *, rows: int = ROWS, seed: int = 0) -> dict[str, Any]:
    """Golden inputs where no training data are at hand: numbers over the plausible range, one missing in eight."""
    chance = np.random.default_rng(seed)
    columns: dict[str, np.ndarray] = {}
    for column in schema:
        if column.kind in ("category", "text"):
            columns[column.name] = np.array([None, UNSEEN] * (rows // 2 + 1), dtype=object)[:rows]
            continue
        if column.kind == "date":
            columns[column.name] = np.datetime64("2020-01-01", "ns").astype(np.int64) + np.arange(rows) * 86_400_000_000_000
            continue
        least, most = (0.0, 1.0) if column.kind == "boolean" else PLAUSIBLE.get(column.name, (0.0, 1000.0))
        # Squared, so that most lie where applicants do: the plausible range ends far above them.
        values = least + (min(most, 200_000.0) - least) * np.linspace(0, 1, rows) ** 2
        values = np.round(values) if column.kind == "boolean" else values
        values[::8] = np.nan
        columns[column.name] = chance.permutation(values)
    return {"columns": columns, "submitted_at": None}


def record(model: Answering, drawn: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """Inputs and the model's answers to them as plain data, to be stored in the signed artifact beside the model."""
    frame, dates = as_frame(drawn, schema)
    return {"version": STATE_VERSION, **drawn, "answers": dict(model.answers(frame, dates))}


def check(model: Answering, golden: Mapping[str, Any], schema: Schema) -> None:
    """Raises GoldenDrift, naming how many rows moved and the largest move, unless the model answers as it did when it was stored."""
    frame, dates = as_frame(golden, schema)
    found = model.answers(frame, dates)
    moved, worst, where = np.zeros(len(frame), dtype=bool), 0.0, ""
    for name, wanted in golden["answers"].items():
        wanted, given = np.asarray(wanted), np.asarray(found.get(name))
        if given.shape != wanted.shape:
            raise GoldenDrift(f"It now answers {name} with an array of shape {given.shape} instead of {wanted.shape}.")
        if wanted.dtype.kind in "fc":
            different = ~np.isclose(given, wanted, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
            by = np.abs(np.where(different, given - wanted, 0.0))
            by = np.where(np.isnan(by), np.inf, by)
        else:
            different = given != wanted
            by = different.astype(float)
        if different.any():
            moved |= different.reshape(len(frame), -1).any(axis=1)
            if by.max() > worst:
                worst, where = float(by.max()), name
    if moved.any():
        raise GoldenDrift(
            f"{int(moved.sum())} of {len(frame)} golden rows get another answer than when the model was stored; "
            f"the largest move is {worst:.4g} in {where.replace('_', ' ')}."
        )


def as_frame(drawn: Mapping[str, Any], schema: Schema) -> tuple[pd.DataFrame, pd.Series | None]:
    """The golden inputs as `mlcore.schema` describes a frame, and their dates."""
    frame = pd.DataFrame({name: _series(schema[name], values) for name, values in drawn["columns"].items()})
    dates = drawn["submitted_at"]
    return frame, None if dates is None else _moments(dates)


def _spread(column: Column, values: pd.Series, rows: int, chance: np.random.Generator) -> np.ndarray:
    known = values.dropna()
    if column.kind == "date":
        known = known.to_numpy("datetime64[ns]").astype(np.int64)
    elif column.kind in ("number", "boolean"):
        known = known.to_numpy(dtype=float)
        known = known[np.isfinite(known)]
    else:
        known = known.astype(str).to_numpy(dtype=object)
    known = np.sort(known)
    absent = rows if not len(known) else min(rows - 1, max(int(values.isna().any()), round(float(values.isna().mean()) * rows)))
    picked = known[np.linspace(0, max(len(known) - 1, 0), rows - absent).astype(int)] if rows > absent else known[:0]
    if column.kind == "date":
        made = np.concatenate([picked, np.full(absent, np.iinfo(np.int64).min)])
    elif column.kind in ("number", "boolean"):
        made = np.concatenate([picked, np.full(absent, np.nan)])
    else:
        made = np.concatenate([picked, np.full(absent, None, dtype=object)])
        made[len(picked) - 1 if len(picked) else 0] = UNSEEN
    return made[chance.permutation(rows)]


def _series(column: Column, values: np.ndarray) -> pd.Series:
    if column.kind == "date":
        return _moments(values)
    return pd.Series(values, dtype=float if column.kind in ("number", "boolean") else object)


def _moments(nanoseconds: np.ndarray) -> pd.Series:
    return pd.Series(np.asarray(nanoseconds, dtype=np.int64).view("datetime64[ns]")).dt.tz_localize("UTC")
