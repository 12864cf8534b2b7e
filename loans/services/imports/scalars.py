"""One cell's text to one value: the meaning of every unit, date format and code. `convert` does the same for whole columns.

A `BadValue` says what is wrong without quoting the value, which may be personal.
"""

from __future__ import annotations

import math
import re
import zoneinfo
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

from django.utils import timezone
from django.utils.text import slugify
from django.utils.translation import gettext as _

from loans.models.attribute import MAX_TEXT
from loans.models.fields import APPLICATION_FIELDS, EARLIEST_YEAR, BadText, FieldSpec, clean_text
from loans.services.imports.rules import DATED, NUMERIC, ColumnRule, FileOptions

MONTHS_IN = {"y": 12.0, "m": 1.0, "w": 12 / 52.1775, "d": 12 / 365.2425}
_PLAIN = re.compile(r"[+-]?(?:\d{1,300}\.?\d{0,300}|\.\d{1,300})(?:[eE][+-]?\d{1,9})?")
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_CURRENCY = re.compile(r"^([+-]?)\s*[$€£¥]\s*|\s*[$€£¥]$")
_PART = r"(\d{1,6}(?:\.\d{1,6})?)\s*\+?\s*(years?|yrs?|y|months?|mths?|mons?|mos?|m|weeks?|wks?|w|days?|d)\.?"
_DURATION = re.compile(rf"([<>]?)\s*{_PART}(?:\s*(?:,|and)?\s*{_PART})?", re.IGNORECASE)
_BARE = re.compile(r"([<>]?)\s*(\d{1,6}(?:\.\d{1,6})?)\s*\+?")
_ISO = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2})?)(?:\.(\d{1,6})\d*)?\s?(Z|[+-]\d{2}:?\d{2})?)?")
_WHOLE = re.compile(r"(\d+)(?:\.0*)?")
_SLUG = re.compile(r"[-a-zA-Z0-9_]+")
_YES = {"true": True, "yes": True, "y": True, "t": True, "1": True, "false": False, "no": False, "n": False, "f": False, "0": False}


class BadValue(ValueError):
    """What is wrong with a value, in words that fit behind the column's name."""


def parse_number(text: str, decimal: str = ".") -> float:
    """A finite number; thousands separators and one currency sign are understood, nothing else beside it is."""
    if _NOT_FINITE.fullmatch(text):
        raise BadValue(_("is not a finite number; leave the cell empty where nothing is known"))
    if decimal == ",":
        text = text.replace(".", "\0").replace(",", ".").replace("\0", ",")
    bare = _CURRENCY.sub(r"\1", text, count=1)
    if _GROUPED.fullmatch(bare):
        bare = bare.replace(",", "")
    if not _PLAIN.fullmatch(bare) or not bare.isascii():
        raise BadValue(_("is not a number"))
    number = float(bare)
    if not math.isfinite(number):
        raise BadValue(_("is too large for a number"))
    return number


def parse_ratio(text: str, decimal: str, *, percent: bool) -> float:
    """A fraction. A % sign always means hundredths; a bare number does where the rule says percent."""
    if text.endswith("%"):
        return parse_number(text[:-1].rstrip(), decimal) / 100
    number = parse_number(text, decimal)
    return number / 100 if percent else number


