"""Features computed from several columns: ratios that underwriters use, for any lender's schema, never for one data set.

Every formula is plain arithmetic (+ - * /, in a fixed order), so that a Python float and a numpy array get the same digits from it.
A result is missing where a source is, or where a denominator is not above zero.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlcore.schema import Schema

MOST_MONEY_COLUMNS = 24
"""Of a lender's own money columns, so many get ratios: above it the ratios of a wide file would drown its columns."""


def _ratio(a: Any, b: Any) -> Any:
    return a / b


def _payment_share(amount: Any, term: Any, income: Any) -> Any:
    return 12.0 * amount / (term * income)


def _burden_after(debt_to_income: Any, amount: Any, term: Any, income: Any) -> Any:
    return debt_to_income + 12.0 * amount / (term * income)


def _per_year(count: Any, months: Any) -> Any:
    return 12.0 * count / months


def _mean(*values: Any) -> Any:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total / len(values)


def _change(*values: Any) -> Any:
    """Mean of the first half of a series minus the mean of its second half."""
    half = len(values) // 2
    return _mean(*values[:half]) - _mean(*values[-half:])


def _most(*values: Any) -> Any:
    best = values[0]
    for value in values[1:]:
        # The maximum of two numbers; written so that arrays and floats take the same path.
        best = (best + value + abs(best - value)) / 2.0
    return best


@dataclass(frozen=True)
class _Operation:
    """function of the sources; `positive`: positions that must be above zero; `signs`: how the result moves with each source."""

    function: Callable[..., Any]
    positive: tuple[int, ...]
    signs: tuple[int, ...] | None  # None: rises with every source
    moves: bool = True  # False: no source's direction says anything about the result's


OPERATIONS: dict[str, _Operation] = {
    "ratio": _Operation(_ratio, (1,), (1, -1)),
    "payment_share": _Operation(_payment_share, (1, 2), (1, -1, -1)),
    "burden_after": _Operation(_burden_after, (2, 3), (1, 1, -1, -1)),
    "per_year": _Operation(_per_year, (1,), (1, -1)),
    "mean": _Operation(_mean, (), None),
    "most": _Operation(_most, (), None),
    "change": _Operation(_change, (), None, moves=False),
}


@dataclass(frozen=True)
class Derived:
    """One derived feature: `operation` (a key of OPERATIONS) over `sources` (column names), with its own direction of risk."""

    name: str
    operation: str
    sources: tuple[str, ...]
    direction: int = 0

    def of_arrays(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """(n,) float64, NaN where it can't be said."""
        rule = OPERATIONS[self.operation]
        with np.errstate(all="ignore"):
            result = np.asarray(rule.function(*values), dtype=float)
            for position in rule.positive:
                result = np.where(values[position] > 0.0, result, np.nan)
        result[~np.isfinite(result)] = np.nan
        return result

    def of_floats(self, values: Sequence[float | None]) -> float | None:
        """One row; None where it can't be said. The same digits as `of_arrays`."""
        if None in values:
            return None
        rule = OPERATIONS[self.operation]
        for position in rule.positive:
            if not values[position] > 0.0:  # type: ignore[operator]
                return None
        try:
            result = rule.function(*values)
        except (OverflowError, ZeroDivisionError):
            return None
        return result if result - result == 0.0 else None

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "operation": self.operation, "sources": list(self.sources), "direction": self.direction}

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Derived:
        return cls(row["name"], row["operation"], tuple(row["sources"]), int(row["direction"]))


_CORE: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("amount per income", "ratio", ("amount", "annual_income")),
    ("payment per income", "payment_share", ("amount", "term_months", "annual_income")),
    ("obligations with this loan", "burden_after", ("debt_to_income", "amount", "term_months", "annual_income")),
    ("amount per month", "ratio", ("amount", "term_months")),
    ("revolving balance per income", "ratio", ("revolving_balance", "annual_income")),
    ("amount per revolving balance", "ratio", ("amount", "revolving_balance")),
    ("revolving limit", "ratio", ("revolving_balance", "revolving_utilisation")),
    ("open share of accounts", "ratio", ("open_accounts", "total_accounts")),
    ("accounts per year of history", "per_year", ("total_accounts", "credit_history_months")),
    ("income per open account", "ratio", ("annual_income", "open_accounts")),
)


def derive(schema: Schema) -> list[Derived]:
    """The derived features that this schema's usable columns allow, in a stable order.

    A derived feature takes the direction that its sources force on it (income lowers risk, so amount / income may only raise it);
    one whose sources contradict each other is left out, since through it a monotone model would break its promise.
    """
    usable = schema.usable()
    numbers = {column.name: column for column in usable if column.kind == "number"}
    wanted = [row for row in _CORE if all(name in numbers for name in row[2])]
    money = [name for name, column in numbers.items() if column.unit == "currency"]
    own_money = [name for name in money if not _is_core_money(name)]
    for name in own_money[:MOST_MONEY_COLUMNS]:
        for base in ("amount", "annual_income"):
            if base in numbers:
                wanted.append((f"{name} per {base}", "ratio", (name, base)))
    for stem, names in _series(tuple(numbers)):
        wanted.extend([(f"{stem} mean", "mean", names), (f"{stem} highest", "most", names), (f"{stem} change", "change", names)])
    result = []
    for name, operation, sources in wanted:
        direction = _direction(operation, sources, schema)
        if direction is not None and name not in schema:
            result.append(Derived(name, operation, sources, direction))
    return result


def _is_core_money(name: str) -> bool:
    return name in ("amount", "annual_income", "revolving_balance")


def _series(names: tuple[str, ...]) -> list[tuple[str, tuple[str, ...]]]:
    """Columns that differ in a running number only (balance_1 … balance_6): monthly histories, the first being the latest."""
    stems: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        match = re.fullmatch(r"(.*?)[ _-]?(\d{1,2})", name)
        if match and match[1]:
            stems.setdefault(match[1], []).append((int(match[2]), name))
    return [(stem, tuple(name for _, name in sorted(found))) for stem, found in stems.items() if len(found) >= 3]


def _direction(operation: str, sources: tuple[str, ...], schema: Schema) -> int | None:
    """The direction forced by the sources, 0 where none is known, None where they contradict each other."""
    rule = OPERATIONS[operation]
    signs = rule.signs or (1,) * len(sources)
    forced = {sign * schema[name].direction for sign, name in zip(signs, sources, strict=True)} - {0}
    if not forced:
        return 0
    return forced.pop() if len(forced) == 1 and rule.moves else None
