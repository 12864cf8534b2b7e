"""One column's entry in a mapping, read and checked: the part of the manual that says `column`, `from`, `values`, `format` and so on."""

from __future__ import annotations

import math
import re
import zoneinfo
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from loans.models.fields import FieldSpec
from loans.services.imports.rules import DATED, NUMERIC, SOURCES, TEXTUAL, ColumnRule, FileOptions

_COLUMN_KEYS = {"column", "missing", "optional"}
_KIND_KEYS = {
    "money": {"scale", "values"},
    "ratio": {"scale", "values", "from"},
    "count": {"scale", "values"},
    "number": {"scale", "values", "from", "format"},
    "code": {"values", "otherwise", "whole_number", "first", "prefix"},
    "text": {"values", "otherwise", "whole_number", "first", "prefix"},
    "category": {"values", "otherwise", "whole_number", "first", "prefix"},
    "boolean": {"values", "otherwise"},
    "time": {"format", "timezone"},
    "date": {"format"},
}


class RuleReader:
    """Reads entries and collects what is wrong with them in `problems`, so that one reading tells all of it."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.file = FileOptions()

    def bad(self, where: str, message: str) -> None:
        self.problems.append(f"{where} {message}")

    def unknown_keys(self, where: str, table: dict[str, Any], allowed: set[str]) -> None:
        for key in table:
            if key not in allowed:
                self.bad(
                    where,
                    _("has the key %(key)s, which means nothing here; there are: %(what)s")
                    % {"key": f"{key!r}", "what": ", ".join(sorted(allowed))},
                )

    def take(self, where: str, table: dict[str, Any], key: str, kind: type | tuple[type, ...], default: Any, words: str) -> Any:
        value = table.get(key, default)
        if value is default:
            return default
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.bad(f"{where} {key}", f"must be {words}")
            return default
        return value

    def texts(self, where: str, table: dict[str, Any], key: str) -> list[str]:
        value = table.get(key, [])
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.bad(f"{where} {key}", _("must be text or a list of texts"))
            return []
        return value

    def timezone(self, where: str, table: dict[str, Any], default: str) -> str:
        name = self.take(where, table, "timezone", str, default, "text")
        try:
            zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            self.bad(f"{where} timezone", _("is %(name)s, which is not a time zone's name (such as Europe/Berlin)") % {"name": f"{name!r}"})
            return default
        return name

    def rule(
        self,
        target: str,
        value: Any,
        kind: str,
        *,
        spec: FieldSpec | None = None,
        personal: bool = False,
        extra: frozenset[str] = frozenset(),
    ) -> ColumnRule | None:
        where = f"[{target}]"
        table = {"column": value} if isinstance(value, str) else value
        if not isinstance(table, dict):
            self.bad(where, _('must be a column\'s name, or a table such as { column = "…" }'))
            return None
        months = kind == "count" and spec is not None and spec.unit == "months"
        allowed = _COLUMN_KEYS | _KIND_KEYS[kind] | ({"from", "format"} if months else set())
        self.unknown_keys(where, table, allowed | extra)
        column = table.get("column")
        if not isinstance(column, str) or not column.strip():
            self.bad(where, _("needs a `column`: the name that stands in the file's header"))
            return None
        source = self.take(where, table, "from", str, "", "text")
        sources = SOURCES.get("months" if months else kind, ())
        if source and source not in sources and "from" in allowed:
            self.bad(f"{where} from", _("must be one of %(sources)s") % {"sources": ", ".join(sources)})
        values, otherwise = self._values(where, table, kind, spec)
        return ColumnRule(
            target=target,
            kind=kind,
            column=column.strip(),
            spec=spec,
            source=source,
            formats=self._formats(where, table),
            timezone=self.timezone(where, table, self.file.timezone) if kind == "time" else "UTC",
            decimal=self.file.decimal,
            scale=self._scale(where, table),
            values=values,
            otherwise=otherwise,
            missing=self.file.missing | frozenset(text.strip() for text in self.texts(where, table, "missing")),
            whole_number=self.take(where, table, "whole_number", bool, False, _("true or false")),
            first=self._first(where, table),
            prefix=self.take(where, table, "prefix", str, "", "text"),
            optional=self.take(where, table, "optional", bool, False, _("true or false")),
            personal=personal,
        )

    def _first(self, where: str, table: dict[str, Any]) -> int:
        first = self.take(where, table, "first", int, 0, "a whole number")
        if first < 0:
            self.bad(f"{where} first", _("must be at least 1: so many characters are kept"))
            return 0
        return first

    def _scale(self, where: str, table: dict[str, Any]) -> float:
        scale = self.take(where, table, "scale", (int, float), 1.0, "a number")
        if not 0 < scale < 1e12 or not math.isfinite(scale):
            self.bad(f"{where} scale", _("must be a positive number: what stands in the file is multiplied by it"))
            return 1.0
        return float(scale)

    def _formats(self, where: str, table: dict[str, Any]) -> tuple[str, ...]:
        formats = self.texts(where, table, "format")
        for text in formats:
            if not _gives_a_day_back(text):
                self.bad(
                    f"{where} format",
                    _("is %(text)s, which gives no date back; write it like %%d/%%m/%%Y or %%b-%%Y") % {"text": f"{text!r}"},
                )
        return tuple(formats)

    def _values(self, where: str, table: dict[str, Any], kind: str, spec: FieldSpec | None) -> tuple[dict[str, Any], Any]:
        given = table.get("values", {})
        if not isinstance(given, dict):
            self.bad(f"{where} values", _('must be a table: { "what stands in the file" = "what it means" }'))
            given = {}
        values: dict[str, Any] = {}
        for text, meaning in given.items():
            key = text.strip().casefold()
            if key in values:
                self.bad(f"{where} values", _("has %(text)s twice (upper and lower case are the same)") % {"text": f"{text!r}"})
            values[key] = self._meaning(f"{where} values[{text!r}]", meaning, kind, spec)
        otherwise = table.get("otherwise")
        return values, None if otherwise is None else self._meaning(f"{where} otherwise", otherwise, kind, spec)

    def _meaning(self, where: str, meaning: Any, kind: str, spec: FieldSpec | None) -> Any:
        if kind == "boolean":
            fits, words = isinstance(meaning, bool), _("true or false")
        elif kind in NUMERIC:
            fits, words = isinstance(meaning, int | float) and not isinstance(meaning, bool) and abs(meaning) < 1e15, "a number"
        elif spec is not None and spec.choices:
            fits, words = meaning in spec.choices, f"one of {', '.join(spec.choices)}"
        else:
            fits, words = isinstance(meaning, str) and bool(meaning.strip()), "text"
        if not fits:
            self.bad(where, f"must be {words}")
            return None
        return float(meaning) if kind in NUMERIC else meaning


def _gives_a_day_back(pattern: str) -> bool:
    day = datetime(2001, 2, 3)  # noqa: DTZ001 - only written and read back
    try:
        return datetime.strptime(day.strftime(pattern), pattern).year == day.year  # noqa: DTZ007
    except (ValueError, re.error):
        return False


assert set(_KIND_KEYS) == {*NUMERIC, *TEXTUAL, *DATED, "boolean"}
