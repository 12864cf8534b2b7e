"""Whether monitoring rings when it should and only then: `python -m benchmarks.monitor [worlds] [scale] [--seeds N]`.

worlds: lenders of 2,500 applications a month, two years of reference, two windows after it. In the first year a logistic regression is
fitted, in the second calibrated; the change begins with the first window. “Found” is an alarm on what was changed, within two windows, each
read as it would be once its labels have matured: a level and a concept are invisible before. A false alarm is any alarm in either window of
a world in which nothing has changed, or only the season.
scale: one window of 1,000,000 stored predictions of 30 features in the database of DATABASE_URL, rolled back at the end.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import pandas as pd

from benchmarks.report import Figure, show, table, write
from mlcore import calibration, metrics
from mlcore.monitor import Bins, Collected, Limits, Reading, estimate, watch
from mlcore.monitor import Figure as Seen
from mlcore.monitor.cbpe import expected_auc
from mlcore.risk import ladder
from mlcore.synth import Drift, Generated, World, generate, months_later

A_MONTH = 2_500
SEEDS = 40
QUIET_SEEDS = 100
LABELLED = ("oe", "auc", "slope", "residual")


@dataclass(frozen=True)
class Case:
    """found: whether an alarm is on what was changed. None: nothing was, any alarm is false."""

    title: str
    drifts: Callable[[date], tuple[Drift, ...]] = lambda at: ()
    found: Callable[[Seen], bool] | None = None
    world: dict[str, float] = field(default_factory=dict)


def _on(*columns: str, joint: bool = False) -> Callable[[Seen], bool]:
    return lambda alarm: (alarm.group == "inputs" and alarm.feature in columns) or (joint and alarm.metric == "joint_auc")


SHIFTED = ("revolving_utilisation", "annual_income")
CASES = {
    "none": Case("nothing changed"),
    "season": Case("seasons twice as strong", world={"seasonality": 2.0}),
    "covariate": Case(
        "two columns moved by .4 σ", lambda at: (Drift("covariate", at, SHIFTED, 0.4),), _on(*SHIFTED, "revolving_balance", joint=True)
    ),
    "level": Case("level × 1.25", lambda at: (Drift("level", at, (), 1.25),), lambda alarm: alarm.metric == "oe"),
    "concept": Case(
        "three columns turn round by half",
        lambda at: (Drift("concept", at, ("credit_score", "debt_to_income", "annual_income"), -0.5),),
        lambda alarm: alarm.metric in LABELLED,
    ),
    "empty": Case("a column 95 % empty", lambda at: (Drift("empty", at, ("employment_months",), 0.95),), _on("employment_months")),
    "unit": Case("dollars become cents", lambda at: (Drift("unit", at, ("annual_income",), 100),), _on("annual_income")),
}


@dataclass
class Lender:
    """One seed's reference and model; the drifted worlds of the seed share them, since they are the same until the change."""

    world: World
    at: date
    rung: object
    calibrator: calibration.Calibrator
    bins: Bins
    outputs: Bins
    reference: Collected
    learned: int

    @classmethod
    def of(cls, world: World, at: date) -> Lender:
        made = generate(world, identities=False)
        middle = months_later(world.start, 12)
        past = made.take(_between(made, world.start, at))
        first = _between(past, world.start, middle)
        later = _between(past, middle, at)
        rung = ladder.make("logistic", made.schema.usable(), seed=0).fit(past.frame.iloc[first], past.default[first])
        z = rung.log_odds(past.frame)
        calibrator = calibration.fit(z[later], past.default[later])
        p = metrics.expit(calibrator.transform(z))
        bins, outputs = Bins.of(past.frame, past.schema.usable(), past.submitted_at), Bins.of_outputs({"probability": p})
        # The year that the model was fitted on has labels that it knows; only the other one is held against it.
        label = np.where(np.isin(np.arange(len(past)), later), past.default, -1)
        reference = Collected(bins, outputs).add(past.frame, past.submitted_at, probability=p, default=label, outputs={"probability": p})
        return cls(world, at, rung, calibrator, bins, outputs, reference, int(past.default[later].sum()))

    def probability(self, frame: pd.DataFrame) -> np.ndarray:
        return metrics.expit(self.calibrator.transform(self.rung.log_odds(frame)))

    def readings(self, made: Generated, limits: Limits) -> list[Reading]:
        found = []
        for number in range(2):
            month = made.take(_between(made, months_later(self.at, number), months_later(self.at, number + 1)))
            p = self.probability(month.frame)
            window = Collected(self.bins, self.outputs)
            window.add(month.frame, month.submitted_at, probability=p, default=month.default, outputs={"probability": p})
            found.append(watch(self.reference, window, limits=limits, learned_defaults=self.learned))
        return found


def _between(made: Generated, start: date, end: date) -> np.ndarray:
    when = made.submitted_at
    return np.flatnonzero(((when >= pd.Timestamp(start, tz="UTC")) & (when < pd.Timestamp(end, tz="UTC"))).to_numpy())


@dataclass
class Tally:
    """Of one case: worlds, those with the alarm that was wanted by the first and by the second window, windows, and other alarms."""

    worlds: int = 0
    first: int = 0
    second: int = 0
    windows: int = 0
    false_windows: int = 0
    false_worlds: int = 0
    surely: int = 0
    """Windows in which a test rejects at the level although the size would not count: how well the level itself is kept."""


