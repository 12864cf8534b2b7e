"""The tables that a pairwise model adds up, to be read by people: read from its stored artifact, which takes a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from loans.models import ModelKind, ModelVersion
from loans.services import registry

MOST_TABLES = 60
"""The strongest are shown; a model with 150 columns has more than anybody reads."""
TABLED = "pairwise"


@dataclass(frozen=True)
class Cell:
    """value: log-odds with its sign. tone: raises, lowers or nothing; strength: 0–5, how dark the cell is."""

    value: str
    tone: str
    strength: int


@dataclass(frozen=True)
class Table:
    """One feature: rows without `across`, one cell each. Two features: a column for each label of `across`."""

    title: str
    rows_title: str
    columns_title: str
    across: list[str]
    rows: list[tuple[str, list[Cell]]]


@dataclass(frozen=True)
class ModelTables:
    baseline: str
    singles: list[Table]
    pairs: list[Table]
    left_out: int


class NoTables(Exception):
    """This version is no sum of tables."""


def has_tables(version: ModelVersion) -> bool:
    return version.kind == ModelKind.DEFAULT_RISK and version.algorithm == TABLED


def model_tables(version: ModelVersion) -> ModelTables:
    """Raises NoTables, `mlcore.artifacts.ArtifactError` where the artifact is not what was stored, or OSError where it is gone."""
    if not has_tables(version):
        raise NoTables(f"{version} is no sum of tables.")
    from mlcore.risk.printing import bin_labels

    model = registry.load(version)
    rung = model.rung
    encoder, bins, tables = rung.encoder, rung.bins_, rung.tables_
    titles = {column.name: column.title for column in model.schema}
    names = [_title(feature, titles) for feature in encoder.features]
    labels = [[label.replace("_", " ") for label in bin_labels(encoder, bins, j)] for j in range(len(names))]
    most = max([float(abs(table).max()) for table in (*tables.mains, *tables.pairs.values()) if table.size], default=1.0) or 1.0
    singles = [
        Table(names[j], names[j], "", [], [(label, [_cell(value, most)]) for label, value in zip(labels[j], tables.mains[j], strict=True)])
        for j in sorted(range(len(names)), key=lambda j: -float(abs(tables.mains[j]).max()))
        if tables.mains[j].any()
    ]
    pairs = [
        Table(
            f"{names[j]} × {names[k]}",
            names[j],
            names[k],
            labels[k],
            [(label, [_cell(value, most) for value in row]) for label, row in zip(labels[j], table, strict=True)],
        )
        for (j, k), table in sorted(tables.pairs.items(), key=lambda item: -float(abs(item[1]).max()))
    ]
    return ModelTables(
        baseline=f"{tables.intercept:+.3f}".replace("-", "−"),
        singles=singles[:MOST_TABLES],
        pairs=pairs[:MOST_TABLES],
        left_out=max(len(singles) - MOST_TABLES, 0) + max(len(pairs) - MOST_TABLES, 0),
    )


def _title(feature: Any, titles: dict[str, str]) -> str:
    """The column's title for a feature that is one column, with what was made of it otherwise."""
    name = str(feature.name)
    for column in sorted(titles, key=len, reverse=True):
        if name == column or name.startswith(f"{column} "):
            return titles[column] + name[len(column) :]
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def _cell(value: float, most: float) -> Cell:
    strength = round(5 * abs(float(value)) / most)
    tone = "" if not strength else "raises" if value > 0 else "lowers"
    return Cell(f"{round(float(value), 3) + 0.0:+.3f}".replace("-", "−"), tone, strength)
