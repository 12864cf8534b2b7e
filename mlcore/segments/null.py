"""What the data would look like without groups, in two ways. Only what beats both is called a group.

`permuted`: every column shuffled on its own: same values, no relation at all between columns (Tibshirani et al. 2001 draw from a box; real
columns are skewed and lumpy, and a lump in one column is no group).
`cloud`: the same values and the same correlations, but one single cloud (as SigClust, Liu et al. 2008, with a Gaussian copula in place of
the Gaussian). Income and amount that rise together beat the first null always, and cutting a long cloud in two is wonderfully stable.
"""

from __future__ import annotations

import numpy as np

ROUNDS = 6


class Nulls:
    """matrix: (n, d) prepared rows. slices: its blocks, which are always moved as a whole, so that a coded category stays one."""

    def __init__(self, matrix: np.ndarray, slices: list[slice], *, seed: int = 0) -> None:
        self.matrix = matrix
        self.slices = slices
        self.seed = seed
        scores = self._scores()
        chance = np.random.default_rng([seed, 11])
        # Ties in any order, or a category's rows would stand in the order of the file.
        self.order = np.stack([np.lexsort((chance.random(len(matrix)), score)) for score in scores], axis=1)
        self.sorted = np.stack([score[order] for score, order in zip(scores, self.order.T, strict=True)], axis=1)
        self.wanted = _correlation(np.stack(scores, axis=1))
        self.root = self._matched()

    def permuted(self, number: int) -> np.ndarray:
        chance = np.random.default_rng([self.seed, 12, number])
        return self._built(np.stack([chance.permutation(len(self.matrix)) for _ in self.slices], axis=1))

    def cloud(self, number: int) -> np.ndarray:
        chance = np.random.default_rng([self.seed, 13, number])
        return self._built(_ranks(chance.standard_normal((len(self.matrix), len(self.slices))) @ self.root.T))

    def _built(self, ranks: np.ndarray) -> np.ndarray:
        """The matrix in which row i has of block j the value that is `ranks[i, j]`-th in that block's order."""
        made = np.empty_like(self.matrix)
        for number, part in enumerate(self.slices):
            made[:, part] = self.matrix[self.order[ranks[:, number], number], part]
        return made

    def _scores(self) -> list[np.ndarray]:
        """An order for each block: a number's is its own, a category's values stand by how they go with the rest."""
        centred = self.matrix - self.matrix.mean(axis=0)
        axis = np.linalg.svd(centred.T @ centred, hermitian=True)[0][:, 0]
        whole = centred @ axis
        scores = []
        for part in self.slices:
            block = centred[:, part]
            rest = whole - block @ axis[part]
            scores.append(block[:, 0] if block.shape[1] == 1 else block @ (block.T @ rest))
        return scores

    def _matched(self) -> np.ndarray:
        """Root of the normal correlation whose ranks give the data's correlations: lumps weaken them, so it is raised step by step."""
        chance = np.random.default_rng([self.seed, 14])
        normal = chance.standard_normal((len(self.matrix), len(self.slices)))
        guess = self.wanted.copy()
        root = _root(guess)
        for _ in range(ROUNDS):
            found = _correlation(np.take_along_axis(self.sorted, _ranks(normal @ root.T), axis=0))
            guess = np.clip(guess + (self.wanted - found), -0.999, 0.999)
            np.fill_diagonal(guess, 1.0)
            root = _root(guess)
        return root


def _ranks(values: np.ndarray) -> np.ndarray:
    return values.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")


def _correlation(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean(axis=0)
    deviation = np.sqrt((centred**2).sum(axis=0))
    found = centred.T @ centred / np.maximum(np.outer(deviation, deviation), 1e-12)
    np.fill_diagonal(found, 1.0)
    return found


def _root(correlation: np.ndarray) -> np.ndarray:
    """A matrix whose square is the nearest valid correlation matrix (negative eigenvalues cut)."""
    values, vectors = np.linalg.eigh((correlation + correlation.T) / 2)
    root = vectors * np.sqrt(np.maximum(values, 1e-9))
    return root / np.sqrt((root**2).sum(axis=1))[:, None]
