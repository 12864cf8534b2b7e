"""The risk ladder on open files, beside the yardsticks, in one run: `python -m benchmarks.risk [--quick]`.

Yardsticks are an untuned HistGradientBoosting and a logistic regression on ten quantile bins, both scikit-learn's, on the same columns
and split. Every figure stands against the better of the two. Splits: LendingClub issued up to 2009 → 2010; SBA (without `term`) the
last fifth by approval date; Taiwan 80/20; German 10 × 10 repeated cross-validation. Speeds are per core in CPU seconds, so that a busy
machine measures the same. `--quick` cross-validates German once and draws five bootstraps.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, OrdinalEncoder

from benchmarks.data import LOADERS, MissingData, load, split
from benchmarks.report import Figure, show, table, write
from mlcore import calibration
from mlcore.metrics import auc_difference, expit, observed_expected
from mlcore.risk import ladder
from mlcore.risk.base import Dataset
from mlcore.risk.tuning import stratified_folds

CHAMPION = "pairwise"
TARGETS = {"lendingclub": 0.660, "sba": 0.735, "taiwan": 0.780, "german": 0.790}
REPEATED = "german"
STABLE = 0.8
"""Correlation between refits from which on a family counts as stable."""
Scorer = Callable[[Dataset], np.ndarray]


def _columns(data: Dataset) -> tuple[list[str], list[str]]:
    usable = data.schema.usable()
    categories = [column.name for column in usable if column.kind == "category"]
    return categories, [column.name for column in usable if column.kind != "category"]


def untuned_boosting(train: Dataset) -> Scorer:
    """HistGradientBoostingClassifier as it comes, categories as ordinal codes."""
    model = boosting_pipeline(train)
    return lambda data: model.predict_proba(data.frame)[:, 1]


def boosting_pipeline(train: Dataset) -> Pipeline:
    from sklearn.compose import ColumnTransformer

    categories, numbers = _columns(train)
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan)
    columns = ColumnTransformer([("category", codes, categories), ("number", "passthrough", numbers)])
    return make_pipeline(columns, HistGradientBoostingClassifier(random_state=0)).fit(train.frame, train.default)


def quantile_logistic(train: Dataset) -> Scorer:
    """Logistic regression on ten quantile bins (missing is a bin) and one-hot categories seen at least 20 times."""
    from sklearn.compose import ColumnTransformer

    categories, numbers = _columns(train)
    varying = [name for name in numbers if train.frame[name].nunique() > 1]
    bins = KBinsDiscretizer(n_bins=10, encode="onehot", strategy="quantile", quantile_method="averaged_inverted_cdf")
    steps: list[tuple[str, Any, list[str]]] = [
        ("number", bins, varying),
        ("category", OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=20), categories),
    ]
    model = make_pipeline(ColumnTransformer(steps), LogisticRegression(max_iter=500))

    def prepared(data: Dataset) -> pd.DataFrame:
        # KBinsDiscretizer takes no missing values: far below everything, they get the lowest bin's company.
        return data.frame.assign(**{name: data.frame[name].fillna(-1e12) for name in varying}).fillna(dict.fromkeys(categories, "missing"))

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Bins whose width are too small")  # counts have fewer than ten distinct quantiles
        model.fit(prepared(train), train.default)
    return lambda data: model.predict_proba(prepared(data))[:, 1]


YARDSTICKS: dict[str, Callable[[Dataset], Scorer]] = {"HGB untuned": untuned_boosting, "LR quantiles": quantile_logistic}


def rung_scorer(name: str, train: Dataset) -> Scorer:
    rung = ladder.make(name, train.schema).fit(train.frame, train.default, submitted_at=train.submitted_at)
    return lambda data: rung.log_odds(data.frame, data.submitted_at)


def fitters() -> dict[str, Callable[[Dataset], Scorer]]:
    rungs = {name: (lambda train, name=name: rung_scorer(name, train)) for name in ladder.available()}
    return {**YARDSTICKS, **rungs}


def one_split(name: str) -> list[Figure]:
    """Every rung and yardstick on one file's split."""
    train, test = split(name, load(name))
    rows, scores = [], {}
    for label, fit in fitters().items():
        began = time.perf_counter()
        score = fit(train)
        seconds = time.perf_counter() - began
        scores[label] = score(test)
        rows.append((label, float(roc_auc_score(test.default, scores[label])), f"{seconds:.1f}"))
    print(f"\n{name}: {len(train):,} → {len(test):,} rows, {test.default.mean():.1%} defaults\n" + table(("", "AUC", "fit s"), rows))
    return _champion_figures(name, {label: value for label, value, _ in rows}, scores, train, test)


