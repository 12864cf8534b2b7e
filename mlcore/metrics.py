"""How good default probabilities are, each figure with its uncertainty.

Throughout: `default` is (n,) of 0/1, 1 where the loan defaulted; `probability` (n,) in [0, 1]; `score` (n,) any number that rises with
risk. A figure that does not exist (one class only, a constant score) is None, never NaN, so that it can go into JSON as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

Figure = dict[str, float | None]  # {"value", "low", "high"}
SMALLEST = 1e-12
CHUNK = 4_000_000  # numbers in one block of bootstrap weights: 32 MB


@dataclass(frozen=True)
class ProfitTerms:
    """What a loan earns or costs, as shares of the amount lent: `margin` over the life of a repaid one, `loss_given_default` on a defaulted
    one.
    """

    margin: float = 0.12
    loss_given_default: float = 0.6

    @property
    def break_even(self) -> float:
        """The default probability at which a loan is expected to earn nothing."""
        return self.margin / (self.margin + self.loss_given_default)


def expit(log_odds: np.ndarray) -> np.ndarray:
    """Probability of log-odds, without overflow."""
    return 1.0 / (1.0 + np.exp(-np.clip(log_odds, -700, 700)))


def logit(probability: np.ndarray) -> np.ndarray:
    """Log-odds of a probability, which is first kept within 1e-12 of 0 and 1."""
    inside = np.clip(probability, SMALLEST, 1 - SMALLEST)
    return np.log(inside) - np.log1p(-inside)


def auc(default: np.ndarray, score: np.ndarray) -> float | None:
    """Area under the ROC curve: how often a defaulter scores above a repayer, ties counting half."""
    return _point(_Ranked(default, score).auc(np.ones((1, len(default)))))


def ks(default: np.ndarray, score: np.ndarray) -> float | None:
    """Kolmogorov–Smirnov: the largest distance between the two classes' cumulative shares of the score."""
    return _point(_Ranked(default, score).ks(np.ones((1, len(default)))))


def brier(default: np.ndarray, probability: np.ndarray) -> float:
    return float(np.mean((probability - default) ** 2))


def log_loss(default: np.ndarray, probability: np.ndarray) -> float:
    return float(np.mean(_log_losses(default, probability)))


def observed_expected(default: np.ndarray, probability: np.ndarray, level: float = 0.95) -> Figure:
    """Observed over expected defaults, with a normal interval on the log scale: se(log O/E) = √((1 − O/n) / O) (Debray et al., BMJ 2017).

    With no default observed the upper end is the rule of three, 3 / expected.
    """
    n, observed, expected = len(default), float(np.sum(default)), float(np.sum(probability))
    if not n or expected <= 0:
        return {"value": None, "low": None, "high": None}
    if observed == 0:
        return {"value": 0.0, "low": 0.0, "high": 3.0 / expected}
    reach = NormalDist().inv_cdf(0.5 + level / 2) * np.sqrt((1 - observed / n) / observed)
    ratio = observed / expected
    return {"value": ratio, "low": float(ratio * np.exp(-reach)), "high": float(ratio * np.exp(reach))}


def wilson(events: float, n: float, level: float = 0.95) -> tuple[float | None, float | None]:
    """Wilson's interval of a share."""
    if n <= 0:
        return None, None
    z = NormalDist().inv_cdf(0.5 + level / 2)
    middle = (events + z * z / 2) / (n + z * z)
    reach = z / (n + z * z) * np.sqrt(max(events * (n - events) / n, 0.0) + z * z / 4)
    return float(max(middle - reach, 0.0)), float(min(middle + reach, 1.0))


def cox(default: np.ndarray, probability: np.ndarray) -> tuple[float | None, float | None]:
    """Slope and intercept of the outcome's logistic regression on the predicted log-odds (Cox 1958); a calibrated model has 1 and 0."""
    return _cox(np.asarray(default, dtype=float), logit(probability))


