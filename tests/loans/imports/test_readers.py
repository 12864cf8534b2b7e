from __future__ import annotations

import csv
import gzip
import io
import zipfile
from datetime import date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loans.services.imports import readers
from loans.services.imports.opening import open_reader
from loans.services.imports.problems import ImportProblem
from loans.services.imports.readers import FileProblem
from loans.services.imports.rules import FileOptions
from tests.loans.imports.conftest import relaxed


@pytest.fixture
def read(tmp_path):
    """read(bytes, **options): (header, [(line, values …)], problems)."""

    def go(content: bytes, **options):
        path = tmp_path / "file.csv"
        path.write_bytes(content)
        with open_reader(path, FileOptions(**options)) as reader:
            return reader.header, *rows_of(reader)

    return go


def rows_of(reader):
    rows, problems = [], []
    for chunk in reader.chunks(reader.header):
        columns = [chunk.columns[name].to_pylist() for name in reader.header]
        rows += [(int(line), *values) for line, *values in zip(chunk.lines, *columns, strict=True)]
        problems += chunk.problems
    return rows, problems


def test_lines_count_the_files_own_lines_also_past_quoted_ones_and_blank_ones(read):
    header, rows, problems = read(b'a,b\r\n1,"x\r\ny"\r\n\r\n2,z\n3\n4,w\n')
    assert header == ("a", "b")
    assert rows == [(2, "1", "x\r\ny"), (5, "2", "z"), (7, "4", "w")]
    assert [(problem.line, problem.message) for problem in problems] == [(6, "has 1 columns; the header has 2")]


def test_lines_stay_right_from_chunk_to_chunk(read, monkeypatch):
    monkeypatch.setattr(readers, "CHUNK_ROWS", 2)
    _, rows, problems = read(b"a,b\n1,1\n2,2\nx\n4,4\n5,5,5\n6,6\n7,7\n")
    assert [row[0] for row in rows] == [2, 3, 5, 7, 8]
    assert [problem.line for problem in problems] == [4, 6]


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("delimiter", [b",", b";", b"\t", b"|"])
def test_byte_order_mark_and_delimiter_are_found(read, start, delimiter):
    header, rows, _ = read(start + delimiter.join([b"a", b'"b,;|"']) + b"\n" + delimiter.join([b"1", "ü".encode()]) + b"\n")
    assert header == ("a", "b,;|")
    assert rows == [(2, "1", "ü")]


def test_other_encodings_are_read_where_the_mapping_says_so(read):
    assert read("a\nü\n".encode("cp1252"), encoding="cp1252")[1] == [(2, "ü")]
    assert read("a,b\nü,1\n".encode("utf-16"), encoding="utf-16")[1] == [(2, "ü", "1")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n\n  \n", "is empty"),
        (b"a,b\n" * 3 + "c,ü\n".encode("cp1252"), "line 4: byte 14 (0xfc) is not utf-8 text"),
        ("a,b\n1,2\n".encode("utf-16"), "is UTF-16 text"),
        (b"a,b,a\n1,2,3\n", "names columns twice: 'a' (columns 1 and 3)"),
        (b"a,b\x00\n1,2\n", "the name of column 2 contains the character U+0000"),
        ("a,b\u202e\n1,2\n".encode(), "the name of column 2 contains the character U+202E"),
        (b",".join(b"c%d" % number for number in range(2_001)) + b"\n", "2,001 columns"),
        (b"x" * 300 + b"\n1\n", "Is the first line a header?"),
        (b"%PDF-1.7 something", "is a PDF"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Excel workbook"),
        (b"PK\x03\x04 and no more", "damaged or cut-off workbook"),
        (b"PAR1 and no more", "damaged Parquet file"),
        (b"\x1f\x8b and no more", "damaged gzip file"),
        (gzip.compress(b"a,b\n" + b"".join(b"%d,2\n" % number for number in range(9_000)))[:-300], "gzip file that ends too early"),
    ],
    ids=range(15),
)
def test_a_file_that_is_none_is_refused_with_the_place(read, content, words):
    with pytest.raises(FileProblem) as caught:
        read(content)
    assert words in str(caught.value)


