"""Histories with a known truth, small and seeded."""

import numpy as np
import pandas as pd

from mlcore.demand import SeriesSet


def counts(values, *, start="2015-01-01", frequency="monthly", products=None, regions=None):
    """A set of counts from (t,) or (n, t) values; products, regions: names of the n series."""
    table = np.atleast_2d(np.asarray(values, dtype=float))
    step = {"daily": "D", "weekly": "W-MON", "monthly": "MS"}[frequency]
    days = pd.date_range(start, periods=table.shape[1], freq=step)
    n = len(table)
    frame = pd.DataFrame({"period": np.tile(days, n), "count": table.ravel()})
    if products is not None:
        frame["product"] = np.repeat(products, len(days))
    if regions is not None:
        frame["region"] = np.repeat(regions, len(days))
    return SeriesSet.from_counts(frame, frequency=frequency)


def applications(per_day, *, start="2024-01-01", product="loan", region="north", amount=1000.0):
    """Rows of applications, per_day[k] of them on the k-th day."""
    days = pd.date_range(start, periods=len(per_day), freq="D", tz="UTC") + pd.Timedelta(hours=12)
    rows = days.repeat(np.asarray(per_day, dtype=int))
    return pd.DataFrame({"timestamp": rows, "amount": amount, "product": product, "region": region})


def seasonal(t, *, noise=0.03, seed=0, growth=3.0, level=400.0):
    """(t,) months with a trend and a year: what is expected, and what came."""
    at = np.arange(t)
    expected = (level + growth * at) * (1 + 0.3 * np.sin(2 * np.pi * at / 12))
    return expected, expected * np.exp(noise * np.random.default_rng(seed).normal(size=t))
