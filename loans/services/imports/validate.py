"""A chunk of the file to rows that the database takes, and a list of what is wrong with the others."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from django.utils.translation import gettext, gettext_lazy

from loans.models import Applicant
from loans.models.applicant import INDEXED
from loans.models.crypto import blind_index, encrypt, name_tokens
from loans.services.imports.convert import ColumnConverter, Converted, Months, given
from loans.services.imports.problems import RowProblem, quoted
from loans.services.imports.readers import Chunk
from loans.services.imports.rules import AttributeRule, ColumnRule, Fitted, OutcomeRule

KEPT_PROBLEMS = 1_000
DIGEST_BYTES = 10
REQUIRED = {
    "external_reference": gettext_lazy("is empty; every row needs its own reference"),
    "submitted_at": gettext_lazy("is empty; every application needs its date"),
    "amount": gettext_lazy("is empty; every application needs an amount"),
}


@dataclass
class Validated:
    """good: the rows to load, with the columns of `Validator.columns`. rows: all that were read; refused: those with a problem.

    problems: the first ones, at most `KEPT_PROBLEMS`; problem_count: all of them.
    """

    good: pa.Table
    rows: int
    refused: int
    problems: list[RowProblem] = field(default_factory=list)
    problem_count: int = 0


@dataclass
class Look:
    """values: of the first rows, what they become, by field, `attributes.NAME` or "outcome" ("line" among them); texts: what stands there,
    by column. rows, refused: of all that were looked at; outcomes: how many of the good ones end how, None where nothing is said.
    """

    values: dict[str, list[Any]]
    texts: dict[str, list[str | None]]
    rows: int
    refused: int
    problems: list[RowProblem]
    outcomes: dict[str | None, int]


class _Notes:
    """What is wrong in one chunk, by row."""

    def __init__(self, chunk: Chunk) -> None:
        self.chunk = chunk
        self.ok = np.ones(len(chunk), dtype=bool)
        self.found: list[tuple[int, ColumnRule, str]] = []

    def take(self, rule: ColumnRule, bad: dict[int, str]) -> None:
        if bad:
            self.ok[list(bad)] = False
            self.found += [(row, rule, message) for row, message in bad.items()]

    def problems(self, limit: int) -> list[RowProblem]:
        self.found.sort(key=lambda item: item[0])
        return [self._problem(*item) for item in self.found[:limit]]

    def _problem(self, row: int, rule: ColumnRule, message: str) -> RowProblem:
        value = "" if rule.personal else quoted((self.chunk.columns[rule.column][row].as_py() or "").strip())
        return RowProblem(int(self.chunk.lines[row]), rule.column, value, message)


class Validator:
    """Converts and checks chunk after chunk of one file. columns: name → SQL type of what `good` holds, in its order."""

    def __init__(self, fitted: Fitted, *, now: datetime) -> None:
        self.fitted = fitted
        rules = [*fitted.rules, *fitted.applicant, *(attribute.rule for attribute in fitted.attributes)]
        if fitted.outcome is not None:
            rules += fitted.outcome.rules()
        self._converters = {id(rule): ColumnConverter(rule, now=now) for rule in rules}
        self._ordinary = [attribute for attribute in fitted.attributes if not attribute.protected]
        self._protected = [attribute for attribute in fitted.attributes if attribute.protected]
        self.columns = self._staged_columns()

    def _staged_columns(self) -> dict[str, str]:
        types = {"money": "numeric(14,2)", "ratio": "float8", "count": "int4", "time": "timestamptz"}
        columns = {"line": "int8", "external_reference": "text"}
        columns |= {rule.name: types.get(rule.spec.kind, "text") for rule in self.fitted.rules if rule.name != "external_reference"}
        if self._ordinary:
            columns["attributes"] = "jsonb"
        if self._protected:
            columns["protected"] = "jsonb"
        for rule in self.fitted.applicant:
            columns[f"applicant_{rule.name}"] = "text"
            if rule.name == "name":
                columns["applicant_name_tokens"] = "bytea[]"
            if rule.name in INDEXED:
                columns[f"applicant_{rule.name}_index"] = "bytea"
        outcome = self.fitted.outcome
        if outcome is not None:
            columns["outcome"] = "text"
            columns |= {name: "date" for name in ("defaulted_on", "observed_on", "past_due_30_on") if getattr(outcome, name) is not None}
            columns |= {"loss": "numeric(14,2)"} if outcome.loss else {}
        return columns

    def count_problems(self, chunk: Chunk) -> dict[str, int]:
        """Column → rows that it gets refused."""
        notes = _Notes(_without_blank_rows(chunk))
        self._convert(notes)
        return Counter(rule.column for _, rule, _ in notes.found)

    def look(self, chunk: Chunk, rows: int) -> Look:
        """What the chunk's rows would become; nothing of it is encrypted or kept."""
        chunk = _without_blank_rows(chunk)
        notes = _Notes(chunk)
        values, _, further = self._convert(notes)
        values |= {f"attributes.{name}": column for name, column in further.items()}
        outcomes = Counter(values["outcome"].filter(pa.array(notes.ok)).to_pylist()) if "outcome" in values else Counter()
        problems = sorted([*chunk.problems, *notes.problems(KEPT_PROBLEMS)], key=lambda problem: problem.line)
        first = {name: column.slice(0, rows).to_pylist() for name, column in values.items()}
        texts = {name: column.slice(0, rows).to_pylist() for name, column in chunk.columns.items()}
        refused = int((~notes.ok).sum()) + len(chunk.problems)
        return Look(first, texts, len(chunk) + len(chunk.problems), refused, problems, dict(outcomes))

    def __call__(self, chunk: Chunk) -> Validated:
        chunk = _without_blank_rows(chunk)
        notes = _Notes(chunk)
        values, personal, further = self._convert(notes)
        # what follows is dear (digests, encryption, JSON), so only for rows that will be loaded
        keep = pa.array(notes.ok)
        values = {name: column.filter(keep) for name, column in values.items()}
        if "external_reference" not in values:
            values["external_reference"] = self._digests(chunk, keep)
        for name, column in personal.items():
            values |= _sealed(name, column.filter(keep))
        for name, attributes in (("attributes", self._ordinary), ("protected", self._protected)):
            if attributes:
                values[name] = _as_json(attributes, {one.name: further[one.name].filter(keep) for one in attributes})
        unsplit = chunk.problems[:KEPT_PROBLEMS]
        problems = sorted([*unsplit, *notes.problems(KEPT_PROBLEMS)], key=lambda problem: problem.line)[:KEPT_PROBLEMS]
        return Validated(
            good=pa.table({name: values[name] for name in self.columns}),
            rows=len(chunk) + len(chunk.problems),
            refused=int((~notes.ok).sum()) + len(chunk.problems),
            problems=problems,
            problem_count=len(notes.found) + len(chunk.problems),
        )

    def _convert(self, notes: _Notes) -> tuple[dict[str, pa.Array], dict[str, pa.Array], dict[str, pa.Array]]:
        """(staged columns, personal ones in clear, attributes), each with all n rows of the chunk; `notes` hears what is wrong."""
        chunk = notes.chunk
        values: dict[str, pa.Array] = {"line": pa.array(chunk.lines)}
        submitted, ordinal = self._submitted(chunk, notes, values)
        for rule in self.fitted.rules:
            if rule.name != "submitted_at":
                values[rule.name] = self._column(rule, chunk, notes, submitted).values
        personal = {rule.name: self._column(rule, chunk, notes, submitted).values for rule in self.fitted.applicant}
        further = {attribute.name: self._column(attribute.rule, chunk, notes, submitted).values for attribute in self.fitted.attributes}
        if self.fitted.outcome is not None:
            values |= self._outcome(self.fitted.outcome, chunk, notes, ordinal)
        return values, personal, further

    def _column(self, rule: ColumnRule, chunk: Chunk, notes: _Notes, submitted: Months | None) -> Converted:
        found = self._converters[id(rule)](chunk.columns[rule.column], submitted)
        notes.take(rule, found.bad)
        if rule.target == f"fields.{rule.name}" and rule.name in REQUIRED and found.values.null_count:
            absent = np.flatnonzero(np.asarray(found.values.is_null()))
            notes.take(rule, {int(row): REQUIRED[rule.name] for row in absent if int(row) not in found.bad})
        return found

    def _submitted(self, chunk: Chunk, notes: _Notes, values: dict[str, pa.Array]) -> tuple[Months | None, np.ndarray | None]:
        """(for what is counted in months up to the application, its day as an ordinal, 0 where unknown)."""
        rule = next((rule for rule in self.fitted.rules if rule.name == "submitted_at"), None)
        if rule is not None:
            found = self._column(rule, chunk, notes, None)
            values["submitted_at"] = found.values
            return Months(found.month, found.day), found.ordinal
        constant = self.fitted.mapping.constants.get("submitted_at")
        if constant is None:
            return None, None
        n = len(chunk)
        months = Months(np.full(n, constant.year * 12 + constant.month), np.full(n, constant.day))
        return months, np.full(n, constant.toordinal())

    def _outcome(self, outcome: OutcomeRule, chunk: Chunk, notes: _Notes, submitted: np.ndarray | None) -> dict[str, pa.Array]:
        rule = ColumnRule(target="outcome.column", kind="code", column=outcome.column, missing=self.fitted.mapping.file.missing)
        texts = given(chunk.columns[outcome.column], rule.missing)
        encoded = texts.dictionary_encode()
        codes = np.asarray(pc.fill_null(encoded.indices, -1))
        meanings = [_meaning(outcome, text.casefold()) for text in encoded.dictionary.to_pylist()]
        blank = None if outcome.blank_is_new else "immature"
        states = np.array([*meanings, blank], dtype=object)[codes]  # code -1 takes the last one
        unknown = np.flatnonzero((codes >= 0) & np.equal(states, None))
        notes.take(rule, {int(row): gettext("is an outcome that the mapping does not list") for row in unknown})
        columns = {"outcome": pa.array(states, pa.string())}
        in_default, known = states == "default", ~np.equal(states, None)
        for name, rows in (("defaulted_on", in_default), ("observed_on", known), ("past_due_30_on", known)):
            dated = getattr(outcome, name)
            if dated is not None:
                found = self._where(dated, chunk, rows)
                if submitted is not None:
                    early = (found.ordinal > 0) & (submitted > 0) & (found.ordinal < submitted)
                    found.bad |= {int(row): gettext("lies before the application") for row in np.flatnonzero(early)}
                notes.take(dated, found.bad)
                columns[name] = found.values
        if outcome.loss:
            columns["loss"] = self._loss(outcome.loss, chunk, notes, in_default)
        return columns

    def _where(self, rule: ColumnRule, chunk: Chunk, rows: np.ndarray) -> Converted:
        """The column on these rows only: what it says of other loans is neither read nor judged."""
        texts = pc.if_else(pa.array(rows), chunk.columns[rule.column], pa.scalar(None, pa.string()))
        return self._converters[id(rule)](texts)

    def _loss(self, rules: tuple[ColumnRule, ...], chunk: Chunk, notes: _Notes, rows: np.ndarray) -> pa.Array:
        parts = []
        for rule in rules:
            found = self._where(rule, chunk, rows)
            notes.take(rule, found.bad)
            parts.append(found.values)
        loss = parts[0]
        for less in parts[1:]:
            loss = pc.subtract(loss, pc.fill_null(less, 0.0))
        return pc.round(pc.max_element_wise(loss, 0.0, skip_nulls=False), 2)

    def _digests(self, chunk: Chunk, keep: pa.Array) -> pa.Array:
        """A reference for rows that have none: a digest of what was known at application. Equal rows get numbers later."""
        columns = [pc.fill_null(pc.utf8_trim_whitespace(chunk.columns[name].filter(keep)), "") for name in self.fitted.application_columns]
        joined = pc.binary_join_element_wise(*columns, "\x1f").to_pylist()
        prefix = self.fitted.mapping.name[:40] + "-"
        return pa.array([prefix + hashlib.blake2b(row.encode(), digest_size=DIGEST_BYTES).hexdigest() for row in joined], pa.string())


