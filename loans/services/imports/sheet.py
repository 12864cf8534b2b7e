"""A mapping as a person corrects it on screen: a line for each column of the file, and back to the mapping's document.

What a form can't say (scale, prefix, value lists of codes …) stays in a column's entry as long as the column keeps its place.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext, gettext_lazy

from loans.models.attribute import DIRECTIONS, KINDS
from loans.models.fields import APPLICANT_FIELDS, APPLICATION_FIELDS
from loans.services.imports import draft_words as words
from loans.services.imports.draft_columns import Column
from loans.services.imports.draft_proposal import choice_values, outcome_values
from loans.services.imports.mapping import PERSONAL_FIELDS

IGNORED, ATTRIBUTE, OUTCOME, UNNAMED = "ignored", "attribute", "outcome", ""
MINUS = "outcome.minus"
OUTCOME_PARTS = {
    "defaulted_on": gettext_lazy("Day of the default"),
    "observed_on": gettext_lazy("Day up to which it was watched"),
    "past_due_30_on": gettext_lazy("First day 30 days late"),
    "loss": gettext_lazy("Money lost"),
    "minus": gettext_lazy("Recovered: taken off what was lost"),
}
UNITS = {
    "": gettext_lazy("as our unit"),
    "percent": "percent",
    "months": "months",
    "years": "years",
    "weeks": "weeks",
    "days": "days",
    "date": gettext_lazy("a date, counted up to the application"),
}
STATES = {"default": "defaulted", "repaid": "repaid", "": gettext_lazy("not known yet")}
_PERSONAL_NAMES = {name for names in words.APPLICANT_NAMES.values() for name in names}
_FLAT = re.compile(r"[^a-z0-9]+")


@dataclass
class Line:
    """One column. role: "fields.amount", "applicant.name", "attribute", "outcome", "outcome.loss", "ignored" or "" (not settled).

    unit … why: what its role needs further; meanings: value → what it means, for the outcome and for fields with a list of choices.
    also: further places that the mapping gives the column, which stay. note: what the proposal was unsure of.
    """

    number: int
    column: str
    role: str = UNNAMED
    unit: str = ""
    format: str = ""
    name: str = ""
    kind: str = "category"
    direction: str = "0"
    protected: bool = False
    why: str = ""
    meanings: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    samples: list[str] = field(default_factory=list)
    empty: float = 0.0
    also: list[str] = field(default_factory=list)
    note: str = ""

    @property
    def field_name(self) -> str:
        return self.role.partition(".")[2]

    @property
    def choices(self) -> tuple[str, ...]:
        return APPLICATION_FIELDS[self.field_name].choices if self.role.startswith("fields.") else ()

    @property
    def personal(self) -> bool:
        """Its samples are shown as patterns only."""
        named = words.PERSONAL.search(self.plain) or self.plain in _PERSONAL_NAMES
        if self.role in (IGNORED, UNNAMED):
            return bool(named)
        return self.role.startswith("applicant.") or self.field_name in PERSONAL_FIELDS or (self.role == ATTRIBUTE and self.protected)

    @property
    def doubt(self) -> str:
        """What the proposal was unsure of, as long as the column is what it proposed."""
        return self.note if self.role.startswith("fields.") else ""

    @property
    def to_check(self) -> bool:
        return self.role == UNNAMED or "CHECK" in self.why or any("CHECK" in text for text in self.meanings) or bool(self.doubt)

    @property
    def plain(self) -> str:
        return words.plain_name(self.column)

    def shown_samples(self) -> list[str]:
        return [pattern(text) for text in self.samples] if self.personal else self.samples


def pattern(text: str) -> str:
    """How a text is built, without what it says: x for a letter, 9 for a digit."""
    return "".join("9" if letter.isdigit() else "x" if letter.isalpha() else letter for letter in text)


def roles() -> list[tuple[str, list[tuple[str, str, str]]]]:
    """(heading, [(role, label, details that it needs)]) for the choice of what a column is."""
    fields = [(f"fields.{name}", spec.label, _details(name)) for name, spec in APPLICATION_FIELDS.items()]
    people = [(f"applicant.{name}", spec.label, "format" if spec.kind == "date" else "") for name, spec in APPLICANT_FIELDS.items()]
    parts = [(f"outcome.{name}", label, "" if name in ("loss", "minus") else "format") for name, label in OUTCOME_PARTS.items()]
    return [
        (
            gettext("Not of use"),
            [(IGNORED, "Ignored", "why"), (ATTRIBUTE, gettext("A further column of ours"), gettext("attribute unit format"))],
        ),
        (gettext("Field of the application"), fields),
        ("Personal, encrypted", people),
        (gettext("How the loan ended"), [(OUTCOME, gettext("The outcome"), ""), *parts]),
    ]


def _details(name: str) -> str:
    spec = APPLICATION_FIELDS[name]
    if spec.kind == "time":
        return "format"
    if spec.unit == "months":
        return "unit format"
    return "unit" if spec.kind == "ratio" else ""


def lines(document: dict[str, Any], columns: dict[str, dict[str, Any]]) -> list[Line]:
    """columns: what the file's head says of each, as `uploads` keeps it."""
    made = {}
    for number, (column, head) in enumerate(columns.items()):
        note = head.get("note", "")
        made[column] = Line(number, column, counts=head["values"], samples=head["samples"], empty=head["empty"], note=note)
    for role, column, entry in _entries(document):
        line = made.get(column)
        if line is None:
            continue
        if line.role != UNNAMED:
            line.also.append(role)
            continue
        line.role = role
        if isinstance(entry, dict):
            line.unit = entry.get("from", "")
            line.format = entry["format"] if isinstance(entry.get("format"), str) else ""
            line.kind, line.direction = entry.get("kind", "category"), str(entry.get("direction", 0))
            line.protected = bool(entry.get("protected"))
        elif role == IGNORED:
            line.why = entry
        if line.choices:
            line.meanings = _choices_of(line, entry if isinstance(entry, dict) else {})
        if role == OUTCOME:
            line.meanings = _states_of(line, entry)
    for name, entry in document.get("attributes", {}).items():
        line = made.get(_column_of(entry))
        if line is not None and line.role == ATTRIBUTE and not line.name:
            line.name = name
    for line in made.values():
        line.name = line.name or attribute_name(line)
    return list(made.values())


