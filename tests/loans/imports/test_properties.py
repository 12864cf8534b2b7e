"""Whatever stands in a file or a mapping: it is read, or refused in words, and no number that is not finite comes of it.

A few hundred cases here; `make properties` runs its part of a million (PROPERTY_CASES).
"""

from __future__ import annotations

import csv
import functools
import gzip
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from loans.services.imports.bounded import open_bounded
from loans.services.imports.draft import draft_mapping
from loans.services.imports.mapping import available_mappings, load_mapping, parse_mapping
from loans.services.imports.opening import open_reader
from loans.services.imports.problems import ImportProblem
from loans.services.imports.rules import FileOptions, Mapping
from loans.services.imports.validate import Validator
from tests.loans.imports.conftest import GOOD, HEADER, TOML
from tests.loans.imports.test_readers import rows_of
from tests.properties import finite, some

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
ODD = (
    "", " ", "nan", "NaN", "-inf", "Infinity", "1e999", "-1e-999", "1e308", "9" * 400,
    "0x1F", "1_000", "١٢", "½", "1,000,000.5", "(5)", "$1", "50%",
    "10+ years", "999999 years", "< 1 year", "36 months", "2026-02-30", "0001-01-01", "9999-12-31",
    "31/12/99", "Dec-2011", "2026-06-15T24:00",
    "true", "R", "igloo", "\u202e", "\ufeff", "\x00", "a\tb", "'; DROP TABLE", "=1+1", "\\N", "ﬁ", "0", "-0", "1",
)  # fmt: skip
cells = st.one_of(st.sampled_from(ODD), st.text(max_size=12), st.floats().map(str), st.integers().map(str), st.dates().map(str))


@functools.cache
def whole(kind: str) -> bytes:
    """A good file of this kind, small."""
    header, rows = ["ref", "sum", "when"], [[f"A-{n}", 1000.5 * n, f"2024-03-{1 + n:02d}"] for n in range(8)]
    out = io.BytesIO()
    if kind == "parquet":
        pq.write_table(pa.table({name: [row[place] for row in rows] for place, name in enumerate(header)}), out)
    elif kind == "xlsx":
        book = openpyxl.Workbook()
        for row in [header, *rows]:
            book.active.append(row)
        book.save(out)
    else:
        text = io.StringIO(newline="")
        csv.writer(text).writerows([header, *rows])
        out.write(gzip.compress(text.getvalue().encode()) if kind == "csv.gz" else text.getvalue().encode())
    return out.getvalue()