def expected_profit(
    default: np.ndarray, probability: np.ndarray, amount: np.ndarray | None = None, terms: ProfitTerms | None = None
) -> float | None:
    """What approving below the break-even probability would have earned, as a share of all that was applied for.

    amount: (n,) exposure; None, or NaN in a row, counts as the mean of the others (1 where there are none).
    """
    earned, exposure = _profits(default, probability, amount, terms or ProfitTerms())
    return float(earned.sum() / exposure.sum()) if len(earned) and exposure.sum() > 0 else None


def majority_accuracy(default: np.ndarray) -> float | None:
    """The accuracy of always saying what is more frequent: what any accuracy has to be read against."""
    return float(max(np.mean(default), 1 - np.mean(default))) if len(default) else None


def evaluate(
    default: np.ndarray,
    probability: np.ndarray,
    *,
    amount: np.ndarray | None = None,
    terms: ProfitTerms | None = None,
    replicates: int | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Figure]:
    """Every figure with its bootstrap percentile interval: auc, ks, brier, log_loss, oe, slope, intercept, profit, accuracy (at .5).

    The same seed resamples the same rows, so that the figures of two models on the same rows rise and fall together. Calibration slope and
    intercept of a replicate are one Newton step from the full sample's (exact to order 1/n). replicates: by default 200, fewer above
    100,000 rows.
    """
    point, drawn = replicated(default, probability, amount=amount, terms=terms, replicates=replicates, seed=seed)
    return {name: interval(point[name], drawn[name], level) for name in FIGURES}


FIGURES = ("auc", "ks", "brier", "log_loss", "oe", "slope", "intercept", "profit", "accuracy")