def parse_months(text: str, unit: str, decimal: str = ".") -> float:
    """Months from "36", "36 months", "10+ years", "< 1 year", "2 yrs 3 mths"; `unit` is meant where none is written.

    Rounded to whole months, except a bare number that already is in months: 36.5 of those is a mistake, which the limits then find.
    """
    if decimal == ",":
        text = text.replace(",", ".")
    found = _DURATION.fullmatch(text)
    if found:
        sign, first, first_unit, second, second_unit = found.groups()
        parts = [(float(first), first_unit[0].lower())] + ([(float(second), second_unit[0].lower())] if second else [])
    else:
        bare = _BARE.fullmatch(text)
        if bare is None:
            number = parse_number(text)  # says what is wrong with it; "-3" comes back negative
            if not math.isfinite(number * MONTHS_IN[unit[0]]):
                raise BadValue(_("is too large for a number"))
            return number if unit == "months" else float(round(number * MONTHS_IN[unit[0]]))
        sign, parts = bare.group(1), [(float(bare.group(2)), unit[0])]
        if unit == "months" and not sign:
            return parts[0][0]
    if sign == "<":
        # less than one year is none in full; less than five is four
        parts = [(max(math.ceil(parts[0][0]) - 1, 0), parts[0][1])]
    return float(round(sum(number * MONTHS_IN[letter] for number, letter in parts)))


def parse_moment(text: str, formats: tuple[str, ...], zone: str = "UTC", *, now: datetime | None = None) -> datetime:
    """A time in UTC. ISO 8601 where no format is given; with formats ISO stays understood, unless one of them begins with the year."""
    for pattern in formats:
        try:
            found = datetime.strptime(text, pattern)  # noqa: DTZ007 - the zone is put on below
        except (ValueError, OverflowError):
            continue
        if "%y" in pattern and found.date() > (now or timezone.now()).date() + timedelta(days=1) and (found.month, found.day) != (2, 29):
            found = found.replace(year=found.year - 100)  # strptime takes 54 for 2054; none of our dates lies in the future
        return _in_utc(found, zone)
    iso = None if any(pattern.startswith("%Y") for pattern in formats) else _ISO.fullmatch(text)
    if iso is None or not text.isascii():
        raise BadValue(_("is not a date of the form ") + " or ".join(formats or ("YYYY-MM-DD",)))
    day, clock, fraction, offset = iso.groups()
    try:
        digits = f".{fraction.ljust(6, '0')}" if fraction and clock.count(":") == 2 else ""
        return _in_utc(datetime.fromisoformat(f"{day}T{clock or '00:00'}{digits}{offset or ''}"), zone)
    except (ValueError, OverflowError):
        raise BadValue(_("is a day or time that does not exist")) from None


def _in_utc(found: datetime, zone: str) -> datetime:
    try:
        return (found if found.tzinfo else found.replace(tzinfo=_zone(zone))).astimezone(UTC)
    except (OverflowError, ValueError):
        raise BadValue(_("is a day or time that does not exist")) from None


@lru_cache(maxsize=16)
def _zone(name: str) -> zoneinfo.ZoneInfo:
    return zoneinfo.ZoneInfo(name)


def check_day(day: date, *, earliest: int, latest: date | None) -> None:
    if day.year < earliest:
        raise BadValue(f"lies before {earliest}")
    if latest is not None and day > latest:
        raise BadValue(_("lies in the future"))


