"""Whether a column looks as it did: its distribution, what is missing, what lies outside of all that was known.

PSI = Σ (w − r) ln(w / r) over bins, missing among them. Where nothing has changed, PSI / (1/n + 1/m) is χ² with (bins − 1) degrees of
freedom (Yurdakul & Naranjo 2020), so its usual values depend on the sizes: with 200 rows a PSI of .10 is nothing, with 100,000 it is a
landslide. The convention (.10 to look, .25 to act) stands beside it as the size that is worth acting on.

Applications are not independent: rings, households and campaigns come together. χ² is divided by the mean design effect of the counts
(Rao & Scott 1984), measured on the reference from how much neighbouring fortnights differ, so that seasons do not count as noise.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from mlcore.monitor.bins import MISSING, ColumnBins
from mlcore.monitor.collect import Counts
from mlcore.monitor.figures import Figure

LEAST_EXPECTED = 5.0
PRIOR_PAIRS = 10  # design effects are drawn towards 1 by so many imagined pairs of fortnights
LEAST_ROWS = 30


def design_effect(counts: np.ndarray) -> float:
    """Mean Rao–Scott design effect of counts (fortnights, bins): the variance of shares over that of independent rows, at least 1."""
    size = counts.sum(axis=1)
    total = counts.sum(axis=0)
    used = total > 0
    if used.sum() < 2 or len(counts) < 3:
        return 1.0
    full = size >= LEAST_ROWS
    pairs = np.flatnonzero(full[1:] & full[:-1])
    if not len(pairs):
        return 1.0
    shares = counts[:, used] / np.maximum(size, 1)[:, None]
    p = total[used] / total.sum()
    spread = 1 / size[pairs] + 1 / size[pairs + 1]
    # E[(difference of two shares)²] = deff · p(1 − p) · (1/n + 1/m); summed over bins and divided by p this is χ²'s mean.
    squared = ((shares[pairs + 1] - shares[pairs]) ** 2 / spread[:, None]).mean(axis=0)
    found = float((squared / p).sum() / (used.sum() - 1))
    return max(1.0, (PRIOR_PAIRS + len(pairs) * found) / (PRIOR_PAIRS + len(pairs)))


def psi(window: np.ndarray, reference: np.ndarray) -> float:
    """Population stability index of two counts by bin, half a row added to each so that an empty bin stays finite."""
    w, r = _shares(window), _shares(reference)
    return float(((w - r) * np.log(w / r)).sum())


def psi_limit(bins: int, n: float, m: float, *, deff: float = 1.0, level: float = 0.95) -> float:
    """What PSI stays below in `level` of the windows where nothing has changed: n rows against m, in `bins` bins."""
    if bins < 2 or n <= 0 or m <= 0:
        return 0.0
    return float(deff * (1 / n + 1 / m) * stats.chi2.ppf(level, bins - 1))


def jensen_shannon(window: np.ndarray, reference: np.ndarray) -> float:
    """Jensen–Shannon divergence in bits, 0 (the same) to 1 (nothing in common)."""
    w, r = (counts / max(counts.sum(), 1) for counts in (np.asarray(window, dtype=float), np.asarray(reference, dtype=float)))
    middle = (w + r) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(each > 0, each * np.log2(each / middle), 0.0).sum() for each in (w, r)]
    return float(max(sum(parts) / 2, 0.0))


def _shares(counts: np.ndarray) -> np.ndarray:
    counts = np.asarray(counts, dtype=float)
    return (counts + 0.5) / (counts.sum() + 0.5 * len(counts))


def homogeneity(window: np.ndarray, reference: np.ndarray, deff: float = 1.0) -> float:
    """p of both counts coming from one distribution: Pearson's χ² over the design effect, rare bins taken together."""
    window, reference = np.asarray(window, dtype=float), np.asarray(reference, dtype=float)
    n, m = window.sum(), reference.sum()
    pooled = window + reference
    if n == 0 or m == 0:
        return 1.0
    rare = pooled * min(n, m) / (n + m) < LEAST_EXPECTED
    if rare.any():
        window = np.append(window[~rare], window[rare].sum())
        reference = np.append(reference[~rare], reference[rare].sum())
        pooled = window + reference
        kept = pooled > 0
        window, reference, pooled = window[kept], reference[kept], pooled[kept]
    if len(pooled) < 2:
        return 1.0
    expected = pooled * n / (n + m)
    other = pooled * m / (n + m)
    statistic = ((window - expected) ** 2 / expected).sum() + ((reference - other) ** 2 / other).sum()
    return float(stats.chi2.sf(statistic / deff, len(pooled) - 1))