@st.composite
def damaged(draw, kind: str) -> bytes:
    """A good file of which some bytes are others, missing, or twice."""
    content = bytearray(whole(kind))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(content)))
        new = draw(st.binary(max_size=6))
        content[at : at + draw(st.sampled_from([0, 0, 1, 2, 8, 200]))] = new
    return bytes(content[: draw(st.sampled_from([len(content)] * 3 + [len(content) // 2]))])


options = st.builds(
    FileOptions,
    encoding=st.sampled_from(["utf-8", "cp1252", "utf-16", "latin-1"]),
    delimiter=st.sampled_from(["", ",", ";", "\t"]),
    sheet=st.sampled_from(["", "Sheet", "Other"]),
)


@contextmanager
def or_refused() -> Iterator[None]:
    """Whatever is done in here may be refused in words, and may raise nothing else."""
    said = None
    try:
        yield
    except ImportProblem as problem:
        said = str(problem)
    assert said is None or said.strip()


def read_or_refused(opened, path, chosen) -> None:
    with or_refused(), opened(path, chosen) as reader:
        rows, problems = rows_of(reader)
        assert all(len(row) == 1 + len(reader.header) for row in rows)
        assert all(value is None or isinstance(value, str) for row in rows for value in row[1:])
        assert all(problem.message for problem in problems)


@given(st.sampled_from(["csv", "csv.gz", "xlsx"]).flatmap(damaged), options)
@some(80)
def test_a_damaged_file_is_read_or_refused(tmp_path_factory, content, chosen):
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content)
    read_or_refused(open_reader, path, chosen)


@given(damaged("parquet"))
@some(25)
def test_a_damaged_parquet_file_is_read_or_refused_in_its_child(tmp_path_factory, content):
    # Its library reads lengths out of the file and allocates them: in a child, as the desk does.
    path = tmp_path_factory.getbasetemp() / "damaged.parquet"
    path.write_bytes(content)
    read_or_refused(open_bounded, path, FileOptions())


def checked(mapping, header, rows, path) -> None:
    """The rows through reader and mapping: each is good or refused, and the good ones hold finite values."""
    with path.open("w", newline="", encoding="utf-8", errors="surrogatepass") as file:
        csv.writer(file).writerows([header, *rows])
    with or_refused(), open_reader(path, mapping.file) as reader:
        fitted = mapping.fit(reader.header, file_name="made up.csv")
        validator = Validator(fitted, now=NOW)
        for chunk in reader.chunks(fitted.columns):
            found = validator(chunk)
            assert found.rows == len(found.good) + found.refused
            assert all(problem.message for problem in found.problems)
            for name in found.good.column_names:
                values = found.good[name].to_pylist()
                if name in ("attributes", "protected"):
                    values = [json.loads(value, parse_constant=_refuse) for value in values if value is not None]
                assert finite(values), name


def _refuse(text: str) -> None:
    raise AssertionError(f"{text} is no number")


@given(st.lists(st.fixed_dictionaries({name: st.one_of(st.just(good), cells) for name, good in GOOD.items()}), min_size=1, max_size=4))
@some(80)
def test_whatever_stands_in_a_cell_its_row_is_good_or_refused(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "cells.csv"
    checked(parse_mapping(TOML, name="tiny"), HEADER, [[row[name] for name in HEADER] for row in rows], path)


@functools.cache
def shipped() -> list:
    return [load_mapping(name) for name in available_mappings()]


def columns_of(mapping: Mapping) -> list[str]:
    """All that a mapping names."""
    return sorted({rule.column for rule in mapping.application_rules()} | mapping.outcome.columns() | set(mapping.ignored))


@given(st.data())
@some(40)
def test_the_mappings_that_come_along_take_whatever_a_cell_holds(tmp_path_factory, data):
    mapping = data.draw(st.sampled_from(shipped()))
    header = columns_of(mapping)
    rows = data.draw(st.lists(st.lists(cells, min_size=len(header), max_size=len(header)), min_size=1, max_size=2))
    mapping.fit(tuple(header), file_name="made up.csv")  # the header is not what they are refused for
    checked(mapping, header, rows, tmp_path_factory.getbasetemp() / "shipped.csv")


words = st.sampled_from([
    "sum", "ref", "date", "status", "nothing", "", "percent", "years", "date", "number", "category", "%d/%m/%Y",
    "%", "Europe/Oslo", "Mars/Base", "good",
    "bad", "utf-16", "no-such-code", ";", "a,b", "\x00", "x" * 300,
])  # fmt: skip
plain = st.one_of(words, st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.lists(words, max_size=2))
inner = st.one_of(
    plain,
    st.dictionaries(
        st.sampled_from(
            ["column", "from", "scale", "format", "missing", "optional", "values", "otherwise", "timezone", "kind", "direction", "first"]
        ),
        st.one_of(plain, st.dictionaries(words, plain, max_size=2)),
        max_size=4,
    ),
)
sections = st.fixed_dictionaries(
    {"fields": st.dictionaries(st.sampled_from(["amount", "submitted_at", "term_months", "debt_to_income", "colour"]), inner, max_size=4)},
    optional={
        "file": st.dictionaries(
            st.sampled_from(["encoding", "delimiter", "decimal", "timezone", "missing", "sheet", "x"]), plain, max_size=3
        ),
        "constants": st.dictionaries(st.sampled_from(["product", "channel", "amount"]), plain, max_size=2),
        "applicant": st.dictionaries(st.sampled_from(["name", "email", "birth_date"]), inner, max_size=2),
        "attributes": st.dictionaries(st.sampled_from(["savings", "Not A Name", "amount"]), inner, max_size=2),
        "outcome": st.dictionaries(
            st.sampled_from(["column", "default", "repaid", "immature", "blank", "defaulted_on", "loss"]), inner, max_size=5
        ),
        "ignored": st.dictionaries(words, plain, max_size=2),
    },
)


def toml(value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {toml(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(each) for each in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, str) else str(value)


@given(sections, st.lists(st.lists(cells, min_size=4, max_size=4), min_size=1, max_size=2))
@some(120)
def test_a_mapping_of_known_words_is_read_fitted_and_used_or_refused(tmp_path_factory, parts, rows):
    text = "\n".join(f"{name} = {toml(value)}" for name, value in parts.items())
    with or_refused():
        checked(parse_mapping(text, name="made up"), ["sum", "ref", "date", "status"], rows, tmp_path_factory.getbasetemp() / "mapped.csv")


@pytest.mark.django_db
@given(
    st.lists(st.text(max_size=8), min_size=1, max_size=5, unique=True),
    st.lists(st.lists(cells, min_size=5, max_size=5), min_size=1, max_size=3),
)
@some(25)
def test_a_draft_for_any_table_is_a_mapping_or_a_refusal(tmp_path_factory, header, rows):
    path = tmp_path_factory.getbasetemp() / "drafted.csv"
    assume(any(name.strip() for name in header))
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *(row[: len(header)] for row in rows)])
    except (UnicodeEncodeError, csv.Error):
        return
    with or_refused():
        parse_mapping(draft_mapping(path), name="draft")
