"""When applications come in: growth, the week, the year, holidays, and a day's own luck, by product and region."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np

from mlcore.synth.world import PRODUCTS, REGION_SHARES, World

WEEK = np.array([1.14, 1.12, 1.08, 1.06, 1.00, 0.86, 0.74])
"""Monday to Sunday, mean 1. Branches are closed on Sundays, the web is not."""
HOLIDAY = 0.35
"""A holiday's share of a usual day."""
# Shares of a day's applications by hour, UTC: a day at the desk of a country a few hours behind.
HOURS = np.array([3, 2, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 1, 2, 3, 5, 7, 8, 9, 9, 8, 8, 8, 7, 6, 5, 4], dtype=float)


def days_of(world: World) -> np.ndarray:
    """(d,) datetime64[D]: every day of the world."""
    return np.arange(np.datetime64(world.start, "D"), np.datetime64(world.end, "D"))


def holidays(first: date, last: date) -> np.ndarray:
    """datetime64[D]: the days from first to last (inclusive) on which hardly anybody applies (US: New Year, 4 July, Thanksgiving …)."""
    found = []
    for year in range(first.year, last.year + 1):
        found += [date(year, *each) for each in ((1, 1), (7, 4), (12, 24), (12, 25), (12, 31))]
        found.append(_weekday(date(year, 5, 31), 0, back=True))  # Memorial Day: May's last Monday
        found.append(_weekday(date(year, 9, 1), 0))  # Labor Day: September's first Monday
        found.append(_weekday(date(year, 11, 22), 3))  # Thanksgiving: November's fourth Thursday
    return np.array(sorted(day for day in found if first <= day <= last), dtype="datetime64[D]")


def _weekday(day: date, weekday: int, *, back: bool = False) -> date:
    """The next such weekday on or after `day`, or the last one on or before it."""
    return day - timedelta((day.weekday() - weekday) % 7) if back else day + timedelta((weekday - day.weekday()) % 7)


def expected_counts(world: World) -> np.ndarray:
    """(days, products, regions) float64: applications to be expected, before a day's own luck. The truth for a demand forecast.

    Scaled to `world.applications` where that is given.
    """
    days = days_of(world)
    strength = world.seasonality
    years = np.arange(len(days)) / 365.25
    weekday = (days.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    level = (1 + world.growth) ** years * np.maximum(1 + strength * (WEEK[weekday] - 1), 0.02)
    closed = np.isin(days, holidays(world.start, world.end))
    level = np.where(closed, level * max(1 - strength * (1 - HOLIDAY), 0.02), level)
    day_of_year = (days - days.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64)
    swing, peak = np.array([product.season for product in PRODUCTS]).T
    season = np.maximum(1 + strength * swing * np.cos(2 * np.pi * (day_of_year[:, None] - peak) / 365.25), 0.02)
    shares = np.array([product.share for product in PRODUCTS])
    expected = world.applications_per_day * level[:, None, None] * (season * shares)[:, :, None] * REGION_SHARES
    if world.applications is not None:
        expected *= world.applications / expected.sum()
    return expected


def draw(world: World, rng: np.random.Generator, total: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`total` applications in no order: moment (datetime64[s]), product (int8 position), region (int8 position)."""
    # Shares only: a world of no applications has days and seasons all the same.
    expected = expected_counts(world.but(applications=None, applications_per_day=1.0))
    if world.overdispersion:
        luck = rng.gamma(1 / world.overdispersion, world.overdispersion, len(expected))
        expected = expected * luck[:, None, None]
    counts = rng.multinomial(total, (expected / expected.sum()).ravel())
    cell = np.repeat(np.arange(counts.size), counts)
    day, product, region = np.unravel_index(cell, expected.shape)
    moments = days_of(world)[day].astype("datetime64[s]") + seconds_of_day(rng, total).astype("timedelta64[s]")
    return moments, product.astype(np.int8), region.astype(np.int8)


def total_of(world: World, rng: np.random.Generator) -> int:
    """How many applications there are: as told, or drawn around what is expected."""
    return int(rng.poisson(expected_counts(world).sum())) if world.applications is None else world.applications


def seconds_of_day(rng: np.random.Generator, n: int) -> np.ndarray:
    """(n,) int64 seconds after midnight UTC."""
    hour = np.searchsorted(np.cumsum(HOURS) / HOURS.sum(), rng.random(n), side="right")
    return np.minimum(hour, 23) * 3600 + rng.integers(0, 3600, n)