class Scalar:
    """One rule as a function from a trimmed, non-empty text that is not `missing` to a value.

    money, ratio, number → float; count → float (whole); code, text, category → str; boolean → bool; time and date → datetime in UTC.
    Limits of numbers are not checked here: `convert` does so for the whole column.
    """

    def __init__(self, rule: ColumnRule, *, now: datetime) -> None:
        self.rule, self.now = rule, now
        self.latest = (now + timedelta(days=1)).date()

    def __call__(self, text: str) -> Any:
        rule = self.rule
        if rule.values:
            known = rule.values.get(text.casefold())
            if known is not None:
                return self._limited(rule.prefix + known) if isinstance(known, str) else known
        if rule.otherwise is not None:
            return rule.otherwise
        if rule.kind in NUMERIC:
            return self.moment(text) if rule.source == "date" else self._number(text)
        if rule.kind in DATED:
            return self.moment(text)
        if rule.kind == "boolean":
            if text.lower() not in _YES:
                raise BadValue(_("is neither yes nor no") + self._known_values())
            return _YES[text.lower()]
        return self._text(text)

    def _number(self, text: str) -> float:
        rule = self.rule
        if rule.in_months:
            return parse_months(text, rule.source or "months", rule.decimal) * rule.scale
        if rule.kind == "ratio" or rule.source in ("percent", "fraction"):
            return parse_ratio(text, rule.decimal, percent=rule.source == "percent") * rule.scale
        return parse_number(text, rule.decimal) * rule.scale

    def moment(self, text: str) -> datetime:
        rule = self.rule
        found = parse_moment(text, rule.formats, rule.timezone, now=self.now)
        if rule.target.startswith("attributes."):
            earliest, latest = 1900, (self.latest if rule.source == "date" else None)  # a contract of theirs may end in the future
        elif rule.name == "birth_date":
            earliest, latest = 1900, self.latest
        else:
            earliest, latest = EARLIEST_YEAR, self.latest
        check_day(found.date(), earliest=earliest, latest=latest)
        return found

    def _text(self, text: str) -> str:
        rule = self.rule
        text = clean(text)
        if rule.whole_number:
            whole = _WHOLE.fullmatch(text)
            if whole is None or not text.isascii():
                raise BadValue(_("is not a whole number"))
            text = whole.group(1)
        if rule.first:
            text = text[: rule.first]
        if rule.spec is not None and rule.spec.choices:
            if text.casefold() not in rule.spec.choices:
                raise BadValue(_("is not one of %(choices)s") % {"choices": ", ".join(rule.spec.choices)} + self._known_values())
            return text.casefold()
        if rule.target == "fields.product":
            text = product_code(text)
        return self._limited(rule.prefix + text)

    def _limited(self, text: str) -> str:
        spec = self.rule.spec
        limit = spec.max_length if spec is not None else MAX_TEXT
        if limit is not None and len(text) > limit:
            raise BadValue(too_long(len(text), limit))
        return text

    def _known_values(self) -> str:
        if not self.rule.values:
            return ""
        names = list(self.rule.values)
        return _(", and the mapping's `values` know only %(what)s") % {"what": ", ".join(map(repr, names[:8]))} + (
            " …" if len(names) > 8 else ""
        )


def clean(text: str) -> str:
    try:
        return clean_text(text)
    except BadText as error:
        raise BadValue(str(error)) from None


def too_long(length: int, limit: int) -> str:
    return _("is %(length)s characters long; at most %(limit)s are allowed") % {"length": f"{length:,}", "limit": f"{limit:,}"}


def product_code(text: str) -> str:
    code = text if _SLUG.fullmatch(text) else slugify(text)
    if not code:
        raise BadValue(_("gives no product code: letters, digits, - and _ are needed"))
    return code.lower()


def outside(number: float, spec: FieldSpec) -> str | None:
    """What is wrong with a number that does not keep a field's limits."""
    if spec.minimum is not None and number < spec.minimum:
        return "is negative" if number < 0 and spec.minimum == 0 else _("is less than %(minimum)s") % {"minimum": f"{spec.minimum:,g}"}
    if spec.maximum is not None and number > spec.maximum:
        return _("is more than %(maximum)s") % {"maximum": f"{spec.maximum:,.0f}"}
    return None


def constant(name: str, value: Any, options: FileOptions) -> Any:
    """A mapping's constant for a field, as the database takes it: float, int, str or datetime. Raises BadValue."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | date):
        raise BadValue(_("must be text, a number or a date"))
    text = clean(value.isoformat() if isinstance(value, date) else str(value))
    if not text:
        raise BadValue("is empty")
    spec = APPLICATION_FIELDS[name]
    rule = ColumnRule(target=f"fields.{name}", kind=spec.kind, column="", spec=spec, timezone=options.timezone)
    result = Scalar(rule, now=timezone.now())(text)
    if spec.kind in NUMERIC:
        wrong = outside(result, spec)
        if wrong:
            raise BadValue(wrong)
        if spec.kind == "count" and result != int(result):
            raise BadValue(_("is not a whole number"))
        return int(result) if spec.kind == "count" else result
    return result
