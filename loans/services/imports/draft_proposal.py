"""Which column of an unknown file may be what: the surest guesses first; what is left becomes an attribute, or is ignored with a reason."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext

from loans.models.fields import APPLICANT_FIELDS, APPLICATION_FIELDS
from loans.services.imports import draft_words as words
from loans.services.imports.draft_columns import Column
from loans.services.imports.problems import ImportProblem
from loans.services.imports.readers import Chunk
from loans.services.imports.rules import FileOptions

ALIKE = 0.87
MANY_CODES = 200


class Proposal:
    """Every column in one of a mapping's tables; `demote` moves those that turn out not to fit. The entries are as TOML will have them."""

    def __init__(self, name: str, file_name: str, options: FileOptions, header: tuple[str, ...], chunk: Chunk) -> None:
        self.name, self.file_name, self.options, self.rows = name, file_name, options, len(chunk)
        cells = {column: [(text or "").strip() for text in chunk.columns[column].to_pylist()] for column in header}
        decimal = "," if sum(Column(column, texts).comma_decimals for column, texts in cells.items()) > 0 else "."
        self.columns = {column: Column(column, texts, decimal) for column, texts in cells.items()}
        self.decimal = decimal
        self.fields: dict[str, dict[str, Any]] = {}
        self.applicant: dict[str, dict[str, Any]] = {}
        self.attributes: dict[str, dict[str, Any]] = {}
        self.outcome: dict[str, Any] | None = None
        self.ignored: dict[str, str] = {}
        self.notes: dict[str, str] = {}
        self._taken: set[str] = set()
        self._propose()

    def _propose(self) -> None:
        self._propose_outcome()
        for column in self._free():
            plain = column.plain
            if words.LATER.search(plain):
                self._ignore(column, gettext("Its name suggests that it is known only after the decision. CHECK"))
            elif words.VERDICT.search(plain):
                self._ignore(
                    column,
                    gettext("Its name suggests the lender's own verdict (or what follows from it), which no model may repeat. CHECK"),
                )
            elif words.PERSONAL.search(plain):
                self._ignore(column, gettext("Personal, and no field of ours."))
            elif words.PLACE.search(plain):
                self._ignore(column, gettext("A place this exact stands in for who lives there (redlining)."))
        for table, names in (("fields", words.FIELD_NAMES), ("applicant", words.APPLICANT_NAMES)):
            for field, column in self._best_matches(names, table):
                entry = self._field_entry(field, column) if table == "fields" else self._applicant_entry(field, column)
                if entry is not None:
                    getattr(self, table)[field] = {"column": column.name, **entry}
                    self._taken.add(column.name)
        self._need_amount()
        self._propose_date()
        for column in self._free():
            self._propose_attribute(column)

    def _free(self) -> list[Column]:
        return [column for name, column in self.columns.items() if name not in self._taken]

    def _ignore(self, column: Column, why: str) -> None:
        self.ignored[column.name] = why
        self._taken.add(column.name)

    def _best_matches(self, names: dict[str, tuple[str, ...]], table: str) -> Iterator[tuple[str, Column]]:
        """(field, column), the surest first; each at most once."""
        pairs = []
        for column in self._free():
            for field, known in names.items():
                score = max(_likeness(column.plain, word, place) for place, word in enumerate(known))
                if score >= ALIKE:
                    pairs.append((score, field, column))
        pairs.sort(key=lambda pair: -pair[0])
        given = self.fields if table == "fields" else self.applicant
        for _, field, column in pairs:
            if field not in given and column.name not in self._taken:
                yield field, column

    def _field_entry(self, field: str, column: Column) -> dict[str, Any] | None:
        """What the column needs to become this field; None where its values can't be it."""
        spec = APPLICATION_FIELDS[field]
        # "none" is an answer where one chooses from a list
        absent = [word for word in column.absent_words if not spec.choices or word.casefold() != "none"]
        entry: dict[str, Any] = {"missing": absent} if absent else {}
        if field == "external_reference":
            return (
                entry | ({"whole_number": True} if column.written_as_float else {}) if column.is_unique and column.longest <= 60 else None
            )
        if spec.kind == "time":
            return None if column.date_format is None else entry | ({"format": column.date_format} if column.date_format else {})
        if spec.unit == "months":
            return self._months_entry(field, column, entry)
        if spec.kind in ("money", "ratio", "count"):
            if not column.numbers or min(column.numbers) < 0 or (spec.kind == "count" and not column.whole):
                return None
            if spec.kind == "ratio" and not column.has_percent and sorted(column.numbers)[int(0.9 * len(column.numbers))] > 2:
                entry["from"] = "percent"
            return entry
        if spec.choices:
            values = choice_values(column, words.CHOICE_WORDS[field])
            return None if values is None else entry | {"values": values, "otherwise": "other"}
        if column.date_format is not None or (spec.max_length is not None and column.longest > spec.max_length):
            return None
        return entry if field == "purpose_text" or len(column.counts) <= MANY_CODES else None

    def _months_entry(self, field: str, column: Column, entry: dict[str, Any]) -> dict[str, Any] | None:
        if field == "credit_history_months" and column.date_format is not None:
            return entry | {"from": "date"} | ({"format": column.date_format} if column.date_format else {})
        if column.months:
            return entry
        if not column.numbers or min(column.numbers) < 0:
            return None
        years = re.search(r"year|yr", column.plain) or (
            field in ("employment_months", "credit_history_months") and max(column.numbers) <= 60
        )
        return entry | ({"from": "years"} if years else {})

    def _applicant_entry(self, field: str, column: Column) -> dict[str, Any] | None:
        if field == "birth_date":
            return None if column.date_format is None else ({"format": column.date_format} if column.date_format else {})
        return (
            {} if column.longest <= (APPLICANT_FIELDS[field].max_length or 0) and (column.filled == 0 or len(column.counts) > 1) else None
        )

    def _need_amount(self) -> None:
        if "amount" in self.fields:
            return
        numeric = [column for column in self._free() if column.numbers and min(column.numbers) > 0]
        if not numeric:
            raise ImportProblem(
                gettext("%(file_name)s has no column that could be an amount; without one there is no application.")
                % {"file_name": self.file_name}
            )
        column = max(numeric, key=lambda column: sum(column.numbers) / len(column.numbers))
        self.fields["amount"] = {"column": column.name}
        self.notes[column.name] = gettext("CHECK: no column is called an amount; this one has the largest numbers")
        self._taken.add(column.name)

    def _propose_date(self) -> None:
        if "submitted_at" not in self.fields:
            dated = [column for column in self._free() if column.date_format is not None]
            if len(dated) == 1:
                self.fields["submitted_at"] = {"column": dated[0].name} | ({"format": dated[0].date_format} if dated[0].date_format else {})
                self.notes[dated[0].name] = gettext("CHECK: the only date of the file")
                self._taken.add(dated[0].name)
        if "submitted_at" not in self.fields:
            for field in [field for field, entry in self.fields.items() if entry.get("from") == "date"]:
                self._taken.discard(self.fields.pop(field)["column"])

    def _propose_outcome(self) -> None:
        scored = []
        for column in self._free():
            likeness = max(_likeness(column.plain, word, place) for place, word in enumerate(words.OUTCOME_NAMES))
            if likeness >= ALIKE and len(column.counts) <= 15:
                scored.append((likeness + (len(column.counts) > 1), column))
        if not scored:
            return
        scored.sort(key=lambda pair: -pair[0])
        column = scored[0][1]
        default, repaid = outcome_values(column)
        self.outcome = {"column": column.name, "default": default, "repaid": repaid}
        self._taken.add(column.name)
        for _, other in scored[1:]:
            self._ignore(
                other, gettext("Its name suggests that it tells the outcome, as %(name)s does. CHECK") % {"name": f"{column.name!r}"}
            )

    def _propose_attribute(self, column: Column) -> None:
        name = re.sub(r"^[^a-z]+", "", column.plain)[:63] or f"column_{list(self.columns).index(column.name) + 1}"
        if name in APPLICATION_FIELDS or name in APPLICANT_FIELDS or name in self.attributes:
            name = f"file_{name}"[:60]
        while name in self.attributes:
            name += "_2"
        submitted = self.columns[self.fields["submitted_at"]["column"]] if "submitted_at" in self.fields else None
        if column.filled == 0:
            return self._ignore(column, gettext("Always empty in the rows that this draft was made from. CHECK"))
        entry: dict[str, Any] = {"column": column.name}
        if column.absent_words:
            entry["missing"] = column.absent_words
        if column.date_format is not None:
            pairs = (
                [(one, other) for one, other in zip(column.moments, submitted.moments, strict=True) if one and other] if submitted else []
            )
            if pairs and sum(one > other for one, other in pairs) > 0.5 * len(pairs):
                return self._ignore(column, gettext("Most of its dates lie after the application: known only later. CHECK"))
            entry |= {"kind": "date"} | ({"format": column.date_format} if column.date_format else {})
        elif column.is_boolean:
            entry["kind"] = "boolean"
            if column.written_as_float:
                entry["values"] = {"1.0": True, "0.0": False}
        elif column.numbers:
            entry["kind"] = "number"
            if column.has_percent:
                entry["from"] = "percent"
        elif column.longest > MANY_CODES or len(column.counts) > max(MANY_CODES, 0.5 * column.filled):
            return self._ignore(column, gettext("Free text, or nearly every row differs: no code that a model could learn from. CHECK"))
        else:
            entry["kind"] = "category"
        if words.PROTECTED.search(column.plain):
            entry["protected"] = True
        self.attributes[name] = entry
        self._taken.add(column.name)
        return None

    def demote(self, columns: set[str]) -> None:
        for column in columns:
            for field in [field for field, entry in self.fields.items() if entry["column"] == column]:
                del self.fields[field]
            for field in [field for field, entry in self.applicant.items() if entry["column"] == column]:
                del self.applicant[field]
            for name in [name for name, entry in self.attributes.items() if entry["column"] == column]:
                del self.attributes[name]
            self._ignore(
                self.columns[column], gettext("Its values fit nothing that was tried; see docs/IMPORT.md for units and formats. CHECK")
            )
        self._need_amount()


