"""Reading a training's report (layout: `mlcore.risk.report.build`). An older or foreign report may lack any key: nothing here fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from loans.queries.words import number


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval, where the report has one."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, figure: Any) -> Interval:
        if isinstance(figure, dict):
            return cls(*(number_of(figure.get(name)) for name in ("value", "low", "high")))
        return cls(number_of(figure))

    @property
    def known(self) -> bool:
        return self.value is not None

    def range(self, digits: int = 3) -> str:
        return "" if self.low is None or self.high is None else f"{number(self.low, digits)}–{number(self.high, digits)}"

    def words(self, digits: int = 3) -> str:
        range_ = self.range(digits)
        return f"{number(self.value, digits)} ({range_})" if range_ else number(self.value, digits)

    def __str__(self) -> str:
        return self.words()


@dataclass(frozen=True)
class Line:
    """One figure with the baseline to read it against and one sentence of help."""

    label: str
    value: str
    beside: str = ""
    help: str = ""


def dig(report: Any, *keys: str) -> Any:
    """report[a][b]…, None where any of it is absent."""
    for key in keys:
        if not isinstance(report, dict):
            return None
        report = report.get(key)
    return report


def rows_of(value: Any) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def number_of(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def dates(*parts: Any) -> str:
    """From the first part's beginning to the last part's end."""
    start = next((part.get("from") for part in parts if isinstance(part, dict) and part.get("from")), None)
    end = next((part.get("until") for part in reversed(parts) if isinstance(part, dict) and part.get("until")), None)
    return f"{start} to {end}" if start and end else ""
