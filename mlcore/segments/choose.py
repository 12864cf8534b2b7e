"""How many groups the data support: by stability first, then by what two nulls can't explain, then by silhouette, gap and BIC.

A number of groups is *supported* where, with the same k,

* stability: over bootstraps, the least stable cluster keeps a mean Jaccard overlap ≥ .75 with itself (Hennig 2007),
* against either null: the clusters lie closer together than in samples without groups, by at least `LEAST_GAP` in log W and by
  `LEAST_Z` standard deviations of those (gap statistic of Tibshirani et al. 2001, here with the nulls of `mlcore.segments.null`),
* size: no cluster is smaller than `LEAST_SHARE` of the applications.

Among the supported ones the best mean rank by silhouette, gap and BIC is taken, the smaller k on a tie. None supported: no groups.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mlcore.progress import Progress, part, silent
from mlcore.segments import cluster
from mlcore.segments.null import Nulls

LEAST_JACCARD = 0.75
LEAST_GAP = 0.02
LEAST_Z = 3.0
LEAST_SHARE = 0.03
SILHOUETTE_ROWS = 1_000


@dataclass(frozen=True)
class Effort:
    """rows: how many are looked at to choose k. bootstraps and nulls: how many of each, for every k."""

    rows: int = 3_000
    bootstraps: int = 20
    nulls: int = 10
    restarts: int = 4
    most: int = 10


@dataclass
class Trial:
    """One method with one k. gap and z: (log W of the null − of the data) and that in the deviations of the null's samples.

    why: what speaks against it, "" where it is supported.
    """

    method: str
    k: int
    silhouette: float
    bic: float
    smallest_share: float
    min_jaccard: float
    jaccards: list[float]
    gap_permuted: float | None = None
    gap_cloud: float | None = None
    z_permuted: float | None = None
    z_cloud: float | None = None
    null_silhouette: float | None = None
    why: str = ""
    chosen: bool = False

    @property
    def gap(self) -> float:
        """Over the harder of the two nulls."""
        return min(self.gap_permuted or 0.0, self.gap_cloud or 0.0)

    @property
    def supported(self) -> bool:
        return not self.why

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"gap": self.gap}


@dataclass(frozen=True)
class Choice:
    """chosen: None where no number of groups is supported."""

    trials: list[Trial]
    chosen: Trial | None
    in_words: str

    @property
    def k(self) -> int:
        return self.chosen.k if self.chosen else 0


def choose(matrix: np.ndarray, slices: list[slice], *, seed: int = 0, effort: Effort | None = None, progress: Progress = silent) -> Choice:
    """matrix: (n, d) prepared rows, already a sample. slices: its blocks. Raises Cancelled from `progress`."""
    effort = effort or Effort()
    most = min(effort.most, len(matrix) // 30)
    ks = range(2, most + 1)
    progress(0.0, "Making data without groups to compare with")
    nulls = Nulls(matrix, slices, seed=seed)
    samples = {
        "permuted": [nulls.permuted(number) for number in range(effort.nulls)],
        "cloud": [nulls.cloud(number) for number in range(effort.nulls)],
    }
    trials: list[Trial] = []
    for number, k in enumerate(ks):
        stage = part(progress, 0.05 + 0.6 * number / len(ks), 0.05 + 0.6 * (number + 1) / len(ks))
        trials.append(_trial(matrix, "kmeans", k, samples, seed, effort, stage))
    best = _best(trials)
    # A mixture has twice the parameters: it is tried where spheres found nothing, and beside the best of them for comparison.
    others = list(ks) if best is None else [best.k]
    for number, k in enumerate(others):
        stage = part(progress, 0.65 + 0.34 * number / len(others), 0.65 + 0.34 * (number + 1) / len(others))
        trials.append(_trial(matrix, "gmm", k, samples, seed, effort, stage))
    chosen = _best(trials)
    if chosen is not None:
        chosen.chosen = True
    progress(1.0, "The number of groups is chosen")
    return Choice(trials, chosen, _in_words(trials, chosen, len(matrix)))


def _trial(
    matrix: np.ndarray, method: str, k: int, samples: dict[str, list[np.ndarray]], seed: int, effort: Effort, progress: Progress
) -> Trial:
    name = cluster.TITLES[method]
    progress(0.0, f"{name}, {k} groups: fitting")
    found = cluster.fit(matrix, k, method=method, seed=seed, restarts=2 * effort.restarts)
    labels = found.labels(matrix)
    counts = np.bincount(labels, minlength=k)
    progress(0.1, f"{name}, {k} groups: are they there again in resamples?")
    stable = _stability(matrix, labels, k, method, seed, effort, progress)
    trial = Trial(
        method=method,
        k=k,
        silhouette=silhouette(matrix, labels, seed),
        bic=cluster.bic(matrix, found),
        smallest_share=float(counts.min() / len(matrix)),
        min_jaccard=float(stable.min()),
        jaccards=[float(value) for value in np.sort(stable)[::-1]],
    )
    if method == "gmm" and trial.min_jaccard < LEAST_JACCARD:
        trial.why = _against(trial)
        return trial  # unstable already: its nulls, the slowest of all fits, would change nothing
    value = _closeness(matrix, labels)
    for which, drawn in samples.items():
        progress(0.6, f"{name}, {k} groups: would data without groups give as much?")
        fits = []
        for number, sample in enumerate(drawn):
            of_null = cluster.fit(sample, k, method=method, seed=seed + number, restarts=effort.restarts)
            null_labels = of_null.labels(sample)
            fits.append(_closeness(sample, null_labels))
            if which == "cloud" and number == 0:
                trial.null_silhouette = silhouette(sample, null_labels, seed)
        gap = value - float(np.mean(fits))
        setattr(trial, f"gap_{which}", gap)
        setattr(trial, f"z_{which}", gap / max(float(np.std(fits, ddof=1)), 1e-9))
    trial.why = _against(trial)
    return trial


def _closeness(matrix: np.ndarray, labels: np.ndarray) -> float:
    """−log W. Of a mixture too: its likelihood is unbounded where a column holds lumps, and hangs on them alone."""
    return -float(np.log(max(cluster.dispersion(matrix, labels), 1e-12)))


def _stability(matrix: np.ndarray, labels: np.ndarray, k: int, method: str, seed: int, effort: Effort, progress: Progress) -> np.ndarray:
    """(k,) mean Jaccard over bootstraps; all rows are put into the clusters that a resample of them gave."""
    total = np.zeros(k)
    for number in range(effort.bootstraps):
        chance = np.random.default_rng([seed, 21, k, number])
        again = cluster.fit(
            matrix[chance.integers(0, len(matrix), len(matrix))], k, method=method, seed=seed + number, restarts=effort.restarts
        )
        total += cluster.jaccards(labels, again.labels(matrix), k)
        progress(0.1 + 0.5 * number / effort.bootstraps, f"{cluster.TITLES[method]}, {k} groups: resample {number + 1}")
    return total / effort.bootstraps


def silhouette(matrix: np.ndarray, labels: np.ndarray, seed: int = 0) -> float:
    """Mean silhouette of a sample of rows (Rousseeuw 1987); 0 where there is one cluster only."""
    from sklearn.metrics import silhouette_score

    rows = np.arange(len(matrix))
    if len(rows) > SILHOUETTE_ROWS:
        rows = np.sort(np.random.default_rng([seed, 31]).choice(len(matrix), SILHOUETTE_ROWS, replace=False))
    different = len(np.unique(labels[rows]))
    return float(silhouette_score(matrix[rows], labels[rows])) if 1 < different < len(rows) else 0.0


def _against(trial: Trial) -> str:
    if trial.min_jaccard < LEAST_JACCARD:
        return f"not stable: the least stable group overlaps itself by {trial.min_jaccard:.2f} in resamples; {LEAST_JACCARD} is needed"
    if trial.smallest_share < LEAST_SHARE:
        return f"the smallest group holds {trial.smallest_share:.1%} of the applications only"
    for which, words in (("permuted", "unrelated columns"), ("cloud", "one cloud of the same values and correlations")):
        gap, z = getattr(trial, f"gap_{which}") or 0.0, getattr(trial, f"z_{which}") or 0.0
        if gap < LEAST_GAP:
            return f"no better than {words} (gap {gap:+.3f})"
        if z < LEAST_Z:
            return f"not clearly better than {words} (gap {gap:+.3f}, {z:.1f} standard deviations of such data)"
    return ""


def _best(trials: list[Trial]) -> Trial | None:
    """KMeans before a mixture: the mixture only where no KMeans is supported."""
    for method in cluster.METHODS:
        supported = [trial for trial in trials if trial.method == method and trial.supported]
        if supported:
            keys: list[Callable[[Trial], float]] = [lambda t: -t.silhouette, lambda t: -t.gap, lambda t: t.bic]
            ranks = {trial.k: sum(sorted(supported, key=key).index(trial) for key in keys) for trial in supported}
            return min(supported, key=lambda trial: (ranks[trial.k], trial.k))
    return None


def _in_words(trials: list[Trial], chosen: Trial | None, rows: int) -> str:
    if chosen is not None:
        return (
            f"{chosen.k} groups ({cluster.TITLES[chosen.method]}): the least stable of them overlaps itself by {chosen.min_jaccard:.2f} "
            f"when {rows:,} applications are drawn anew, and they lie closer together than in data of the same values and correlations "
            f"without groups (gap {chosen.gap:+.3f})."
        )
    if not trials:
        return "No groups: there are too few applications to look for any."
    steady = [trial for trial in trials if trial.min_jaccard >= LEAST_JACCARD]
    most = max(trials, key=lambda trial: trial.min_jaccard)
    if not steady:
        return (
            f"No groups: none of 2 to {max(t.k for t in trials)} is stable. "
            f"The steadiest, {most.k}, overlaps itself by {most.min_jaccard:.2f} only."
        )
    best = max(steady, key=lambda trial: trial.gap)
    return (
        f"No groups: where a split is stable it is {best.why}, as with {best.k}. "
        "These applicants are one crowd in which people differ by degrees."
    )
