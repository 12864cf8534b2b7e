"""The production rung: boosting of at most two features a path, averaged, and compiled exactly into one- and two-feature tables.

How it is fitted, on quantile codes (8–24 a feature):

0. Categories of many values (a region, a postcode) stay only if later rows lose more than a standard error by their absence: encoded by
   their default rates they are the noisiest inputs there are.
1. Trial fits on two disjoint halves of the earlier rows, checked on later ones (stratified folds without dates), choose the number of
   trees and how much of the score is a monotone spline regression on the same codes: the most whose loss is within one standard error
   of the best's. That regression is additive, so it is mains tables too; on few rows it carries what trees can't find.
2. The trials' pair tables are purified, and a pair is kept where both halves found it (their tables correlate by at least .3) and it is
   worth at least 2 % of the strongest main effect; at most 20. So a model is some 40 tables of at most 26 × 26 cells: it prints on a few
   pages, and each cell can be edited.
3. Sixteen fits on random 70 % of the rows, on these pairs only, monotone where the direction is known, are averaged and compiled. With
   dates each feature may also pair with the period, frozen at the latest one (`tuning.periods`), which leaves a main effect.

What steadies the reasons, measured on LendingClub (8,277 training rows, four bootstraps; mean Jaccard of the top four families between a
refit and the fit on all rows, for all families and for those whose contributions correlate by at least .8 between refits):

    as it was: .62, .74. Cross-fitting by row content (`features._folds`), so that a bootstrap's copies don't leak: AUC of the
    refits .632 → .653. Pairs that two halves agree on, the smoothest share within one standard error: .68, .79. The strongest penalty
    of the splines within one standard error: .69, .80, the AUC of the fit on all rows being .667 → .665. Those are means over four
    bootstraps; over twenty they are .71, .77. Leaving out categories of many values where later rows lose nothing by it (here region and
    postcode): .71, .81 over eight, of nine stable families instead of ten, the AUC of the fit on all rows .665 → .668.
    Tried and left: no pairs at all (.65, .75 at an equal AUC), naming only effects above 1 or 2 standard errors of a refit
    (.69, .74 and .66, .71): a threshold only moves the toss-up from the fourth place to itself, and shorter lists count each flip more.
    With all categories, over twenty bootstraps (stable; all): settings kept instead of searched anew .783; .732. Over twelve like that: a
    penalty of 1,000 .786; .734 (AUC of the fit on all rows .665 → .662), categories shrunk four times as much .782; .726, both without
    pairs .785; .740, a penalty of 3,000 without pairs .800; .715 (AUC .663, and one family fewer counts as stable). A least effect of .05,
    .1 and .15 log-odds: .723, .774 and .794 of lists of 2.1, 1.6 and 1.3 reasons. Families joined where their contributions correlate
    by .45 (amount, income) .777, by .3 (accounts too) .803: left, since one reason for amount, income and accounts tells an applicant less.
    The toss-ups that are left are between effects of .03–.06 log-odds.

Boosting is scikit-learn's HistGradientBoosting with interaction constraints; the pairwise form follows Lou et al. (2013), "Accurate
intelligible models with pairwise interactions".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from mlcore.risk.binning import Bins
from mlcore.risk.boosting import EVERY, staged_log_odds
from mlcore.risk.encoded import EncodedRung
from mlcore.risk.logistic import PENALTIES, Splines, fit_splines, penalties_of
from mlcore.risk.lookup import Lookup
from mlcore.risk.tables import Tables
from mlcore.risk.trees import boosted_nodes
from mlcore.risk.tuning import FEW_ROWS, levelled_log_loss, levelled_losses, simplest, stratified_folds, validation_folds, with_period

FITS = 16
SUBSAMPLE = 0.7
MOST_TREES = 240
MOST_PAIRS = 20
LEAST_STRENGTH = 0.02
MOST_BINS = 24
LEAST_AGREEMENT = 0.3
"""Correlation of a pair's table between two fits on disjoint halves of the rows."""
SHARES = (0.25, 0.5, 0.75, 1.0)
"""Of the trees in the score; the rest is the spline regression's."""


