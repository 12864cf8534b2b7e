"""What a made-up world is like: its size, seasons, risks, frauds and the faults that are injected into it."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

import numpy as np

from mlcore.schema import CORE, Column, Schema

DriftKind = Literal["covariate", "level", "concept", "empty", "unit"]

SHIFTABLE = (
    "annual_income", "debt_to_income", "employment_months", "credit_score", "credit_history_months", "delinquencies_24m", "public_records",
    "inquiries_6m", "revolving_utilisation", "amount", "savings_balance",
)  # fmt: skip
"""Columns whose distribution a covariate shift can move."""

LENDER_COLUMNS = (
    Column("savings_balance", "number", "Savings with us", unit="currency", direction=-1, family="savings"),
    Column("existing_customer", "boolean", "Existing customer", direction=-1, family="relationship"),
    # An identifier says nothing about who repays: it links applications, and is kept from models as late knowledge would be.
    Column("device_id", "category", "Device", family="device", known_at_application=False),
)
"""This lender's own attributes, beside the columns that every lender has."""

LEAK = Column("collection_calls", "number", "Collection calls", unit="count", family="collection")
"""A planted leak (`World.leak`): known only after a default, yet declared as if it were known at application."""


class WorldError(ValueError):
    """A world is asked for that can't be: a rate outside (0, 1), no days, a drift of a column that is not there."""


@dataclass(frozen=True)
class Drift:
    """One change injected into a world, in force from `at` on, reached linearly over `ramp_days` (0: at once).

    kind, and what `columns` and `size` then mean:

    * ``covariate``: the columns' (normal) ranks move by `size` standard deviations; who defaults given the columns stays as it was
    * ``level``: the default rate becomes `size` times what it was, by one shift of everybody's log-odds; no columns
    * ``concept``: the columns' effects on the log-odds are multiplied by `size` (0: they stop telling, -1: they turn round) while the
      default rate stays
    * ``empty``: a share `size` of the columns' values is not recorded; the applicants are what they were
    * ``unit``: the columns' recorded values are multiplied by `size` (100: cents for dollars); the applicants are what they were
    """

    kind: DriftKind
    at: date
    columns: tuple[str, ...] = ()
    size: float = 1.0
    ramp_days: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("covariate", "level", "concept", "empty", "unit"):
            raise WorldError(f"There is no drift of the kind {self.kind!r}.")
        if self.kind == "level" and self.columns:
            raise WorldError("A level shift touches no columns.")
        if self.kind != "level" and not self.columns:
            raise WorldError(f"A drift of the kind {self.kind!r} needs columns.")
        if not np.isfinite(self.size) or self.ramp_days < 0:
            raise WorldError("A drift needs a finite size and a ramp of zero days or more.")
        if self.kind == "level" and self.size <= 0:
            raise WorldError(f"A level shift multiplies the default rate by a positive number, not {self.size}.")
        if self.kind == "empty" and not 0 <= self.size <= 1:
            raise WorldError(f"A share of {self.size} can't go missing.")
        known = {"covariate": SHIFTABLE, "unit": NUMBERS}.get(self.kind, FEATURES if self.kind == "concept" else SCHEMA.names)
        unknown = [name for name in self.columns if name not in known]
        if unknown:
            raise WorldError(f"A drift of the kind {self.kind!r} can't touch {', '.join(unknown)}.")

    def weight(self, moments: np.ndarray) -> np.ndarray:
        """(n,) float64 in [0, 1]: how far the drift has come at each moment (datetime64)."""
        elapsed = (moments - np.datetime64(self.at, "s")) / np.timedelta64(1, "D")
        return (elapsed >= 0).astype(float) if not self.ramp_days else np.clip(elapsed / self.ramp_days, 0.0, 1.0)


