"""What came of a window's loans, as their labels mature: realised figures beside what the probabilities promised.

Tests: the level (O/E), the ranking (AUC against the AUC that the probabilities promise for these very applicants, so that a narrower or
wider population is not taken for a worse model), the spread (Cox's slope), and column by column whether loans in some bins default more
than predicted than in others, which finds a column that has come to mean something else.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import stats

from mlcore import metrics
from mlcore.monitor.bins import ColumnBins
from mlcore.monitor.cbpe import Estimate
from mlcore.monitor.figures import Figure

LEAST_LABELS = 50
LEAST_CLASS = 5
PRIOR_PAIRS = 10
CELLS = 512


def dispersion(probability: np.ndarray, default: np.ndarray, fortnight: np.ndarray) -> float:
    """Variance of default counts over that of independent loans, at least 1: rings and closures make defaults come together.

    From neighbouring fortnights' residuals, so that a level that is wrong throughout does not count; drawn towards 1.
    """
    if not len(probability):
        return 1.0
    at = fortnight - fortnight.min()
    residual = np.bincount(at, default - probability)
    spread = np.bincount(at, probability * (1 - probability))
    pairs = np.flatnonzero((spread[1:] > 2) & (spread[:-1] > 2))
    if not len(pairs):
        return 1.0
    ratio = (residual[pairs + 1] - residual[pairs]) ** 2 / (spread[pairs + 1] + spread[pairs])
    return float(max(1.0, (PRIOR_PAIRS + ratio.sum()) / (PRIOR_PAIRS + len(pairs))))


def realised(
    probability: np.ndarray,
    default: np.ndarray,
    promised: Estimate,
    *,
    spread: float = 1.0,
    learned_defaults: float | None = None,
    oe_level: float = 0.95,
) -> tuple[list[Figure], list[str]]:
    """Figures of (n,) labelled loans, and what could not be said.

    promised: the estimate from the same probabilities. spread: `dispersion`. learned_defaults: how many defaults the model's own level
    rests on; its uncertainty is part of O/E's. oe_level: of O/E's interval.
    """
    y, p = np.asarray(default, dtype=float), np.asarray(probability, dtype=float)
    n, bad = len(y), float(np.sum(default))
    notes: list[str] = []
    if n < LEAST_LABELS:
        return [], [f"{n:,} loans of this window have an outcome; {LEAST_LABELS} are needed before its performance is judged."]
    low, high = metrics.wilson(bad, n)
    made = [Figure("performance", "default_rate", value=bad / n, baseline=float(p.mean()), low=low, high=high)]
    made.append(_oe(y, p, spread, learned_defaults, oe_level))
    made += [_mean("brier", (p - y) ** 2, promised.brier["value"], spread)]
    if min(bad, n - bad) < LEAST_CLASS:
        which = "defaulted" if bad < LEAST_CLASS else "were repaid"
        notes.append(f"Fewer than {LEAST_CLASS} of the {n:,} labelled loans {which}: their ranking can't be judged.")
        return made, notes
    made.append(_auc(y, p, promised, spread))
    made.append(_ks(y, p))
    slope = _slope(y, p, spread)
    if slope is None:
        notes.append("All loans of this window have nearly the same probability: neither ranking nor slope means anything.")
    else:
        made.append(slope)
    return made, notes


def _oe(y: np.ndarray, p: np.ndarray, spread: float, learned: float | None, level: float) -> Figure:
    observed, expected, n = float(y.sum()), float(p.sum()), len(y)
    if expected <= 0:
        return Figure("performance", "oe", note="The model expected no default at all.")
    reach = stats.norm.ppf(0.5 + level / 2)
    if observed < LEAST_CLASS:
        # Too few for a normal interval on the log scale: Poisson's own, which also knows what zero means.
        low = stats.chi2.ppf(0.5 - level / 2, 2 * observed) / 2 if observed else 0.0
        high = stats.chi2.ppf(0.5 + level / 2, 2 * (observed + 1)) / 2
        p_value = min(1.0, 2 * min(stats.poisson.cdf(observed, expected), stats.poisson.sf(observed - 1, expected)))
        ratio = observed / expected
        return Figure(
            "performance", "oe", value=ratio, baseline=1.0, low=low / expected, high=high / expected, p=float(p_value), size=abs(ratio - 1)
        )
    # Half a loan short of certainty: where all default, the level is not known exactly either.
    variance = spread * max(1 - observed / n, 0.5 / n) / observed + (1 / learned if learned else 0.0)
    ratio, se = observed / expected, np.sqrt(variance)
    return Figure(
        "performance",
        "oe",
        value=ratio,
        baseline=1.0,
        low=float(ratio * np.exp(-reach * se)),
        high=float(ratio * np.exp(reach * se)),
        p=float(2 * stats.norm.sf(abs(np.log(ratio)) / se)),
        size=abs(ratio - 1),
        detail={"observed": observed, "expected": expected, "level": level},
    )


def _mean(metric: str, values: np.ndarray, baseline: float | None, spread: float) -> Figure:
    value, se = float(values.mean()), float(np.sqrt(spread) * values.std() / np.sqrt(len(values)))
    return Figure("performance", metric, value=value, baseline=baseline, low=max(value - 1.96 * se, 0.0), high=value + 1.96 * se)


def _auc(y: np.ndarray, p: np.ndarray, promised: Estimate, spread: float) -> Figure:
    values, covariance = metrics.delong(y, p)
    value, se = float(values[0]), float(np.sqrt(spread * max(covariance[0, 0], 0.0)))
    low, high = max(value - 1.96 * se, 0.0), min(value + 1.96 * se, 1.0)
    figure = Figure("performance", "auc", value=value, baseline=promised.auc["value"], low=low, high=high)
    if promised.auc["value"] is None or promised.auc_se <= 0:
        return figure
    drop = promised.auc["value"] - value
    # One-sided: ranking better than promised is no reason to do anything.
    p_value = float(stats.norm.sf(drop / promised.auc_se))
    return Figure(**{**vars(figure), "p": p_value, "size": max(drop, 0.0), "detail": {"promised": promised.auc}})


def _ks(y: np.ndarray, p: np.ndarray) -> Figure:
    """KS with a percentile interval; resampled by cell of the score, so that its cost does not rise with the rows."""
    at = np.searchsorted(np.unique(np.quantile(p, np.linspace(0, 1, CELLS + 1)[1:-1])), p, side="right")
    bad = np.bincount(at, y, minlength=CELLS)
    good = np.bincount(at, 1 - y, minlength=CELLS)
    rng = np.random.default_rng(17)
    drawn = [rng.poisson(each, (200, CELLS)).cumsum(axis=1) for each in (bad, good)]
    apart = np.abs(drawn[0] / np.maximum(drawn[0][:, -1:], 1) - drawn[1] / np.maximum(drawn[1][:, -1:], 1)).max(axis=1)
    low, high = np.quantile(apart, [0.025, 0.975])
    return Figure("performance", "ks", value=metrics.ks(y, p), low=float(low), high=float(high))


def _slope(y: np.ndarray, p: np.ndarray, spread: float) -> Figure | None:
    slope, intercept = metrics.cox(y, p)
    if slope is None or intercept is None:
        return None
    z = metrics.logit(p)
    fitted = metrics.expit(slope * z + intercept)
    weight = fitted * (1 - fitted)
    centred = z - (weight * z).sum() / weight.sum()
    information = float((weight * centred**2).sum())
    if information <= 0:
        return None
    se = float(np.sqrt(spread / information))
    return Figure(
        "performance",
        "slope",
        value=slope,
        baseline=1.0,
        low=slope - 1.96 * se,
        high=slope + 1.96 * se,
        p=float(2 * stats.norm.sf(abs(slope - 1) / se)),
        size=abs(slope - 1),
        detail={"intercept": intercept},
    )


def residual_figures(
    columns: Mapping[str, ColumnBins], window: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray], spread: float
) -> list[Figure]:
    """Column by column: do loans of some bins default more than predicted than others do, and more so than in the reference?

    window, reference: (bins, 3) Σ(default − p), Σp(1 − p), rows. Σ(default − p) / Σp(1 − p) is how many log-odds a bin is off (one step of
    the logistic likelihood); the level that all bins share is O/E's business and is taken out. Bins with a variance below 2 are left out.
    """
    made = []
    for name, column in columns.items():
        now, then = window[name], reference.get(name)
        usable = now[:, 1] >= 2
        with_reference = then is not None and then[:, 1].sum() > 0
        if with_reference:
            usable &= then[:, 1] >= 2
        if usable.sum() < 2:
            continue
        off = now[usable, 0] / now[usable, 1]
        variance = 1 / now[usable, 1]
        if with_reference:
            off = off - then[usable, 0] / then[usable, 1]
            variance = variance + 1 / then[usable, 1]
        weight = 1 / variance
        off = off - (weight * off).sum() / weight.sum()
        statistic = float((weight * off**2).sum())
        degrees = int(usable.sum()) - 1
        # Spread of the true offsets: what is left when chance's share of the statistic is taken away.
        size = float(np.sqrt(max(statistic / spread - degrees, 0.0) / weight.sum()))
        made.append(
            Figure(
                "performance",
                "residual",
                name,
                column.title,
                value=size,
                baseline=0.0,
                p=float(stats.chi2.sf(statistic / spread, degrees)),
                size=size,
                detail={"labels": [column.label(int(k)) for k in np.flatnonzero(usable)], "log_odds": off.tolist()},
            )
        )
    return made
