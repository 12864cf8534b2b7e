"""The columns that a model may see: their names, kinds, units and directions of risk.

A frame handed to mlcore has one pandas column per `Column.name`:

* ``number``: float64, NaN where missing
* ``boolean``: float64 of 0.0/1.0, NaN where missing
* ``category``: object of str, None where missing
* ``date``: datetime64[ns, UTC], NaT where missing
* ``text``: object of str, None where missing

`submitted_at` is not a column: it comes beside the frame, since it orders the rows and is what dates are measured from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Literal

Kind = Literal["number", "boolean", "category", "date", "text"]
KINDS: tuple[Kind, ...] = ("number", "boolean", "category", "date", "text")


class SchemaError(ValueError):
    """A column is declared twice, or with a kind or direction that does not exist."""


@dataclass(frozen=True, slots=True)
class Column:
    """One input of a model.

    direction: +1 where a higher value can only mean more risk of default, -1 where it can only mean less, 0 where it is not known.
    family: columns that tell the same story share one; reasons are given by family, so that one story is not told twice.
    known_at_application: False for what a lender learns later. Such a column never reaches a fit.
    changeable: whether the applicant could change it before applying again (an amount yes, the length of a history no).
    """

    name: str
    kind: Kind
    label: str = ""
    unit: str = ""
    direction: int = 0
    family: str = ""
    known_at_application: bool = True
    protected: bool = False
    changeable: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise SchemaError(f"Column {self.name!r} has the kind {self.kind!r}; it must be one of {', '.join(KINDS)}.")
        if self.direction not in (-1, 0, 1):
            raise SchemaError(f"Column {self.name!r} has the direction {self.direction!r}; it must be -1, 0 or 1.")

    @property
    def title(self) -> str:
        return self.label or self.name.replace("_", " ").capitalize()

    @property
    def family_key(self) -> str:
        return self.family or self.name

    @property
    def usable(self) -> bool:
        """Whether a model may be fitted on it at all."""
        return self.known_at_application and not self.protected and self.kind != "text"


class Schema:
    """An ordered, immutable set of columns with distinct names."""

    def __init__(self, columns: Iterable[Column]) -> None:
        self.columns: tuple[Column, ...] = tuple(columns)
        self._by_name = {column.name: column for column in self.columns}
        if len(self._by_name) != len(self.columns):
            names = [column.name for column in self.columns]
            twice = sorted({name for name in names if names.count(name) > 1})
            raise SchemaError(f"Declared twice: {', '.join(twice)}.")

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Column:
        return self._by_name[name]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and self.columns == other.columns

    def __hash__(self) -> int:
        return hash(self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._by_name)

    def usable(self) -> Schema:
        """Only what a model may be fitted on."""
        return Schema(column for column in self.columns if column.usable)

    def only(self, names: Iterable[str]) -> Schema:
        """The columns of these names, in this schema's order."""
        wanted = set(names)
        return Schema(column for column in self.columns if column.name in wanted)

    def with_columns(self, extra: Iterable[Column]) -> Schema:
        return Schema((*self.columns, *extra))

    def with_directions(self, directions: dict[str, int]) -> Schema:
        return Schema(replace(column, direction=directions.get(column.name, column.direction)) for column in self.columns)

    def to_json(self) -> list[dict]:
        return [asdict(column) for column in self.columns]

    @classmethod
    def from_json(cls, rows: list[dict]) -> Schema:
        return cls(Column(**row) for row in rows)


CORE = Schema(
    (
        Column("product", "category", "Loan product", family="product"),
        Column("channel", "category", "Channel", family="channel"),
        Column("amount", "number", "Amount requested", unit="currency", family="amount", changeable=True),
        Column("term_months", "number", "Term", unit="months", family="term", changeable=True),
        Column("purpose", "category", "Purpose", family="purpose"),
        Column("purpose_text", "text", "Purpose in the applicant's words", family="purpose"),
        Column("annual_income", "number", "Annual income", unit="currency", direction=-1, family="income"),
        Column("debt_to_income", "number", "Debt to income", unit="fraction", direction=1, family="obligations", changeable=True),
        Column("employment_status", "category", "Employment status", family="employment"),
        Column("employment_months", "number", "Time in employment", unit="months", direction=-1, family="employment"),
        Column("home_ownership", "category", "Home ownership", family="residence"),
        Column("region", "category", "Region", family="region"),
        Column("credit_score", "number", "Credit score", unit="points", direction=-1, family="credit_score"),
        Column("credit_history_months", "number", "Length of credit history", unit="months", direction=-1, family="history_length"),
        Column("open_accounts", "number", "Open accounts", unit="count", family="accounts"),
        Column("total_accounts", "number", "Accounts ever held", unit="count", family="accounts"),
        Column("delinquencies_24m", "number", "Delinquencies in 24 months", unit="count", direction=1, family="delinquency"),
        Column("months_since_delinquency", "number", "Time since last delinquency", unit="months", direction=-1, family="delinquency"),
        Column("public_records", "number", "Public records", unit="count", direction=1, family="public_records"),
        Column("inquiries_6m", "number", "Credit inquiries in 6 months", unit="count", direction=1, family="inquiries"),
        Column("revolving_balance", "number", "Revolving balance", unit="currency", family="revolving", changeable=True),
        Column(
            "revolving_utilisation", "number", "Revolving utilisation", unit="fraction", direction=1, family="revolving", changeable=True
        ),
    )
)
"""What every lender's application may say. A lender's own attributes come after these (`Schema.with_columns`)."""
