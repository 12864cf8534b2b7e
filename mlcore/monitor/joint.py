"""Whether the columns together look as they did: can a classifier tell the window from the reference?

Columns that keep their own distributions can still change together; a quick boosting of shallow trees on the bins sees that. It is judged
on rows that it was not fitted on. Both sides are halved by time, not at random, so that two applications of one person do not stand on both
sides of a fit. An AUC of .5 is no difference; the null is the rank test's.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from mlcore import metrics
from mlcore.monitor.collect import FORTNIGHT
from mlcore.monitor.figures import Figure

ROUNDS = 25
LEAVES = 8
LEAST_ROWS = 200
MOST_ROWS = 20_000


def domain_auc(
    window: np.ndarray,
    reference: np.ndarray,
    window_days: np.ndarray | None = None,
    reference_days: np.ndarray | None = None,
    *,
    deff: float = 1.0,
    seed: int = 0,
) -> Figure:
    """window (n, columns), reference (m, columns): codes. The days (n,), (m,) are what they are halved by; without, their order is."""
    told = {"group": "joint", "metric": "joint_auc", "title": "All columns together"}
    if min(len(window), len(reference)) < LEAST_ROWS:
        few = min(len(window), len(reference))
        return Figure(note=f"The joint test needs {LEAST_ROWS} rows on either side; there are {few:,}.", **told)
    rng = np.random.default_rng([seed, 13])
    window_fold = _halved(window, window_days)
    # The reference by turns, so that each half has all of its time; the window by its middle.
    if reference_days is not None and len(np.unique(reference_days // FORTNIGHT)) > 3:
        reference_fold = reference_days // FORTNIGHT % 2 == 1
    else:
        reference_fold = _halved(reference, reference_days)
    window, window_fold = _thinned(window, window_fold, rng)
    reference, reference_fold = _thinned(reference, reference_fold, rng)
    codes = np.concatenate([window, reference])
    domain = np.concatenate([np.ones(len(window)), np.zeros(len(reference))])
    fold = np.concatenate([window_fold, reference_fold])
    varies = codes.max(axis=0) > codes.min(axis=0)
    if not varies.any():
        return Figure(value=0.5, baseline=0.5, p=1.0, size=0.5, note="No column varies.", **told)
    codes = codes[:, varies]
    values, variances, null, importance = [], [], [], np.zeros(int(varies.sum()))
    for judged in (False, True):
        fitted = _fit(codes[fold != judged], domain[fold != judged], seed)
        score = fitted.decision_function(codes[fold == judged])
        is_window = domain[fold == judged]
        n, m = is_window.sum(), (1 - is_window).sum()
        if min(n, m) < 2:
            return Figure(note="One half of the rows has too few of either side.", **told)
        found, covariance = metrics.delong(is_window, score)
        values.append(float(found[0]))
        variances.append(float(covariance[0, 0]))
        null.append((n + m + 1) / (12 * n * m))
        importance += _importance(fitted, importance.shape[0])
    value = float(np.mean(values))
    null_se = float(np.sqrt(deff * sum(null)) / 2)
    se = float(np.sqrt(deff * sum(variances)) / 2)
    share = importance / importance.sum() if importance.sum() > 0 else importance
    return Figure(
        value=value,
        baseline=0.5,
        low=max(value - 1.96 * se, 0.0),
        high=min(value + 1.96 * se, 1.0),
        null_limit=0.5 + 1.645 * null_se,
        p=float(stats.norm.sf((value - 0.5) / null_se)),
        size=value,
        detail={"rows": [len(window), len(reference)], "columns": np.flatnonzero(varies).tolist(), "importance": share.tolist()},
        **told,
    )


def _halved(codes: np.ndarray, days: np.ndarray | None) -> np.ndarray:
    """(n,) bool: the later half. Rows of one day stay together unless all are of one."""
    late = None if days is None else days >= np.median(days)
    if late is None or not 0.2 <= late.mean() <= 0.8:
        return np.arange(len(codes)) >= len(codes) // 2
    return late


def _thinned(codes: np.ndarray, fold: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    if len(codes) <= MOST_ROWS:
        return codes, fold
    kept = np.sort(rng.choice(len(codes), MOST_ROWS, replace=False))
    return codes[kept], fold[kept]


def _fit(codes: np.ndarray, domain: np.ndarray, seed: int) -> object:
    from sklearn.ensemble import HistGradientBoostingClassifier

    share = domain.mean()
    weight = np.where(domain == 1, 0.5 / max(share, 1e-9), 0.5 / max(1 - share, 1e-9))
    made = HistGradientBoostingClassifier(
        max_iter=ROUNDS, max_leaf_nodes=LEAVES, min_samples_leaf=40, learning_rate=0.15, early_stopping=False, random_state=seed
    )
    return made.fit(codes.astype(np.float32), domain, sample_weight=weight)


def _importance(fitted: object, columns: int) -> np.ndarray:
    """(columns,) total gain of the splits on each: which columns tell the window apart."""
    total = np.zeros(columns)
    for trees in fitted._predictors:
        for tree in trees:
            inner = tree.nodes[tree.nodes["is_leaf"] == 0]
            np.add.at(total, inner["feature_idx"].astype(int), np.maximum(inner["gain"], 0))
    return total
