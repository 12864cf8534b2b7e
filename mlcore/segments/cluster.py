"""KMeans and Gaussian mixtures as plain arrays: fitted by scikit-learn, applied with numpy alone."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

METHODS = ("kmeans", "gmm")
TITLES = {"kmeans": "KMeans", "gmm": "Gaussian mixture", "none": "No groups"}
_RIDGE = 0.05  # of a column's variance of about one: keeps a mixture from collapsing onto one value of a category


@dataclass(frozen=True)
class Clusters:
    """centres: (k, d). variances: (k, d) and weights: (k,) of a mixture, None for KMeans."""

    method: str
    centres: np.ndarray
    variances: np.ndarray | None = None
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.centres)

    def costs(self, matrix: np.ndarray) -> np.ndarray:
        """(n, k): squared distance to each centre; of a mixture minus twice the log of its part's weighted density, without constants."""
        if self.variances is None or self.weights is None:
            squares = (matrix**2).sum(axis=1)[:, None] - 2.0 * matrix @ self.centres.T + (self.centres**2).sum(axis=1)
            return np.maximum(squares, 0.0)
        precise = 1.0 / self.variances
        squares = (matrix**2) @ precise.T - 2.0 * matrix @ (self.centres * precise).T + (self.centres**2 * precise).sum(axis=1)
        return squares + np.log(self.variances).sum(axis=1) - 2.0 * np.log(self.weights)

    def labels(self, matrix: np.ndarray) -> np.ndarray:
        """(n,) int64, the number of each row's cluster."""
        return self.costs(matrix).argmin(axis=1)

    def distances(self, matrix: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """(n,) Euclidean distance of each row to the centre of its cluster."""
        return np.sqrt(((matrix - self.centres[labels]) ** 2).sum(axis=1))

    def log_likelihood(self, matrix: np.ndarray) -> float:
        """Mean of a row, in nats."""
        half = -0.5 * self.costs(matrix)
        top = half.max(axis=1)
        return float((top + np.log(np.exp(half - top[:, None]).sum(axis=1))).mean() - 0.5 * matrix.shape[1] * np.log(2 * np.pi))


def fit(matrix: np.ndarray, k: int, *, method: str = "kmeans", seed: int = 0, restarts: int = 4) -> Clusters:
    """k clusters of (n, d) rows; the best of some restarts. Fewer than k where the rows have fewer different values."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = KMeans(k, n_init=restarts, random_state=seed, max_iter=100, tol=1e-3).fit(matrix)
        means = found.cluster_centers_[np.unique(found.labels_)]
        if method == "kmeans":
            return Clusters("kmeans", means)
        from sklearn.mixture import GaussianMixture

        mixture = GaussianMixture(
            len(means), covariance_type="diag", means_init=means, reg_covar=_RIDGE, max_iter=60, tol=1e-3, random_state=seed,
            init_params="random_from_data",
        ).fit(matrix)  # fmt: skip
    return Clusters("gmm", mixture.means_, mixture.covariances_, np.maximum(mixture.weights_, 1e-12))


def dispersion(matrix: np.ndarray, labels: np.ndarray) -> float:
    """Sum of squared distances to the own cluster's mean."""
    total = 0.0
    for label in np.unique(labels):
        rows = matrix[labels == label]
        total += float(((rows - rows.mean(axis=0)) ** 2).sum())
    return total


def bic(matrix: np.ndarray, clusters: Clusters) -> float:
    """Bayesian information criterion, less is better; KMeans as a mixture of equal balls (Pelleg and Moore 2000)."""
    n, d = matrix.shape
    k = len(clusters)
    if clusters.method == "gmm":
        return -2.0 * n * clusters.log_likelihood(matrix) + (2 * k * d + k - 1) * np.log(n)
    labels = clusters.labels(matrix)
    counts = np.bincount(labels, minlength=k)
    counts = counts[counts > 0]
    variance = max(dispersion(matrix, labels) / max((n - k) * d, 1), 1e-12)
    likelihood = (counts * np.log(counts / n)).sum() - 0.5 * n * d * np.log(2 * np.pi * variance) - 0.5 * (n - k) * d
    return float(-2.0 * likelihood + (k * d + k) * np.log(n))


def jaccards(first: np.ndarray, second: np.ndarray, k: int) -> np.ndarray:
    """(k,) of each cluster of `first` its largest Jaccard overlap with any cluster of `second` (Hennig 2007)."""
    counts = contingency(first, second, k, int(second.max()) + 1)
    union = counts.sum(axis=1)[:, None] + counts.sum(axis=0) - counts
    return (counts / np.maximum(union, 1)).max(axis=1)


def contingency(first: np.ndarray, second: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """(rows, columns) how many are in this cluster of the first and that of the second."""
    return np.bincount(first * columns + second, minlength=rows * columns).reshape(rows, columns)
