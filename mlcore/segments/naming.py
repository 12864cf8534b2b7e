"""What a group is like, in plain words and in a table: by how many standard deviations it differs from all applicants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mlcore.schema import Column
from mlcore.segments.prepare import CUT, MISSING, OTHER, Block, Preparation, column_values

CLEAR, FAINT = 0.5, 0.2
"""Cohen's (1988) medium and small effect: from the first on a difference names a group, below the second it is not shown as one."""
MOST_WORDS = 3
NAME_LENGTH = 120


@dataclass(frozen=True)
class Difference:
    """size: standardised difference of the group's mean (or share) from everyone's. words: `high annual income`."""

    column: str
    family: str
    size: float
    words: str


def differences(
    frame: pd.DataFrame, preparation: Preparation, labels: np.ndarray, k: int, submitted_at: pd.Series | None = None
) -> list[list[Difference]]:
    """Of each of the k groups, the strongest difference of each column, strongest first. labels: (n,)."""
    found: list[list[Difference]] = [[] for _ in range(k)]
    for block in preparation.blocks:
        column = preparation.schema[block.name]
        states = list(_states(column, block, column_values(frame, column, submitted_at)))
        for group in range(k):
            mine = labels == group
            sizes = [(_size(values, mine), low, high) for values, low, high in states]
            size, low, high = max(sizes, key=lambda row: abs(row[0]))
            words = high if size > 0 else low
            if words:
                found[group].append(Difference(block.name, column.family_key, size, words))
    return [sorted(rows, key=lambda row: (-abs(row.size), row.column)) for rows in found]


def names(found: list[list[Difference]]) -> list[str]:
    """A distinct name for each group, of at most `NAME_LENGTH` characters."""
    made: list[str] = []
    for rows in found:
        families: set[str] = set()
        said: list[str] = []
        clear = [row for row in rows if abs(row.size) >= CLEAR] or [row for row in rows if abs(row.size) >= FAINT][:1]
        for row in clear:
            if row.family not in families and len(said) < MOST_WORDS:
                families.add(row.family)
                said.append(row.words)
        name = ", ".join(said)
        made.append(_short(name[:1].upper() + name[1:] if name else "Like most applicants"))
    for number, name in enumerate(made):
        before = made[:number].count(name)
        if before:
            made[number] = f"{name[: NAME_LENGTH - 4]} ({before + 1})"
    return made


def profile(
    frame: pd.DataFrame, preparation: Preparation, labels: np.ndarray, k: int, submitted_at: pd.Series | None = None
) -> list[dict[str, Any]]:
    """One row a column: {column, title, unit, kind, all, groups: [{value, share, given, size}]}; what a value is, `_typical` says."""
    rows = []
    for block in preparation.blocks:
        column = preparation.schema[block.name]
        values = column_values(frame, column, submitted_at)
        states = list(_states(column, block, values))
        groups = []
        for group in range(k):
            mine = labels == group
            size = max((_size(state, mine) for state, _, _ in states), key=abs)
            groups.append(_typical(column, values[mine]) | {"size": size})
        rows.append(
            {
                "column": column.name,
                "title": column.title,
                "unit": column.unit,
                "kind": column.kind,
                "all": _typical(column, values),
                "groups": groups,
            }
        )
    return rows


def _states(column: Column, block: Block, values: np.ndarray) -> Any:
    """(values to compare, words where less, words where more); "" where that side says nothing worth a name."""
    title = column.title[:1].lower() + column.title[1:]
    if column.kind == "category":
        hits = block.hits(values)
        for number, level in enumerate(block.levels):
            if level == MISSING:
                yield hits[:, number].astype(float), "", f"{title} not given"
            elif level == OTHER:
                yield hits[:, number].astype(float), "", f"another {title} than the usual ones"
            else:
                shown = level.replace("_", " ")
                less = f"{title} not {shown}" if block.shares[number] > 0.5 else ""
                yield hits[:, number].astype(float), less, f"{title}: {shown}"
        return
    gone = ~np.isfinite(values)
    if column.kind == "boolean":
        yield np.where(gone, block.centre, values), f"without {title}", f"with {title}"
    else:
        low, high = (
            ("short", "long")
            if column.unit == "months" and _is_span(title)
            else ("few", "many")
            if column.unit in COUNTED
            else ("low", "high")
        )
        if column.kind == "date":
            low, high = "recent", "long past"
        moved = np.log1p(np.maximum(np.where(gone, 0.0, values), 0.0)) if block.log else np.where(gone, 0.0, values)
        scaled = np.where(gone, 0.0, np.clip((moved - block.centre) / max(block.scale, 1e-12), -CUT, CUT))
        yield scaled, f"{low} {title}", f"{high} {title}"
    if block.missing is not None:
        yield gone.astype(float), "", f"{title} not given"


COUNTED = ("count", "accounts", "times", "records")


def _is_span(title: str) -> bool:
    return any(word in title for word in ("time", "term", "length", "months"))


def _size(values: np.ndarray, mine: np.ndarray) -> float:
    deviation = float(values.std())
    return float((values[mine].mean() - values.mean()) / deviation) if deviation > 1e-9 and mine.any() else 0.0


def _typical(column: Column, values: np.ndarray) -> dict[str, Any]:
    """Median, share of yes, or the most frequent value with its share, of those who gave one; `given` is the share who did."""
    if column.kind == "category":
        text = [str(value) for value in values if value is not None and value == value]
        given = len(text) / max(len(values), 1)
        if not text:
            return {"value": None, "share": None, "given": given}
        counts = pd.Series(text, dtype=object).value_counts()
        top = min(counts[counts == counts.iloc[0]].index)
        return {"value": top, "share": float(counts[top] / len(text)), "given": given}
    present = values[np.isfinite(values)]
    given = present.size / max(len(values), 1)
    if not present.size:
        return {"value": None, "share": None, "given": given}
    return {"value": float(present.mean() if column.kind == "boolean" else np.median(present)), "share": None, "given": given}


def _short(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else name[: NAME_LENGTH - 1].rsplit(" ", 1)[0] + "…"
