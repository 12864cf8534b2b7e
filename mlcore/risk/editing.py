"""Cells of a pairwise model changed by hand: a new model that differs in these cells alone, and what the change does before anybody has it.

The tables are not purified again, so that what was proposed, what was approved and what scores are the same numbers; the average of an
edited table may therefore be off zero by a little. Three things go with an edit, so that what holds of a model holds of an edited one:

    The level. An edit tells applicants apart differently; it is no statement on how many default. With `keep_level` the intercept moves
    until the mean probability of the reference rows is what it was.
    The baseline of the reasons. Its mean contributions move by what the edit adds on average over the reference rows it stands for.
    Directions. An edit may not make the score fall where a declared direction says that it rises, nor a fall deeper (`broken_directions`).

Contributions add up to the score as before, since a model scales them to do so against whatever baseline it has, and checks it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from mlcore.metrics import auc, auc_difference, brier, expit, observed_expected, rounded
from mlcore.risk.base import Dataset
from mlcore.risk.fairness import characteristic, groups
from mlcore.risk.model import RiskModel, at_cutoff
from mlcore.risk.pairwise import Pairwise
from mlcore.risk.tables import Tables

MOST_LOG_ODDS = 5.0
"""No cell may say more: e⁵ is 148 times the odds, and a slip of the decimal point is the likelier reason."""
SAME = 1e-9


class EditError(ValueError):
    """This edit can't be made; the message says which cell and why."""


@dataclass(frozen=True)
class Change:
    """One cell. features: positions in the encoder's, one or two of them (ascending). codes: the cell's place in their table."""

    features: tuple[int, ...]
    codes: tuple[int, ...]
    value: float


def table_of(tables: Tables, features: tuple[int, ...]) -> np.ndarray:
    """The table of one or two features, itself and not a copy. Raises EditError where there is none."""
    if len(features) == 1 and 0 <= features[0] < len(tables.mains):
        return tables.mains[features[0]]
    if features not in tables.pairs:
        raise EditError(f"There is no table of the features {features}.")
    return tables.pairs[features]


def edited(model: RiskModel, changes: Sequence[Change], reference: pd.DataFrame, dates: pd.Series | None, *, keep_level: bool) -> RiskModel:
    """A new model with these cells changed; `model` stays as it is.

    reference: (n, columns) applicants over which the level is kept and the reasons' baseline is moved. Raises EditError where there is
    nothing to change, a cell does not exist, a value is not finite or beyond 5 log-odds, or a declared direction would be broken.
    """
    old = model.rung
    if not isinstance(old, Pairwise):
        raise EditError(f"A {old.name} is no sum of tables.")
    if not len(reference):
        raise EditError("Without applicants to compare on, what an edit does to the level can't be known.")
    tables = _changed(old.tables_, changes)
    broken = broken_directions(old, tables)
    if broken:
        raise EditError(" ".join(broken))
    before, _ = old.contributions(reference, dates)
    probability = expit(model.calibrator.transform(before.sum(axis=1) + old.tables_.intercept))
    if keep_level:
        raw = _rung(old, tables).log_odds(reference, dates)
        tables.intercept += _level(model, raw, float(probability.mean()))
    rung = _rung(old, tables)
    after, intercept = rung.contributions(reference, dates)
    rows = np.arange(len(reference))
    if model.baseline.kind == "at_cutoff" and model.baseline.cutoff is not None:
        near = at_cutoff(probability, model.baseline.cutoff)
        rows = rows if near is None else near
    means = model.baseline.means + (after[rows] - before[rows]).mean(axis=0)
    return RiskModel(
        rung,
        model.calibrator,
        schema=model.schema,
        baseline=replace(model.baseline, means=means, intercept=float(intercept)),
        families=model.families,
        grades=model.grades,
        points=model.point_scale,
        ranges=model.ranges,
    )


def _changed(tables: Tables, changes: Sequence[Change]) -> Tables:
    made = Tables([main.copy() for main in tables.mains], {key: table.copy() for key, table in tables.pairs.items()}, tables.intercept)
    for change in changes:
        table = table_of(made, change.features)
        if len(change.codes) != table.ndim or not all(0 <= code < size for code, size in zip(change.codes, table.shape, strict=True)):
            raise EditError(f"The table of the features {change.features} has no cell {change.codes}; it has {table.shape} cells.")
        if not np.isfinite(change.value) or abs(change.value) > MOST_LOG_ODDS:
            raise EditError(f"{change.value:g} log-odds is no value for a cell: it lies between −{MOST_LOG_ODDS:g} and {MOST_LOG_ODDS:g}.")
        table[change.codes] = change.value
    if all(np.array_equal(a, b) for a, b in zip(tables.mains, made.mains, strict=True)) and all(
        np.array_equal(tables.pairs[key], made.pairs[key]) for key in tables.pairs
    ):
        raise EditError("Nothing would change: every cell already has this value.")
    return made


def _rung(old: Pairwise, tables: Tables) -> Pairwise:
    made = copy.copy(old)
    made.settings = dict(old.settings)
    made.tables_ = tables
    made._ready()
    return made


