"""A mapping as lines of a form, and back."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import pytest

from loans.services.imports import parse_mapping, sheet
from loans.services.imports.draft_text import toml_of_document
from loans.services.imports.mapping import FOLDER

MAPPINGS = sorted(path.stem for path in FOLDER.glob("*.toml"))


def opened(name: str) -> tuple[dict, list[sheet.Line], dict[str, sheet.Given]]:
    """(document, its lines, what a form with them sends) of a file that has all columns of the mapping, and in each two values."""
    text = (FOLDER / f"{name}.toml").read_text()
    mapping = parse_mapping(text, name=name)
    columns = {rule.column for rule in mapping.application_rules()} | set(mapping.ignored)
    columns |= mapping.outcome.columns() if mapping.outcome else set()
    head = {"samples": ["a", "b"], "values": {"a": 3, "b": 1}, "empty": 0.0}
    document = tomllib.loads(text)
    lines = sheet.lines(document, {column: dict(head) for column in sorted(columns)})
    return document, lines, {line.column: sheet.given_of(line) for line in lines}


@pytest.mark.parametrize("name", MAPPINGS)
def test_every_column_has_a_role_and_what_is_sent_unchanged_changes_nothing(name):
    document, lines, given = opened(name)
    known = {role for _, group in sheet.roles() for role, _, _ in group}
    assert {line.role for line in lines} <= known
    assert sheet.corrected(document, lines, list(given.values())) == (document, [])
    assert tomllib.loads(toml_of_document(document)) == document, "written out and read again it says the same"


def test_what_is_taken_off_the_loss_stays_when_the_loss_moves():
    document, lines, given = opened("lendingclub")
    loss, minus = document["outcome"]["loss"]["column"], document["outcome"]["loss"]["minus"]
    other = next(line.column for line in lines if line.role == "ignored")
    given[other] = replace(given[other], role="outcome.loss")
    given[minus[0]] = replace(given[minus[0]], role="ignored", why="Never seen")
    found, notes = sheet.corrected(document, lines, list(given.values()))
    assert found["outcome"]["loss"] == {"column": other, "minus": minus[1:]}
    assert found["ignored"][minus[0]] == "Never seen" and loss in found["ignored"] and len(notes) == 1
    parse_mapping(toml_of_document(found), name="x")


def test_two_columns_for_one_place_leave_one_of_them_out():
    document, lines, given = opened("lendingclub")
    first, second = [line.column for line in lines if line.role == "ignored"][:2]
    for column in (first, second):
        given[column] = replace(given[column], role="applicant.email")
    found, notes = sheet.corrected(document, lines, list(given.values()))
    assert found["applicant"]["email"] == first and second in found["ignored"] and second in notes[0]
    parse_mapping(toml_of_document(found), name="x")


def test_the_outcome_keeps_its_dates_when_another_column_tells_it():
    document, lines, given = opened("lendingclub")
    old = document["outcome"]["column"]
    other = next(line.column for line in lines if line.role == "ignored")
    given[other] = replace(given[other], role="outcome")
    found, _ = sheet.corrected(document, lines, list(given.values()))
    assert found["outcome"]["column"] == other and old in found["ignored"]
    assert found["outcome"]["defaulted_on"] == document["outcome"]["defaulted_on"]


def test_a_role_that_does_not_exist_is_none():
    document, lines, given = opened("lendingclub")
    given[lines[0].column] = replace(given[lines[0].column], role="fields.nothing")
    assert sheet.corrected(document, lines, list(given.values())) == (document, [])


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (sheet.Line(0, "who", role="applicant.name", samples=["Ann Lee 7"]), ["xxx xxx 9"]),
        (sheet.Line(0, "words", role="fields.purpose_text", samples=["for Ann"]), ["xxx xxx"]),
        (sheet.Line(0, "faith", role="attribute", protected=True, samples=["none"]), ["xxxx"]),
        (sheet.Line(0, "Full Name", role="ignored", samples=["Ann Lee"]), ["xxx xxx"]),
        (sheet.Line(0, "savings", role="attribute", samples=["1200"]), ["1200"]),
    ],
    ids=["applicant", "own words", "protected", "ignored name", "plain"],
)
def test_of_personal_columns_the_pattern_alone_is_shown(line, shown):
    assert line.shown_samples() == shown