def _champion_figures(name: str, aucs: dict[str, float], scores: dict[str, np.ndarray], train: Dataset, test: Dataset) -> list[Figure]:
    best = max(ladder.available(), key=lambda rung: aucs[rung])
    gap = auc_difference(test.default, scores[best], scores[CHAMPION])
    print(f"best rung: {best}; it leads {CHAMPION} by {aucs[best] - aucs[CHAMPION]:.4f} ({gap})")
    yardstick = max(YARDSTICKS, key=lambda label: aucs[label])
    oe = {label: _calibrated_oe(fitters()[label], label, train, test) for label in (CHAMPION, yardstick)}
    return [
        Figure(f"risk.auc.{name}", aucs[CHAMPION], "AUC", yardstick, aucs[yardstick]),
        Figure(f"risk.oe.{name}", oe[CHAMPION], "observed / expected", yardstick, oe[yardstick]),
    ]


def _calibrated_oe(fit: Callable[[Dataset], Scorer], label: str, train: Dataset, test: Dataset) -> float:
    """O/E on the test rows: fitted on the first four fifths of training, calibrated on the last (by time, else at random)."""
    order = (
        np.random.default_rng(0).permutation(len(train))
        if train.submitted_at is None
        else np.argsort(train.submitted_at.to_numpy("datetime64[ns]"))
    )
    cut = int(0.8 * len(order))
    early, late = train.take(order[:cut]), train.take(order[cut:])
    score = fit(early)

    def log_odds(data: Dataset) -> np.ndarray:
        raw = score(data)
        return raw if label in ladder.available() else np.log(raw) - np.log1p(-raw)

    probability = expit(calibration.fit(log_odds(late), late.default).transform(log_odds(test)))
    return float(observed_expected(test.default, probability)["value"])


def repeated(name: str, repeats: int) -> list[Figure]:
    """Mean AUC over `repeats` × 10 folds; the other rungs get the first repeat only."""
    data = load(name)
    every = {*YARDSTICKS, CHAMPION}
    aucs: dict[str, list[float]] = {}
    seconds: dict[str, float] = {}
    held: dict[str, np.ndarray] = {}
    for repeat in range(repeats):
        for train_rows, test_rows in stratified_folds(data.default, folds=10, seed=repeat):
            train, test = data.take(train_rows), data.take(test_rows)
            for label, fit in fitters().items():
                if repeat and label not in every:
                    continue
                began = time.perf_counter()
                score = fit(train)(test)
                seconds.setdefault(label, time.perf_counter() - began)
                aucs.setdefault(label, []).append(float(roc_auc_score(test.default, score)))
                if label == CHAMPION and repeat == 0:
                    held.setdefault(label, np.zeros(len(data)))[test_rows] = score
    means = {label: float(np.mean(found)) for label, found in aucs.items()}
    rows = [(label, means[label], f"{np.std(aucs[label]):.3f}", len(aucs[label]), f"{seconds[label]:.1f}") for label in aucs]
    print(f"\n{name}: {repeats} × 10 folds\n" + table(("", "AUC", "sd", "folds", "fit s"), rows))
    yardstick = max(YARDSTICKS, key=lambda label: means[label])
    oe = observed_expected(data.default, expit(held[CHAMPION]))["value"]
    return [
        Figure(f"risk.auc.{name}", means[CHAMPION], "AUC", yardstick, means[yardstick]),
        Figure(f"risk.oe.{name}", float(oe), "observed / expected, uncalibrated"),
    ]


