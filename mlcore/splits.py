"""Which rows a model learns from and which it is judged on.

Wherever rows have dates the split follows time, by whole periods: a model is used on applicants who come later, so it is judged on
applicants who came later. Every function returns integer positions into the rows it was given.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

Period = Literal["quarter", "month", "week", "day"]
PERIODS: tuple[Period, ...] = ("quarter", "month", "week", "day")
DAY = np.timedelta64(1, "D")


class SplitError(ValueError):
    """The rows can't be split as asked: too few periods, or too few defaults on one side."""


@dataclass(frozen=True)
class Split:
    """train, test: positions of the rows on each side. cut: first moment of the test side (None where the split does not follow time).

    left_out: rows on neither side, because they have no date or fall under the embargo.
    """

    train: np.ndarray
    test: np.ndarray
    how: Literal["time", "stratified"]
    cut: pd.Timestamp | None = None
    period: Period | None = None
    embargo_days: int = 0
    left_out: int = 0

    def describe(self, default: np.ndarray, submitted_at: pd.Series | None = None, weight: np.ndarray | None = None) -> dict[str, Any]:
        """Dates, rows and defaults of each side as plain JSON; the rates are of all loans that a sample's rows stand for."""

        def side(rows: np.ndarray) -> dict[str, Any]:
            dates = None if submitted_at is None or not len(rows) else submitted_at.iloc[rows]
            return {
                "rows": len(rows),
                "defaults": int(default[rows].sum()),
                "default_rate": float(np.average(default[rows], weights=None if weight is None else weight[rows])) if len(rows) else None,
                "from": None if dates is None or dates.isna().all() else dates.min().date().isoformat(),
                "until": None if dates is None or dates.isna().all() else dates.max().date().isoformat(),
            }

        return {
            "how": self.how,
            "cut": None if self.cut is None else self.cut.date().isoformat(),
            "period": self.period,
            "embargo_days": self.embargo_days,
            "left_out": self.left_out,
            "train": side(self.train),
            "test": side(self.test),
        }


def as_utc(moments: pd.Series) -> np.ndarray:
    """(n,) datetime64[ns] in UTC without the zone, NaT where missing."""
    parsed = pd.to_datetime(moments, utc=True)
    return parsed.dt.tz_localize(None).to_numpy(dtype="datetime64[ns]")