@dataclass(frozen=True)
class World:
    """The parameters of a made-up lender. The same world gives the same applications, down to the last digit.

    seed: of everything random. start: first day (UTC). months: how many calendar months long.
    applications: how many in all, exactly; None draws the number from `applications_per_day` (at the start, on an average day).
    default_rate: share of honest applicants that default within `outcome_months`, before drift. signal: multiplies every true effect
    (0.8: the best possible AUC is about .77). growth: of the number of applications, a year. seasonality: multiplies the weekly, yearly and
    holiday swings (0: none). overdispersion: variance of the daily level around its expectation, relative to its square.
    ring_share: share of applications that belong to fraud rings; ring_sizes: loans a ring (least, most); ring_days: a ring's longest life;
    rings_at_end: so many of the rings are still at work when the world ends.
    hub_share: share of honest applications under an identifier that many innocent people share. repeat_share: of people who apply again.
    proxy: how many standard deviations lower women's incomes are. Neither age nor sex ever acts on default itself.
    leak: whether the column `LEAK` is added. drifts: what goes wrong, and when.
    """

    seed: int = 7
    start: date = date(2023, 1, 1)
    months: int = 36
    applications: int | None = None
    applications_per_day: float = 10.0
    default_rate: float = 0.12
    outcome_months: int = 12
    signal: float = 0.8
    growth: float = 0.10
    seasonality: float = 1.0
    overdispersion: float = 0.01
    ring_share: float = 0.01
    ring_sizes: tuple[int, int] = (3, 8)
    ring_days: int = 12
    rings_at_end: int = 0
    hub_share: float = 0.02
    repeat_share: float = 0.04
    proxy: float = 0.0
    leak: bool = False
    drifts: tuple[Drift, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.default_rate < 1:
            raise WorldError(f"A default rate of {self.default_rate} is outside (0, 1).")
        if self.months < 1 or self.outcome_months < 1:
            raise WorldError("A world lasts a month at least, and so does the window of its outcomes.")
        if self.applications is not None and self.applications < 0 or self.applications_per_day < 0:
            raise WorldError("The number of applications can't be negative.")
        for name in ("ring_share", "hub_share", "repeat_share"):
            if not 0 <= getattr(self, name) <= 0.5:
                raise WorldError(f"{name} must be between 0 and 0.5, not {getattr(self, name)}.")
        if not 2 <= self.ring_sizes[0] <= self.ring_sizes[1] or self.ring_days < 1 or self.rings_at_end < 0:
            raise WorldError("A ring has two loans or more and lives for a day or more.")
        if self.overdispersion < 0 or self.growth <= -1 or not 0 <= self.seasonality <= 2.5:
            raise WorldError("overdispersion must be ≥ 0, growth > -1, and seasonality between 0 and 2.5.")

    @property
    def end(self) -> date:
        """The first day after the last."""
        return months_later(self.start, self.months)

    @property
    def schema(self) -> Schema:
        return SCHEMA.with_columns((LEAK,)) if self.leak else SCHEMA

    def but(self, **changes: object) -> World:
        """The same world with some parameters changed."""
        return replace(self, **changes)


def months_later(day: date, months: int) -> date:
    """The same day of another month, or that month's last where it is too short."""
    years, month = divmod(day.month - 1 + months, 12)
    year = day.year + years
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


SCHEMA = CORE.with_columns(LENDER_COLUMNS)
FEATURES = SCHEMA.usable().names
NUMBERS = tuple(column.name for column in SCHEMA.usable() if column.kind == "number")


@dataclass(frozen=True)
class Product:
    """share: of all applications. amounts: least, median, most. season: size of the yearly swing and its peak (day of the year)."""

    code: str
    name: str
    share: float
    amounts: tuple[int, int, int]
    terms: tuple[int, ...]
    purposes: tuple[str, ...]
    season: tuple[float, int]


PRODUCTS = (
    Product(
        "personal", "Personal loan", 0.46, (500, 9_000, 50_000), (24, 36, 48, 60),
        ("debt_consolidation", "credit_card", "medical", "moving", "wedding"), (0.15, 340),
    ),
    Product("auto", "Car loan", 0.26, (1_000, 18_000, 100_000), (36, 48, 60, 72), ("new_car", "used_car"), (0.18, 110)),
    Product(
        "home_improvement", "Home improvement loan", 0.17, (1_000, 15_000, 150_000), (36, 60, 84, 120),
        ("renovation", "repair", "energy_saving"), (0.30, 130),
    ),
    Product(
        "small_business", "Small business loan", 0.11, (2_000, 32_000, 500_000), (24, 36, 60, 84),
        ("equipment", "working_capital", "expansion"), (0.10, 30),
    ),
)  # fmt: skip
REGIONS = ("north", "south", "east", "west", "central", "coast")
REGION_SHARES = np.array([0.14, 0.22, 0.18, 0.16, 0.20, 0.10])
CHANNELS = ("online", "branch", "broker", "phone", "partner")
CHANNEL_SHARES = np.array([0.50, 0.20, 0.12, 0.10, 0.08])
PURPOSES = tuple(purpose for product in PRODUCTS for purpose in product.purposes)
EMPLOYMENT = ("employed", "self_employed", "unemployed", "retired", "student")
HOMES = ("rent", "mortgage", "own", "other")
LEVELS: dict[str, tuple[str, ...]] = {
    "product": tuple(product.code for product in PRODUCTS),
    "channel": CHANNELS,
    "purpose": PURPOSES,
    "employment_status": EMPLOYMENT,
    "home_ownership": HOMES,
    "region": REGIONS,
}
"""The values of each category; columns hold their positions until a frame is made."""