def more_than(k: float, n: float, known: float, of: float, deff: float = 1.0) -> float:
    """p of k or more in n where the rate was `known` in `of`: negative binomial, so that a rate learnt from few is not certain."""
    if n <= 0 or of <= 0 or k <= 0:
        return 1.0
    n, k = n / deff, k / deff
    return float(stats.nbinom.sf(np.ceil(k) - 1, known / deff + 0.5, (of / deff) / (of / deff + n)))


def column_figures(
    column: ColumnBins, window: Counts, reference: Counts, everything: Counts, *, group: str = "inputs", metric: str = "psi"
) -> list[Figure]:
    """PSI and divergence, and for inputs what is missing and what lies outside, each tested against the reference.

    reference: the part that the window is compared with; everything: all of the reference, by fortnight, for design effects and rare
    events.
    """
    now, then = window.bins.sum(axis=0), reference.bins.sum(axis=0)
    n, m = float(now.sum()), float(then.sum())
    told = {"group": group, "feature": column.name, "title": column.title}
    if n < LEAST_ROWS or m < LEAST_ROWS:
        where = "window" if n < LEAST_ROWS else "reference"
        return [Figure(metric=metric, note=f"Only {min(n, m):,.0f} rows in the {where}; at least {LEAST_ROWS} are needed.", **told)]
    deff = design_effect(everything.bins)
    used = int(((now + then) > 0).sum())
    value = psi(now, then)
    detail = {
        "labels": [column.label(number) for number in range(column.size)],
        "window": (now / n).tolist(),
        "reference": (then / m).tolist(),
        "js": jensen_shannon(now, then),
        "design_effect": deff,
        "expected": deff * (1 / n + 1 / m) * max(used - 1, 0),
    }
    if used < 2:
        same = Figure(metric=metric, value=0.0, null_limit=0.0, note="The same value in every row of both.", detail=detail, **told)
        return [same]
    made = [
        Figure(
            metric=metric,
            value=value,
            null_limit=psi_limit(used, n, m, deff=deff),
            p=homogeneity(now, then, deff),
            size=value,
            detail=detail,
            **told,
        )
    ]
    if metric == "psi":
        made += [_missing(now, then, everything, told), _outside(column, window, everything, told)]
    return made


def _missing(now: np.ndarray, then: np.ndarray, everything: Counts, told: dict[str, str]) -> Figure:
    n, m = float(now.sum()), float(then.sum())
    k, known = float(now[MISSING]), float(then[MISSING])
    pair = np.column_stack([everything.bins[:, MISSING], everything.bins.sum(axis=1) - everything.bins[:, MISSING]])
    deff = design_effect(pair)
    pooled = (k + known) / (n + m)
    if min(n, m) * min(pooled, 1 - pooled) >= LEAST_EXPECTED:
        z = (k / n - known / m) / np.sqrt(deff * pooled * (1 - pooled) * (1 / n + 1 / m))
        p = float(2 * stats.norm.sf(abs(z)))
    else:
        p = min(1.0, 2 * min(more_than(k, n, known, m, deff), more_than(n - k, n, m - known, m, deff)))
    return Figure(metric="missing", value=k / n, baseline=known / m, p=p, size=k / n - known / m, **told)


def _outside(column: ColumnBins, window: Counts, everything: Counts, told: dict[str, str]) -> Figure:
    n, m = float(window.bins.sum()), float(everything.bins.sum())
    k, known = float(window.outside.sum()), float(everything.outside.sum())
    known = max(known, column.chance * m)
    deff = design_effect(np.column_stack([everything.outside, everything.bins.sum(axis=1) - everything.outside]))
    if column.kind == "category":
        note = "Values that the reference never had."
    elif np.isfinite(column.low):
        note = f"Outside {column.low:g} to {column.high:g}."
    else:
        note = "The reference never had a value."
    return Figure(
        metric="outside", value=k / n, baseline=known / m, p=more_than(k, n, known, m, deff), size=k / n - known / m, note=note, **told
    )
