"""Reading a mapping: TOML that says what each column of one lender's file is. docs/IMPORT.md is its manual.

Every problem found is told at once, each with its table and key.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from django.utils.translation import gettext

from loans.models.attribute import DIRECTIONS, KINDS
from loans.models.fields import APPLICANT_FIELDS, APPLICATION_FIELDS, FieldSpec
from loans.services.imports.mapping_rules import RuleReader
from loans.services.imports.rules import AttributeRule, ColumnRule, FileOptions, Mapping, MappingProblem, OutcomeRule
from loans.services.imports.scalars import BadValue, constant

FOLDER = Path(__file__).resolve().parents[2] / "mappings"
MAX_BYTES = 1_000_000
ENCODINGS = ("utf-8", "cp1252", "iso-8859-1", "iso-8859-15", "utf-16")
DELIMITERS = (",", ";", "\t", "|")
PERSONAL_FIELDS = ("purpose_text",)  # an applicant's own words name people and employers
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")
_ATTRIBUTE = re.compile(r"[a-z][a-z0-9_]{0,62}")
_ATTRIBUTE_TEXTS = {"label": 200, "unit": 40, "family": 63, "reason_text": 300}
_ATTRIBUTE_FLAGS = {"known_at_application": True, "protected": False, "changeable": False}
_OUTCOME_DATES = ("defaulted_on", "observed_on", "past_due_30_on")
_DEFINITION = {"kind", "direction", *_ATTRIBUTE_TEXTS, *_ATTRIBUTE_FLAGS}


def available_mappings() -> list[str]:
    """Names of the mappings that come with Loandesk."""
    return sorted(path.stem for path in FOLDER.glob("*.toml") if path.stem != "template")


def load_mapping(name_or_path: str | Path) -> Mapping:
    """A mapping that comes with Loandesk, by name, or one's own, by path. Raises MappingProblem."""
    text = str(name_or_path)
    path = Path(text) if text.endswith(".toml") or "/" in text or "\\" in text else FOLDER / f"{text}.toml"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise MappingProblem(
                gettext("The mapping %(name)s is larger than %(max_bytes)s bytes; it is something else.")
                % {"name": path.name, "max_bytes": f"{MAX_BYTES:,}"}
            )
        content = path.read_bytes().decode("utf-8")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise MappingProblem(
                gettext("The mapping %(name)s is not UTF-8 text (byte %(start)s).") % {"name": path.name, "start": error.start}
            ) from error
        known = ", ".join(available_mappings())
        raise MappingProblem(
            gettext("There is no mapping %(text)s. Known by name: %(known)s; or give the path of a .toml file.")
            % {"text": f"{text!r}", "known": known}
        ) from error
    except OSError as error:
        raise MappingProblem(
            gettext("The mapping %(text)s can't be read: %(strerror)s.") % {"text": f"{text!r}", "strerror": error.strerror}
        ) from error
    return parse_mapping(content, name=path.stem)