def test_a_damaged_gzip_is_told_from_a_cut_off_one(read):
    packed = bytearray(gzip.compress("\n".join(["a", *map(str, range(100_000))]).encode()))
    packed[len(packed) // 2] ^= 0xFF
    with pytest.raises(FileProblem, match="damaged gzip file"):
        read(bytes(packed))


def test_quotes_that_are_wrong_cost_their_row_only(read):
    _, rows, problems = read(b'a,b\n1,"x"y\n2,z\n3,"never closed\n4,w\n')
    assert rows == [(3, "2", "z")]
    assert [(problem.line, problem.message.split(";")[0]) for problem in problems] == [
        (2, "a quotation mark stands inside a field"),
        (4, "a quotation mark opens here and is never closed"),
    ]


def test_huge_fields_are_read_within_the_limit_and_refused_beyond(read, monkeypatch):
    assert len(read(b"a,b\n1," + b"x" * 10_000_000 + b"\n2,y\n")[1][0][2]) == 10_000_000
    monkeypatch.setattr(readers, "MAX_LINE", 1_000)
    with pytest.raises(FileProblem, match="line 3: is longer than 1,000 characters"):
        read(b"a,b\n1,2\n1," + b"x" * 2_000 + b"\n")
    with pytest.raises(FileProblem, match="line 2: a field is longer than 1,000 characters. A quotation mark"):
        read(b'a,b\n1,"' + b"x" * 500 + b"\n" + b"y\n" * 500)


def test_chunks_are_bounded_by_characters_too(read, monkeypatch, tmp_path):
    monkeypatch.setattr(readers, "CHUNK_CHARACTERS", 1_000)
    path = tmp_path / "wide.csv"
    path.write_bytes(b"a\n" + (b"x" * 400 + b"\n") * 20)
    with open_reader(path, FileOptions()) as reader:
        assert max(len(chunk) for chunk in reader.chunks(("a",))) <= 3


def test_a_gzip_that_unpacks_beyond_measure_is_refused(read, monkeypatch):
    monkeypatch.setattr(readers, "UNPACK_GRACE", 1_000_000)
    monkeypatch.setattr(readers, "CHUNK_ROWS", 1_000)
    with pytest.raises(FileProblem, match="more than 200 times its size"):
        read(gzip.compress(b"a\n" + (b"0" * 999 + b"\n") * 3_000))


def test_parquet_says_the_same_as_csv(tmp_path):
    table = pa.table(
        {
            "n": pa.array([1.5, None, 3.0]),
            "i": pa.array([1, 2, None]),
            "t": pa.array(["x", "ü", ""]).dictionary_encode(),
            "d": pa.array([date(2024, 3, 5), None, date(2024, 3, 6)]),
            "m": pa.array([datetime(2024, 3, 5, 12), None, None]),
            "b": pa.array([True, False, None]),
        }
    )
    pq.write_table(table, tmp_path / "file.parquet", row_group_size=2)
    with open_reader(tmp_path / "file.parquet", FileOptions()) as reader:
        assert reader.row_name == "row"
        rows, _ = rows_of(reader)
    assert rows[0] == (1, "1.5", "1", "x", "2024-03-05", "2024-03-05 12:00:00.000000", "true")
    assert rows[1] == (2, None, "2", "ü", None, None, "false")


def test_parquet_of_lists_or_cut_off_is_refused(tmp_path):
    path = tmp_path / "file.parquet"
    pq.write_table(pa.table({"a": [[1, 2]]}), path)
    with pytest.raises(FileProblem, match="column 'a' is of the type list"), open_reader(path, FileOptions()) as reader:
        rows_of(reader)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FileProblem, match="damaged Parquet"), open_reader(path, FileOptions()) as reader:
        rows_of(reader)