def period_starts(moments: np.ndarray, period: Period) -> np.ndarray:
    """(n,) datetime64[D]: the first day of the period that each moment falls in; weeks begin on Monday."""
    days = moments.astype("datetime64[D]")
    if period == "day":
        return days
    if period == "week":
        # 1970-01-01 was a Thursday, so day -3 is a Monday.
        number = days.astype(np.int64)
        floored = (number + 3) // 7 * 7 - 3
        return np.where(np.isnat(days), np.datetime64("NaT", "D"), floored.astype("datetime64[D]"))
    months = days.astype("datetime64[M]")
    if period == "quarter":
        number = months.astype(np.int64)
        months = np.where(np.isnat(months), np.datetime64("NaT", "M"), (number // 3 * 3).astype("datetime64[M]"))
    return months.astype("datetime64[D]")


def out_of_time(
    submitted_at: pd.Series,
    default: np.ndarray,
    *,
    test_share: float = 0.2,
    cut: pd.Timestamp | str | None = None,
    period: Period | None = None,
    embargo_days: int = 0,
    min_events: int = 10,
) -> Split:
    """The earlier rows to learn from, the later ones to be judged on, cut at the start of a period.

    Without `cut`, the period's start is taken that leaves nearest to `test_share` of the rows on the later side, with at least `min_events`
    defaults and as many non-defaults on both; without `period`, the coarsest of month, week, day that comes within .05 of the share, or
    else the nearest. Training rows less than `embargo_days` before the cut are left out: at the cut, their outcome was not known yet.
    Raises SplitError where no such cut exists.
    """
    moments = as_utc(submitted_at)
    dated = ~np.isnat(moments)
    if cut is not None:
        moment = pd.Timestamp(cut)
        moment = moment.tz_localize("UTC") if moment.tzinfo is None else moment.tz_convert("UTC")
        split = _cut(moments, dated, moment.tz_localize(None).to_datetime64(), period, embargo_days)
        if not _enough(default, split, 1):
            raise SplitError(f"Cut at {moment.date()}, one side has no defaults or nothing but defaults.")
        return split
    best: tuple[float, np.datetime64, Period] | None = None
    for each in (period,) if period else PERIODS[1:]:
        starts = period_starts(moments[dated], each)
        candidates, counts = np.unique(starts, return_counts=True)
        later = 1 - np.concatenate([[0], np.cumsum(counts)[:-1]]) / max(dated.sum(), 1)  # share of rows at or after each candidate
        for number in np.argsort(np.abs(later - test_share), kind="stable"):
            distance = abs(float(later[number]) - test_share)
            if best is not None and distance >= best[0]:
                break
            if number and _enough(default, _cut(moments, dated, candidates[number], each, embargo_days), min_events):
                best = (distance, candidates[number], each)
                break
        if best is not None and best[0] <= 0.05:
            break
    if best is None:
        raise SplitError(
            f"No date splits these {len(moments):,} rows so that both sides have {min_events} defaults and {min_events} repaid loans."
        )
    return _cut(moments, dated, best[1], best[2], embargo_days)


def expanding_window(
    submitted_at: pd.Series,
    default: np.ndarray,
    *,
    folds: int = 4,
    first_share: float = 0.4,
    embargo_days: int = 0,
    period: Period = "month",
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Time-ordered cross-validation: each fold learns from everything before its block and is judged on the block.

    The first `first_share` of the dated rows is only ever learnt from; the rest falls into `folds` blocks of whole periods of about equal
    size. A fold that has one class only on either side is left out. Raises SplitError where none is left.
    """
    moments = as_utc(submitted_at)
    dated = ~np.isnat(moments)
    starts = period_starts(moments, period)
    candidates, counts = np.unique(starts[dated], return_counts=True)
    before = np.concatenate([[0], np.cumsum(counts)]) / max(dated.sum(), 1)
    edges = np.unique([int(np.argmin(np.abs(before - share))) for share in np.linspace(first_share, 1, folds + 1)])
    made = []
    for start, end in itertools.pairwise(edges):
        if start == 0:
            continue
        split = _cut(moments, dated, candidates[start], period, embargo_days)
        block = split.test[starts[split.test] < candidates[end]] if end < len(candidates) else split.test
        if len(np.unique(default[split.train])) == 2 and len(np.unique(default[block])) == 2:
            made.append((split.train, block))
    if not made:
        raise SplitError(f"{len(candidates)} periods are too few for {folds} time-ordered folds.")
    return made


def repeated_stratified(default: np.ndarray, *, folds: int = 5, repeats: int = 2, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """(train, test) of `folds` × `repeats`, every test part with the same share of defaults; for data without dates."""
    default = np.asarray(default)
    smallest = int(min((default == 1).sum(), (default == 0).sum()))
    if smallest < folds:
        raise SplitError(f"{folds} folds need {folds} rows of each outcome; there are {smallest} of one.")
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(repeats):
        fold = np.empty(len(default), dtype=np.int64)
        for outcome in (0, 1):
            rows = rng.permutation(np.flatnonzero(default == outcome))
            # Non-defaults are dealt out backwards, so that the larger folds of one class are the smaller of the other.
            dealt = np.arange(len(rows)) % folds
            fold[rows] = dealt if outcome else folds - 1 - dealt
        made += [(np.flatnonzero(fold != number), np.flatnonzero(fold == number)) for number in range(folds)]
    return made


def stratified_holdout(default: np.ndarray, *, test_share: float = 0.2, seed: int = 0) -> Split:
    """One random split with the same share of defaults on both sides; for data without dates that are too large to repeat."""
    folds = max(2, round(1 / test_share))
    train, test = repeated_stratified(default, folds=folds, repeats=1, seed=seed)[0]
    return Split(train=train, test=test, how="stratified")


def _cut(moments: np.ndarray, dated: np.ndarray, cut: np.datetime64, period: Period | None, embargo_days: int) -> Split:
    cut = cut.astype("datetime64[ns]")
    train = np.flatnonzero(dated & (moments < cut - embargo_days * DAY))
    test = np.flatnonzero(dated & (moments >= cut))
    return Split(
        train=train,
        test=test,
        how="time",
        cut=pd.Timestamp(cut).tz_localize("UTC"),
        period=period,
        embargo_days=embargo_days,
        left_out=len(moments) - len(train) - len(test),
    )


def _enough(default: np.ndarray, split: Split, wanted: int) -> bool:
    return all(min(default[rows].sum(), len(rows) - default[rows].sum()) >= wanted for rows in (split.train, split.test))
