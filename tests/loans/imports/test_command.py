from __future__ import annotations

import io

import pytest
from django.core.management import call_command

from loans.management.progress import terminal_progress
from loans.models import LoanApplication
from tests.loans.imports.conftest import TOML, row, rows


@pytest.fixture
def run(tmp_path, capsys):
    """run(*arguments): (exit code, standard output, standard error)."""
    (tmp_path / "tiny.toml").write_text(TOML)

    def go(*arguments):
        code = 0
        try:
            call_command("import_loans", *map(str, arguments))
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    go.mapping = tmp_path / "tiny.toml"
    return go


@pytest.mark.django_db
def test_a_good_file_ends_with_a_summary(run, file_of):
    code, out, err = run(
        file_of([row(ref=f"A-{day}", date=f"2024-03-{day:02d}") for day in range(1, 11)]),
        "--mapping",
        run.mapping,
        "--open-since",
        "2024-03-09",
    )
    assert code == 0
    assert "loans.csv: 10 rows read, 10 loaded, 0 here already, 0 rejected" in out
    assert "rows/s, peak memory" in out
    assert "8 past loans with an outcome, 2 open applications (submitted since 2024-03-09)." in out
    assert "10 rows read" in err
    assert "\r" not in err, "a log is no terminal"


@pytest.mark.django_db
def test_bad_rows_end_with_two_and_the_first_twenty_of_them(run, file_of):
    path = file_of([row(), *(row(ref=f"B-{number}", sum="?") for number in range(25))])
    code, out, err = run(path, "--mapping", run.mapping)
    assert code == 2
    assert "1 loaded, 0 here already, 25 rejected" in out
    assert "25 rows were not loaded" in err
    assert "line 3, column 'sum': is not a number (there stands '?')" in err
    assert "line 22, " in err
    assert "line 23, " not in err
    assert "… and 5 more." in err
    code, _, err = run(path, "--mapping", run.mapping, "--strict")
    assert code == 2
    assert "25 of 26 rows of loans.csv are bad; nothing was loaded" in err
    assert LoanApplication.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.csv", "--mapping", "lendingclub"], "nowhere.csv can't be read: No such file or directory."),
        (["FILE", "--mapping", "nobody"], "There is no mapping 'nobody'. Known by name: lendingclub, sba"),
        (["FILE", "--mapping", "lendingclub"], "The mapping 'lendingclub' says nothing about"),
        (["FILE"], "--draft-mapping proposes one"),
        (
            ["FILE", "--mapping", "MAPPING", "--open-since", "yesterday"],
            "--open-since is a date such as 2026-03-01, or last-month; not 'yesterday'",
        ),
    ],
)
def test_what_can_not_be_done_ends_with_two_and_why(run, file_of, arguments, words):
    path = file_of(rows(2))
    code, _, err = run(*({"FILE": path, "MAPPING": run.mapping}.get(argument, argument) for argument in arguments))
    assert code == 2
    assert words in err
    assert not LoanApplication.objects.exists()


@pytest.mark.django_db
def test_a_draft_is_printed_and_can_be_used_as_it_is(run, file_of):
    path = file_of(rows(60))
    code, out, _ = run(path, "--draft-mapping")
    assert code == 0
    run.mapping.write_text(out)
    code, out, err = run(path, "--mapping", run.mapping)
    assert (code, err.count("column")) == (0, 0)
    assert "60 loaded" in out


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_one_line_that_moves_and_a_log_gets_lines():
    screen, log = Terminal(), io.StringIO()
    for stream in (screen, log):
        with terminal_progress("Import", stream=stream) as progress:
            progress(0.1, "10 rows read")
            progress(0.2, "20 rows read")
            progress(1.0, "7 applications loaded")
    assert screen.getvalue().count("\n") == 1
    assert screen.getvalue().rstrip().rpartition("\r")[2].startswith("Import [########################] 100%")
    assert log.getvalue() == "Import: 10% 10 rows read\nImport: 100% 7 applications loaded\n"