def parse_mapping(text: str, *, name: str) -> Mapping:
    """A mapping from its TOML. name: what it is called where the text has no `name`. Raises MappingProblem."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise MappingProblem(gettext("The mapping %(name)s is not TOML: %(error)s") % {"name": f"{name!r}", "error": error}) from error
    return _Parser(document, text, name).mapping()


class _Parser(RuleReader):
    """Collects what is wrong as it goes, so that one reading tells all of it."""

    def __init__(self, document: dict[str, Any], text: str, name: str) -> None:
        super().__init__()
        self.document, self.text = document, text
        self.name = document.get("name", name)
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            self.bad("name", gettext("must be lower-case letters, digits, - and _ (at most 60)"))
            self.name = str(name)
        self.file = self._file()

    def mapping(self) -> Mapping:
        tables = ("file", "constants", "fields", "applicant", "attributes", "outcome", "ignored")
        for key in self.document:
            if key not in (*tables, "name", "description"):
                self.bad(f"[{key}]", gettext("is not a table of a mapping; there are: %(tables)s") % {"tables": ", ".join(tables)})
        fields = self._columns("fields", APPLICATION_FIELDS)
        mapping = Mapping(
            name=self.name,
            text=self.text,
            description=str(self.document.get("description", ""))[:1000],
            file=self.file,
            constants=self._constants({rule.name for rule in fields}),
            fields=fields,
            applicant=self._columns("applicant", APPLICANT_FIELDS),
            attributes=self._attributes(),
            outcome=self._outcome(),
            ignored=self._ignored(),
        )
        self._contradictions(mapping)
        if self.problems:
            many = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
            raise MappingProblem(
                gettext("The mapping %(name)s has %(many)s:\n") % {"name": f"{self.name!r}", "many": many}
                + "\n".join(f"- {problem}" for problem in self.problems)
            )
        return mapping

    def table(self, name: str) -> dict[str, Any]:
        value = self.document.get(name, {})
        if not isinstance(value, dict):
            self.bad(f"[{name}]", gettext("must be a table"))
            return {}
        return value

    def _file(self) -> FileOptions:
        table, where = self.table("file"), "[file]"
        self.unknown_keys(where, table, {"encoding", "delimiter", "decimal", "sheet", "timezone", "missing"})
        encoding = self.take(where, table, "encoding", str, "utf-8", "text").lower()
        delimiter = self.take(where, table, "delimiter", str, "", "text")
        decimal = self.take(where, table, "decimal", str, ".", 'text: "." or ","')
        if encoding not in ENCODINGS:
            self.bad(f"{where} encoding", gettext("must be one of %(encodings)s") % {"encodings": ", ".join(ENCODINGS)})
        if delimiter and delimiter not in DELIMITERS:
            self.bad(f"{where} delimiter", gettext("must be one of %(what)s") % {"what": ", ".join(map(repr, DELIMITERS))})
        if decimal not in (".", ","):
            self.bad(f"{where} decimal", gettext('must be "." or ","'))
        return FileOptions(
            encoding=encoding if encoding in ENCODINGS else "utf-8",
            delimiter=delimiter,
            decimal=decimal,
            sheet=self.take(where, table, "sheet", str, "", "text"),
            timezone=self.timezone(where, table, "UTC"),
            missing=frozenset(text.strip() for text in self.texts(where, table, "missing")),
        )

    def _columns(self, name: str, known: dict[str, FieldSpec]) -> tuple[ColumnRule, ...]:
        rules = []
        for key, value in self.table(name).items():
            if key not in known:
                self.bad(
                    f"[{name}]",
                    gettext("has %(key)s, which is not a field; there are: %(known)s") % {"key": f"{key!r}", "known": ", ".join(known)},
                )
                continue
            spec = known[key]
            personal = name == "applicant" or key in PERSONAL_FIELDS
            rules.append(self.rule(f"{name}.{key}", value, spec.kind, spec=spec, personal=personal))
        return tuple(rule for rule in rules if rule is not None)

    def _constants(self, mapped: set[str]) -> dict[str, Any]:
        constants: dict[str, Any] = {}
        for key, value in self.table("constants").items():
            where = f"[constants] {key}"
            if key not in APPLICATION_FIELDS or key == "external_reference":
                allowed = [name for name in APPLICATION_FIELDS if name != "external_reference"]
                self.bad(where, gettext("can't be a constant; these can: %(allowed)s") % {"allowed": ", ".join(allowed)})
                continue
            if key in mapped:
                self.bad(where, gettext("stands in [fields] too; say one of the two for %(key)s") % {"key": key})
            try:
                constants[key] = constant(key, value, self.file)
            except BadValue as error:
                self.bad(where, str(error))
        return constants

    def _attributes(self) -> tuple[AttributeRule, ...]:
        rules = []
        for name, table in self.table("attributes").items():
            where = f"[attributes.{name}]"
            if not _ATTRIBUTE.fullmatch(name) or name in APPLICATION_FIELDS or name in APPLICANT_FIELDS:
                self.bad(
                    where,
                    gettext("needs another name: lower-case letters, digits and underscores (at most 63), and not one of our own fields"),
                )
                continue
            if not isinstance(table, dict):
                self.bad(where, gettext("must be a table with at least `column` and `kind`"))
                continue
            kinds = [kind for kind, _ in KINDS]
            kind = table.get("kind")
            if kind not in kinds:
                self.bad(f"{where} kind", gettext("must be one of %(kinds)s") % {"kinds": ", ".join(kinds)})
                continue
            flags = {
                key: self.take(where, table, key, bool, default, gettext("true or false")) for key, default in _ATTRIBUTE_FLAGS.items()
            }
            rule = self.rule(f"attributes.{name}", table, kind, personal=flags["protected"], extra=frozenset(_DEFINITION))
            direction = self.take(where, table, "direction", int, 0, "-1, 0 or 1")
            if direction not in [value for value, _ in DIRECTIONS]:
                self.bad(f"{where} direction", gettext("must be 1 (higher means more risk), 0 (not known) or -1 (higher means less risk)"))
            texts = {key: self.take(where, table, key, str, "", "text") for key in _ATTRIBUTE_TEXTS}
            for key, limit in _ATTRIBUTE_TEXTS.items():
                if len(texts[key]) > limit:
                    self.bad(
                        f"{where} {key}",
                        gettext("is %(count)s characters long; at most %(limit)s are allowed") % {"count": len(texts[key]), "limit": limit},
                    )
            if rule is not None:
                rules.append(AttributeRule(name=name, rule=rule, direction=direction, **texts, **flags))
        return tuple(rules)

    def _outcome(self) -> OutcomeRule | None:
        if "outcome" not in self.document:
            return None
        table, where = self.table("outcome"), "[outcome]"
        self.unknown_keys(where, table, {"column", "default", "repaid", "immature", "blank", "loss", *_OUTCOME_DATES})
        column = table.get("column")
        if not isinstance(column, str) or not column.strip():
            self.bad(where, "needs a `column`")
            return None
        states = {
            key: frozenset(text.strip().casefold() for text in self.texts(where, table, key)) for key in ("default", "repaid", "immature")
        }
        for key in ("default", "repaid"):
            if not states[key]:
                self.bad(f"{where} {key}", gettext("must list the column's values that mean %(key)s") % {"key": key})
        for one, other in (("default", "repaid"), ("default", "immature"), ("repaid", "immature")):
            for both in sorted(states[one] & states[other]):
                self.bad(
                    where, gettext("lists %(both)s under %(one)s and under %(other)s") % {"both": f"{both!r}", "one": one, "other": other}
                )
        blank = self.take(where, table, "blank", str, "new", "text")
        if blank not in ("new", "immature"):
            self.bad(f"{where} blank", gettext('must be "new" (not decided yet) or "immature" (lent, end not known)'))
        dates = {key: self.rule(f"outcome.{key}", table[key], "date") if key in table else None for key in _OUTCOME_DATES}
        return OutcomeRule(
            column=column.strip(),
            default=states["default"],
            repaid=states["repaid"],
            immature=states["immature"] if "immature" in table else None,
            blank_is_new=blank == "new",
            loss=self._loss(table["loss"]) if "loss" in table else (),
            **dates,
        )

    def _loss(self, value: Any) -> tuple[ColumnRule, ...]:
        table = {"column": value} if isinstance(value, str) else dict(value) if isinstance(value, dict) else value
        minus = self.texts("[outcome.loss]", table, "minus") if isinstance(table, dict) else []
        rule = self.rule("outcome.loss", table, "money", extra=frozenset({"minus"}))
        others = [self.rule("outcome.loss", {**table, "column": column}, "money", extra=frozenset({"minus"})) for column in minus]
        return () if rule is None else (rule, *(other for other in others if other is not None))

    def _ignored(self) -> dict[str, str]:
        ignored = {}
        for column, why in self.table("ignored").items():
            if not isinstance(why, str) or not why.strip():
                self.bad(f"[ignored] {column!r}", gettext("needs the reason why it is left out"))
            else:
                ignored[column.strip()] = why.strip()
        return ignored

    def _contradictions(self, mapping: Mapping) -> None:
        if mapping.field_rule("amount") is None and "amount" not in mapping.constants:
            self.bad("[fields]", gettext("needs `amount`: every application asks for an amount"))
        used = {rule.column: rule.target for rule in reversed(mapping.application_rules())}
        for column in mapping.ignored:
            if column in used:
                self.bad(f"[ignored] {column!r}", gettext("is also used, in [%(used)s]") % {"used": used[column]})
        if mapping.outcome is not None:
            for column in sorted(mapping.outcome.columns() & set(used)):
                self.bad(
                    f"[{used[column]}]",
                    gettext("uses %(column)s, which tells the outcome: nobody knows it when the application is made")
                    % {"column": f"{column!r}"},
                )
            for column in sorted(mapping.outcome.columns() & set(mapping.ignored)):
                self.bad(f"[ignored] {column!r}", gettext("is also used, in [outcome]"))
        if not any(rule.source == "date" for rule in mapping.application_rules()):
            return
        if mapping.field_rule("submitted_at") is None and "submitted_at" not in mapping.constants:
            self.bad("[fields]", gettext('needs `submitted_at`: `from = "date"` counts the months up to it'))
