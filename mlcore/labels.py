"""Which loans have an outcome that a model may learn from, and what it is.

A label is whether the loan defaulted within a stated window after its start. A loan whose window has not closed yet has no label, whatever
happened to it so far: counting only its early defaults would make recent loans look worse than they are, only its early repayments better.
An application that was rejected has no outcome; it is counted, and never taken for a good loan.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from mlcore.splits import DAY, as_utc, period_starts

DEFAULT, REPAID = "default", "repaid"
REASONS = ("default", "repaid", "rejected", "immature", "embargo", "unknown")


@dataclass(frozen=True)
class LabelPolicy:
    """window_months: how long a loan is watched; None takes the final outcome as reported. embargo_days: loans that began less than this
    long before `as_of` are no labels. as_of: when the outcomes were known (the latest date in the data where None).
    """

    window_months: int | None = None
    embargo_days: int = 0
    as_of: pd.Timestamp | None = None

    def in_words(self) -> str:
        if self.window_months is None:
            words = "Default is the final outcome that the lender reported; loans without one are no labels."
        else:
            words = f"Default within {self.window_months} months of the application; loans younger than that are no labels."
        if self.embargo_days:
            words += f" Loans of the last {self.embargo_days} days are left out."
        return words


@dataclass(frozen=True)
class Labels:
    """default: (n,) int8, 1, 0, or -1 for no label. reason: (n,) object, one of `REASONS`. warnings: what a reader should know."""

    default: np.ndarray
    reason: np.ndarray
    policy: LabelPolicy
    warnings: tuple[str, ...] = ()

    @property
    def known(self) -> np.ndarray:
        """(n,) bool: has a label."""
        return self.default >= 0

    def report(self) -> dict[str, Any]:
        """Policy and counts as plain JSON, for the training report."""
        policy = asdict(self.policy) | {"as_of": None if self.policy.as_of is None else self.policy.as_of.isoformat()}
        counts = {reason: int((self.reason == reason).sum()) for reason in REASONS}
        return {
            "policy": policy,
            "in_words": self.policy.in_words(),
            "rows": len(self.default),
            "counts": counts,
            "warnings": list(self.warnings),
        }


def label(
    status: pd.Series,
    *,
    submitted_at: pd.Series | None = None,
    outcome_at: pd.Series | None = None,
    rejected: pd.Series | None = None,
    policy: LabelPolicy | None = None,
) -> Labels:
    """Labels of n loans.

    status: "default", "repaid", anything else (None included) for a loan that is still running. submitted_at: the window's start; needed
    for a window or an embargo. outcome_at: when it defaulted or was repaid, NaT where unknown. rejected: bool, the lender declined.
    A default without a date counts as inside the window (there is a warning with the number); one after the window's end is not a default.
    Raises ValueError where the policy needs dates that were not given.
    """
    policy = policy or LabelPolicy()
    status = pd.Series(status).reset_index(drop=True)
    n = len(status)
    bad, good = (status == DEFAULT).to_numpy(dtype=bool), (status == REPAID).to_numpy(dtype=bool)
    declined = np.zeros(n, dtype=bool) if rejected is None else pd.Series(rejected).fillna(False).to_numpy(dtype=bool)
    if submitted_at is None and (policy.window_months is not None or policy.embargo_days):
        raise ValueError("A default window and an embargo need the dates of the applications.")
    start = np.full(n, np.datetime64("NaT", "ns")) if submitted_at is None else as_utc(pd.Series(submitted_at))
    end = np.full(n, np.datetime64("NaT", "ns")) if outcome_at is None else as_utc(pd.Series(outcome_at))
    as_of = _as_of(policy, start, end)
    warnings: list[str] = []

    reason = np.full(n, "immature", dtype=object)
    reason[good], reason[bad] = "repaid", "default"
    if policy.window_months is not None:
        reason = _within_window(policy.window_months, as_of, start, end, bad, good, warnings)
    elif submitted_at is not None:
        _warn_of_early_finishers(start, bad | good, declined, warnings)
    if policy.embargo_days:
        young = start > as_of - policy.embargo_days * DAY
        reason[young & (reason != "unknown")] = "embargo"
    # A declined application can't have an outcome of its own; where a file gives it one, that is a contradiction and no label.
    contradicting = declined & (bad | good)
    if contradicting.any():
        warnings.append(f"{contradicting.sum():,} applications were rejected and yet have an outcome; they are no labels.")
    reason[declined] = "rejected"

    default = np.full(n, -1, dtype=np.int8)
    default[reason == "repaid"], default[reason == "default"] = 0, 1
    stamp = None if np.isnat(as_of) else pd.Timestamp(as_of).tz_localize("UTC")
    return Labels(default, reason, LabelPolicy(policy.window_months, policy.embargo_days, stamp), tuple(warnings))


def _as_of(policy: LabelPolicy, start: np.ndarray, end: np.ndarray) -> np.datetime64:
    if policy.as_of is not None:
        return as_utc(pd.Series([policy.as_of]))[0]
    known = np.concatenate([start[~np.isnat(start)], end[~np.isnat(end)]])
    return known.max() if len(known) else np.datetime64("NaT", "ns")


def _within_window(
    months: int, as_of: np.datetime64, start: np.ndarray, end: np.ndarray, bad: np.ndarray, good: np.ndarray, warnings: list[str]
) -> np.ndarray:
    closes = (pd.DatetimeIndex(start) + pd.DateOffset(months=months)).to_numpy(dtype="datetime64[ns]")
    inside = bad & (np.isnat(end) | (end <= closes))
    undated = int((bad & np.isnat(end)).sum())
    if undated:
        warnings.append(f"{undated:,} defaults have no date and are taken to lie inside the window of {months} months.")
    reason = np.where(inside, "default", "repaid").astype(object)
    reason[~(closes <= as_of)] = "immature"
    # Closed window, no default reported, but not repaid either: still paying, so it did not default within the window.
    reason[np.isnat(start)] = "unknown"
    before = (bad | good) & (end < start)
    if before.any():
        warnings.append(f"{before.sum():,} outcomes are dated before their application; they are no labels.")
        reason[before] = "unknown"
    return reason


def _warn_of_early_finishers(start: np.ndarray, finished: np.ndarray, declined: np.ndarray, warnings: list[str]) -> None:
    """Without a window, vintages that are only partly finished hold the early finishers, which are not like the rest."""
    booked = ~declined & ~np.isnat(start)
    quarters = period_starts(start, "quarter")
    partial = []
    for quarter in np.unique(quarters[booked]):
        share = finished[booked & (quarters == quarter)].mean()
        if 0 < share < 0.9:
            partial.append(str(quarter))
    if partial:
        warnings.append(
            f"In {len(partial)} quarters (from {partial[0]} on) fewer than 90 % of the loans have an outcome: their early finishers are "
            "not like the rest. State a default window."
        )
