"""Files that would take their reader down are refused with the reason, and take nothing else with them."""

from __future__ import annotations

import gzip
import os
import signal
import time

import numpy as np
import pyarrow as pa
import pytest

from loans.services.imports import bounded, readers
from loans.services.imports.bounded import open_bounded
from loans.services.imports.opening import open_reader
from loans.services.imports.readers import FileProblem, SeveralSheets, WrongEncoding
from loans.services.imports.rules import FileOptions
from tests.loans.imports.test_readers import rows_of


@pytest.fixture
def file(tmp_path):
    def made(content: bytes, name: str = "file.csv"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return made


@pytest.fixture(autouse=True)
def no_child_stays(monkeypatch):
    born, fork = [], os.fork

    def counted():
        child = fork()
        born.append(child)
        return child

    monkeypatch.setattr(os, "fork", counted)
    yield
    for child in born:
        with pytest.raises(ChildProcessError):
            os.waitpid(child, os.WNOHANG)


def read_all(path, **options):
    with open_bounded(path, FileOptions(**options)) as reader:
        return reader.header, reader.row_name, *rows_of(reader)


def test_it_reads_what_the_reader_reads(file, monkeypatch):
    monkeypatch.setattr(readers, "CHUNK_ROWS", 2)
    path = file('a,b\n1,"x\ny"\n2\n3,Ärztin\n,\n5,5\n6,6\n'.encode())
    with open_reader(path, FileOptions()) as reader:
        assert read_all(path) == (reader.header, reader.row_name, *rows_of(reader))
    with open_bounded(path, FileOptions()) as reader:
        assert [list(chunk.columns) for chunk in reader.chunks(["b"])] == [["b"]] * 3


def test_what_is_not_wanted_to_its_end_leaves_no_child(file, monkeypatch):
    monkeypatch.setattr(readers, "CHUNK_ROWS", 100)
    with open_bounded(file(b"a,b\n" + b"1,2\n" * 50_000), FileOptions()) as reader:
        assert len(next(reader.chunks(["a"]))) == 100


def test_problems_come_as_what_they_are(file):
    with pytest.raises(WrongEncoding, match="cp1252") as found:
        read_all(file("a,b\n1,Jürgen\n".encode("cp1252")))
    assert found.value.likely == "cp1252"
    with pytest.raises(FileProblem, match="is empty"):
        read_all(file(b""))
    assert isinstance(bounded._problem({"message": "x", "names": ["A", "B"]}), SeveralSheets)


def test_a_file_that_needs_too_much_memory_is_refused(file, settings, monkeypatch):
    settings.READ_MEMORY_MB = 60

    def greedy(self, columns):
        yield np.ones(20_000_000) + np.ones(20_000_000)

    monkeypatch.setattr(readers.CsvReader, "chunks", greedy)
    with pytest.raises(FileProblem, match="can't be read within 60 MB"):
        read_all(file(b"a,b\n1,2\n"))


def test_a_reader_that_is_killed_or_comes_to_harm_says_so(file, monkeypatch):
    for number, words in ((signal.SIGKILL, "memory"), (signal.SIGUSR1, "came to harm")):
        monkeypatch.setattr(readers.CsvReader, "chunks", lambda self, columns, number=number: os.kill(os.getpid(), number))
        with pytest.raises(FileProblem, match=words):
            read_all(file(b"a,b\n1,2\n"))


def test_a_file_that_takes_for_ever_is_given_up(file, monkeypatch):
    monkeypatch.setattr(bounded, "SECONDS_A_CHUNK", 0.2)
    monkeypatch.setattr(readers.CsvReader, "chunks", lambda self, columns: time.sleep(60))
    with pytest.raises(FileProblem, match="took longer than"):
        read_all(file(b"a,b\n1,2\n"))


def test_a_bomb_a_line_without_end_and_a_hundred_thousand_columns_are_refused(file):
    with pytest.raises(FileProblem, match="100,000 columns"):
        read_all(file(b",".join(b"c%d" % number for number in range(100_000)) + b"\n1\n"))
    endless = gzip.compress(b"a,b\n" + b"x" * 40_000_000, compresslevel=1)
    with pytest.raises(FileProblem, match="longer than 16,000,000 characters"):
        read_all(file(endless, "endless.csv.gz"))


def test_where_the_system_bounds_nothing_a_thread_does(monkeypatch):
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(bounded.sys, "platform", "other")
        with pytest.MonkeyPatch.context() as more:
            more.setattr(bounded.settings, "READ_MEMORY_MB", 20)
            bounded._bound()
            held = np.ones(20_000_000)
            time.sleep(30)
            os._exit(int(held[0]))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == bounded.TOO_LARGE_FOR_MEMORY


def test_columns_of_no_rows_go_through_the_pipe():
    chunk = readers.Chunk(np.array([], dtype=np.int64), {"a": pa.array([], type=pa.string())}, 0.5)
    back = bounded._unpacked(bounded._packed(chunk))
    assert (len(back), back.share, back.columns["a"].to_pylist()) == (0, 0.5, [])
