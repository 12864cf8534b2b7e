"""From loans and what was carried of them to an amount model and its report."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mlcore import splits
from mlcore.amount.affordability import AffordabilityRule
from mlcore.amount.model import QUANTILES, AmountModel
from mlcore.amount.quantiles import fit_quantile
from mlcore.metrics import Figure, interval, resamples, rounded
from mlcore.progress import Progress, part, silent
from mlcore.risk.base import Dataset
from mlcore.risk.features import Encoder
from mlcore.risk.logistic import Ramps
from mlcore.schema import Schema

FEWEST_LOANS = 100


class AmountTrainingError(ValueError):
    """These loans can't train an amount model; the message says what is missing."""


@dataclass(frozen=True)
class AmountResult:
    model: AmountModel
    report: dict[str, Any]


def train_amount(
    data: Dataset,
    *,
    carried: np.ndarray | None = None,
    rule: AffordabilityRule | None = None,
    cut: pd.Timestamp | str | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> AmountResult:
    """Quantile regression of the amount carried, judged out of time beside "what was asked for, capped" and the portfolio's quantiles.

    carried: (n,) the amount that each borrower did carry, e.g. the principal repaid; NaN where not known. By default the whole amount of a
    repaid loan, and not known for a defaulted one. data.amount is what was asked for. Raises AmountTrainingError, and Cancelled from
    `progress`.
    """
    started = time.perf_counter()
    rule = rule or AffordabilityRule()
    if data.amount is None:
        raise AmountTrainingError("An amount model needs the amounts that were asked for.")
    target = np.where(data.default == 0, data.amount, np.nan) if carried is None else np.asarray(carried, dtype=float)
    usable = np.isfinite(target) & (target > 0)
    if usable.sum() < FEWEST_LOANS:
        raise AmountTrainingError(f"{usable.sum()} loans have a known amount carried; at least {FEWEST_LOANS} are needed.")
    loans, target = data.take(usable), target[usable]
    schema = Schema(column for column in data.schema.usable() if column.name != "amount" and column.name in data.frame)
    train_rows, test_rows, described = _split(loans, cut, seed)

    first = _fit(loans.take(train_rows), target[train_rows], schema, rule, seed, part(progress, 0.0, 0.45))
    progress(0.5, f"Judging the amounts of {len(test_rows):,} loans")
    held, truth = loans.take(test_rows), target[test_rows]
    figures = _judge(first, held, truth, np.quantile(target[train_rows], QUANTILES), seed)
    model = _fit(loans, target, schema, rule, seed, part(progress, 0.55, 0.98))
    same = float(np.isclose(truth, held.amount, rtol=0.001).mean())
    report = rounded(
        {
            "version": 1,
            "kind": "loan_amount",
            "seed": seed,
            "rows": len(loans),
            "split": described,
            "quantiles": list(QUANTILES),
            "rule": rule.to_state(),
            **figures,
            "asked_is_carried_share": same,
            "in_words": _in_words(figures, same),
            "seconds": time.perf_counter() - started,
        }
    )
    progress(1.0, "The amount model is ready")
    return AmountResult(model, report)


def pinball(truth: np.ndarray, quantile: np.ndarray, level: float) -> np.ndarray:
    """(n,) pinball losses: what being wrong by a quantile costs, `level` per unit too low, 1 − `level` per unit too high."""
    gap = truth - quantile
    return np.maximum(level * gap, (level - 1) * gap)


def _split(data: Dataset, cut: Any, seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    large = (data.amount > np.median(data.amount)).astype(np.int8)  # stands in for the outcome: both sides need small and large loans
    if data.submitted_at is not None:
        try:
            split = splits.out_of_time(data.submitted_at, large, cut=cut)
        except splits.SplitError:
            pass
        else:
            return split.train, split.test, _described(split, data)
    split = splits.stratified_holdout(large, seed=seed)
    return split.train, split.test, _described(split, data)


def _described(split: splits.Split, data: Dataset) -> dict[str, Any]:
    made = split.describe(data.default, data.submitted_at)
    for side in ("train", "test"):
        made[side] = {name: made[side][name] for name in ("rows", "from", "until")}
    return made


def _fit(data: Dataset, target: np.ndarray, schema: Schema, rule: AffordabilityRule, seed: int, progress: Progress) -> AmountModel:
    """Fit on the earlier four fifths, read each quantile's error off the latest fifth, and fit again on all."""
    earlier, latest, _ = _split(data, None, seed)
    first = _quantile_models(data.take(earlier), target[earlier], schema, rule, seed, part(progress, 0.0, 0.5))
    held = data.take(latest)
    error = np.log(target[latest])[:, None] - np.log(first.quantiles(held.frame, held.submitted_at))
    # Conformal: each quantile is moved by the quantile of its own error on loans that it had not seen (as Romano et al. 2019 do for a
    # range).
    adjustments = np.array([np.quantile(error[:, number], level) for number, level in enumerate(QUANTILES)])
    model = _quantile_models(data, target, schema, rule, seed, part(progress, 0.5, 1.0))
    model.intercepts = model.intercepts + adjustments
    return model


def _quantile_models(
    data: Dataset, target: np.ndarray, schema: Schema, rule: AffordabilityRule, seed: int, progress: Progress
) -> AmountModel:
    encoder = Encoder(schema, seed=seed, derived=False)
    # Categories are encoded by how often their loans are larger than the median.
    matrix = encoder.fit_transform(data.frame, (target > np.median(target)).astype(np.int8), data.submitted_at)
    ramps = Ramps.fit(matrix)
    basis = ramps.transform(matrix)
    fits = []
    for number, level in enumerate(QUANTILES):
        progress(number / len(QUANTILES), f"Fitting the {level:.0%} quantile on {len(data):,} loans")
        fits.append(fit_quantile(basis, np.log(target), level))
    return AmountModel(encoder, ramps, np.array([each[0] for each in fits]), np.column_stack([each[1] for each in fits]), rule)


def _judge(model: AmountModel, data: Dataset, truth: np.ndarray, portfolio: np.ndarray, seed: int) -> dict[str, Any]:
    suggested = model.suggest(data.frame, data.submitted_at)
    cap = suggested.cap
    ours = np.column_stack([suggested.low, suggested.middle, suggested.high])
    candidates = {
        "model": ours,
        "asked_capped": np.repeat(np.fmin(data.amount, cap)[:, None], len(QUANTILES), axis=1),
        "portfolio": np.fmin(np.repeat(portfolio[None, :], len(truth), axis=0), cap[:, None]),
    }
    rows: dict[str, np.ndarray] = {}
    for name, found in candidates.items():
        losses = np.column_stack([pinball(truth, found[:, number], level) for number, level in enumerate(QUANTILES)])
        rows[f"{name}.pinball"] = losses.mean(axis=1)
        rows[f"{name}.mae"] = np.abs(truth - found[:, 1])
    # What the quantiles promise is said of them before the cap: the cap is a rule on what may be lent, not a guess of what was carried, and
    # a loan that was made above it lies above the capped range by the rule's doing.
    found = model.quantiles(data.frame, data.submitted_at)
    rows["coverage"] = ((truth >= found[:, 0]) & (truth <= found[:, 2])).astype(float)
    rows["coverage_capped"] = ((truth >= ours[:, 0]) & (truth <= ours[:, 2])).astype(float)
    rows["above_cap"] = (truth > np.where(np.isfinite(cap), cap, np.inf)).astype(float)
    measured = _means(rows, seed)
    figures: dict[str, Any] = {name: {"pinball": measured[f"{name}.pinball"], "mae": measured[f"{name}.mae"]} for name in candidates}
    return {
        "figures": figures,
        "coverage": measured["coverage"],
        "coverage_capped": measured["coverage_capped"],
        "above_cap_share": measured["above_cap"]["value"],
        "coverage_wanted": QUANTILES[-1] - QUANTILES[0],
        "capped_share": float(suggested.capped.mean()),
        "no_income_share": float(np.isnan(cap).mean()),
    }


def _means(rows: dict[str, np.ndarray], seed: int, replicates: int = 200) -> dict[str, Figure]:
    stacked = np.column_stack(list(rows.values()))
    drawn = np.concatenate([counts @ stacked / counts.sum(axis=1)[:, None] for counts in resamples(len(stacked), replicates, seed)])
    return {name: interval(float(stacked[:, number].mean()), drawn[:, number]) for number, name in enumerate(rows)}


def _in_words(figures: dict[str, Any], same: float) -> str:
    model, asked, portfolio = (f"{figures['figures'][name]['mae']['value']:,.0f}" for name in ("model", "asked_capped", "portfolio"))
    words = (
        f"The middle of the range misses the amount carried by {model} on average; the portfolio's median, capped, by {portfolio}; "
        f"the amount asked for, capped, by {asked}. Before the cap the range holds {figures['coverage']['value']:.0%} of the amounts "
        f"({figures['coverage_wanted']:.0%} are meant to lie in it)."
    )
    if figures["above_cap_share"] > 0:
        words += (
            f" The affordability rule would not have allowed {figures['above_cap_share']:.0%} of these loans in full: they lie above the "
            f"range as it is shown, which holds {figures['coverage_capped']['value']:.0%}."
        )
    if same > 0.5:
        words += (
            f" Of {same:.0%} of these loans exactly what was asked for was carried, so the amount asked for is right by construction where "
            "the cap leaves it alone: its error says little about what an applicant could have carried."
        )
    return words
