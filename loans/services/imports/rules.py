"""What a mapping says, once it is read: one rule for each of our fields that the file fills."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from loans.models.fields import FieldSpec
from loans.services.imports.problems import ImportProblem

NUMERIC = ("money", "ratio", "count", "number")
TEXTUAL = ("code", "text", "category")
DATED = ("time", "date")

SOURCES: dict[str, tuple[str, ...]] = {
    "ratio": ("fraction", "percent"),
    "number": ("fraction", "percent", "months", "years", "weeks", "days", "date"),
    "months": ("months", "years", "weeks", "days", "date"),
}
"""What `from` may say, by kind; "months" stands for a count whose unit is months."""

DURATIONS = ("months", "years", "weeks", "days")


class MappingProblem(ImportProblem):
    """The mapping can't be read, contradicts itself, or does not fit the file."""


@dataclass(frozen=True, slots=True)
class FileOptions:
    """How to read the file. An empty delimiter is found from the header; an empty sheet is the only one there is."""

    encoding: str = "utf-8"
    delimiter: str = ""
    decimal: str = "."
    sheet: str = ""
    timezone: str = "UTC"
    missing: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """How one column of the file becomes one value of ours.

    target: where the value goes, as the mapping calls it ("fields.amount", "attributes.savings"); name: its last part.
    kind: a FieldSpec's or an AttributeDefinition's. source: the unit in which the file has it (the mapping's `from`).
    values: what stands in the file (case ignored) → what it means; otherwise: what everything else means.
    missing: what stands for "not given", beside an empty cell. personal: never quoted in a message.
    """

    target: str
    kind: str
    column: str
    spec: FieldSpec | None = None
    source: str = ""
    formats: tuple[str, ...] = ()
    timezone: str = "UTC"
    decimal: str = "."
    scale: float = 1.0
    values: dict[str, Any] = field(default_factory=dict, hash=False)
    otherwise: Any = None
    missing: frozenset[str] = frozenset()
    whole_number: bool = False
    first: int = 0
    prefix: str = ""
    optional: bool = False
    personal: bool = False

    @property
    def name(self) -> str:
        return self.target.rpartition(".")[2]

    @property
    def in_months(self) -> bool:
        return (
            self.source in DURATIONS
            or self.source == "date"
            or (self.kind == "count" and self.spec is not None and self.spec.unit == "months")
        )


@dataclass(frozen=True, slots=True)
class AttributeRule:
    """A column that becomes one of the lender's own attributes, with the definition that it gets where there is none yet."""

    name: str
    rule: ColumnRule
    label: str = ""
    unit: str = ""
    direction: int = 0
    known_at_application: bool = True
    protected: bool = False
    changeable: bool = False
    family: str = ""
    reason_text: str = ""


@dataclass(frozen=True, slots=True)
class OutcomeRule:
    """What the outcome column's values mean (case ignored). blank_is_new: an empty cell is an application nobody has decided yet.

    Any other value is `immature`, unless `immature` lists them: then it is refused. loss: the first column minus the others.
    """

    column: str
    default: frozenset[str]
    repaid: frozenset[str]
    immature: frozenset[str] | None = None
    blank_is_new: bool = True
    defaulted_on: ColumnRule | None = None
    observed_on: ColumnRule | None = None
    past_due_30_on: ColumnRule | None = None
    loss: tuple[ColumnRule, ...] = ()

    def rules(self) -> Iterator[ColumnRule]:
        yield from (rule for rule in (self.defaulted_on, self.observed_on, self.past_due_30_on) if rule is not None)
        yield from self.loss

    def columns(self) -> set[str]:
        return {self.column} | {rule.column for rule in self.rules()}


@dataclass(frozen=True, slots=True)
class Mapping:
    """One lender's file, told in our words. text: the TOML it was read from, which the import batch keeps."""

    name: str
    text: str
    description: str = ""
    file: FileOptions = FileOptions()
    constants: dict[str, Any] = field(default_factory=dict, hash=False)
    fields: tuple[ColumnRule, ...] = ()
    applicant: tuple[ColumnRule, ...] = ()
    attributes: tuple[AttributeRule, ...] = ()
    outcome: OutcomeRule | None = None
    ignored: dict[str, str] = field(default_factory=dict, hash=False)

    def field_rule(self, name: str) -> ColumnRule | None:
        return next((rule for rule in self.fields if rule.name == name), None)

    def application_rules(self) -> tuple[ColumnRule, ...]:
        """Every rule for what was known when the application was made."""
        return (*self.fields, *self.applicant, *(attribute.rule for attribute in self.attributes))

    def fit(self, header: Sequence[str], *, file_name: str) -> Fitted:
        """The mapping for a file with these columns; MappingProblem names every column that is on one side only."""
        present = set(header)
        known = {rule.column for rule in self.application_rules()} | set(self.ignored)
        if self.outcome is not None:
            known |= self.outcome.columns()
        unnamed = [column for column in header if column not in known]
        absent = [rule for rule in self.application_rules() if rule.column not in present and not rule.optional]
        has_outcome = self.outcome is not None and self.outcome.column in present
        if has_outcome:
            absent += [rule for rule in self.outcome.rules() if rule.column not in present and not rule.optional]
        lines = []
        if unnamed:
            lines.append(
                _(
                    "The mapping %(name)s says nothing about %(unnamed)s of %(file_name)s: %(what)s. Name each in [fields], "
                    "[applicant], [attributes] or [outcome], or in [ignored] with the reason why."
                )
                % {
                    "name": f"{self.name!r}",
                    "unnamed": _count(unnamed, _("column")),
                    "file_name": file_name,
                    "what": ", ".join(map(repr, unnamed)),
                }
            )
        if absent:
            named = ", ".join(f"{rule.column!r} (for {rule.target})" for rule in absent)
            lines.append(
                _("The file %(file_name)s lacks %(absent)s that the mapping %(name)s names: %(named)s.")
                % {"file_name": file_name, "absent": _count(absent, _("column")), "name": f"{self.name!r}", "named": named}
            )
        if lines:
            raise MappingProblem("\n".join(lines))
        return Fitted(
            mapping=self,
            rules=tuple(rule for rule in self.fields if rule.column in present),
            applicant=tuple(rule for rule in self.applicant if rule.column in present),
            attributes=tuple(attribute for attribute in self.attributes if attribute.rule.column in present),
            outcome=self.outcome if has_outcome else None,
        )


@dataclass(frozen=True, slots=True)
class Fitted:
    """A mapping as it applies to one file: without optional columns that this file lacks; no outcome in a file of new applications."""

    mapping: Mapping
    rules: tuple[ColumnRule, ...]
    applicant: tuple[ColumnRule, ...]
    attributes: tuple[AttributeRule, ...]
    outcome: OutcomeRule | None

    @property
    def application_columns(self) -> tuple[str, ...]:
        """Columns known at application, each once, sorted: a row's content for its digest.

        Outcomes are left out, so that next month's export of the same loans, with newer outcomes, is recognised.
        """
        attributes = (attribute.rule for attribute in self.attributes)
        return tuple(sorted({rule.column for rule in (*self.rules, *self.applicant, *attributes)}))

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that has to be read."""
        outcome = set() if self.outcome is None else {self.outcome.column} | {rule.column for rule in self.outcome.rules()}
        return tuple(sorted(set(self.application_columns) | outcome))

    @property
    def has_reference(self) -> bool:
        return any(rule.name == "external_reference" for rule in self.rules)

    @property
    def has_time(self) -> bool:
        return any(rule.name == "submitted_at" for rule in self.rules) or "submitted_at" in self.mapping.constants


def _count(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"
