"""Whole imports into a real database."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest
from django.db import connection, connections
from django.utils import timezone

from loans.models import (
    Applicant,
    AttributeDefinition,
    ImportBatch,
    LoanApplication,
    LoanOutcome,
    LoanProduct,
    ProtectedAttributes,
    RunState,
    ScoringJob,
    Status,
)
from loans.services import wakeups
from loans.services.imports import ImportProblem, cancel_import, fail_abandoned_imports, load, parse_mapping, run_import
from mlcore.progress import Cancelled
from tests.loans.imports.conftest import HEADER, TOML, row, rows

ROOT = Path(__file__).resolve().parents[3]


def counts() -> tuple[int, ...]:
    return tuple(
        model.objects.count()
        for model in (LoanApplication, Applicant, LoanOutcome, ScoringJob, ProtectedAttributes, LoanProduct, AttributeDefinition)
    )


@pytest.mark.django_db
def test_every_value_arrives_in_our_units(file_of, mapping):
    lines = [
        row(),
        row(ref="A-2", status="bad", ended="2025-01-02", dti="", who="", sex="", job="", savings=""),
        row(ref="A-3", status="late", who="Bea"),
    ]
    batch = run_import(file_of(lines), mapping=mapping, original_name="march.csv")
    assert (batch.state, batch.rows_read, batch.rows_loaded, batch.rows_unchanged, batch.rows_rejected) == (RunState.DONE, 3, 3, 0, 0)
    assert (batch.file_name, batch.mapping, batch.share_done, batch.lease_until) == ("march.csv", TOML, 1.0, None)
    assert batch.peak_memory_mb > 10
    assert batch.seconds > 0
    one, two, three = LoanApplication.objects.order_by("pk")
    assert (one.external_reference, one.submitted_at, one.amount) == ("A-1", datetime(2024, 3, 5, tzinfo=UTC), Decimal("1000.50"))
    assert (one.term_months, one.annual_income, one.debt_to_income, one.employment_months) == (36, Decimal(40_000), 0.1404, 120)
    assert (one.home_ownership, one.channel, one.product.code, one.purpose) == ("rent", "branch", "personal-loan", "")
    assert (one.status, one.import_batch, one.synthetic, one.attributes) == (Status.HISTORICAL, batch, False, {"savings": 1200})
    assert one.applicant.name == "Ann Example"
    assert Applicant.objects.matching("ann example").get() == one.applicant
    assert one.protected.values == {"sex": "f"}
    assert (one.outcome.state, one.outcome.defaulted_on) == ("repaid", None)
    assert (two.outcome.state, two.outcome.defaulted_on, two.outcome.import_batch) == ("default", date(2025, 1, 2), batch)
    assert (two.applicant, two.debt_to_income, two.attributes, hasattr(two, "protected")) == (None, None, {}, False)
    assert three.outcome.state == "immature"
    savings = AttributeDefinition.objects.get(name="savings")
    assert (savings.kind, savings.direction, savings.protected) == ("number", -1, False)
    assert AttributeDefinition.objects.get(name="sex").protected
    assert not ScoringJob.objects.exists()


@pytest.mark.django_db
def test_personal_data_lie_encrypted_also_while_they_are_staged(file_of, mapping, monkeypatch):
    seen = []
    add = load.Staging.add

    def look(self, good):
        add(self, good)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {self.table}::text FROM {self.table}")
            seen.extend(text for (text,) in cursor.fetchall())

    monkeypatch.setattr(load.Staging, "add", look)
    run_import(file_of([row()]), mapping=mapping)
    with connection.cursor() as cursor:
        cursor.execute("SELECT loans_applicant::text FROM loans_applicant")
        stored = cursor.fetchone()[0]
    assert "Ann" not in stored
    assert "Ann" not in "".join(seen)
    assert "A-1" in "".join(seen)


@pytest.mark.django_db
def test_the_same_file_twice_changes_nothing_and_a_longer_one_adds_its_rows(file_of, mapping):
    run_import(file_of(rows(40)), mapping=mapping)
    before, pks = counts(), list(LoanApplication.objects.order_by("pk").values_list("pk", flat=True))
    again = run_import(file_of(rows(40)), mapping=mapping)
    assert (again.rows_loaded, again.rows_unchanged) == (0, 40)
    assert counts() == before
    assert list(LoanApplication.objects.order_by("pk").values_list("pk", flat=True)) == pks
    longer = run_import(file_of(rows(45)), mapping=mapping)
    assert (longer.rows_loaded, longer.rows_unchanged) == (5, 40)


@pytest.mark.django_db
def test_rows_without_a_reference_are_known_again_by_their_content(file_of):
    toml = TOML.replace('external_reference = "ref"\n', "").replace("[ignored]\n", '[ignored]\nref = "Not unique."\n')
    mapping = parse_mapping(toml, name="tiny")
    lines = [row(), row(who="Bea"), row(), row(status="bad", note="the outcome is no part of what an application is")]
    first = run_import(file_of(lines), mapping=mapping)
    assert (first.rows_loaded, first.rows_rejected) == (4, 0)
    references = list(LoanApplication.objects.order_by("pk").values_list("external_reference", flat=True))
    assert references[2:] == [f"{references[0]}-2", f"{references[0]}-3"]
    assert references[0].startswith("tiny-")
    later = [row(status="late"), row(who="Bea", status="late"), row(), row(), row(who="Cid")]
    second = run_import(file_of(later), mapping=mapping)
    assert (second.rows_loaded, second.rows_unchanged) == (1, 4)


@pytest.mark.django_db
def test_a_file_of_new_applications_is_open_and_a_worker_is_told_once(file_of, mapping, django_capture_on_commit_callbacks, monkeypatch):
    sent = []
    monkeypatch.setattr(wakeups, "hints_waiting", lambda: 0)  # other tests leave theirs in the broker
    monkeypatch.setattr(wakeups.current_app, "send_task", lambda name, **more: sent.append(name))
    header = [name for name in HEADER if name not in ("status", "ended", "note")]
    with django_capture_on_commit_callbacks(execute=True):
        run_import(file_of(rows(5), header=header), mapping=mapping)
    assert sent == ["loans.score_pending"]
    assert set(LoanApplication.objects.values_list("status", flat=True)) == {Status.RECEIVED}
    assert ScoringJob.objects.due().count() == 5
    assert not LoanOutcome.objects.exists()


@pytest.mark.django_db
def test_rows_without_an_outcome_among_others_are_new_unless_the_mapping_says_immature(file_of, mapping):
    run_import(file_of([row(), row(ref="A-2", status="")]), mapping=mapping)
    assert dict(LoanApplication.objects.values_list("external_reference", "status")) == {"A-1": "historical", "A-2": "received"}
    assert ScoringJob.objects.count() == 1
    lent = parse_mapping(TOML.replace('repaid = ["good"]', 'repaid = ["good"]\nblank = "immature"'), name="tiny")
    run_import(file_of([row(ref="A-3", status="")]), mapping=lent)
    assert LoanOutcome.objects.get(application__external_reference="A-3").state == "immature"


@pytest.mark.django_db
@pytest.mark.parametrize(("since", "open_from"), [(date(2024, 3, 4), date(2024, 3, 4)), ("last-month", date(2024, 3, 1))])
def test_from_a_day_on_applications_come_in_undecided_and_their_outcomes_are_withheld(file_of, mapping, since, open_from):
    days = ["2024-02-29", "2024-03-01", "2024-03-03", "2024-03-04", "2024-03-05"]
    batch = run_import(file_of([row(ref=f"A-{day}", date=day, status="bad") for day in days]), mapping=mapping, open_since=since)
    opened = LoanApplication.objects.filter(status=Status.RECEIVED)
    assert batch.open_since == open_from
    assert {application.submitted_at.date() for application in opened} == {date.fromisoformat(day) for day in days if day >= str(open_from)}
    assert ScoringJob.objects.count() == opened.count() == len(days) - LoanOutcome.objects.count()
    assert not LoanOutcome.objects.filter(application__in=opened).exists()


BAD = [
    ("sum", "nan", "is not a finite number"),
    ("sum", "-inf", "is not a finite number"),
    ("sum", "-5", "is less than 0.01"),
    ("sum", "", "every application needs an amount"),
    ("sum", "1e12", "is more than 1,000,000,000"),
    ("term", "many", "is not a number"),
    ("term", "36.5", "is not a whole number"),
    ("dti", "-1", "is negative"),
    ("date", "1890-01-01", "lies before 1950"),
    ("date", "2924-01-01", "lies in the future"),
    ("date", "31/12/2024", "is not a date of the form YYYY-MM-DD"),
    ("date", "", "every application needs its date"),
    ("home", "castle", "is not one of own, mortgage, rent, other"),
    ("ref", "", "every row needs its own reference"),
    ("ref", "x" * 65, "is 65 characters long; at most 64"),
    ("ref", "a\u202eb", "contains the character U+202E"),
    ("savings", "inf", "is not a finite number"),
    ("sex", "a\0b", "contains the character U+0000"),
    ("sex", "x" * 201, "is 201 characters long"),
    ("who", "a\0b", "contains the character U+0000"),
    ("who", "x" * 10_000_000, "is 10,000,000 characters long"),
    ("ended", "2023-01-01", "lies before the application"),
]


@pytest.mark.django_db
@pytest.mark.parametrize("strict", [False, True])
def test_every_kind_of_bad_row_is_named_with_line_and_column(file_of, mapping, strict):
    lines = [
        row(ref="first"),
        *(row(**{"ref": f"B-{number}", "status": "bad", column: value}) for number, (column, value, _) in enumerate(BAD)),
    ]
    path = file_of([*lines, row(ref="first"), row(ref="last")])
    if strict:
        with pytest.raises(ImportProblem, match=r"23 of 25 rows of loans.csv are bad; nothing was loaded") as caught:
            run_import(path, mapping=mapping, strict=True)
        assert (caught.value.total, caught.value.rows) == (23, 23)
        assert counts() == (0,) * 7
    else:
        run_import(path, mapping=mapping)
        assert set(LoanApplication.objects.values_list("external_reference", flat=True)) == {"first", "last"}
    batch = ImportBatch.objects.get()
    assert (batch.state, batch.rows_read, batch.rows_rejected) == (RunState.FAILED if strict else RunState.DONE, 25, 23)
    errors = list(batch.errors.all())
    assert [(error.line, error.column) for error in errors[:-1]] == [(number + 3, column) for number, (column, _, _) in enumerate(BAD)]
    for error, (column, value, words) in zip(errors, BAD, strict=False):
        assert words in error.message, column
        assert value not in error.message or len(value) < 3
        assert (error.value == "") is (column in ("who", "sex") or value == ""), "personal values are never quoted"
    assert (errors[-1].line, errors[-1].column, errors[-1].value) == (25, "ref", "first")
    assert errors[-1].message == "stands in line 2 already"


@pytest.mark.django_db
def test_a_file_without_one_good_row_loads_nothing_and_says_so(file_of, mapping):
    with pytest.raises(ImportProblem, match="there is no good row") as caught:
        run_import(file_of([row(sum="?"), row(sum="-1")]), mapping=mapping)
    assert [problem.line for problem in caught.value.problems] == [2, 3]
    assert counts() == (0,) * 7


@pytest.mark.django_db
def test_only_the_first_thousand_problems_are_kept_and_all_are_counted(file_of, mapping):
    path = file_of([row(ref=f"A-{number}", sum="?", term="?") for number in range(1_200)] + [row()])
    batch = run_import(path, mapping=mapping)
    assert (batch.rows_rejected, batch.rows_loaded, batch.errors.count()) == (1_200, 1, 1_000)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (",".join(HEADER).encode() + b"\n", "has a header and no rows"),
        (b"ref,sum\nA,1\n", "lacks 9 columns that the mapping 'tiny' names: 'date' .for fields.submitted_at"),
        ((",".join(HEADER) + ",grade,fico\n").encode(), "says nothing about 2 columns of loans.csv: 'grade', 'fico'"),
        (gzip.compress((",".join(HEADER) + "\n").encode() + os.urandom(40_000).hex().encode())[:-200], "ends too early"),
    ],
    ids=["empty", "header only", "columns missing", "columns unnamed", "cut off"],
)
def test_files_that_can_not_be_read_leave_a_failed_batch_and_nothing_else(tmp_path, mapping, content, words):
    path = tmp_path / "loans.csv"
    path.write_bytes(content)
    with pytest.raises(ImportProblem, match=words):
        run_import(path, mapping=mapping)
    assert ImportBatch.objects.get().state == RunState.FAILED
    assert counts() == (0,) * 7


@pytest.mark.django_db
def test_blank_rows_at_the_end_of_a_sheet_are_no_applications(file_of, mapping):
    batch = run_import(file_of([row(), dict.fromkeys(HEADER, ""), dict.fromkeys(HEADER, " ")]), mapping=mapping)
    assert (batch.rows_read, batch.rows_loaded, batch.rows_rejected) == (1, 1, 0)


@pytest.mark.django_db
@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet", "xlsx"])
def test_all_four_kinds_of_file_give_the_same_applications(tmp_path, file_of, mapping, suffix):
    frame = pd.DataFrame(rows(30)).assign(sum=lambda frame: frame["sum"].astype(float), date=lambda frame: pd.to_datetime(frame["date"]))
    path = tmp_path / f"loans.{suffix}"
    {
        "csv": lambda: frame.to_csv(path, index=False),
        "csv.gz": lambda: frame.to_csv(path, index=False),
        "parquet": lambda: frame.to_parquet(path),
        "xlsx": lambda: frame.to_excel(path, index=False),
    }[suffix]()
    batch = run_import(path, mapping=mapping)
    assert (batch.rows_loaded, batch.rows_rejected) == (30, 0)
    one = LoanApplication.objects.get(external_reference="A-29")
    assert (one.submitted_at, one.amount, one.annual_income) == (datetime(2024, 2, 2, tzinfo=UTC), Decimal("1000.50"), Decimal(40_000))


@pytest.mark.django_db
def test_an_attribute_declared_otherwise_stops_the_import_before_it_reads(file_of, mapping):
    AttributeDefinition.objects.create(name="savings", kind="category")
    AttributeDefinition.objects.create(name="sex", kind="category", protected=False)
    with pytest.raises(ImportProblem, match="savings] kind: is 'number'; here it is declared as 'category'(.|\n)*must say the same"):
        run_import(file_of([row()]), mapping=mapping)


@pytest.mark.django_db
def test_an_existing_definition_and_product_stay_as_they_are(file_of, mapping):
    AttributeDefinition.objects.create(name="savings", kind="number", label="Our savings", direction=0)
    product = LoanProduct.objects.create(code="personal-loan", name="Ours")
    run_import(file_of([row()]), mapping=mapping, synthetic=True)
    assert AttributeDefinition.objects.get(name="savings").label == "Our savings"
    application = LoanApplication.objects.get()
    assert application.product == product
    assert application.synthetic


@pytest.mark.django_db
def test_text_that_could_end_a_copy_arrives_unchanged(file_of):
    mapping = parse_mapping(
        TOML.replace('note = "Free text of the clerk."', "").replace("[applicant]", 'purpose_text = "note"\n[applicant]'), name="tiny"
    )
    texts = ["\\.", "a\n\\.\nb", '"quoted"', "\\N", "tab\tand\\n", "NULL", "ü 汉 😀"]
    run_import(file_of([row(ref=f"A-{number}", note=text) for number, text in enumerate(texts)]), mapping=mapping)
    assert list(LoanApplication.objects.order_by("pk").values_list("purpose_text", flat=True)) == texts


@pytest.mark.django_db
def test_a_queued_batch_is_worked_on_once(file_of, mapping):
    batch = ImportBatch.objects.create(file_name="upload.csv", sha256="", mapping_name="tiny", mapping="")
    path = file_of([row()])
    done = run_import(path, mapping=mapping, batch=batch)
    assert (done.pk, done.state, done.file_name, done.rows_loaded) == (batch.pk, RunState.DONE, "upload.csv", 1)
    with pytest.raises(ImportProblem, match="not waiting"):
        run_import(path, mapping=mapping, batch=batch)


@pytest.mark.django_db
@pytest.mark.parametrize("moment", ["read", "loaded"])
def test_a_cancelled_import_leaves_nothing(file_of, mapping, monkeypatch, moment):
    monkeypatch.setattr(load, "PAGES_A_STEP", 1)

    def watch(share, step):
        if moment in step:
            raise Cancelled

    with pytest.raises(Cancelled):
        run_import(file_of(rows(300)), mapping=mapping, progress=watch)
    assert counts() == (0,) * 7
    assert ImportBatch.objects.get().state == RunState.CANCELLED


def tables_left() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relname LIKE 'loandesk_import_%'")
        return [name for (name,) in cursor.fetchall()]


@pytest.mark.django_db(transaction=True)
def test_a_cancel_from_elsewhere_is_heard(file_of, mapping, monkeypatch):
    monkeypatch.setattr(load, "PAGES_A_STEP", 1)

    def slow(share, step):
        if "loaded" in step:
            elsewhere = threading.Thread(target=lambda: (cancel_import(ImportBatch.objects.get()), connection.close()))
            elsewhere.start()
            elsewhere.join()
            time.sleep(1.2)

    with pytest.raises(Cancelled):
        run_import(file_of(rows(300)), mapping=mapping, progress=slow)
    batch = ImportBatch.objects.get()
    assert (batch.state, batch.step) == (RunState.CANCELLED, "Cancelled; nothing was loaded")
    assert 0.7 < batch.share_done < 1
    assert counts() == (0,) * 7
    assert tables_left() == []


@pytest.mark.django_db(transaction=True)
def test_the_same_file_twice_at_once_is_loaded_once(file_of, mapping, monkeypatch):
    monkeypatch.setattr(load, "PAGES_A_STEP", 1)
    path = file_of(rows(400))
    together = threading.Barrier(2, timeout=30)
    done, failed = [], []

    def one(share, step):
        if step.endswith("rows read"):
            together.wait()

    def work():
        try:
            done.append(run_import(path, mapping=mapping, progress=one))
        except Exception as error:  # an assertion in a thread would go unheard
            failed.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert sorted((batch.rows_loaded, batch.rows_unchanged) for batch in done) == [(0, 400), (400, 0)]
    assert counts()[:2] == (400, 400)


KILLED = """
import sys, time, django
django.setup()
from loans.services.imports import load, parse_mapping, run_import
load.PAGES_A_STEP = 1
def watch(share, step):
    if "loaded" in step:
        print(step, flush=True)
        time.sleep(60)