def _level(model: RiskModel, raw: np.ndarray, wanted: float) -> float:
    """The move of the intercept, in uncalibrated log-odds, after which the mean probability is `wanted`. By halving: an isotonic calibrator
    has steps, so there may be no exact one.
    """
    low, high = -10.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        if expit(model.calibrator.transform(raw + middle)).mean() < wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def broken_directions(rung: Pairwise, after: Tables) -> list[str]:
    """A sentence for each step at which the edit breaks a declared direction, with the bins on both sides."""
    from mlcore.risk.printing import bin_labels

    directions = rung.encoder.directions
    made = []
    for j in np.flatnonzero(directions):
        was, now = worst_steps(rung.tables_, int(j), int(directions[j])), worst_steps(after, int(j), int(directions[j]))
        for code in np.flatnonzero(now < np.minimum(was, 0.0) - SAME):
            labels = bin_labels(rung.encoder, rung.bins_, int(j))
            risk = "rise" if directions[j] > 0 else "fall"
            other = "fall" if directions[j] > 0 else "rise"
            made.append(
                f"Risk is declared to {risk} with {rung.encoder.features[j].name.replace('_', ' ')}, but from “{labels[code]}” to "
                f"“{labels[code + 1]}” it would {other} by up to {-now[code]:.3f} log-odds. Change the neighbouring cells along with it."
            )
    return made


def worst_steps(tables: Tables, j: int, direction: int) -> np.ndarray:
    """(bins of j − 1,) the least that the whole score moves in `direction` from one bin of feature j to the next, whatever the features are
    that it is paired with. Missing is no step.
    """
    steps = direction * np.diff(tables.mains[j][:-1])
    for (first, second), table in tables.pairs.items():
        if j in (first, second):
            along = table if j == first else table.T
            steps = steps + (direction * np.diff(along[:-1], axis=0)).min(axis=1)
    return steps


def effect(
    before: RiskModel, after: RiskModel, *, judged: Dataset | None, latest: tuple[pd.DataFrame, pd.Series | None] | None, cutoff: float
) -> dict[str, Any]:
    """What the edit does, as plain JSON. judged: loans whose outcome is known. latest: applicants, with or without one.

    Keys: level (how far the intercept moved, log-odds), cutoff, outcomes and applicants (None where there are no rows).
    """
    return rounded(
        {
            "level": after.rung.tables_.intercept - before.rung.tables_.intercept,
            "cutoff": cutoff,
            "outcomes": None if judged is None or not len(judged) else _on_outcomes(before, after, judged, cutoff),
            "applicants": None if latest is None or not len(latest[0]) else _on_applicants(before, after, latest, cutoff),
        }
    )


def _on_outcomes(before: RiskModel, after: RiskModel, judged: Dataset, cutoff: float) -> dict[str, Any]:
    default = judged.default
    old, new = (model.score(judged.frame, judged.submitted_at).probability for model in (before, after))
    losses = (new - default) ** 2 - (old - default) ** 2
    reach = 1.96 * float(losses.std()) / np.sqrt(len(losses))
    made: dict[str, Any] = {
        "rows": len(judged),
        "defaults": int(default.sum()),
        "from": None if judged.submitted_at is None else str(judged.submitted_at.min().date()),
        "until": None if judged.submitted_at is None else str(judged.submitted_at.max().date()),
        "brier_change": {"value": float(losses.mean()), "low": float(losses.mean() - reach), "high": float(losses.mean() + reach)},
        "auc_change": {"value": None, "low": None, "high": None},
        "fairness": [] if judged.protected is None else _on_fairness(judged.protected, default, old, new, cutoff),
    }
    for name, probability in (("before", old), ("after", new)):
        made[name] = {
            "auc": auc(default, probability),
            "brier": brier(default, probability),
            "oe": observed_expected(default, probability),
        }
    if 0 < default.mean() < 1:
        change = auc_difference(default, new, old)
        made["auc_change"] = {"value": change.value, "low": change.low, "high": change.high}
    return made


def _on_fairness(protected: pd.DataFrame, default: np.ndarray, old: np.ndarray, new: np.ndarray, cutoff: float) -> list[dict[str, Any]]:
    """By characteristic the lowest adverse impact ratio at the cut-off, and whose it is, before and with the edit."""
    made = []
    for name in protected.columns:
        group = groups(protected[name])
        row: dict[str, Any] = {"name": str(name)}
        for side, probability in (("before", old), ("after", new)):
            found = characteristic(group, default, probability, cutoff=cutoff)
            row[side] = {
                "ratio": found["adverse_impact_ratio"],
                "lowest": found.get("lowest"),
                "flagged": bool(found["significant"]),
            }
        if row["before"]["ratio"] is not None or row["after"]["ratio"] is not None:
            made.append(row)
    return made


def _on_applicants(before: RiskModel, after: RiskModel, latest: tuple[pd.DataFrame, pd.Series | None], cutoff: float) -> dict[str, Any]:
    old, new = (model.score(*latest).probability for model in (before, after))
    move = new - old
    # The level moves everybody by a hair; touched are those whom the cells themselves reach.
    level = after.rung.tables_.intercept - before.rung.tables_.intercept
    raw = after.rung.log_odds(*latest) - before.rung.log_odds(*latest) - level
    return {
        "rows": len(old),
        "touched": int((np.abs(raw) > SAME).sum()),
        "mean_before": float(old.mean()),
        "mean_after": float(new.mean()),
        "mean_shift": float(move.mean()),
        "mean_absolute_shift": float(np.abs(move).mean()),
        "largest_rise": float(max(move.max(), 0.0)),
        "largest_fall": float(min(move.min(), 0.0)),
        "approved_before": int((old < cutoff).sum()),
        "approved_after": int((new < cutoff).sum()),
        "into_approval": int(((old >= cutoff) & (new < cutoff)).sum()),
        "out_of_approval": int(((old < cutoff) & (new >= cutoff)).sum()),
    }
