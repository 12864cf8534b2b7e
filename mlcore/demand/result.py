"""What a forecast is once it is made: plain data that can be kept as a vintage, shown, and held against what came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

FORMAT = 1
QUANTUM = 100
"""Reported numbers are whole hundredths: applications of a hundredth, money of a cent. So sums can be exact."""


def hundredths(value: float) -> int:
    """A reported number as the whole number it stands for."""
    return round(value * QUANTUM)


@dataclass(frozen=True, slots=True)
class Row:
    """One period ahead. period: its first day, ISO. step: 1 for the first. baseline: what seasonal naive says of it, or None."""

    period: str
    step: int
    point: float
    lo80: float
    hi80: float
    lo95: float
    hi95: float
    baseline: float | None = None


@dataclass(frozen=True, slots=True)
class Backtest:
    """How forecasts made the same way did on this series' own past, from `origins` moments, up to `horizon` periods ahead.

    wape: Σ|error| / Σ actual, None where nothing came. mase: mean |error| / seasonal naive's mean |error| within the history before each
    origin. The figures of seasonal naive at the same moments stand beside them.
    """

    origins: int
    horizon: int
    wape: float | None
    mase: float
    naive_wape: float | None
    naive_mase: float

    @property
    def one_minus_wape(self) -> float | None:
        return None if self.wape is None else 1 - self.wape

    @property
    def naive_one_minus_wape(self) -> float | None:
        return None if self.naive_wape is None else 1 - self.naive_wape


@dataclass(frozen=True, slots=True)
class Forecast:
    """One series of a vintage. product, region: None where it is a sum over all of them. rows: empty where `reason` says why."""

    product: str | None
    region: str | None
    origin: str
    method: str
    rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    reason: str = ""
    backtest: Backtest | None = None

    @property
    def level(self) -> str:
        return level_name(self.product, self.region)

    @property
    def key(self) -> tuple[str | None, str | None]:
        return self.product, self.region


def level_name(product: str | None, region: str | None) -> str:
    return "total" if product is None and region is None else "region" if product is None else "product" if region is None else "cell"


@dataclass(frozen=True, slots=True)
class ForecastSet:
    """A vintage: every series at one origin. origin: first day of the first period that was not yet over, ISO; as_of: ISO instant, UTC."""

    origin: str
    as_of: str
    frequency: str
    measure: str
    horizon: int
    country: str | None
    season: int
    seed: int
    series: tuple[Forecast, ...]
    notes: tuple[str, ...] = ()
    reason: str = ""

    def get(self, product: str | None = None, region: str | None = None) -> Forecast:
        """The series of this product and region; KeyError where there is none."""
        for each in self.series:
            if each.key == (product, region):
                return each
        raise KeyError((product, region))

    @property
    def total(self) -> Forecast:
        return self.get()

    def incoherence(self) -> float:
        """Largest |parent − sum of its parts| over all sums and periods, in the unit of the numbers; counted in whole hundredths."""
        points = {each.key: [hundredths(row.point) for row in each.rows] for each in self.series}
        worst = 0
        for parent, parts in families(list(points)).items():
            for group in parts:
                sums = [sum(column) for column in zip(*(points[key] for key in group), strict=True)]
                worst = max([worst, *(abs(a - b) for a, b in zip(points[parent], sums, strict=True))])
        return worst / QUANTUM

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ForecastSet:
        """The vintage that `to_json` wrote; ValueError for another format."""
        data = dict(data)
        if data.pop("format", None) != FORMAT:
            raise ValueError(f"This is not a forecast of format {FORMAT}.")
        return cls(
            **data
            | {
                "notes": tuple(data["notes"]),
                "series": tuple(
                    Forecast(
                        **each
                        | {
                            "rows": tuple(Row(**row) for row in each["rows"]),
                            "notes": tuple(each["notes"]),
                            "backtest": Backtest(**each["backtest"]) if each["backtest"] else None,
                        }
                    )
                    for each in data["series"]
                ),
            }
        )


Key = tuple[str | None, str | None]


def families(keys: Sequence[Key]) -> dict[Key, list[list[Key]]]:
    """For each series that is a sum, the groups of other series of which each adds up to it.

    The total is the sum of the products, and of the regions, and of the cells, as far as these are there.
    """
    levels: dict[str, list[Key]] = {}
    for key in keys:
        levels.setdefault(level_name(*key), []).append(key)
    cells = levels.get("cell", [])
    found: dict[Key, list[list[Key]]] = {}
    for key in keys:
        level = level_name(*key)
        if level == "total":
            groups = [levels[each] for each in ("product", "region", "cell") if each in levels]
        elif level == "product":
            groups = [[cell for cell in cells if cell[0] == key[0]]]
        elif level == "region":
            groups = [[cell for cell in cells if cell[1] == key[1]]]
        else:
            groups = []
        groups = [group for group in groups if group]
        if groups:
            found[key] = groups
    return found
