"""Bins and tables in words: what a person reads, checks and edits."""

from __future__ import annotations

from mlcore.risk.binning import Bins
from mlcore.risk.features import Encoder
from mlcore.risk.tables import Tables

MOST_LEVELS = 6
"""Category values that a label names before it only counts the rest."""


def bin_labels(encoder: Encoder, bins: Bins, j: int) -> list[str]:
    """A label for every code of feature j, missing last: "18.5 < x ≤ 25", or the values of a category that fall there."""
    cuts = bins.cuts[j].tolist()
    feature = encoder.features[j]
    if feature.category and not feature.name.endswith(" frequency"):
        return [*_levels(encoder, feature.sources[0], feature.name, bins, j), "missing"]
    if not cuts:
        return ["any value", "missing"]
    middle = [f"{low:g} < x ≤ {high:g}" for low, high in zip(cuts, cuts[1:], strict=False)]
    return [f"x ≤ {cuts[0]:g}", *middle, f"x > {cuts[-1]:g}", "missing"]


def _levels(encoder: Encoder, column: str, name: str, bins: Bins, j: int) -> list[str]:
    one = encoder.encoders[column]
    at = one.names(column).index(name)
    found: list[list[str]] = [[] for _ in range(len(bins.cuts[j]) + 1)]
    for level, values in one.table().items():
        found[bins.code(j, values[at])].append(level)
    labels = []
    for levels in found:
        rest = f" and {len(levels) - MOST_LEVELS} more" if len(levels) > MOST_LEVELS else ""
        labels.append(", ".join(levels[:MOST_LEVELS]) + rest if levels else "other values")
    return labels


def tables_in_text(encoder: Encoder, bins: Bins, tables: Tables, digits: int = 3) -> str:
    """Every table of a model as plain text, the strongest first: log-odds that each bin or pair of bins adds."""
    names = [feature.name for feature in encoder.features]
    lines = [f"Baseline log-odds: {tables.intercept:.{digits}f}"]
    for j in sorted(range(len(names)), key=lambda k: -abs(tables.mains[k]).max()):
        if tables.mains[j].any():
            lines += ["", names[j]]
            lines += [f"  {value:+.{digits}f}  {label}" for value, label in zip(tables.mains[j], bin_labels(encoder, bins, j), strict=True)]
    for (j, k), table in sorted(tables.pairs.items(), key=lambda item: -abs(item[1]).max()):
        lines += ["", f"{names[j]} × {names[k]} (rows × columns)"]
        across = bin_labels(encoder, bins, k)
        lines.append("  columns: " + "; ".join(across))
        for label, row in zip(bin_labels(encoder, bins, j), table, strict=True):
            lines.append("  " + " ".join(f"{value:+.{digits}f}" for value in row) + f"  {label}")
    return "\n".join(lines)
