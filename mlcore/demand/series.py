"""Applications as series: who applied when, for what, where, for how much; and what was odd about the rows.

A `SeriesSet` keeps sums per leaf (a product in a region) and period, not a dense table: a stray date of 1900 costs one row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from mlcore.demand.calendar import frequency_of, period_of, start_of

UNKNOWN = "(unknown)"
OTHER = "(other)"
MAX_LEAVES = 2000
COLUMNS = ("timestamp", "amount", "product", "region")

Rows = pd.DataFrame | Iterable[tuple[Any, Any, Any, Any]]


class SeriesError(ValueError):
    """The rows do not have the columns they must have, or a measure was asked for that they do not hold."""


@dataclass(frozen=True)
class SeriesSet:
    """Sums per leaf and period, sorted by period.

    base: "daily" for rows, else the frequency the counts came in. products, regions: (n,) object of str, one a leaf.
    leaf, period: (r,) int64. counts, amounts: (r,) float64, NaN where it is known that something came but not how much; `amounts` is
    None where only counts are known. from_rows: whether a period without a row means that nobody applied, as far as that is plausible.
    sizes: mean squared size / squared mean size of an application's amount (1 + squared coefficient of variation).
    """

    base: str
    products: np.ndarray
    regions: np.ndarray
    leaf: np.ndarray
    period: np.ndarray
    counts: np.ndarray
    amounts: np.ndarray | None
    from_rows: bool = True
    sizes: float = 2.0
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.products)

    def values(self, measure: str) -> np.ndarray:
        if measure not in ("count", "amount"):
            raise SeriesError(f"The measure {measure!r} does not exist; it must be count or amount.")
        if measure == "count":
            return self.counts
        if self.amounts is None:
            raise SeriesError("This history holds counts only: there are no amounts to forecast.")
        return self.amounts

    def known(self, instant: np.datetime64) -> tuple[SeriesSet, float]:
        """The history as it was known at this instant, and how many applications are dated later.

        Series that had nothing until then are not in it. Rows tell their day, not their hour: the day of `instant` counts as known.
        """
        keep = start_of(self.period, self.base).astype("datetime64[us]") < instant
        if keep.all():
            return self, 0.0
        seen = np.unique(self.leaf[keep])
        cut = replace(
            self,
            products=self.products[seen],
            regions=self.regions[seen],
            leaf=np.searchsorted(seen, self.leaf[keep]),
            period=self.period[keep],
            counts=self.counts[keep],
            amounts=None if self.amounts is None else self.amounts[keep],
        )
        return cut, float(np.nansum(self.counts[~keep]))

    @classmethod
    def from_applications(cls, rows: Rows, *, timezone: str = "UTC", max_leaves: int = MAX_LEAVES) -> SeriesSet:
        """From one row an application: (timestamp, amount, product, region), a frame of these columns or an iterable of tuples.

        timezone: where a day begins; timestamps without a zone are UTC. Rows without a readable timestamp are left out; a missing or
        negative amount counts as an application and adds nothing to the amounts: both are noted. Beyond `max_leaves` products × regions,
        the regions with fewest applications become "(other)".
        """
        frame = _frame(rows, COLUMNS)
        notes = []
        stamp = pd.to_datetime(frame["timestamp"], utc=True, errors="coerce", format="mixed")
        bad = stamp.isna().to_numpy()
        if bad.any():
            notes.append(f"{bad.sum():,} of {len(frame):,} rows have no readable date and are left out.")
        frame, stamp = frame.loc[~bad], stamp[~bad]
        amount = pd.to_numeric(frame["amount"], errors="coerce").to_numpy(float)
        wrong = ~np.isfinite(amount) | (amount < 0)
        if wrong.any() and not wrong.all():
            notes.append(f"{wrong.sum():,} applications have no valid amount: they are counted, and add nothing to the amounts.")
        sizes = amount[~wrong]
        mean = sizes.mean() if len(sizes) else 0.0
        days = stamp.dt.tz_convert(timezone).dt.tz_localize(None).to_numpy("datetime64[D]")
        series = cls._build(
            "daily",
            frame["product"],
            frame["region"],
            period_of(days, "daily"),
            np.ones(len(frame)),
            None if wrong.all() else np.where(wrong, 0.0, amount),
            notes,
            max_leaves,
        )
        return replace(series, sizes=float((sizes**2).mean() / mean**2) if mean > 0 else 2.0)

    @classmethod
    def from_days(cls, rows: pd.DataFrame, *, max_leaves: int = MAX_LEAVES) -> SeriesSet:
        """What `from_applications` makes of rows, from their sums: columns day (a date), product, region, count, amount (the sum) and
        squares (the sum of the amounts' squares). As there, a day without a row is one on which nobody applied, where that is plausible.
        """
        frame = _frame(rows, ("day", "product", "region", "count", "amount", "squares"))
        counts, amounts = frame["count"].to_numpy(float), frame["amount"].to_numpy(float)
        days = pd.to_datetime(frame["day"]).to_numpy("datetime64[D]")
        series = cls._build(
            "daily", frame["product"], frame["region"], period_of(days, "daily"), counts, amounts if len(frame) else None, [], max_leaves
        )
        total, mean = counts.sum(), amounts.sum() / max(counts.sum(), 1.0)
        return replace(series, sizes=float(frame["squares"].sum() / total / mean**2) if total > 0 and mean > 0 else 2.0)

    @classmethod
    def from_counts(cls, rows: pd.DataFrame, *, frequency: str, max_leaves: int = MAX_LEAVES) -> SeriesSet:
        """From counts that are already summed: columns period (any day in it), count, and optionally amount, product, region.

        A NaN count means "not known"; a period that no row names is a gap; a leaf without a row where others have one is zero.
        Negative and infinite counts are taken as not known, and noted.
        """
        frequency_of(frequency)
        frame = _frame(rows, ("period", "count"))
        notes = []
        stamp = pd.to_datetime(frame["period"], utc=True, errors="coerce", format="mixed")
        bad = stamp.isna().to_numpy()
        if bad.any():
            notes.append(f"{bad.sum():,} of {len(frame):,} rows have no readable date and are left out.")
        frame, stamp = frame.loc[~bad], stamp[~bad]
        given = {name: _known(frame[name]) for name in ("count", "amount") if name in frame}
        for name, values in given.items():
            unread = int(np.isnan(values).sum())
            if unread:
                notes.append(f"{unread:,} {name}s are missing, negative or not numbers: taken as not known.")
        empty = pd.Series([None] * len(frame), index=frame.index, dtype=object)
        series = cls._build(
            frequency,
            frame.get("product", empty),
            frame.get("region", empty),
            period_of(stamp.dt.tz_localize(None).to_numpy("datetime64[D]"), frequency),
            given["count"],
            given.get("amount"),
            notes,
            max_leaves,
        )
        return replace(series, from_rows=False)

    @classmethod
    def _build(
        cls,
        base: str,
        product: pd.Series,
        region: pd.Series,
        period: np.ndarray,
        counts: np.ndarray,
        amounts: np.ndarray | None,
        notes: list[str],
        max_leaves: int,
    ) -> SeriesSet:
        product, region = _names(product), _names(region)
        kinds = max(len(set(product)), 1)
        if kinds * len(set(region)) > max_leaves:
            region, folded = _fold(region, max(max_leaves // kinds - 1, 1))
            notes.append(f"{folded:,} regions with the fewest applications are taken together as {OTHER}.")
        if len(set(product)) > max_leaves:
            product, folded = _fold(product, max_leaves - 1)
            notes.append(f"{folded:,} products with the fewest applications are taken together as {OTHER}.")
        frame = pd.DataFrame({"product": product, "region": region, "period": period, "count": counts})
        if amounts is not None:
            frame["amount"] = amounts
        names = ["count", *(["amount"] if amounts is not None else [])]
        groups = frame.groupby(["product", "region", "period"], sort=True)[names]
        # One unknown number makes the sum unknown
        sums = groups.sum().where(groups.count().eq(groups.size(), axis=0))
        sums = sums.reset_index()
        leaves = sums[["product", "region"]].drop_duplicates()
        codes = pd.MultiIndex.from_frame(leaves).get_indexer(pd.MultiIndex.from_frame(sums[["product", "region"]]))
        order = np.lexsort((codes, sums["period"].to_numpy()))
        return cls(
            base,
            leaves["product"].to_numpy(object),
            leaves["region"].to_numpy(object),
            codes.astype(np.int64)[order],
            sums["period"].to_numpy(np.int64)[order],
            sums["count"].to_numpy(float)[order],
            None if amounts is None else sums["amount"].to_numpy(float)[order],
            notes=tuple(notes),
        )


def _frame(rows: Rows, columns: tuple[str, ...]) -> pd.DataFrame:
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows), columns=list(columns))
    missing = [name for name in columns if name not in frame]
    if missing:
        raise SeriesError(f"The rows have no column {', '.join(missing)}; they need {', '.join(columns)}.")
    return frame.reset_index(drop=True)


def _known(values: pd.Series) -> np.ndarray:
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(float)
    return np.where(np.isfinite(numbers) & (numbers >= 0), numbers, np.nan)


def _names(values: pd.Series) -> np.ndarray:
    codes, found = pd.factorize(values.astype(object))
    names = np.array([*(str(each) for each in found), UNKNOWN], dtype=object)
    return names[codes]  # −1, a missing one, is the last


def _fold(names: np.ndarray, keep: int) -> tuple[np.ndarray, int]:
    counted = pd.Series(names).value_counts()
    kept = set(sorted(counted.index, key=lambda name: (-counted[name], name))[:keep])
    return np.array([name if name in kept else OTHER for name in names], dtype=object), len(counted) - len(kept)
