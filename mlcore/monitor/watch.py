"""The look itself: every test of a window, with the chance of any false alarm held below one level."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from mlcore.monitor import cbpe, drift, joint, performance
from mlcore.monitor.collect import Collected
from mlcore.monitor.figures import WEIGHTS, Figure, Limits, Reading
from mlcore.monitor.multiple import holm

LEAST_ROWS = 30


def watch(
    reference: Collected,
    window: Collected,
    *,
    limits: Limits | None = None,
    learned_defaults: float | None = None,
    with_joint: bool = True,
    matured: bool = True,
    seed: int = 0,
) -> Reading:
    """Every figure of the window, judged. Both sides must have been counted with the same bins.

    learned_defaults: how many defaults the model's level rests on. matured: False where only the early finishers of the window have a
    label: its performance is then shown and not tested. A side without rows gives a reading that says so.
    """
    limits = limits or Limits()
    notes: list[str] = []
    if window.rows < LEAST_ROWS or reference.rows < LEAST_ROWS:
        what = "The window" if window.rows < LEAST_ROWS else "The reference"
        rows = min(window.rows, reference.rows)
        return Reading((), (f"{what} has {rows:,} applications; at least {LEAST_ROWS} are needed to compare anything.",), window.rows)
    season, said = reference.of_the_season(window)
    if said:
        notes.append(said)
    figures = _columns(reference, window, season)
    deff = _typical_effect(figures)
    if with_joint:
        (now, now_days), (then, then_days) = window.sample(), reference.sample(season)
        figures.append(_named(joint.domain_auc(now, then, now_days, then_days, deff=deff, seed=seed), list(window.bins.columns)))
    figures += _outputs(reference, window, season, notes)
    figures += _estimated(reference, window)
    figures += _performance(reference, window, limits, learned_defaults, matured, notes)
    return Reading(tuple(_judged(figures, limits)), tuple(notes), window.rows, len(window.labelled[0]))


def _columns(reference: Collected, window: Collected, season: np.ndarray) -> list[Figure]:
    made: list[Figure] = []
    for column in window.bins:
        name = column.name
        made += drift.column_figures(column, window.counts(name), reference.counts(name, season), reference.counts(name))
    return made


def _typical_effect(figures: list[Figure]) -> float:
    effects = [figure.detail["design_effect"] for figure in figures if "design_effect" in figure.detail]
    return float(np.mean(effects)) if effects else 1.0


def _named(figure: Figure, names: list[str]) -> Figure:
    """The joint test's columns by name, the most telling first."""
    if "importance" not in figure.detail:
        return figure
    shares = zip(figure.detail["columns"], figure.detail["importance"], strict=True)
    told = sorted(((names[at], share) for at, share in shares), key=lambda one: -one[1])
    return replace(figure, detail={"rows": figure.detail["rows"], "importance": [[name, round(share, 4)] for name, share in told[:8]]})


def _outputs(reference: Collected, window: Collected, season: np.ndarray, notes: list[str]) -> list[Figure]:
    made: list[Figure] = []
    for column in window.output_bins:
        now, then, everything = (
            window.counts(column.name), reference.counts(column.name, season), reference.counts(column.name)
        )  # fmt: skip
        if not len(everything.bins) or not len(now.bins):
            side = "reference" if not len(everything.bins) else "window"
            notes.append(f"{column.title}: the {side} has none, so nothing can be compared.")
            continue
        if then.bins.sum() < LEAST_ROWS:
            then = everything
        made += drift.column_figures(column, now, then, everything, group="outputs", metric="output_psi")
    return made


def _estimated(reference: Collected, window: Collected) -> list[Figure]:
    p = window.probability
    if not len(p):
        return []
    spread = performance.dispersion(*reference.labelled)
    now, then = cbpe.estimate(p, dispersion=spread), cbpe.estimate(reference.probability)
    return [
        Figure(
            "estimated", metric, value=new["value"], low=new["low"], high=new["high"], baseline=old["value"], note=cbpe.BLIND_SPOT,
            detail={"rows": now.rows},
        )
        for metric, new, old in (
            ("cbpe_auc", now.auc, then.auc), ("cbpe_brier", now.brier, then.brier), ("cbpe_rate", now.rate, then.rate),
            ("cbpe_oe", now.oe, {"value": 1.0}),
        )
    ]  # fmt: skip


def _performance(
    reference: Collected, window: Collected, limits: Limits, learned: float | None, matured: bool, notes: list[str]
) -> list[Figure]:
    p, y, _ = window.labelled
    if not len(p):
        notes.append("No loan of this window has an outcome yet: its performance is estimated, not known.")
        return []
    spread = performance.dispersion(*reference.labelled)
    promised = cbpe.estimate(p, dispersion=spread)
    made, said = performance.realised(
        p, y, promised, spread=spread, learned_defaults=learned, oe_level=1 - limits.level * WEIGHTS["oe"] / sum(WEIGHTS.values())
    )
    notes += said
    if not made:
        return []
    made += _back_check(made, promised)
    names = window.bins.columns
    made += performance.residual_figures(
        names, {name: window.residuals(name) for name in names}, {name: reference.residuals(name) for name in names}, spread
    )
    if not matured:
        notes.append("Only the early finishers of this window have an outcome; they are not like the rest, so nothing is tested on them.")
        made = [replace(figure, p=None) for figure in made]
    return made


def _back_check(made: list[Figure], promised: cbpe.Estimate) -> list[Figure]:
    """What the estimate said of the very loans whose outcome is now known, beside that outcome."""
    known = {figure.metric: figure for figure in made}
    checks = []
    for metric, said in (("auc", promised.auc), ("brier", promised.brier)):
        if metric in known and known[metric].value is not None and said["value"] is not None:
            low, high = said["low"], said["high"]
            held = low is not None and high is not None and low <= known[metric].value <= high
            checks.append(
                Figure(
                    "estimated", f"check_{metric}", value=known[metric].value - said["value"], baseline=0.0, low=(low or 0) - said["value"],
                    high=(high or 0) - said["value"],
                    note="The estimate held." if held else "The estimate did not hold: the probabilities are no longer right.",
                )
            )  # fmt: skip
    return checks


def _judged(figures: list[Figure], limits: Limits) -> list[Figure]:
    """Holm over all tests; a metric's share of the level is split among its columns."""
    tested = [number for number, figure in enumerate(figures) if figure.p is not None]
    many = Counter(figures[number].metric for number in tested)
    weights = np.array([WEIGHTS.get(figures[number].metric, 0.05) / many[figures[number].metric] for number in tested])
    adjusted = holm(np.array([figures[number].p for number in tested], dtype=float), weights)
    made = list(figures)
    for number, p in zip(tested, adjusted, strict=True):
        made[number] = figures[number].judged(float(p), limits)
    return made