def _meaning(outcome: OutcomeRule, value: str) -> str | None:
    if value in outcome.default:
        return "default"
    if value in outcome.repaid:
        return "repaid"
    return "immature" if outcome.immature is None or value in outcome.immature else None


def _without_blank_rows(chunk: Chunk) -> Chunk:
    """Spreadsheets leave rows of nothing but separators at their end; they are no applications."""
    if not len(chunk):
        return chunk
    filled = np.zeros(len(chunk), dtype=bool)
    for column in chunk.columns.values():
        filled |= np.asarray(pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(column), ""), False))
        if filled.all():
            return chunk
    keep = pa.array(filled)
    columns = {name: column.filter(keep) for name, column in chunk.columns.items()}
    return Chunk(chunk.lines[filled], columns, chunk.share, chunk.problems)


def _sealed(name: str, column: pa.Array) -> dict[str, pa.Array]:
    """One personal column encrypted as `EncryptedTextField` does it, and its blind index; the plain text goes no further than here."""
    model_field = Applicant._meta.get_field(name)
    context = f"{Applicant._meta.db_table}.{model_field.column}"
    texts = column.to_pylist()
    sealed = {f"applicant_{name}": pa.array([text and encrypt(text, context=context) for text in texts], pa.string())}
    if name == "name":
        # A row without a name has an empty list, never none.
        tokens = ("{" + ",".join(f'"\\\\x{token.hex()}"' for token in name_tokens(text or "")) + "}" for text in texts)
        sealed["applicant_name_tokens"] = pa.array(list(tokens), pa.string())
    if name in INDEXED:
        digests = (blind_index(name, text) if text else None for text in texts)
        sealed[f"applicant_{name}_index"] = pa.array([digest and f"\\x{digest.hex()}" for digest in digests], pa.string())
    return sealed


def _as_json(attributes: list[AttributeRule], columns: dict[str, pa.Array]) -> pa.Array:
    """Each row's attributes as a JSON object, without those that it lacks."""
    parts: list[Any] = []
    for attribute in attributes:
        column = columns[attribute.name]
        if pa.types.is_string(column.type):
            encoded = column.dictionary_encode()
            column = pa.array([_quoted_json(text) for text in encoded.dictionary.to_pylist()], pa.string()).take(encoded.indices)
        else:
            column = pc.cast(column, pa.string())
        parts.append(pc.fill_null(pc.binary_join_element_wise(f'"{attribute.name}":', column, ",", ""), ""))
    # not null_handling="skip": pyarrow 26 then leaves rows out where every part is null
    inside = pc.utf8_rtrim(pc.binary_join_element_wise(*parts, ""), characters=",")
    return pc.binary_join_element_wise("{", inside, "}", "")


@lru_cache(maxsize=10_000)
def _quoted_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