def _likeness(plain: str, word: str, place: int) -> float:
    """0–1; equal names win, earlier words of a list before later ones."""
    if plain == word:
        return 1.0 - place / 10_000
    ratio = difflib.SequenceMatcher(None, plain, word).ratio()
    return ratio * 0.98 if len(word) >= 5 and len(plain) >= 5 else 0.0


def choice_values(column: Column, meanings: dict[str, tuple[str, ...]]) -> dict[str, str] | None:
    """The column's texts → our choices; None where less than half of the rows are understood."""
    known = {text: choice for choice, texts in meanings.items() for text in texts}
    values, understood = {}, 0
    for text, count in column.counts.items():
        choice = known.get(text.casefold().replace("_", " "))
        if choice is not None:
            values[text] = choice
            understood += count
    return values if column.filled and understood >= 0.5 * column.filled else None


def outcome_values(column: Column) -> tuple[list[str], list[str]]:
    """(those that seem to mean default, repaid); where the rows read show none, a text that says so."""
    default = [text for text in column.counts if any(word in text.casefold() for word in words.DEFAULT_WORDS)]
    repaid = [text for text in column.counts if text not in default and any(word in text.casefold() for word in words.REPAID_WORDS)]
    if not (default or repaid) and column.is_binary:
        yes = [text for text in column.counts if text.casefold() in ("1", "1.0", "yes", "y", "true", "t")]
        no = [text for text in column.counts if text not in yes]
        bad_is_yes = any(word in column.plain for word in words.YES_IS_DEFAULT)
        return (yes, no) if bad_is_yes or sum(map(column.counts.get, yes)) <= column.filled / 2 else (no, yes)
    return default or [gettext("CHECK which value means default")], repaid or [gettext("CHECK which value means repaid")]