class Pairwise(EncodedRung):
    """Averaged two-feature boosting as tables. `settings`: trees, share of the trees, pairs by name.

    After `fit`: `bins_` (codes of the encoder's features), `tables_` (purified, editable), `lookup_` (the quick paths over both).
    """

    name = "pairwise"

    def _fit(self, matrix: np.ndarray, labels: np.ndarray, submitted_at: pd.Series | None, weight: np.ndarray) -> None:
        most = int(np.clip(len(labels) // 50, 8, MOST_BINS))
        small = len(labels) < FEW_ROWS
        folds = validation_folds(labels, submitted_at, folds=3 if small else 2, seed=self.seed)[: 3 if small else 1]
        known = penalties_of(self.given)

        def additive(left_out: np.ndarray) -> tuple[Bins, np.ndarray, Splines]:
            """Bins, codes and spline regression. What is left out is blank: nothing splits on it, its tables are zero."""
            shown = np.where(left_out, 0.0, matrix)
            bins = Bins.fit(shown, most)
            codes = bins.codes(shown)
            directions = self.encoder.directions
            fit = fit_splines(bins.as_floats(codes), labels, weight, directions, [] if known else folds, submitted_at, known or PENALTIES)
            return bins, codes, fit

        many = self._many_valued()
        if self.given is None:
            left_out = np.zeros_like(many)
            self.bins_, codes, splines = additive(left_out)
            if many.any() and not many.all():
                fewer = additive(many)
                if _no_worse(fewer[-1], splines, labels, folds):
                    left_out, (self.bins_, codes, splines) = many, fewer
        else:
            named = self.given.get("left_out", [])
            left_out = many & np.array([feature.sources[0] in named for feature in self.encoder.features])
            self.bins_, codes, splines = additive(left_out)
        floats = self.bins_.as_floats(codes)
        dated, frozen = with_period(floats, submitted_at)
        if self.given is None:
            pairs, trees, share = self._trials(dated, codes, labels, weight, folds, splines, frozen)
        else:
            pairs, trees, share = self._pairs_named(self.given["pairs"]), int(self.given["trees"]), float(self.given["share_of_trees"])
        parts = [_subsample(labels, self.seed * 1000 + k) for k in range(FITS)]
        models = self._fits(dated, labels, weight, trees, self._groups(pairs, bool(frozen)), parts)
        tables = self._average(models, frozen).combine(share, _additive(splines, self.bins_), 1.0 - share)
        self.tables_ = tables.purified(codes, weight)
        self.settings = {
            "trees": trees,
            "share_of_trees": share,
            **{key: float(value) for key, value in splines.settings.items()},
            "pairs": [self._pair_name(*pair) for pair in pairs],
            "left_out": sorted({self.encoder.features[j].sources[0] for j in np.flatnonzero(left_out)}),
        }
        self._ready()

    def _many_valued(self) -> np.ndarray:
        """(features,) bool: those made of a category of many values."""
        encoders = self.encoder.encoders
        return np.array([feature.category and encoders[feature.sources[0]].many_ for feature in self.encoder.features], dtype=bool)

    def _trials(
        self,
        dated: np.ndarray,
        codes: np.ndarray,
        labels: np.ndarray,
        weight: np.ndarray,
        folds: list[tuple[np.ndarray, np.ndarray]],
        splines: Splines,
        frozen: dict[int, float],
    ) -> tuple[list[tuple[int, int]], int, float]:
        """The pairs to keep, the number of trees and the share of the trees in the score, chosen on validation rows."""
        losses = np.zeros((len(SHARES), MOST_TREES // EVERY))
        held: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # labels, staged and additive log-odds of validation rows
        strengths: dict[tuple[int, int], float] = {}
        agreements: dict[tuple[int, int], float] = {}
        main_strength = 0.0
        for number, ((train, valid), additive) in enumerate(zip(folds, splines.held, strict=True)):
            halves = stratified_folds(labels[train], folds=2, seed=self.seed * 1000 + number)
            models = self._fits(dated[train], labels[train], weight[train], MOST_TREES, "pairwise", [rows for rows, _ in halves])
            staged = sum(staged_log_odds(model, dated[valid]) for model in models) / len(models)
            held.append((labels[valid], staged, additive))
            for row, share in enumerate(SHARES):
                losses[row] += [levelled_log_loss(labels[valid], share * raw + (1.0 - share) * additive) for raw in staged]
            latest = {column: float(dated[train, column].max()) for column in frozen}
            both = [self._average([model], latest) for model in models]
            tables = both[0].combine(0.5, both[1], 0.5).purified(codes[train], weight[train])
            found = tables.strengths(codes[train], weight[train])
            for pair, strength in found.items():
                strengths[pair] = strengths.get(pair, 0.0) + strength
            likely = sorted(found, key=lambda pair: (-found[pair], pair))[: 2 * MOST_PAIRS]
            for pair, agreement in _agreements(both, likely, codes[train], weight[train]).items():
                agreements[pair] = agreements.get(pair, 0.0) + agreement / len(folds)
            main_strength += max(float(np.std(main[codes[train, j]])) for j, main in enumerate(tables.mains))
        row, column = _smoothest(losses, held)
        ranked = sorted(agreements, key=lambda pair: (-strengths[pair], pair))
        kept = [pair for pair in ranked if strengths[pair] >= LEAST_STRENGTH * main_strength and agreements[pair] >= LEAST_AGREEMENT]
        return kept[:MOST_PAIRS], EVERY * (column + 1), SHARES[row]

    def _pair_name(self, j: int, k: int) -> str:
        return f"{self.encoder.features[j].name} × {self.encoder.features[k].name}"

    def _pairs_named(self, names: list[str]) -> list[tuple[int, int]]:
        """The pairs of an earlier fit; one whose feature these rows don't have is left out."""
        width = len(self.encoder.features)
        known = {self._pair_name(j, k): (j, k) for j in range(width) for k in range(j + 1, width)}
        return [known[name] for name in names if name in known]

    def _groups(self, pairs: list[tuple[int, int]], with_period: bool) -> list[set[int]]:
        width = len(self.encoder.features)
        period = [{j, width} for j in range(width)] if with_period else []
        return [{j} for j in range(width)] + [set(pair) for pair in pairs] + period

    def _fits(
        self, matrix: np.ndarray, labels: np.ndarray, weight: np.ndarray, trees: int, groups: Any, parts: list[np.ndarray]
    ) -> list[Any]:
        """A fitted booster for each part of the rows. Inside `joblib.parallel_config(backend=…)` they spread over its workers."""
        from joblib import Parallel, delayed

        directions = np.append(self.encoder.directions, np.zeros(matrix.shape[1] - len(self.encoder.features), dtype=int))
        jobs = (
            delayed(_one_fit)(matrix[rows], labels[rows], weight[rows], directions, trees, groups, self.seed * 1000 + k)
            for k, rows in enumerate(parts)
        )
        return Parallel()(jobs)

    def _average(self, models: list[Any], frozen: dict[int, float]) -> Tables:
        tables = Tables.zeros(self.bins_.sizes)
        for model in models:
            tables = tables.combine(1.0, Tables.from_trees(*boosted_nodes(model), self.bins_.sizes, frozen), 1.0 / len(models))
        return tables

    def _ready(self) -> None:
        self.lookup_ = Lookup(self.bins_, self.tables_, self.encoder.shares())

    def log_odds(self, frame: pd.DataFrame, submitted_at: pd.Series | None = None) -> np.ndarray:
        parts, baseline = self.contributions(frame, submitted_at)
        return self.lookup_.total(parts, baseline)

    def contributions(self, frame: pd.DataFrame, submitted_at: pd.Series | None = None) -> tuple[np.ndarray, float]:
        """(n, columns of the schema) log-odds against the mean training applicant, and that mean."""
        return self.lookup_.contributions(self.encoder.transform(frame, submitted_at))

    def one(self, row: Mapping[str, Any], submitted_at: datetime | None = None) -> tuple[float, list[float]]:
        """One application's log-odds and contributions by schema column, in plain Python: the digits of the frame's path.

        row: {column: value}, None or absent where missing; categories as str, dates as date or datetime.
        """
        return self.lookup_.one(self.encoder.one(row, submitted_at))

    def _state(self) -> dict[str, Any]:
        return {"cuts": list(self.bins_.cuts), "tables": self.tables_.to_state()}

    def _restore(self, state: dict[str, Any]) -> None:
        self.bins_ = Bins(state["cuts"])
        self.tables_ = Tables.from_state(state["tables"])
        self._ready()


def _no_worse(without: Splines, splines: Splines, labels: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]]) -> bool:
    """Whether validation rows lose no more than a (paired) standard error by what `without` leaves out."""

    def losses(of: Splines) -> np.ndarray:
        return np.concatenate([levelled_losses(labels[valid], held) for (_, valid), held in zip(folds, of.held, strict=True)])

    return simplest([losses(without), losses(splines)]) == 0


def _subsample(labels: np.ndarray, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).random(len(labels)) < SUBSAMPLE
    if not 0 < labels[rows].mean() < 1:  # a handful of rows: a part of them may hold one class only
        rows[:] = True
    return rows


def _agreements(both: list[Tables], pairs: list[tuple[int, int]], codes: np.ndarray, weight: np.ndarray) -> dict[tuple[int, int], float]:
    """How two fits on disjoint halves agree on each pair: the correlation of its purified tables over the rows, 0 where one has none."""
    pure = [Tables(one.mains, {pair: one.pairs[pair] for pair in pairs if pair in one.pairs}, 0.0).purified(codes, weight) for one in both]
    result = {}
    for j, k in pairs:
        tables = [one.pairs.get((j, k)) for one in pure]
        result[j, k] = 0.0
        if tables[0] is not None and tables[1] is not None:
            first, second = (table[codes[:, j], codes[:, k]] for table in tables)
            spread = np.average(first**2, weights=weight) * np.average(second**2, weights=weight)
            result[j, k] = float(np.average(first * second, weights=weight) / np.sqrt(spread)) if spread > 0 else 0.0
    return result


def _smoothest(losses: np.ndarray, held: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[int, int]:
    """Positions of the share and the stage: the smallest share whose loss is within one standard error (paired) of the best's."""
    stages = losses.argmin(axis=1)

    def each(row: int) -> np.ndarray:
        share = SHARES[row]
        return np.concatenate([levelled_losses(y, share * staged[stages[row]] + (1.0 - share) * additive) for y, staged, additive in held])

    row = simplest([each(row) for row in range(len(SHARES))])
    return row, int(stages[row])


def _one_fit(matrix: np.ndarray, labels: np.ndarray, weight: np.ndarray, directions: np.ndarray, trees: int, groups: Any, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        learning_rate=0.08,
        max_iter=trees,
        max_leaf_nodes=8,
        min_samples_leaf=20,
        l2_regularization=5.0,
        max_features=0.3,
        interaction_cst=groups,
        monotonic_cst=directions,
        early_stopping=False,
        random_state=seed,
    )
    return model.fit(matrix, labels, sample_weight=weight)


def _additive(splines: Splines, bins: Bins) -> Tables:
    """The spline regression on codes as mains tables."""
    tables = Tables.zeros(bins.sizes)
    longest = int(bins.sizes.max())
    grid = np.tile(np.arange(longest, dtype=float)[:, None], (1, len(bins.sizes)))
    missing = np.full((1, len(bins.sizes)), np.nan)
    sums = splines.ramps.sums(splines.ramps.transform(np.vstack([grid, missing])), splines.coefficients)
    for j, size in enumerate(bins.sizes):
        tables.mains[j][: size - 1] = sums[: size - 1, j]
        tables.mains[j][size - 1] = sums[-1, j]
    tables.intercept = float(splines.intercept)
    return tables