def worlds(seeds: int, quiet: int, watching: bool) -> tuple[dict[str, Tally], list[tuple[float, float]]]:
    """Tallies by case, and the errors (of a world without fraud rings, with them) of the estimated AUC under covariate shift."""
    limits = Limits()
    tallies = {name: Tally() for name in CASES}
    estimates: list[tuple[float, float]] = []
    for seed in range(max(seeds, quiet)):
        start = months_later(date(2021, 1, 1), seed % 12)
        at = months_later(start, 24)
        base = World(seed=1000 + seed, start=start, months=26, applications=26 * A_MONTH)
        usual = Lender.of(base, at)
        for name, case in CASES.items():
            if seed >= (seeds if case.found else quiet):
                continue
            if watching:
                print(f"\rseed {seed + 1}: {case.title}", end="\033[K", file=sys.stderr, flush=True)
            lender = Lender.of(base.but(**case.world), at) if case.world else usual
            made = generate(lender.world.but(drifts=case.drifts(at)), identities=False)
            _count(tallies[name], case, lender.readings(made, limits), limits)
            if name == "covariate":
                honest = Lender.of(base.but(ring_share=0.0), at)
                pure = generate(honest.world.but(drifts=case.drifts(at)), identities=False)
                estimates.append((_estimation_error(honest, pure), _estimation_error(usual, made)))
    if watching:
        print("\r\033[K", end="", file=sys.stderr)
    return tallies, estimates


def _estimation_error(lender: Lender, made: Generated) -> float:
    """|estimated AUC − the AUC that the true probabilities give these scores|: no luck of outcomes is in it."""
    made = made.take(_between(made, lender.at, months_later(lender.at, 2)))
    p = lender.probability(made.frame)
    return abs(estimate(p, draws=20).auc["value"] - expected_auc(p, made.true_default_probability))


def _count(tally: Tally, case: Case, readings: list[Reading], limits: Limits) -> None:
    tally.worlds += 1
    tally.windows += len(readings)
    if case.found:
        hits = [any(case.found(alarm) for alarm in reading.alarms) for reading in readings]
        tally.first += hits[0]
        tally.second += any(hits)
    else:
        false = [bool(reading.alarms) for reading in readings]
        tally.false_windows += sum(false)
        tally.false_worlds += any(false)
    tally.surely += sum(any(figure.p_adjusted is not None and figure.p_adjusted <= limits.level for figure in r.figures) for r in readings)


def _share(k: int, n: int) -> str:
    low, high = metrics.wilson(k, n)
    return f"{k}/{n} = {k / n:.3f} ({low:.3f}–{high:.3f})" if n else "–"


def world_figures(seeds: int, quiet: int) -> list[Figure]:
    began = time.perf_counter()
    tallies, estimates = worlds(seeds, quiet, sys.stderr.isatty())
    rows = []
    for name, case in CASES.items():
        tally = tallies[name]
        found = (_share(tally.first, tally.worlds), _share(tally.second, tally.worlds)) if case.found else ("–", "–")
        false = "–" if case.found else _share(tally.false_worlds, tally.worlds)
        sure = "–" if case.found else _share(tally.surely, tally.windows)
        rows.append((case.title, tally.worlds, *found, false, sure))
    print(table(("world", "seeds", "found in the first window", "within two", "false alarm in a world", "tests alone, a window"), rows))
    print(
        f"Windows of {A_MONTH:,} applications; a level of {Limits().level:g} for all tests of a window together. Shares with Wilson's 95 % "
        f"interval. {time.perf_counter() - began:.0f} s."
    )
    shifted = [tallies[name] for name, case in CASES.items() if case.found]
    still = [tallies[name] for name, case in CASES.items() if not case.found]
    pure, mixed = np.array(estimates).T
    print(
        f"CBPE under pure covariate shift, {len(pure)} worlds: |error| of the AUC mean {pure.mean():.4f}, largest {pure.max():.4f}. "
        f"With fraud rings, whose bursts no column shows: {mixed.mean():.4f} and {mixed.max():.4f}."
    )
    alarms = sum(t.false_worlds for t in still) / sum(t.worlds for t in still)
    least = min(tally.second / tally.worlds for tally in shifted)
    return [
        Figure("monitor.detection", sum(t.second for t in shifted) / sum(t.worlds for t in shifted), "share", "at least", 0.95),
        Figure("monitor.detection_least", least, "share, of the hardest world", "at least", 0.95),
        Figure("monitor.false_alarm", alarms, "share of worlds", "at most", 0.05),
        Figure("monitor.cbpe_error", float(pure.mean()), "AUC, mean", "at most", 0.01),
        Figure("monitor.cbpe_error_max", float(pure.max()), "AUC, largest", "at most", 0.01),
        Figure("monitor.cbpe_error_rings", float(mixed.mean()), "AUC, mean, with rings", "at most", 0.01),
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitor", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help="of worlds, scale; both where none is named")
    many = f"worlds of each change ({SEEDS}); {QUIET_SEEDS / SEEDS:g} times as many quiet ones"
    parser.add_argument("--seeds", type=int, default=SEEDS, help=many)
    parser.add_argument("--rows", type=int, default=1_000_000, help="predictions of the window of `scale`")
    asked = parser.parse_args(arguments)
    unknown = sorted(set(asked.parts) - {"worlds", "scale"})
    if unknown or asked.seeds < 1:
        parser.error(f"There is no part {', '.join(unknown)}." if unknown else "At least one seed.")
    figures: list[Figure] = []
    if not asked.parts or "worlds" in asked.parts:
        figures += world_figures(asked.seeds, asked.seeds * QUIET_SEEDS // SEEDS)
    if not asked.parts or "scale" in asked.parts:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
        from benchmarks.monitor_window import window_figures

        figures += window_figures(asked.rows)
    show(figures)
    if not asked.parts:
        print(f"Written: {write('monitor', figures)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
