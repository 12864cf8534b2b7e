"""A proposal written out as TOML, for a person to read and finish."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from loans.models.fields import APPLICANT_FIELDS, APPLICATION_FIELDS
from loans.services.imports.draft_proposal import Proposal


def toml_of_document(document: dict[str, Any]) -> str:
    """A mapping's document, as `tomllib` reads one, written out again; comments are gone."""
    lines = [f"{key} = {toml_value(value)}" for key, value in document.items() if not isinstance(value, dict)]
    for table, entries in document.items():
        if table == "attributes":
            for name, entry in entries.items():
                lines += ["", f"[attributes.{toml_key(name)}]", *(f"{toml_key(key)} = {toml_value(value)}" for key, value in entry.items())]
        elif isinstance(entries, dict):
            lines += ["", f"[{toml_key(table)}]", *(f"{toml_key(key)} = {toml_value(value)}" for key, value in entries.items())]
    return "\n".join(lines) + "\n"


def toml_of(proposal: Proposal) -> str:
    """The proposal as a mapping, with what the columns hold beside each entry; nothing of personal ones."""
    lines = [
        f"# Drafted from {proposal.rows:,} rows of {_one_line(proposal.file_name)}. Read every line, above all those that say CHECK:",
        "# - a column that is known only after the decision belongs in [ignored], or a model will learn the answer from it;",
        "# - units: `from` says how the file has a value (docs/IMPORT.md lists them);",
        "# - direction: 1 where more of it means more risk, -1 where it means less, 0 where nobody knows.",
        f"name = {toml_value(proposal.name)}",
    ]
    file = {"encoding": proposal.options.encoding} if proposal.options.encoding != "utf-8" else {}
    file |= {"sheet": proposal.options.sheet} if proposal.options.sheet else {}
    file |= {"decimal": ","} if proposal.decimal == "," else {}
    if file:
        lines += ["", "[file]", *(f"{key} = {toml_value(value)}" for key, value in file.items())]
    lines += ["", "[constants]"]
    lines += ['# product = "personal-loan"'] if "product" not in proposal.fields else []
    lines += (
        ['# channel = "online" # branch, online, phone, broker, partner, api, import or other'] if "channel" not in proposal.fields else []
    )
    lines += ["", "[fields]", *_entries(proposal, proposal.fields, APPLICATION_FIELDS)]
    if proposal.applicant:
        lines += [
            "",
            "# Personal: encrypted, never a feature, never quoted.",
            "[applicant]",
            *_entries(proposal, proposal.applicant, APPLICANT_FIELDS),
        ]
    for name, entry in proposal.attributes.items():
        lines += ["", f"[attributes.{name}]{_comment(proposal, entry['column'], quiet=entry.get('protected', False))}"]
        lines += [f"{key} = {toml_value(value)}" for key, value in entry.items()]
        lines += [] if entry["kind"] == "category" or entry.get("protected") else ["direction = 0"]
    if proposal.outcome is not None:
        column = proposal.columns[proposal.outcome["column"]]
        found = ", ".join(f"{text!r} {count:,}×" for text, count in column.counts.most_common(15))
        lines += [
            "",
            f"# CHECK. In the head: {_one_line(found)}. What is in neither list counts as not known yet.",
            "[outcome]",
        ]
        lines += [f"{key} = {toml_value(value)}" for key, value in proposal.outcome.items()]
        lines += ['# defaulted_on = "…"  # the column with the day of default, if there is one']
    if proposal.ignored:
        lines += ["", "[ignored]", *(f"{toml_key(column)} = {toml_value(why)}" for column, why in proposal.ignored.items())]
    return "\n".join(lines) + "\n"


def _entries(proposal: Proposal, table: dict[str, dict[str, Any]], order: dict[str, Any]) -> Iterator[str]:
    for field in order:
        if field in table:
            entry = table[field]
            value = entry["column"] if len(entry) == 1 else entry
            quiet = order is APPLICANT_FIELDS or field == "purpose_text"
            yield f"{field} = {toml_value(value)}{_comment(proposal, entry['column'], quiet=quiet)}"


def _comment(proposal: Proposal, column: str, *, quiet: bool) -> str:
    note = proposal.notes.get(column, "")
    examples = "" if quiet else _one_line(proposal.columns[column].examples())
    text = "; ".join(part for part in (note, examples) if part)
    return f" # {text}" if text else ""


def toml_value(value: Any) -> str:
    """As TOML has it, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{toml_key(key)} = {toml_value(item)}" for key, item in value.items()) + " }"
    return "[" + ", ".join(toml_value(item) for item in value) + "]"


def toml_key(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else toml_value(text)


def _one_line(text: str) -> str:
    """For a comment: what would end the line, or is not to be printed, made a space."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