def replicated(
    default: np.ndarray,
    probability: np.ndarray,
    *,
    amount: np.ndarray | None = None,
    terms: ProfitTerms | None = None,
    replicates: int | None = None,
    seed: int = 0,
) -> tuple[dict[str, float | None], dict[str, np.ndarray]]:
    """Every figure of `evaluate`, and its (b,) bootstrap replicates: paired, where two models are given the same rows and seed."""
    default = np.asarray(default, dtype=float)
    probability = np.asarray(probability, dtype=float)
    n = len(default)
    ranked, log_odds = _Ranked(default, probability), logit(probability)
    slope, intercept = _cox(default, log_odds)
    earned, exposure = _profits(default, probability, amount, terms or ProfitTerms())
    rows = [(probability - default) ** 2, _log_losses(default, probability), (probability >= 0.5) == (default == 1)]
    rows += [default, probability, earned, exposure]
    stacked = np.column_stack([np.asarray(row, dtype=float) for row in rows])

    def figures(counts: np.ndarray) -> dict[str, np.ndarray]:
        with np.errstate(invalid="ignore", divide="ignore"):
            sums = counts @ stacked
            size = counts.sum(axis=1)
            made = {"auc": ranked.auc(counts), "ks": ranked.ks(counts)}
            made |= {name: sums[:, number] / size for number, name in enumerate(("brier", "log_loss", "accuracy"))}
            made |= {"oe": sums[:, 3] / sums[:, 4], "profit": sums[:, 5] / sums[:, 6]}
            step = _cox_step(default, log_odds, slope, intercept, counts)
            return made | {"slope": step[0], "intercept": step[1]}

    point = figures(np.ones((1, n)))
    wanted = replicates if replicates is not None else int(np.clip(20_000_000 // max(n, 1), 40, 200))
    drawn = [figures(counts) for counts in resamples(n, wanted, seed)] if n else []
    values = {name: np.concatenate([one[name] for one in drawn]) if drawn else np.empty(0) for name in point}
    return {name: _point(value) for name, value in point.items()}, values


def interval(value: float | None, replicates: np.ndarray, level: float = 0.95) -> Figure:
    """A figure with the percentile interval of its bootstrap replicates; None where there is no figure."""
    inside = replicates[np.isfinite(replicates)]
    if value is None or len(inside) < 20:
        return {"value": value, "low": None, "high": None}
    low, high = np.quantile(inside, [0.5 - level / 2, 0.5 + level / 2])
    return {"value": value, "low": float(low), "high": float(high)}


def resamples(n: int, replicates: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks of bootstrap weights, (b, n) each: how often each row was drawn in each of `replicates` samples of n with replacement."""
    rng = np.random.default_rng(seed)
    block = max(1, CHUNK // max(n, 1))
    for start in range(0, replicates, block):
        size = min(block, replicates - start)
        yield np.stack([np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(size)]).astype(float)


def delong(default: np.ndarray, *scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The scores' AUCs (k,) and their covariance (k, k) on the same rows (DeLong 1988, by mid-ranks as in Sun & Xu 2014)."""
    default = np.asarray(default).astype(bool)
    bad, good = int(default.sum()), int((~default).sum())
    if bad < 2 or good < 2:
        raise ValueError("DeLong's covariance needs two defaults and two repaid loans.")
    over_bad, over_good = np.empty((len(scores), bad)), np.empty((len(scores), good))
    for number, score in enumerate(scores):
        score = np.asarray(score, dtype=float)
        together = midranks(score)
        over_bad[number] = (together[default] - midranks(score[default])) / good
        over_good[number] = 1 - (together[~default] - midranks(score[~default])) / bad
    covariance = np.atleast_2d(np.cov(over_bad)) / bad + np.atleast_2d(np.cov(over_good)) / good
    return over_bad.mean(axis=1), covariance


@dataclass(frozen=True)
class Difference:
    """AUC of the first score minus AUC of the second on the same rows. p: two-sided, of no difference."""

    value: float
    se: float
    low: float
    high: float
    p: float


def auc_difference(default: np.ndarray, first: np.ndarray, second: np.ndarray, level: float = 0.95) -> Difference:
    """DeLong's paired comparison of two scores on the same rows."""
    values, covariance = delong(default, first, second)
    difference = float(values[0] - values[1])
    se = float(np.sqrt(max(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1], 0.0)))
    reach = NormalDist().inv_cdf(0.5 + level / 2) * se
    p = 2 * NormalDist().cdf(-abs(difference) / se) if se > 0 else float(difference == 0)
    return Difference(difference, se, difference - reach, difference + reach, p)


def midranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, ties sharing their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[inverse]


def roc_points(default: np.ndarray, score: np.ndarray, at_most: int = 200) -> dict[str, list[float]]:
    """The ROC curve from (0, 0) to (1, 1), thinned to `at_most` points."""
    ranked = _Ranked(default, score)
    below_bad, below_good = ranked.cumulative(np.ones((1, len(default))))
    bad, good = below_bad[0, -1], below_good[0, -1]
    if not bad or not good:
        return {"false_positive_rate": [], "true_positive_rate": []}
    caught = np.concatenate([[0], 1 - below_bad[0, ::-1][1:] / bad, [1]])
    flagged = np.concatenate([[0], 1 - below_good[0, ::-1][1:] / good, [1]])
    keep = np.unique(np.linspace(0, len(caught) - 1, min(at_most, len(caught))).astype(int))
    return {"false_positive_rate": flagged[keep].tolist(), "true_positive_rate": caught[keep].tolist()}


class _Ranked:
    """Rows sorted by score once, so that a rank statistic of any weighting of the rows is two cumulative sums."""

    def __init__(self, default: np.ndarray, score: np.ndarray) -> None:
        score = np.asarray(score, dtype=float)
        self.order = np.argsort(score, kind="stable")
        self.bad = np.asarray(default, dtype=float)[self.order]
        ordered = score[self.order]
        self.ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) if len(score) else np.empty(0, dtype=int)

    def cumulative(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(b, distinct scores) defaults and repaid loans at or below each distinct score."""
        ordered = counts[:, self.order]
        every = np.cumsum(ordered, axis=1)[:, self.ends]
        bad = np.cumsum(ordered * self.bad, axis=1)[:, self.ends]
        return bad, every - bad

    def auc(self, counts: np.ndarray) -> np.ndarray:
        if not len(self.ends):
            return np.full(len(counts), np.nan)
        bad, good = self.cumulative(counts)
        here = np.diff(bad, axis=1, prepend=0)
        middle = good - np.diff(good, axis=1, prepend=0) / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.einsum("ij,ij->i", here, middle) / (bad[:, -1] * good[:, -1])

    def ks(self, counts: np.ndarray) -> np.ndarray:
        if not len(self.ends):
            return np.full(len(counts), np.nan)
        bad, good = self.cumulative(counts)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.abs(bad / bad[:, -1:] - good / good[:, -1:]).max(axis=1)


def _point(values: np.ndarray) -> float | None:
    return float(values[0]) if np.isfinite(values[0]) else None


def _log_losses(default: np.ndarray, probability: np.ndarray) -> np.ndarray:
    inside = np.clip(probability, SMALLEST, 1 - SMALLEST)
    return -np.where(np.asarray(default) == 1, np.log(inside), np.log1p(-inside))


def _profits(default: np.ndarray, probability: np.ndarray, amount: np.ndarray | None, terms: ProfitTerms) -> tuple[np.ndarray, np.ndarray]:
    exposure = filled_amount(amount, len(default))
    realised = np.where(np.asarray(default) == 1, -terms.loss_given_default, terms.margin) * exposure
    return np.where(np.asarray(probability) < terms.break_even, realised, 0.0), exposure


def filled_amount(amount: np.ndarray | None, n: int) -> np.ndarray:
    """(n,) exposures: the mean where one is unknown, 1 where all are."""
    if amount is None:
        return np.ones(n)
    amount = np.asarray(amount, dtype=float)
    known = np.isfinite(amount)
    return np.where(known, amount, amount[known].mean() if known.any() else 1.0)


def _cox(default: np.ndarray, log_odds: np.ndarray) -> tuple[float | None, float | None]:
    bad = default.sum()
    if bad == 0 or bad == len(default) or np.ptp(log_odds) < 1e-9:
        return None, None
    slope, intercept = 1.0, 0.0
    for _ in range(50):
        new_slope, new_intercept = _cox_step(default, log_odds, slope, intercept, np.ones((1, len(default))))
        change = abs(new_slope[0] - slope) + abs(new_intercept[0] - intercept)
        # A long step on a poorly scaled prediction can overshoot; the likelihood is concave, so a shorter one gets there.
        scale = min(1.0, 5.0 / change) if change > 0 else 1.0
        slope += scale * (new_slope[0] - slope)
        intercept += scale * (new_intercept[0] - intercept)
        if not np.isfinite(slope) or change < 1e-10:
            break
    return (float(slope), float(intercept)) if np.isfinite(slope) and np.isfinite(intercept) else (None, None)


def _cox_step(
    default: np.ndarray, log_odds: np.ndarray, slope: float | None, intercept: float | None, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One Newton step of the two-parameter logistic likelihood from (slope, intercept), for each weighting of the rows."""
    if slope is None or intercept is None:
        return np.full(len(counts), np.nan), np.full(len(counts), np.nan)
    fitted = expit(slope * log_odds + intercept)
    spread = fitted * (1 - fitted)
    rest = default - fitted
    columns = np.column_stack([rest, rest * log_odds, spread, spread * log_odds, spread * log_odds**2])
    g0, g1, h00, h01, h11 = (counts @ columns).T
    determinant = h00 * h11 - h01**2
    with np.errstate(invalid="ignore", divide="ignore"):
        return slope + (h00 * g1 - h01 * g0) / determinant, intercept + (h11 * g0 - h01 * g1) / determinant


def rounded(value: Any, digits: int = 6) -> Any:
    """`value` with floats rounded and NaN or ±inf as None, at any depth: what may go into JSON and stay readable."""
    if isinstance(value, dict):
        return {str(name): rounded(item, digits) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item, digits) for item in value]
    if isinstance(value, np.ndarray):
        return rounded(value.tolist(), digits)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return round(value, digits) if np.isfinite(value) else None
    return value