def per_row(work: Callable[[], Any], rows: int, least: float = 1.0) -> float:
    """CPU seconds a row, the best of several rounds: other work on the machine only ever adds."""
    best, spent = np.inf, 0.0
    while spent < least:
        began = time.process_time()
        work()
        took = max(time.process_time() - began, 1e-9)
        best, spent = min(best, took / rows), spent + took
    return best


def speed() -> list[Figure]:
    """LendingClub's 20 columns: one application and many, contributions included, beside a scikit-learn pipeline and TreeSHAP."""
    train, test = split("lendingclub", load("lendingclub"))
    model: Any = ladder.make(CHAMPION, train.schema).fit(train.frame, train.default, submitted_at=train.submitted_at)
    trees = ladder.make("boosting", train.schema).fit(train.frame, train.default, submitted_at=train.submitted_at)
    pipeline = boosting_pipeline(train)
    copies = 16
    frame = pd.concat([test.frame] * copies, ignore_index=True)
    dates = pd.concat([test.submitted_at] * copies, ignore_index=True)
    some = test.frame.head(500)
    plain = [{k: (None if pd.isna(v) else v) for k, v in row.items()} for row in some.to_dict("records")]
    moments = [moment.to_pydatetime() for moment in test.submitted_at.head(500)]
    single = some.head(1)
    one = 1e6 * per_row(lambda: [model.one(row, at) for row, at in zip(plain, moments, strict=True)], len(plain))
    one_pipeline = 1e6 * per_row(lambda: pipeline.predict_proba(single), 1)
    bulk = 1.0 / per_row(lambda: model.contributions(frame, dates), len(frame), 3.0)
    bulk_pipeline = 1.0 / per_row(lambda: pipeline.predict_proba(frame), len(frame), 3.0)
    shap = 1.0 / per_row(lambda: trees.contributions(test.frame.head(2000), test.submitted_at.head(2000)), 2000)
    print(f"\nTreeSHAP (own, exact) on the boosting rung: {shap:,.0f} rows a CPU second")
    return [
        Figure("risk.one_us", one, "µs, with contributions", "scikit-learn pipeline, without", one_pipeline),
        Figure("risk.bulk_per_s", bulk, "rows/s per core, with contributions", "scikit-learn pipeline, without", bulk_pipeline),
        Figure("risk.treeshap_per_s", shap, "rows/s per core"),
    ]


def whole_ladder() -> list[Figure]:
    """Every rung once on 30,000 rows."""
    data = load("taiwan")
    began, worked = time.perf_counter(), time.process_time()
    rows = []
    for name in ladder.available():
        start = time.perf_counter(), time.process_time()
        ladder.make(name, data.schema).fit(data.frame, data.default, submitted_at=data.submitted_at)
        rows.append((name, f"{time.perf_counter() - start[0]:.1f}", f"{time.process_time() - start[1]:.1f}"))
    total, work = time.perf_counter() - began, time.process_time() - worked
    # ru_maxrss is in KiB on Linux and in bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    print(f"\nWhole ladder on {len(data):,} rows\n" + table(("", "fit s", "CPU s"), rows))
    return [
        Figure("risk.ladder_s", total, "s", "target", 60.0),
        Figure("risk.ladder_cpu_s", work, "CPU s"),
        Figure("risk.peak_mb", float(peak), "MB, this process"),
    ]


def top_families(grouped: np.ndarray, families: np.ndarray, most: int = 4) -> list[frozenset[int]]:
    """Each application's up to four of these families that speak most against it. grouped: (n, families) contributions."""
    ranked = families[np.argsort(-grouped[:, families], axis=1)[:, :most]]
    return [frozenset(k for k in row if mine[k] > 0) for row, mine in zip(ranked.tolist(), grouped, strict=True)]