@pytest.fixture
def workbook(tmp_path):
    def make(sheets: dict[str, list[list]]):
        import openpyxl

        book = openpyxl.Workbook()
        book.remove(book.active)
        for title, rows in sheets.items():
            sheet = book.create_sheet(title)
            for row in rows:
                sheet.append(row)
        book.save(tmp_path / "file.xlsx")
        return tmp_path / "file.xlsx"

    return make


def test_workbooks_are_read_as_text_with_their_rows(workbook):
    path = workbook({"Loans": [["id", "sum", "day", None], [7, 36.0, datetime(2024, 3, 5)], [], ["a", 1.25, "x", None], [1, 2, 3, 4]]})
    with open_reader(path, FileOptions()) as reader:
        assert reader.header == ("id", "sum", "day")
        rows, problems = rows_of(reader)
    assert rows == [(2, "7", "36", "2024-03-05T00:00:00"), (4, "a", "1.25", "x")]
    assert [(problem.line, problem.message) for problem in problems] == [(5, "has 4 columns; the header has 3")]


def test_of_several_sheets_the_mapping_names_one(workbook):
    path = workbook({"Loans": [["a"], ["1"]], "Notes": [["b"], ["2"]]})
    with pytest.raises(FileProblem, match="2 sheets: 'Loans', 'Notes'"), open_reader(path, FileOptions()):
        pass
    with pytest.raises(FileProblem, match="no sheet 'Loan'"), open_reader(path, FileOptions(sheet="Loan")):
        pass
    with open_reader(path, FileOptions(sheet="Notes")) as reader:
        assert rows_of(reader)[0] == [(2, "2")]


def test_archives_that_are_no_workbooks_and_those_that_unpack_beyond_measure(tmp_path, workbook, monkeypatch):
    path = tmp_path / "loans.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("loans.csv", "a,b\n1,2\n")
    with pytest.raises(FileProblem, match="ZIP archive, not an Excel workbook"), open_reader(path, FileOptions()):
        pass
    from loans.services.imports import readers_tables

    monkeypatch.setattr(readers_tables, "MAX_SHEET", 100)
    with pytest.raises(FileProblem, match="at most 100 are read"), open_reader(workbook({"Loans": [["a"], ["1"]]}), FileOptions()):
        pass


def test_a_file_that_is_not_there_is_no_crash(tmp_path):
    for path in (tmp_path / "nowhere.csv", tmp_path):
        with pytest.raises(FileProblem, match="can't be read"), open_reader(path, FileOptions()):
            pass


@relaxed
@given(st.one_of(st.binary(max_size=300), st.text(alphabet='ab1,;"\n\r\t\0ü', max_size=120).map(str.encode)), st.booleans())
def test_no_bytes_crash_the_reader(tmp_path, content, packed):
    path = tmp_path / "any"
    path.write_bytes(gzip.compress(content)[: len(content) + 15] if packed else content)
    try:
        with open_reader(path, FileOptions()) as reader:
            rows, _ = rows_of(reader)
    except ImportProblem:
        return
    assert all(len(row) == 1 + len(reader.header) for row in rows)


CELLS = st.text(alphabet='ab ,;"\n\r', max_size=6)


@relaxed
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8))
def test_what_was_written_as_csv_is_read_back_with_its_lines(tmp_path, cells):
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["a", "b"])
    lines = []
    for row in cells:
        before = text.getvalue()
        lines.append(len(io.StringIO(before, newline="").readlines()) + 1)
        writer.writerow(row)
    path = tmp_path / "round.csv"
    path.write_bytes(text.getvalue().encode())
    with open_reader(path, FileOptions(delimiter=",")) as reader:
        rows, problems = rows_of(reader)
    assert problems == []
    assert rows == [(line, *row) for line, row in zip(lines, cells, strict=True)]
