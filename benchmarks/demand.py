"""The demand forecast on real series: `python -m benchmarks.demand [CASE …]`; the case `speed` times 1,000 series.

Every vintage is made by the public `forecast` from what was known at its origin, as the desk makes it, and held against what came.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

import numpy as np
import pandas as pd

from benchmarks.data import FOLDER
from benchmarks.report import Figure, show, table, write
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
        "LendingClub funnel by month",
        funnel,
        "monthly",
        12,
        lambda: _starts("2011-01-01", "2016-01-01", 13),
        "lendingclub_monthly_funnel_2007_2016.csv",
        "2017-01-01",
    ),
    "loans": Case(
        "LendingClub loans by month",
        loans,
        "monthly",
        3,
        lambda: _starts("2009-06-01", "2010-10-01", 12),
        "lendingclub_2007_2010.csv.gz",
        "2011-01-01",
    ),
    "loans_amount": Case(
        "LendingClub money by month",
        loans,
        "monthly",
        3,
        lambda: _starts("2009-06-01", "2010-10-01", 12),
        "lendingclub_2007_2010.csv.gz",
        "2011-01-01",
        measure="amount",
    ),
    "sba_month": Case("SBA by month", sba, "monthly", 6, lambda: _starts("1996-01-01", "2011-06-01", 12), "sba_21k.csv.gz", "2012-01-01"),
    "sba_week": Case(
        "SBA by week", sba, "weekly", 8, lambda: _starts("1998-01-05", "2010-06-01", 12, "W-MON"), "sba_21k.csv.gz", "2012-01-01"
    ),
    "sba_day": Case("SBA by day", sba, "daily", 14, lambda: _starts("2003-02-01", "2009-06-30", 12, "D"), "sba_21k.csv.gz", "2012-01-01"),
    "totalsl": Case(
        "US consumer credit by month",
        consumer_credit,
        "monthly",
        12,
        lambda: _starts("1991-01-01", "2024-02-01", 14),
        "fred_totalsl_monthly.csv",
        "2025-03-01",
    ),
}


@dataclass
class Result:
    case: Case
    table: Errors
    accuracy: Accuracy
    total: Accuracy
    incoherence: float
    seconds: float


def run(case: Case, watch: TextIO | None = sys.stderr) -> Result:
    history = case.history()
    vintages: list[ForecastSet] = []
    begun = time.perf_counter()
    origins = case.origins()
    for k, as_of in enumerate(origins):
        if watch and watch.isatty():
            print(f"\r{case.title}: origin {k + 1} of {len(origins)}", end="\033[K", file=watch, flush=True)
        vintages.append(
            forecast(history, horizon=case.horizon, frequency=case.frequency, country=case.country, as_of=as_of, measure=case.measure)
        )
    seconds = (time.perf_counter() - begun) / len(origins)
    if watch and watch.isatty():
        print("\r\033[K", end="", file=watch)
    found = errors(vintages, history, case.until)
    whole = found.summary(np.ones(len(found.key), dtype=bool), "all")
    total = found.summary(np.array([key == (None, None) for key in found.key]), "total")
    return Result(case, found, whole, total, max(each.incoherence() for each in vintages), seconds)


def speed(seed: int = 0) -> tuple[float, float, float]:
    """Seconds by the clock and of processor for one refresh of 20 products × 50 regions over three years of days; and its incoherence."""
    generator = np.random.default_rng(seed)
    at = np.arange(DAYS)
    week = np.array([1.1, 1.1, 1.0, 1.0, 1.0, 0.8, 0.6])[at % 7]
    expected = np.exp(generator.normal(0.5, 1, (SERIES, 1))) * (1 + 0.3 * np.sin(at / 58)) * week
    number = np.repeat(np.arange(SERIES), DAYS)
    frame = pd.DataFrame(
        {
            "period": np.tile(pd.date_range("2021-01-01", periods=DAYS), SERIES),
            "count": generator.poisson(expected).ravel(),
            "product": np.char.add("p", (number // 50).astype(str)),
            "region": np.char.add("r", (number % 50).astype(str)),
        }
    )
    clock, processor = time.perf_counter(), time.process_time()
    vintage = forecast(SeriesSet.from_counts(frame, frequency="daily"), horizon=28, frequency="daily", country="US", as_of="2024-01-01")
    return time.perf_counter() - clock, time.process_time() - processor, vintage.incoherence()


HEADS = (
    "case",
    "series",
    "origins",
    "horizon",
    "MASE",
    "naive's",
    "ratio",
    "total's",
    "1 − WAPE",
    "naive's",
    "80 %",
    "95 %",
    "s a vintage",
)


def _row(result: Result) -> tuple:
    one, total, case = result.accuracy, result.total, result.case
    share = ("–" if each is None else round(each, 3) for each in (one.one_minus_wape, one.naive_one_minus_wape))
    figures = (round(each, 3) for each in (one.mase, one.naive_mase, one.mase_ratio or 0.0, total.mase_ratio or 0.0))
    horizon = f"{case.horizon} {case.frequency}"
    cover = (round(one.coverage80 or 0.0, 3), round(one.coverage95 or 0.0, 3))
    return (case.title, len(set(result.table.key)), one.origins, horizon, *figures, *share, *cover, round(result.seconds, 1))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demand", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join([*CASES, 'speed'])}; all where none is named")
    asked = parser.parse_args(arguments).cases
    unknown = sorted(set(asked) - {*CASES, "speed"})
    if unknown:
        parser.error(f"There is no case {', '.join(unknown)}.")
    results = []
    for name, case in CASES.items():
        if asked and name not in asked:
            continue
        if not (FOLDER / case.file).exists():
            print(f"{case.title}: {case.file} is not in {FOLDER}; skipped.")
            continue
        results.append(run(case))
    figures = []
    if results:
        print(table(HEADS, [_row(result) for result in results]))
        print("LendingClub's loan file tells months only (issue_d), so it has no weeks to forecast; the SBA's dates stand in for them.")
        print(
            "MASE over all series of a case; the ratio's yardstick is seasonal naive from the same origins. Coverage without closed days."
        )
        inside80, inside95 = (
            np.concatenate([getattr(each.table, name)[each.table.business] for each in results]).mean() for name in ("inside80", "inside95")
        )
        ratio = float(np.mean([each.accuracy.mase_ratio or 0.0 for each in results]))
        figures += [
            Figure("demand.mase_ratio", ratio, "", "at most (seasonal naive = 1)", 0.76),
            Figure("demand.coverage80", float(inside80), "", "within .03 of", 0.80),
            Figure("demand.coverage95", float(inside95), "", "near", 0.95),
            Figure("demand.incoherence", max(each.incoherence for each in results), "", "exactly", 0.0),
        ]
    if not asked or "speed" in asked:
        clock, processor, _ = speed()
        figures += [
            Figure("demand.series_s", clock, "s for 1,000 series × 3 years", "at most", 300.0),
            Figure("demand.series_cpu_s", processor, "s of processor", "of series_s", clock),
        ]
    show(figures)
    if not asked and len(results) == len(CASES):  # a part is no figure to compare runs by
        print(f"Written: {write('demand', figures)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