run_import(sys.argv[1], mapping=parse_mapping(open(sys.argv[2]).read(), name="tiny"), progress=watch)
"""


@pytest.mark.django_db(transaction=True)
def test_an_import_killed_half_way_leaves_nothing_half_done(file_of, mapping, tmp_path):
    path, toml = file_of(rows(400)), tmp_path / "tiny.toml"
    toml.write_text(TOML)
    # The run's own server, which may be reached by a socket's folder, with the test's database instead of the desk's.
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, path, toml], cwd=ROOT, env={**os.environ, "DATABASE_URL": url}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert "applications loaded" in process.stdout.readline()
        assert ImportBatch.objects.get().state == RunState.RUNNING
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    deadline = time.monotonic() + 10
    while tables_left() and time.monotonic() < deadline:
        time.sleep(0.05)  # the server takes a moment to see that its client is gone
    assert tables_left() == []
    assert counts() == (0,) * 7
    assert fail_abandoned_imports() == 0, "its lease has not run out yet"
    ImportBatch.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    again = run_import(path, mapping=mapping)
    assert again.rows_loaded == 400
    dead = ImportBatch.objects.exclude(pk=again.pk).get()
    assert (dead.state, dead.rows_loaded) == (RunState.FAILED, 0)
    assert "ended" in dead.error


def test_a_wrong_unit_in_the_whole_file_loads_nothing_and_says_so(db, monkeypatch):
    """Each row alone might be right; that all of them are a hundred times too large shows only together."""
    from loans.services.imports import quality

    batch = ImportBatch.objects.create(file_name="a.csv", sha256="0" * 64, mapping_name="m", mapping="", state="running")
    rows = [
        LoanApplication(external_reference=f"U-{i}", amount=1000 + i, debt_to_income=(i % 40) / 100, import_batch=batch) for i in range(120)
    ]
    LoanApplication.objects.bulk_create(rows)
    quality.refuse_if_impossible(batch)
    batch.refresh_from_db()
    assert batch.quality["rows"] == 120 and not [row for row in batch.quality["findings"] if row["severity"] == "error"]
    monkeypatch.setitem(__import__("mlcore.quality").quality.PLAUSIBLE, "debt_to_income", (0, 0.1))
    with pytest.raises(ImportProblem, match=r"Nothing was loaded from a.csv. Debt to income has 87 .* its unit is wrong"):
        quality.refuse_if_impossible(batch)
