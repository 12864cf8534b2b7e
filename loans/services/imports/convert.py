"""Whole columns of text to columns of values: vectorised where the texts are plain, cell by cell (`scalars`) where they are not.

Both ways mean the same; a test holds them against each other. Arrays are pyarrow's, n long, null where nothing is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from django.utils.translation import gettext

from loans.models.attribute import MAX_TEXT
from loans.models.fields import BadText, clean_text
from loans.services.imports.rules import DATED, NUMERIC, ColumnRule
from loans.services.imports.scalars import BadValue, Scalar, clean, outside, too_long

if TYPE_CHECKING:
    from collections.abc import Iterable

CACHE_SIZE = 20_000


@dataclass
class Converted:
    """values: (n,) pyarrow array, null where missing or bad. bad: row → what is wrong.

    For dates `values` is ISO 8601 text, and beside it are `month` (year × 12 + month), `day` and `ordinal`: (n,) int64, 0 where null.
    """

    values: pa.Array
    bad: dict[int, str] = field(default_factory=dict)
    month: np.ndarray | None = None
    day: np.ndarray | None = None
    ordinal: np.ndarray | None = None


@dataclass(frozen=True)
class Months:
    """When each application was submitted, for what is counted up to then: (n,) int64 each, month 0 where unknown."""

    month: np.ndarray
    day: np.ndarray


def given(texts: pa.Array, missing: Iterable[str] = ()) -> pa.Array:
    """The texts trimmed, null where empty or one of `missing`."""
    trimmed = pc.utf8_trim_whitespace(texts)
    absent = pc.equal(trimmed, "")
    if missing:
        absent = pc.or_(absent, pc.is_in(trimmed, value_set=pa.array(list(missing), pa.string())))
    return pc.if_else(pc.fill_null(absent, True), pa.scalar(None, pa.string()), trimmed)


class ColumnConverter:
    """One rule applied chunk after chunk; remembers texts that it has met (at most `CACHE_SIZE`), since most columns repeat a few."""

    def __init__(self, rule: ColumnRule, *, now: datetime) -> None:
        self.rule = rule
        self.scalar = Scalar(rule, now=now)
        self._known: dict[str, Any] = {}

    def __call__(self, texts: pa.Array, submitted: Months | None = None) -> Converted:
        """texts: (n,) pyarrow string as read. submitted: needed where the rule counts months up to the application."""
        rule = self.rule
        texts = given(texts, rule.missing)
        if rule.kind in DATED or rule.source == "date":
            found = self._dates(texts)
            return found if rule.source != "date" else self._months_before(found, submitted)
        if rule.kind in NUMERIC:
            return self._numbers(texts)
        if rule.kind == "boolean":
            return self._each(texts, pa.bool_())
        coded = rule.values or rule.otherwise is not None or rule.whole_number or rule.target == "fields.product"
        if coded or (rule.spec is not None and rule.spec.choices):
            return self._each(texts, pa.string())
        return self._texts(texts)

    def _outcomes(self, texts: pa.Array) -> tuple[np.ndarray, list[Any], dict[int, str]]:
        """(codes (n,) into the list, -1 for null; what each distinct text means, None where bad; bad rows)."""
        encoded = texts.dictionary_encode()
        codes = np.asarray(pc.fill_null(encoded.indices, -1))
        if len(self._known) > CACHE_SIZE:
            self._known.clear()
        meanings: list[Any] = []
        wrong: dict[int, str] = {}
        for code, text in enumerate(encoded.dictionary.to_pylist()):
            meaning = self._known.get(text)
            if meaning is None:
                try:
                    meaning = self.scalar(text)
                except BadValue as error:
                    meaning = error
                if len(text) <= 200:
                    self._known[text] = meaning
            if isinstance(meaning, BadValue):
                wrong[code] = str(meaning)
                meaning = None
            meanings.append(meaning)
        if not wrong:
            return codes, meanings, {}
        rows = np.flatnonzero(np.isin(codes, list(wrong)))
        return codes, meanings, {int(row): wrong[int(codes[row])] for row in rows}

    def _each(self, texts: pa.Array, kind: pa.DataType) -> Converted:
        codes, meanings, bad = self._outcomes(texts)
        return Converted(_take(pa.array(meanings, kind), codes), bad)

    def _dates(self, texts: pa.Array) -> Converted:
        codes, moments, bad = self._outcomes(texts)
        whole = self.rule.kind == "date"
        written = pa.array([moment and (moment.date().isoformat() if whole else moment.isoformat()) for moment in moments], pa.string())
        parts = np.zeros((3, len(moments) + 1), dtype=np.int64)  # the last column stays 0: code -1 takes it
        for code, moment in enumerate(moments):
            if moment is not None:
                parts[:, code] = moment.year * 12 + moment.month, moment.day, moment.toordinal()
        month, day, ordinal = parts[:, codes]
        return Converted(_take(written, codes), bad, month, day, ordinal)

    def _months_before(self, found: Converted, submitted: Months | None) -> Converted:
        assert submitted is not None, gettext("the mapping's parser asks for submitted_at where a rule counts months up to it")
        months = submitted.month - found.month - (submitted.day < found.day)
        known = (found.month > 0) & (submitted.month > 0)
        bad = found.bad | {int(row): gettext("is a day after the application's") for row in np.flatnonzero(known & (months < 0))}
        return self._limited(np.where(known, months, np.nan), bad)

    def _numbers(self, texts: pa.Array) -> Converted:
        rule = self.rule
        plain = (
            not rule.values
            and rule.otherwise is None
            and rule.decimal == "."
            and rule.source in ("", "fraction", "percent", "months", "years")
        )
        if plain:
            try:
                numbers = np.array(pc.cast(texts, pa.float64()).to_numpy(zero_copy_only=False))
            except pa.ArrowInvalid:
                pass  # a unit, a separator or something wrong: cell by cell, the slower and wiser way
            else:
                given_rows = np.asarray(texts.is_valid())
                bad = self._again(texts, given_rows & ~np.isfinite(numbers))
                with np.errstate(over="ignore"):  # what overflows is refused by its limits
                    if rule.in_months:
                        numbers = np.rint(numbers * 12) if rule.source == "years" else numbers
                    elif rule.source == "percent":
                        numbers = numbers / 100
                    return self._limited(numbers * rule.scale, bad)
        codes, meanings, bad = self._outcomes(texts)
        numbers = np.array([np.nan if meaning is None else meaning for meaning in meanings] + [np.nan], dtype=np.float64)[codes]
        return self._limited(numbers, bad)

    def _again(self, texts: pa.Array, rows: np.ndarray) -> dict[int, str]:
        """The scalar's word on rows that the fast way found wanting."""
        bad = {}
        for row in np.flatnonzero(rows):
            try:
                self.scalar(texts[int(row)].as_py())
            except BadValue as error:
                bad[int(row)] = str(error)
        return bad

    def _limited(self, numbers: np.ndarray, bad: dict[int, str]) -> Converted:
        """Numbers within the field's limits, whole ones as integers; numbers is (n,) float64 with NaN for null."""
        rule, spec = self.rule, self.rule.spec
        numbers = numbers.copy()
        bad = dict(bad)
        overflow = np.isinf(numbers)
        self._refuse(numbers, overflow, bad, lambda _: gettext("is too large for a number"))
        if spec is not None:
            low = -np.inf if spec.minimum is None else spec.minimum
            high = np.inf if spec.maximum is None else spec.maximum
            self._refuse(
                numbers, (numbers < low) | (numbers > high), bad, lambda number: outside(number, spec) or gettext("is out of range")
            )
        if rule.kind == "count":
            if rule.scale != 1.0:
                numbers = np.rint(numbers)
            self._refuse(numbers, np.abs(numbers - np.rint(numbers)) > 0, bad, lambda _: gettext("is not a whole number"))
        absent = np.isnan(numbers)
        if bad:
            absent[list(bad)] = True
        if rule.kind == "count":
            return Converted(pa.array(np.where(absent, 0, numbers).astype(np.int64), mask=absent), bad)
        return Converted(pa.array(np.where(absent, 0.0, numbers), mask=absent), bad)

    @staticmethod
    def _refuse(numbers: np.ndarray, rows: np.ndarray, bad: dict[int, str], why: Callable[[float], str]) -> None:
        for row in np.flatnonzero(rows):
            bad.setdefault(int(row), why(float(numbers[row])))
        numbers[rows] = np.nan

    def _texts(self, texts: pa.Array) -> Converted:
        rule = self.rule
        bad: dict[int, str] = {}
        suspicious = pc.fill_null(pc.match_substring_regex(texts, forbidden_pattern()), False)
        if pc.any(suspicious).as_py():
            cells = texts.to_pylist()
            for row in np.flatnonzero(np.asarray(suspicious)):
                try:
                    cells[row] = clean(cells[row])
                except BadValue as error:
                    bad[int(row)], cells[row] = str(error), None
            texts = pa.array(cells, pa.string())
        if rule.first:
            texts = pc.utf8_slice_codeunits(texts, 0, rule.first)
        if rule.prefix:
            texts = pc.binary_join_element_wise(pa.scalar(rule.prefix), texts, "")
        limit = MAX_TEXT if rule.spec is None else rule.spec.max_length
        if limit is not None:
            lengths = pc.fill_null(pc.utf8_length(texts), 0)
            for row in np.flatnonzero(np.asarray(lengths) > limit):
                bad[int(row)] = too_long(lengths[int(row)].as_py(), limit)
        if bad:
            wrong = np.zeros(len(texts), dtype=bool)
            wrong[list(bad)] = True
            texts = pc.if_else(pa.array(wrong), pa.scalar(None, pa.string()), texts)
        return Converted(texts, bad)


def _take(meanings: pa.Array, codes: np.ndarray) -> pa.Array:
    return meanings.take(pa.array(codes, pa.int64(), mask=codes < 0))


@lru_cache(maxsize=1)
def forbidden_pattern() -> str:
    """A regular expression for what `clean_text` refuses, asked of it letter by letter, so that the two can't drift apart."""
    letters = []
    for code in range(0x1_0000):
        if 0xD800 <= code <= 0xDFFF:
            continue  # UTF-8 can't hold a surrogate
        try:
            clean_text(f"a{chr(code)}a")
        except BadText:
            letters.append(code)
    return "[" + "".join(f"\\x{{{code:04X}}}" for code in letters) + "]"
