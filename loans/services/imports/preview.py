"""What an import would make of a file, before anything is loaded: its first rows as they would be stored, and what is wrong with them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy

from loans.models import ImportUpload
from loans.models.fields import APPLICANT_FIELDS, APPLICATION_FIELDS
from loans.services.imports.bounded import open_bounded
from loans.services.imports.draft import mapping_name
from loans.services.imports.load import check_definitions
from loans.services.imports.mapping import parse_mapping
from loans.services.imports.problems import RowProblem
from loans.services.imports.readers import Chunk, FileProblem
from loans.services.imports.rules import Fitted, Mapping
from loans.services.imports.sheet import pattern
from loans.services.imports.validate import Look, Validator

_MIDNIGHT = re.compile(r"\d{4}-\d\d-\d\dT00:00:00\+00:00")
ROWS = 20
PROBLEMS = 20
ENDINGS = {"repaid": "repaid", "default": "defaulted", "immature": gettext_lazy("end not known yet"), None: "open applications"}


@dataclass
class Cell:
    """text: what would be stored; raw: what stands in the file, where it reads otherwise; problem: why it is refused."""

    text: str
    raw: str = ""
    problem: str = ""


@dataclass
class PreviewRow:
    line: int
    cells: list[Cell]
    problem: str = ""

    @property
    def bad(self) -> bool:
        return bool(self.problem) or any(cell.problem for cell in self.cells)


@dataclass
class Preview:
    """columns: (file's name, what it becomes). looked: rows that were tried, from the file's beginning; refused: of these.

    further: problems below the rows shown, the first ones; problems: how many there are in the rows tried.
    """

    mapping: Mapping
    columns: list[tuple[str, str]]
    rows: list[PreviewRow]
    looked: int
    refused: int
    problems: int
    further: list[RowProblem] = field(default_factory=list)
    endings: list[tuple[str, int]] = field(default_factory=list)
    row_name: str = "line"
    has_time: bool = False


def preview(upload: ImportUpload) -> Preview:
    """Tries the mapping on the first 10,000 rows or so. Raises ImportProblem where it does not fit the file at all."""
    mapping = parse_mapping(upload.mapping, name=mapping_name(upload.file_name))
    with open_bounded(upload.path, mapping.file, name=upload.file_name) as reader:
        fitted = mapping.fit(reader.header, file_name=upload.file_name)
        check_definitions(fitted)
        chunk = next((chunk for chunk in reader.chunks(fitted.columns)), None)
        if chunk is None:
            raise FileProblem(gettext("%(file_name)s has a header and no rows.") % {"file_name": upload.file_name})
        look = Validator(fitted, now=timezone.now()).look(chunk, ROWS)
        order = [name for name in reader.header if name in fitted.columns]
        return _page(fitted, order, look, chunk, reader.row_name)


def _page(fitted: Fitted, order: list[str], look: Look, chunk: Chunk, row_name: str) -> Preview:
    targets = {rule.column: (rule.name, APPLICATION_FIELDS[rule.name].label) for rule in fitted.rules}
    targets |= {rule.column: ("", f"{APPLICANT_FIELDS[rule.name].label}, encrypted") for rule in fitted.applicant}
    targets |= {one.rule.column: (f"attributes.{one.name}", one.label or one.name) for one in fitted.attributes}
    hidden = {rule.column for rule in (*fitted.rules, *fitted.applicant) if rule.personal}
    hidden |= {one.rule.column for one in fitted.attributes if one.rule.personal}
    if fitted.outcome is not None:
        for rule in fitted.outcome.rules():
            name = rule.name if rule.name in look.values else ""
            targets.setdefault(rule.column, (name, rule.name.replace("_", " ")))
        targets[fitted.outcome.column] = ("outcome", "Outcome")
    lines = look.values["line"]
    wrong: dict[tuple[int, str], str] = {}
    for problem in look.problems:
        wrong.setdefault((problem.line, problem.column), problem.message)
    rows = [
        PreviewRow(
            line, [_cell(look, column, targets[column][0], place, column in hidden, wrong.get((line, column), "")) for column in order]
        )
        for place, line in enumerate(lines)
    ]
    last = lines[-1] if lines else 0
    rows += [PreviewRow(one.line, [Cell("") for _ in order], one.message) for one in look.problems if not one.column and one.line <= last]
    rows.sort(key=lambda row: row.line)
    shown = {row.line for row in rows[:ROWS]}
    return Preview(
        mapping=fitted.mapping,
        columns=[(column, targets[column][1]) for column in order],
        rows=rows[:ROWS],
        looked=look.rows,
        refused=look.refused,
        problems=len(look.problems),
        further=[problem for problem in look.problems if problem.line not in shown][:PROBLEMS],
        endings=[(words, look.outcomes[state]) for state, words in ENDINGS.items() if look.outcomes.get(state)],
        row_name=row_name,
        has_time=fitted.has_time,
    )


def _cell(look: Look, column: str, target: str, place: int, hidden: bool, problem: str) -> Cell:
    raw = (look.texts[column][place] or "").strip()
    if hidden:
        return Cell(pattern(raw)[:60], problem=problem)
    if problem:
        return Cell(raw[:60], problem=problem)
    value = look.values[target][place] if target else raw
    text = _written(value)
    return Cell(text[:60], raw[:60] if raw != text else "")


def _written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, str) and _MIDNIGHT.fullmatch(value):
        return value[:10]
    return str(value)