def _entries(document: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """(role, column, entry) of everything that the mapping says of a column."""
    outcome = document.get("outcome", {})
    if outcome:
        yield OUTCOME, str(outcome.get("column", "")), outcome
    for part in OUTCOME_PARTS:
        if part in outcome:
            yield f"outcome.{part}", _column_of(outcome[part]), outcome[part]
    for column in _minus(outcome):
        yield MINUS, column, None
    for table in ("fields", "applicant"):
        for name, entry in document.get(table, {}).items():
            yield f"{table}.{name}", _column_of(entry), entry
    for entry in document.get("attributes", {}).values():
        yield ATTRIBUTE, _column_of(entry), entry
    for column, why in document.get("ignored", {}).items():
        yield IGNORED, column, why


def _minus(outcome: dict[str, Any]) -> list[str]:
    loss = outcome.get("loss")
    return list(loss.get("minus", [])) if isinstance(loss, dict) else []


def _column_of(entry: Any) -> str:
    return entry if isinstance(entry, str) else str(entry.get("column", "")) if isinstance(entry, dict) else ""


def attribute_name(line: Line) -> str:
    name = re.sub(r"^[^a-z]+", "", line.plain)[:60] or f"column_{line.number + 1}"
    return f"file_{name}"[:60] if name in APPLICATION_FIELDS or name in APPLICANT_FIELDS else name


def _choices_of(line: Line, entry: dict[str, Any]) -> dict[str, str]:
    said = {str(key).casefold(): str(value) for key, value in entry.get("values", {}).items()}
    rest = str(entry.get("otherwise", ""))
    return {text: said.get(text.casefold(), rest or (text if text in line.choices else "")) for text in line.counts}


def _states_of(line: Line, outcome: dict[str, Any]) -> dict[str, str]:
    said = {str(text).casefold(): state for state in ("default", "repaid") for text in outcome.get(state, [])}
    return {text: said.get(text.casefold(), "") for text in line.counts}


@dataclass(frozen=True)
class Given:
    """One line as somebody sent it."""

    role: str
    unit: str = ""
    format: str = ""
    name: str = ""
    kind: str = "category"
    direction: str = "0"
    protected: bool = False
    why: str = ""
    meanings: dict[str, str] = field(default_factory=dict)


def given_of(line: Line) -> Given:
    return Given(line.role, line.unit, line.format, line.name, line.kind, line.direction, line.protected, line.why, dict(line.meanings))


def _relevant(given: Given) -> Given:
    """Without details that its role does not have: a hidden input's content is no change."""
    details = {role: needs.split() for _, group in roles() for role, _, needs in group}.get(given.role, [])
    attribute = given.role == ATTRIBUTE
    return Given(
        given.role,
        given.unit if "unit" in details else "",
        given.format if "format" in details else "",
        given.name if attribute else "",
        given.kind if attribute else "",
        given.direction if attribute else "",
        given.protected if attribute else False,
        given.why if given.role == IGNORED else "",
        given.meanings,
    )


def corrected(document: dict[str, Any], before: list[Line], given: list[Given]) -> tuple[dict[str, Any], list[str]]:
    """(the document with the lines that differ put anew, what else that changed, in words). `before` are the document's own lines."""
    found = copy.deepcopy(document)
    known = {role for _, group in roles() for role, _, _ in group}
    pairs = zip(before, map(_relevant, given), strict=True)
    changed = [(line, new) for line, new in pairs if new.role in known and new != _relevant(given_of(line))]
    kept = {line.column: _taken_out(found, line) for line, _ in changed}
    notes: list[str] = []
    placed: set[str] = set()
    for line, new in changed:
        if new.role in placed:
            notes.append(gettext("“%(column)s” was left out: another column has its place.") % {"column": line.column})
            new = Given(IGNORED, why=gettext("Its place (%(role)s) went to another column") % {"role": new.role})
        elif new.role not in (IGNORED, ATTRIBUTE, MINUS):
            placed.add(new.role)
            notes += _made_free(found, new.role)
        _put(found, line, new, kept[line.column] if line.role == new.role else {})
    return {key: value for key, value in found.items() if value != {} or key == "constants"}, notes


def _taken_out(document: dict[str, Any], line: Line) -> dict[str, Any]:
    """The column's entry, out of the document."""
    table, _, name = line.role.partition(".")
    if line.role == IGNORED:
        document["ignored"].pop(line.column, None)
    elif line.role == ATTRIBUTE:
        for name, entry in list(document.get("attributes", {}).items()):
            if _column_of(entry) == line.column:
                return document["attributes"].pop(name)
    elif line.role == OUTCOME:
        return _without_column(document)
    elif line.role == "outcome.loss":
        loss = _as_table(document["outcome"].pop("loss"))
        if "minus" in loss:  # it waits for the next column that says the loss
            document["outcome"]["loss"] = {"minus": loss.pop("minus")}
        return loss
    elif line.role == MINUS:
        loss = document["outcome"]["loss"]
        loss["minus"] = [column for column in loss["minus"] if column != line.column]
    elif line.role:
        return _as_table(document.get(table, {}).pop(name, {}))
    return {}


def _without_column(document: dict[str, Any]) -> dict[str, Any]:
    """What the outcome said of its column; its dates and its loss stay in the document, for whichever column comes next."""
    outcome = document.get("outcome", {})
    said = {key: outcome.pop(key) for key in list(outcome) if key not in OUTCOME_PARTS}
    if not outcome:
        document.pop("outcome", None)
    return said


def _as_table(entry: Any) -> dict[str, Any]:
    return {"column": entry} if isinstance(entry, str) else dict(entry)


def _made_free(document: dict[str, Any], role: str) -> list[str]:
    """Whoever had this place is ignored from now on."""
    table, _, name = role.partition(".")
    old = document.get("outcome") if role == OUTCOME else document.get(table, {}).get(name)
    column = _column_of(old) if old else ""
    if not column:
        return []
    if role == OUTCOME:
        _without_column(document)
    elif role == "outcome.loss" and (minus := _minus(document["outcome"])):
        document["outcome"]["loss"] = {"minus": minus}
    else:
        document[table].pop(name)
    document.setdefault("ignored", {})[column] = gettext("Its place (%(role)s) went to another column") % {"role": role}
    return [gettext("“%(column)s” gave its place to another column and is ignored now.") % {"column": column}]


def _put(document: dict[str, Any], line: Line, new: Given, old: dict[str, Any]) -> None:
    table, _, name = new.role.partition(".")
    if new.role == IGNORED:
        document.setdefault("ignored", {})[line.column] = new.why.strip() or gettext("Not needed.")
        return
    if new.role == OUTCOME:
        document["outcome"] = {**old, "column": line.column, **_states(line, new), **document.get("outcome", {})}
        return
    if new.role == MINUS:
        outcome = document.setdefault("outcome", {})
        outcome["loss"] = {**_as_table(outcome.get("loss", {})), "minus": [*_minus(outcome), line.column]}
        return
    entry = {**old, "column": line.column}
    if new.role == "outcome.loss" and (minus := _minus(document.get("outcome", {}))):
        entry["minus"] = minus
    for key, value in (("from", new.unit), ("format", new.format)):
        if value:
            entry[key] = value
        elif isinstance(entry.get(key), str):
            del entry[key]
    if new.role == ATTRIBUTE:
        entry |= {"kind": new.kind if new.kind in dict(KINDS) else "category"}
        entry |= {"direction": int(new.direction) if new.direction in [str(value) for value, _ in DIRECTIONS] else 0}
        entry["protected"] = new.protected
        attributes = document.setdefault("attributes", {})
        wanted = _FLAT.sub("_", new.name.strip().lower()).strip("_") or attribute_name(line)
        while wanted in attributes:
            wanted += "_2"
        attributes[wanted] = entry
        return
    if table == "fields" and APPLICATION_FIELDS[name].choices:
        entry |= _choice_entry(line, new, old, name)
    document.setdefault(table, {})[name] = entry if len(entry) > 1 else line.column
    if table == "fields":
        document.get("constants", {}).pop(name, None)


def _column(line: Line) -> Column:
    return Column(line.column, [text for text, count in line.counts.items() for _ in range(count)])


def _states(line: Line, new: Given) -> dict[str, Any]:
    if line.role != OUTCOME:
        default, repaid = outcome_values(_column(line))
        return {"default": default, "repaid": repaid}
    states = {state: [text for text, meaning in new.meanings.items() if meaning == state] for state in ("default", "repaid")}
    return states


def _choice_entry(line: Line, new: Given, old: dict[str, Any], name: str) -> dict[str, Any]:
    choices = APPLICATION_FIELDS[name].choices
    if line.role != new.role:
        return {"values": choice_values(_column(line), words.CHOICE_WORDS[name]) or {}, "otherwise": "other"}
    said = {text: meaning for text, meaning in new.meanings.items() if meaning in choices}
    # What the head did not show keeps the meaning that it had.
    rest = {text: meaning for text, meaning in old.get("values", {}).items() if text.casefold() not in {key.casefold() for key in said}}
    return {"values": rest | said}
