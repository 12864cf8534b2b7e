"""Days, weeks and months as whole numbers, and which days a country keeps as holidays.

A period is one integer: days, weeks (from Monday) or months since January 1970. So neighbours differ by 1 and a gap is a difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

import holidays as country_holidays
import numpy as np
import pandas as pd


class CalendarError(ValueError):
    """A frequency that does not exist, or a history too coarse for the frequency asked for."""


@dataclass(frozen=True, slots=True)
class Frequency:
    """season: periods after which the pattern comes again (a week of days, a year of weeks or months).

    level: periods over which a level is averaged. window: most periods that a fit looks back over. step: periods between backtest origins;
    5 for days, so that the origins fall on every weekday in turn. memory: periods of which a seasonal profile is taken.
    noun: for sentences.
    """

    name: str
    season: int
    level: int
    window: int
    step: int
    memory: int
    noun: str


FREQUENCIES = {
    each.name: each
    for each in (
        Frequency("daily", 7, 28, 730, 5, 26 * 7, "day"),
        Frequency("weekly", 52, 13, 260, 2, 5 * 52, "week"),
        Frequency("monthly", 12, 6, 180, 1, 8 * 12, "month"),
    )
}


def frequency_of(name: str) -> Frequency:
    if name not in FREQUENCIES:
        raise CalendarError(f"The frequency {name!r} does not exist; it must be one of {', '.join(FREQUENCIES)}.")
    return FREQUENCIES[name]


def period_of(moments: np.ndarray, frequency: str) -> np.ndarray:
    """int64: the period that each datetime64 falls in. NaT must have been dropped."""
    moments = np.asarray(moments)
    if frequency == "monthly":
        return moments.astype("datetime64[M]").astype(np.int64)
    days = moments.astype("datetime64[D]").astype(np.int64)
    return days if frequency == "daily" else (days + 3) // 7  # 1970-01-01 was a Thursday: its week began on 29 December


def start_of(periods: np.ndarray | int, frequency: str) -> np.ndarray:
    """datetime64[D]: the first day of each period."""
    periods = np.asarray(periods, dtype=np.int64)
    if frequency == "monthly":
        return periods.astype("datetime64[M]").astype("datetime64[D]")
    return (periods if frequency == "daily" else periods * 7 - 3).astype("datetime64[D]")


def coarser(periods: np.ndarray, base: str, frequency: str) -> np.ndarray:
    """The periods of `frequency` that periods of `base` lie in. Weeks do not fit into months."""
    if base == frequency:
        return np.asarray(periods, dtype=np.int64)
    if base != "daily":
        raise CalendarError(f"A {base} history can't be forecast {frequency}; hand over rows or daily counts.")
    return period_of(start_of(periods, "daily"), frequency)


def moment(value: date | datetime | str | np.datetime64 | pd.Timestamp) -> np.datetime64:
    """datetime64[us] in UTC; a date is its first instant, so that this day itself is not over."""
    stamp = pd.Timestamp(value)
    if stamp is pd.NaT:
        raise CalendarError("as_of is missing.")
    return (stamp.tz_convert("UTC").tz_localize(None) if stamp.tzinfo else stamp).to_datetime64().astype("datetime64[us]")


def holiday_names(country: str | None, first: np.datetime64, last: np.datetime64) -> tuple[dict[np.datetime64, str], str]:
    """Public holidays from first to last, {day: name without "(observed)"}, and a note where the country has no calendar."""
    if not country:
        return {}, ""
    years = range(int(str(first)[:4]), int(str(last)[:4]) + 1)
    try:
        known = country_holidays.country_holidays(country, years=years)
    except NotImplementedError:
        return {}, f"There is no holiday calendar for {country!r}: holidays are treated like any day."
    found = {np.datetime64(day, "D"): name.split(" (")[0] for day, name in known.items()}
    return {day: name for day, name in sorted(found.items()) if first <= day <= last}, ""


def holiday_codes(days: np.ndarray, names: dict[np.datetime64, str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """(d,) int64 of −1 for a usual day or the position of the holiday's name, and the names."""
    titles = tuple(sorted(set(names.values())))
    place = {title: k for k, title in enumerate(titles)}
    return np.array([place[names[day]] if day in names else -1 for day in days.astype("datetime64[D]")], dtype=np.int64), titles


def holidays_within(periods: np.ndarray, frequency: str, names: dict[np.datetime64, str]) -> np.ndarray:
    """(p,) float64: holidays from Monday to Friday in each period."""
    days = np.array([day for day in names if (day.astype(np.int64) + 3) % 7 < 5], dtype="datetime64[D]")
    if not len(days) or not len(periods):
        return np.zeros(len(periods))
    at = period_of(days, frequency) - int(periods[0])
    at = at[(at >= 0) & (at < len(periods))]
    return np.bincount(at, minlength=len(periods)).astype(float)
