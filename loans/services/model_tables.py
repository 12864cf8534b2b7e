"""The tables that a pairwise model adds up, to be read by people: read from its stored artifact, which takes a second."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from django.utils.translation import gettext

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

    key: str
    title: str
    rows_title: str
    columns_title: str
    across: list[str]
    rows: list[tuple[str, list[Cell]]]


@dataclass(frozen=True)
class Input:
    """One cell of a form. name: of the field. text: the value as it is shown, in the form's unit."""

    name: str
    label: str
    text: str


@dataclass(frozen=True)
class EditableTable:
    """A table as a form. rows: (label, cells), a column for each label of `across` where it has two features."""

    key: str
    title: str
    rows_title: str
    columns_title: str
    across: list[str]
    rows: list[tuple[str, list[Input]]]
    unit: str


@dataclass(frozen=True)
class ModelTables:
    baseline: str
    singles: list[Table]
    pairs: list[Table]
    left_out: int


LOG_ODDS, POINTS = "log-odds", "points"
UNITS = {LOG_ODDS: 3, POINTS: 1}
"""Unit of a form → digits shown. More points are less risk."""


class NoTables(Exception):
    """This version is no sum of tables."""


def has_tables(version: ModelVersion) -> bool:
    return version.kind == ModelKind.DEFAULT_RISK and version.algorithm == TABLED


def model_tables(version: ModelVersion) -> ModelTables:
    """Raises NoTables, `mlcore.artifacts.ArtifactError` where the artifact is not what was stored, or OSError where it is gone."""
    model = _tabled(version)
    tables = model.rung.tables_
    names, labels = titles_and_labels(model)
    most = max([float(abs(table).max()) for table in (*tables.mains, *tables.pairs.values()) if table.size], default=1.0) or 1.0
    singles = [
        Table(
            str(j),
            names[j],
            names[j],
            "",
            [],
            [(label, [_cell(value, most)]) for label, value in zip(labels[j], tables.mains[j], strict=True)],
        )
        for j in sorted(range(len(names)), key=lambda j: -float(abs(tables.mains[j]).max()))
        if tables.mains[j].any()
    ]
    pairs = [
        Table(
            f"{j}-{k}",
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


def editable(version: ModelVersion, key: str, unit: str = LOG_ODDS, posted: Mapping[str, str] | None = None) -> EditableTable:
    """One table as a form. key: a feature's position in the encoder, or two ("3", "3-7"). posted: what a form held, to show it again.

    Raises NoTables where the version or the table is none.
    """
    model = _tabled(version)
    features = features_of(key)
    names, labels = titles_and_labels(model)
    table = _table(version, model, features)
    posted = posted or {}
    rows = []
    for row, label in enumerate(labels[features[0]]):
        at = [(row,)] if len(features) == 1 else [(row, column) for column in range(table.shape[1])]
        across = [label] if len(features) == 1 else [f"{label}, {name}" for name in labels[features[1]]]
        shown = [
            Input(field(c), name, posted.get(field(c), _shown(model, float(table[c]), unit))) for c, name in zip(at, across, strict=True)
        ]
        rows.append((label, shown))
    titles = [names[j] for j in features]
    second = labels[features[1]] if len(features) == 2 else []
    return EditableTable(key, " × ".join(titles), titles[0], titles[1] if second else "", second, rows, unit)


def read_form(
    version: ModelVersion, key: str, unit: str, posted: Mapping[str, str]
) -> list[tuple[tuple[int, ...], tuple[int, ...], float]]:
    """The cells that a form changed, as (features, codes, log-odds). A value as it was shown is none: shown values are rounded.

    Raises NoTables, or ValueError with a sentence for each field that holds no number.
    """
    model = _tabled(version)
    features = features_of(key)
    table = _table(version, model, features)
    _, labels = titles_and_labels(model)
    changed, wrong = [], []
    for codes in _places(table.shape):
        text = posted.get(field(codes), "").strip().replace("−", "-")
        if not text or text == _shown(model, float(table[codes]), unit).replace("−", "-"):
            continue
        try:
            value = float(text.replace(",", "."))
        except ValueError:
            cell = ", ".join(labels[j][code] for j, code in zip(features, codes, strict=True))
            wrong.append(gettext("%(cell)s: “%(text)s” is not a number.") % {"cell": cell, "text": text[:20]})
            continue
        changed.append((features, codes, -value / model.point_scale.factor if unit == POINTS else value))
    if wrong:
        raise ValueError(" ".join(wrong[:10]))
    return changed


def features_of(key: str) -> tuple[int, ...]:
    parts = key.split("-")
    if not 1 <= len(parts) <= 2 or not all(part.isascii() and part.isdigit() and len(part) < 6 for part in parts):
        raise NoTables(gettext("“%(key)s” names no table.") % {"key": key[:20]})
    return tuple(int(part) for part in parts)


def field(codes: tuple[int, ...]) -> str:
    return "c-" + "-".join(str(code) for code in codes)


def _places(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    return product(*(range(size) for size in shape))


def _tabled(version: ModelVersion) -> Any:
    if not has_tables(version):
        raise NoTables(gettext("%(version)s is no sum of tables.") % {"version": version})
    return registry.load(version)


def _table(version: ModelVersion, model: Any, features: tuple[int, ...]) -> Any:
    from mlcore.risk.editing import EditError, table_of

    try:
        return table_of(model.rung.tables_, features)
    except EditError:
        raise NoTables(gettext("%(version)s has no such table.") % {"version": version}) from None


def _shown(model: Any, value: float, unit: str) -> str:
    shown = -value * model.point_scale.factor if unit == POINTS else value
    return f"{round(shown, UNITS[unit]) + 0.0:+.{UNITS[unit]}f}"


def titles_and_labels(model: Any) -> tuple[list[str], list[list[str]]]:
    """For each feature of the model's encoder its title, and the label of each of its bins."""
    from mlcore.risk.printing import bin_labels

    rung = model.rung
    titles = {column.name: column.title for column in model.schema}
    names = [_title(feature, titles) for feature in rung.encoder.features]
    return names, [[label.replace("_", " ") for label in bin_labels(rung.encoder, rung.bins_, j)] for j in range(len(names))]


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
