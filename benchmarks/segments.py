"""How many groups: on two open files, on generated worlds with known groups, and on one with none. Writes build/bench/segments.json.

    python -m benchmarks.segments

`segments.k` is read against the truth where there is one. `segments.min_jaccard` and `segments.null_gap` are the chosen k's, or the best
that was seen where no k is supported; 0.75 and 0.02 are what is demanded.
"""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

from benchmarks import data, report
from benchmarks.report import Figure
from mlcore.schema import Column, Schema
from mlcore.segments.choose import LEAST_GAP, LEAST_JACCARD, Effort
from mlcore.segments.train import SegmentResult, train_segments
from mlcore.synth import World, generate

EFFORT = Effort(rows=2_000, bootstraps=15, nulls=6, restarts=3)


def known_groups(k: int, rows: int = 2_000, seed: int = 0) -> tuple[pd.DataFrame, Schema]:
    """k round groups four deviations apart in five columns, a category that leans with them, six columns of noise."""
    chance = np.random.default_rng([seed, k])
    drawn = [chance.normal(size=(k, 5)) for _ in range(300)]
    apart = [min(float(np.linalg.norm(a[i] - a[j])) for i in range(k) for j in range(i)) for a in drawn]
    best = int(np.argmax(apart))
    group = chance.integers(0, k, rows)
    points = drawn[best][group] * 4.0 / apart[best] + chance.normal(size=(rows, 5))
    letters = np.array(["a", "b", "c"], dtype=object)
    columns = {f"shape_{number}": points[:, number] for number in range(5)} | {
        f"noise_{number}": chance.normal(size=rows) for number in range(5)
    }
    columns |= {
        "leaning": np.where(chance.random(rows) < 0.7, letters[group % 3], letters[chance.integers(0, 3, rows)]),
        "loose": letters[chance.integers(0, 3, rows)],
    }
    schema = Schema(Column(name, "category" if name in ("leaning", "loose") else "number") for name in columns)
    return pd.DataFrame(columns), schema


def of_file(name: str) -> SegmentResult:
    loans = data.load(name)
    return train_segments(
        loans.frame, loans.schema, submitted_at=loans.submitted_at, default=loans.default, amount=loans.amount, effort=EFFORT
    )


def of_lender() -> SegmentResult:
    """The generated lender: correlated applicants, products with their purposes, and no groups."""
    made = generate(World(seed=3, applications=5_000), identities=False)
    return train_segments(made.frame, made.schema, submitted_at=made.submitted_at, default=made.default, effort=EFFORT)


def figures(name: str, result: SegmentResult, truth: int | None, seconds: float) -> list[Figure]:
    found = result.report
    print(f"\n{name} ({seconds:.0f} s): {found['in_words']}")
    for trial in found["trials"]:
        if trial["gap_cloud"] is not None:
            print(
                f"  {trial['method']:6} {trial['k']:2}  silhouette {trial['silhouette']:.3f}  min Jaccard {trial['min_jaccard']:.2f}"
                f"  gap: unrelated {trial['gap_permuted']:+.3f}, one cloud {trial['gap_cloud']:+.3f} (z {trial['z_cloud']:+.1f})"
                f"  {'chosen' if trial['chosen'] else trial['why']}"
            )
    for number, segment in enumerate(found["segments"]):
        side = found["later"]["groups"][number]
        rate = side["default_rate"]
        judged = "" if rate["value"] is None else f"  later default rate {rate['value']:.1%} ({rate['low']:.1%}–{rate['high']:.1%})"
        print(f"  {segment['share']:6.1%}  {segment['name']}{judged}")
    against = None if truth is None else "true number of groups"
    return [
        Figure(f"segments.k.{name}", found["k"], "groups", against, truth),
        Figure(f"segments.min_jaccard.{name}", found["min_jaccard"] or 0.0, "overlap", "demanded", LEAST_JACCARD),
        Figure(f"segments.null_gap.{name}", found["null_gap"] or 0.0, "log W", "demanded", LEAST_GAP),
    ]


def main() -> None:
    made: list[Figure] = []
    for truth in (3, 5):
        frame, schema = known_groups(truth)
        started = time.perf_counter()
        made += figures(f"known_{truth}", train_segments(frame, schema, effort=EFFORT), truth, time.perf_counter() - started)
    started = time.perf_counter()
    made += figures("one_crowd", of_lender(), 0, time.perf_counter() - started)
    for name in ("lendingclub", "taiwan"):
        started = time.perf_counter()
        try:
            result = of_file(name)
        except data.MissingData as missing:
            print(missing)
            continue
        made += figures(name, result, None, time.perf_counter() - started)
        if name == "lendingclub":  # the names without a file are those of the file that this project is measured by
            made += [Figure(f.name.removesuffix(".lendingclub"), f.value, f.unit, f.against, f.against_value) for f in made[-3:]]
    print()
    report.show(made)
    print(report.write("segments", made))


if __name__ == "__main__":
    main()