def stability(bootstraps: int) -> list[Figure]:
    """Jaccard similarity of the top four reasons between refits on bootstraps and the fit on all rows, on a tenth of the test rows.

    Reasons are told by family. A family is stable where its contributions in a refit correlate with those of the fit on all rows by at
    least .8 on average; the top four are then drawn from the stable families only. Every refit searches its settings anew; beside it stands
    what keeping those of the fit on all rows gives, which is how a training refits the rung that it has chosen (`again`).
    """
    train, test = split("lendingclub", load("lendingclub"))
    test = test.take(np.arange(0, len(test), 10))
    names = sorted({column.family_key for column in train.schema})
    member = np.array([[column.family_key == name for name in names] for column in train.schema], dtype=float)

    def grouped(rung: Any) -> np.ndarray:
        return rung.contributions(test.frame, test.submitted_at)[0] @ member

    first: Any = ladder.make(CHAMPION, train.schema).fit(train.frame, train.default, submitted_at=train.submitted_at)
    reference = grouped(first)
    refits, kept = [], []
    for k in range(bootstraps):
        drawn = train.take(np.sort(np.random.default_rng(k).integers(0, len(train), len(train))))
        refits.append(grouped(ladder.make(CHAMPION, train.schema).fit(drawn.frame, drawn.default, submitted_at=drawn.submitted_at)))
        kept.append(grouped(first.again(drawn.frame, drawn.default, submitted_at=drawn.submitted_at)))
    reliability = np.array([np.mean([_correlation(reference[:, j], refit[:, j]) for refit in refits]) for j in range(len(names))])
    every, stable = np.arange(len(names)), np.flatnonzero(reliability >= STABLE)
    rows = [(names[j], float(reliability[j]), float(reference[:, j].std())) for j in np.argsort(-reliability)]
    print(f"\nReasons over {bootstraps} bootstraps\n" + table(("family", "reliability", "sd, log-odds"), rows))
    means = {}
    for label, families, made in (("stable", stable, refits), ("all", every, refits), ("kept", stable, kept)):
        top = top_families(reference, families)
        means[label] = float(np.mean([_jaccard(*pair) for refit in made for pair in zip(top, top_families(refit, families), strict=True)]))
    return [
        Figure("risk.reason_jaccard", means["stable"], f"mean, {len(stable)} stable families of {len(names)}", "target", 0.8),
        Figure("risk.reason_jaccard_all", means["all"], "mean, all families"),
        Figure("risk.reason_jaccard_kept", means["kept"], "mean, stable families, settings kept", "target", 0.8),
    ]


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Zero where either is constant: a family that says nothing tells nothing reliably."""
    return float(np.corrcoef(one, other)[0, 1]) if one.std() > 0 and other.std() > 0 else 0.0


def _jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    return len(one & other) / len(one | other) if one | other else 1.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.risk", description="The risk ladder on open files, beside the yardsticks.")
    parser.add_argument("--quick", action="store_true", help="German once instead of ten times, five bootstraps instead of twenty")
    quick = parser.parse_args().quick
    figures: list[Figure] = []
    for name in LOADERS:
        try:
            figures += repeated(name, 1 if quick else 10) if name == REPEATED else one_split(name)
        except MissingData as error:
            print(error)
    try:
        figures += [*whole_ladder(), *speed(), *stability(5 if quick else 20)]
    except MissingData as error:
        print(error)
    print()
    show(figures)
    for figure in figures:
        target = TARGETS.get(figure.name.removeprefix("risk.auc."))
        if target is not None and figure.value < target:
            print(f"{figure.name} is below its target of {target:.3f}.")
    print(f"written to {write('risk', figures)}")


if __name__ == "__main__":
    main()
