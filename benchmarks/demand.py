"""The demand forecast on real series: `python -m benchmarks.demand [CASE …]`.

Every vintage is made by the public `forecast` from what was known at its origin, as the desk makes it, and held against what came.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

import numpy as np
import pandas as pd

from benchmarks.data import FOLDER
from mlcore.demand import Accuracy, ForecastSet, SeriesSet, forecast
from mlcore.demand.accuracy import Errors, errors

SERIES, DAYS = 1000, 3 * 365


@dataclass(frozen=True)
class Case:
    """history: as a whole; each vintage cuts it at its own origin. origins: as_of dates. season: what seasonal naive looks back."""

    title: str
    history: Callable[[], SeriesSet]
    frequency: str
    horizon: int
    origins: Callable[[], list[str]]
    file: str
    until: str
    country: str | None = "US"
    measure: str = "count"


def _starts(first: str, last: str, count: int, frequency: str = "MS") -> list[str]:
    """`count` starts of periods, evenly from first to last."""
    days = pd.date_range(first, last, freq=frequency)
    return [str(days[k].date()) for k in np.unique(np.linspace(0, len(days) - 1, count).round().astype(int))]


def _main_ones(names: pd.Series, keep: int) -> pd.Series:
    return names.where(names.isin(names.value_counts().index[:keep]), "other")


def funnel() -> SeriesSet:
    raw = pd.read_csv(FOLDER / "lendingclub_monthly_funnel_2007_2016.csv")
    long = raw.melt("month", ["n_accepted", "n_rejected"], var_name="product", value_name="count")
    return SeriesSet.from_counts(long.rename(columns={"month": "period"}), frequency="monthly")


def loans() -> SeriesSet:
    raw = pd.read_csv(FOLDER / "lendingclub_2007_2010.csv.gz", usecols=["issue_d", "loan_amnt", "purpose", "addr_state"])
    raw["product"], raw["region"] = _main_ones(raw["purpose"], 4), _main_ones(raw["addr_state"], 4)
    return SeriesSet.from_applications(raw.rename(columns={"issue_d": "timestamp", "loan_amnt": "amount"}))


def sba() -> SeriesSet:
    raw = pd.read_csv(FOLDER / "sba_21k.csv.gz", usecols=["approval_date", "gr_appv", "state", "new_exist"])
    raw["region"] = _main_ones(raw["state"], 5)
    raw["product"] = raw["new_exist"].map({1.0: "existing business", 2.0: "new business"}).fillna("existing business")
    return SeriesSet.from_applications(raw.rename(columns={"approval_date": "timestamp", "gr_appv": "amount"}))


def consumer_credit() -> SeriesSet:
    raw = pd.read_csv(FOLDER / "fred_totalsl_monthly.csv")
    return SeriesSet.from_counts(raw.rename(columns={"observation_date": "period", "TOTALSL": "count"}), frequency="monthly")


CASES: dict[str, Case] = {
    "funnel": Case(
        "LendingClub funnel by month", funnel, "monthly", 12, lambda: _starts("2011-01-01", "2016-01-01", 13),
        "lendingclub_monthly_funnel_2007_2016.csv", "2017-01-01",
    ),
    "loans": Case(
        "LendingClub loans by month", loans, "monthly", 3, lambda: _starts("2009-06-01", "2010-10-01", 12), "lendingclub_2007_2010.csv.gz", "2011-01-01",
    ),
    "loans_amount": Case(
        "LendingClub money by month", loans, "monthly", 3, lambda: _starts("2009-06-01", "2010-10-01", 12),
        "lendingclub_2007_2010.csv.gz", "2011-01-01", measure="amount",
    ),
    "sba_month": Case("SBA by month", sba, "monthly", 6, lambda: _starts("1996-01-01", "2011-06-01", 12), "sba_21k.csv.gz", "2012-01-01"),
    "sba_week": Case("SBA by week", sba, "weekly", 8, lambda: _starts("1998-01-05", "2010-06-01", 12, "W-MON"), "sba_21k.csv.gz", "2012-01-01"),
    "sba_day": Case("SBA by day", sba, "daily", 14, lambda: _starts("2003-02-01", "2009-06-30", 12, "D"), "sba_21k.csv.gz", "2012-01-01"),
    "totalsl": Case(
        "US consumer credit by month", consumer_credit, "monthly", 12, lambda: _starts("1991-01-01", "2024-02-01", 14),
        "fred_totalsl_monthly.csv", "2025-03-01",
    ),
}  # fmt: skip


@dataclass
class Result:
    case: Case
    table: Errors
    accuracy: Accuracy
    total: Accuracy
    incoherence: float
    seconds: float


def run(case: Case, show: TextIO | None = sys.stderr) -> Result:
    history = case.history()
    vintages: list[ForecastSet] = []
    begun = time.perf_counter()
    origins = case.origins()
    for k, as_of in enumerate(origins):
        if show and show.isatty():
            print(f"\r{case.title}: origin {k + 1} of {len(origins)}", end="\033[K", file=show, flush=True)
        vintages.append(
            forecast(
                history, horizon=case.horizon, frequency=case.frequency, country=case.country, as_of=as_of, measure=case.measure
            )
        )
    seconds = (time.perf_counter() - begun) / len(origins)
    if show and show.isatty():
        print("\r\033[K", end="", file=show)
    table = errors(vintages, history, case.until)
    whole = table.summary(np.ones(len(table.key), dtype=bool), "all")
    total = table.summary(np.array([key == (None, None) for key in table.key]), "total")
    return Result(case, table, whole, total, max(each.incoherence() for each in vintages), seconds)
