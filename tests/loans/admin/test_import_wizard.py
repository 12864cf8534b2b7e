"""The import wizard by HTTP: what is refused, what is proposed and corrected, what a worker does with it, and taking it back."""

from __future__ import annotations

import csv
import gzip
import io
import os
import stat
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone

from loans.models import (
    Applicant,
    AuditEvent,
    Decision,
    ImportBatch,
    ImportUndo,
    ImportUpload,
    LoanApplication,
    LoanOutcome,
    Prediction,
    RunState,
    ScoringJob,
)
from loans.services import imports, sweeping
from loans.services.imports import readers, readers_tables, stored, undo, undo_runs, uploads
from mlcore.progress import Cancelled
from tests.loans.admin.conftest import make_version, score
from tests.loans.imports.conftest import HEADER as TINY_HEADER
from tests.loans.imports.conftest import TOML, row, rows

pytestmark = pytest.mark.django_db
ADD = "admin:loans_importupload_add"
HEADER = "loan_id,application_date,loan_amount,dti,home,full_name,savings,gender,loan_status"


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    settings.UPLOADS_DIR = tmp_path / "uploads"
    return tmp_path / "uploads" / "imports"


@pytest.fixture
def owner(as_):
    return as_("owner")


def text_of(count: int = 100, **changed: str) -> bytes:
    """A lender's file whose columns the proposal knows; every fourth loan is a default. changed: cells of the fourth row, line 5."""
    lines = [HEADER]
    for number in range(count):
        cells = {
            "ref": f"W-{number}", "date": f"2024-{1 + number // 28:02d}-{1 + number % 28:02d}", "amount": str(1000 + number), "dti": "14.5",
            "home": ("RENT", "OWN")[number % 2], "who": f"Person {number}", "savings": str(number), "sex": "fm"[number % 2],
            "status": "charged off" if number % 4 == 0 else "fully paid",
        }  # fmt: skip
        lines.append(",".join((cells | (changed if number == 3 else {})).values()))
    return "\n".join(lines).encode() + b"\n"


def send(client, content: bytes, name: str = "loans.csv"):
    return client.post(reverse(ADD), {"file": SimpleUploadedFile(name, content)})


def here(name: str, upload: ImportUpload) -> str:
    return reverse(f"admin:loans_importupload_{name}", args=[upload.pk])


def uploaded(client, content: bytes, name: str = "loans.csv") -> ImportUpload:
    answer = send(client, content, name)
    assert answer.status_code == 302, answer.content.decode()[:3000]
    return ImportUpload.objects.latest("pk")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.csv", b"", "empty"),
        ("header.csv", HEADER.encode() + b"\n", "no rows"),
        ("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40, "was not taken"),
        ("report.pdf", b"%PDF-1.7 nothing", "PDF"),
        ("words.txt", b"Dear Sir,\nplease find no table here.\nYours\n", "was not taken"),
        ("broken.csv.gz", gzip.compress(text_of())[:-30], "cut off"),
        ("nothing.xlsx", b"PK\x03\x04 not a workbook", "was not taken"),
        ("twice.csv", b"a,a\n1,2\n", "twice"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_what_is_no_loan_file_is_refused_in_words_and_not_kept(owner, folder, name, content, says):
    page = send(owner, content, name).content.decode()
    assert says in page and 'role="alert"' in page
    assert not ImportUpload.objects.exists()
    assert not folder.exists() or not list(folder.iterdir())


def test_what_unpacks_to_far_more_than_it_is_is_refused(owner, folder, monkeypatch):
    from openpyxl import Workbook

    book, buffer = Workbook(), io.BytesIO()
    for number in range(200):
        book.active.append([number, "x" * 50])
    book.save(buffer)
    monkeypatch.setattr(readers_tables, "MAX_SHEET", 5_000)
    assert "at most 5,000 are read" in send(owner, buffer.getvalue(), "bomb.xlsx").content.decode()
    monkeypatch.setattr(readers, "UNPACK_GRACE", 1_000)
    monkeypatch.setattr(readers, "CHUNK_ROWS", 100)
    packed = gzip.compress(b"a,b\n" + (b"1," + b"0" * 5_000 + b"\n") * 1_000)
    assert "unpacks to more than 200 times" in send(owner, packed, "bomb.csv.gz").content.decode()
    assert not list(folder.iterdir()) and not ImportUpload.objects.exists()


def test_a_file_above_the_limit_is_not_even_stored(owner, settings, folder):
    settings.IMPORT_MAX_BYTES = 500
    page = send(owner, text_of(4000), "big.csv").content.decode()
    assert "big.csv is larger than" in page and not folder.exists(), "passed over by the upload handler"
    page = send(owner, text_of(60), "over.csv").content.decode()
    assert "over.csv is larger than" in page and not list(folder.iterdir()), "stopped while it was stored"


def test_a_file_lies_under_a_random_name_that_only_the_desk_reads(owner, folder):
    upload = uploaded(owner, text_of(), "../../etc/Kunden Müller.csv")
    assert upload.file_name == "Kunden Müller.csv"
    assert [path.name for path in folder.iterdir()] == [upload.stored_as] and len(upload.stored_as) == 40
    assert stat.S_IMODE(os.stat(upload.path).st_mode) == 0o600 and stat.S_IMODE(os.stat(folder).st_mode) == 0o700


def test_another_encoding_is_found_and_said_in_the_mapping(owner):
    upload = uploaded(owner, text_of(who="Müller").decode().encode("cp1252"))
    assert 'encoding = "cp1252"' in upload.mapping


def test_the_same_file_again_leads_to_the_one_that_waits_and_after_its_import_it_is_said(owner, people):
    upload = uploaded(owner, text_of())
    again = send(owner, text_of(), "other-name.csv")
    assert again["Location"] == here("change", upload) and ImportUpload.objects.count() == 1
    batch = uploads.confirm(upload, by=people["owner"], strict=False)
    imports.run_upload(batch.pk)
    third = uploaded(owner, text_of())
    assert "imported before" in owner.get(here("change", third)).content.decode()
    second = uploads.confirm(third, by=people["owner"], strict=False)
    assert imports.run_upload(second.pk).rows_unchanged == 100


def test_the_proposal_shows_samples_and_of_people_patterns_only(owner):
    upload = uploaded(owner, text_of(who="Zebedee Quux"))
    page = owner.get(here("change", upload)).content.decode()
    assert "charged off" in page and "1000" in page
    assert "Zebedee" not in page and "xxxxxxx xxxx" not in page.replace("xxxxxx 9", "") and "xxxxxx 9" in page
    assert "Person 1" not in owner.get(here("preview", upload)).content.decode()
    stored_head = ImportUpload.objects.extra(select={"raw": "head"}).values_list("raw", flat=True)[0]
    assert "Person" not in stored_head, "encrypted at rest"


def lines_of(client, upload) -> dict[str, str]:
    """The form as the page has it."""
    page = client.get(here("change", upload))
    found = {"how": "lines"}
    for line, _, facts in page.context["lines"]:
        fields = {"role": line.role, "unit": line.unit, "format": line.format, "name": line.name, "kind": line.kind}
        fields |= {"direction": line.direction, "why": line.why}
        found |= {f"{key}-{line.number}": value for key, value in fields.items()}
        found |= {f"protected-{line.number}": "1"} if line.protected else {}
        found |= {f"means-{place}-{line.number}": meaning for place, _, _, meaning in facts["meanings"]}
    return found


def test_a_form_that_is_sent_as_it_came_changes_nothing(owner):
    upload = uploaded(owner, text_of())
    before = upload.mapping
    owner.post(here("mapping", upload), lines_of(owner, upload))
    upload.refresh_from_db()
    assert upload.mapping == before


def test_columns_are_corrected_on_screen(owner):
    upload = uploaded(owner, text_of())
    names = {name: number for number, name in enumerate(HEADER.split(","))}
    form = lines_of(owner, upload)
    form |= {f"role-{names['savings']}": "attribute", f"name-{names['savings']}": "Money saved", f"kind-{names['savings']}": "number"}
    form |= {f"direction-{names['savings']}": "-1", f"role-{names['gender']}": "ignored", f"why-{names['gender']}": "Never asked"}
    form |= {
        f"role-{names['home']}": "fields.home_ownership",
        f"means-0-{names['loan_status']}": "",
        f"means-1-{names['loan_status']}": "default",
    }
    answer = owner.post(here("mapping", upload), form)
    upload.refresh_from_db()
    mapping = imports.parse_mapping(upload.mapping, name="x")
    assert answer.status_code == 200 and "repaid" in answer.content.decode(), "an outcome without a value for repaid is refused"
    form |= {f"means-0-{names['loan_status']}": "repaid"}
    assert owner.post(here("mapping", upload), form | {"then": "preview"})["Location"] == here("preview", upload)
    upload.refresh_from_db()
    mapping = imports.parse_mapping(upload.mapping, name="x")
    saved = next(one for one in mapping.attributes if one.rule.column == "savings")
    assert (saved.name, saved.direction, mapping.ignored["gender"]) == ("money_saved", -1, "Never asked")
    assert mapping.field_rule("home_ownership").values["own"] == "own"
    assert (mapping.outcome.repaid, mapping.outcome.default) == ({"fully paid"}, {"charged off"})


def test_a_column_that_takes_anothers_place_says_so(owner):
    upload = uploaded(owner, text_of())
    names = {name: number for number, name in enumerate(HEADER.split(","))}
    owner.post(here("mapping", upload), lines_of(owner, upload) | {f"role-{names['savings']}": "fields.amount"})
    upload.refresh_from_db()
    mapping = imports.parse_mapping(upload.mapping, name="x")
    assert mapping.field_rule("amount").column == "savings" and "loan_amount" in mapping.ignored


def test_a_text_that_does_not_fit_is_refused_and_the_old_one_stays(owner):
    upload = uploaded(owner, text_of())
    page = owner.post(here("mapping", upload), {"how": "text", "text": 'name = "x"\n[fields]\namount = "nowhere"\n'}).content.decode()
    assert "says nothing about 9 columns" in page and "nowhere" in page
    upload.refresh_from_db()
    assert "nowhere" not in upload.mapping


def tiny(lines: list[dict[str, str]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, TINY_HEADER)
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue().encode()


def test_a_mapping_that_was_used_before_is_known_again(owner, people, tmp_path):
    (tmp_path / "first.csv").write_bytes(tiny(rows(5)))
    imports.run_import(tmp_path / "first.csv", mapping=imports.parse_mapping(TOML, name="tiny"))
    upload = uploaded(owner, tiny([row(ref="B-1"), row(ref="B-2")]))
    assert upload.mapping == TOML and "tiny" in upload.mapping_from
    assert "Use it" in owner.get(here("change", upload)).content.decode()
    assert owner.post(here("mapping", upload), {"how": "known", "known": "1"}, follow=True).context["messages"], "lendingclub does not fit"


def test_the_preview_marks_what_is_bad_in_its_place(owner):
    upload = uploaded(owner, text_of(dti="lots", savings="few"))
    page = owner.get(here("preview", upload)).context["page"]
    assert len(page.rows) == 20 and page.looked == 100 and page.refused == 1
    bad = [row for row in page.rows if row.bad]
    assert [row.line for row in bad] == [5]
    marked = {column: cell for (column, _), cell in zip(page.columns, bad[0].cells, strict=True) if cell.problem}
    assert set(marked) == {"savings", "dti"} and marked["dti"].text == "lots"
    assert dict(page.endings) == {"repaid": 74, "defaulted": 25}
    assert page.rows[0].cells[3].text == "0.145" and page.rows[0].cells[3].raw == "14.5"


def test_an_import_is_confirmed_once_run_by_a_worker_and_its_file_goes(
    owner, people, folder, django_capture_on_commit_callbacks, monkeypatch
):
    woken = []
    monkeypatch.setattr(uploads, "wake_import", woken.append)
    upload = uploaded(owner, text_of(dti="lots", status="=HYPERLINK(1)"))
    with django_capture_on_commit_callbacks(execute=True):
        first = owner.post(here("start", upload))
    second = owner.post(here("start", upload))
    batch = ImportBatch.objects.get()
    page = reverse("admin:loans_importbatch_change", args=[batch.pk])
    assert first["Location"] == second["Location"] == page and woken == [batch.pk] and batch.state == "queued"
    assert "Cancel" in owner.get(page).content.decode()
    assert imports.run_upload(batch.pk).state == RunState.DONE
    batch.refresh_from_db()
    assert (batch.rows_loaded, batch.rows_rejected, batch.started_by, batch.attempts) == (99, 1, people["owner"], 1)
    assert not ImportUpload.objects.exists() and not list(folder.iterdir())
    assert imports.run_upload(batch.pk) is None, "a second message finds nothing to do"
    assert AuditEvent.objects.filter(action="import.started", subject_id=str(batch.pk), user_id=people["owner"].pk).exists()
    lines = list(csv.reader(io.StringIO(owner.get(reverse("admin:loans_importbatch_errors", args=[batch.pk])).content.decode("utf-8-sig"))))
    assert lines == [["line", "column", "value", "why"], ["5", "dti", "lots", "is not a number"]]


def test_a_value_in_the_file_of_errors_is_no_formula(owner, people):
    batch = ImportBatch.objects.create(file_name="a.csv", sha256="0" * 64, mapping_name="m", mapping="", state="done")
    batch.errors.create(line=2, column="=x", value="=1+1", message="is not a number")
    content = owner.get(reverse("admin:loans_importbatch_errors", args=[batch.pk])).content.decode("utf-8-sig")
    assert "2,'=x,'=1+1," in content


def test_a_cancelled_or_failed_import_can_be_tried_again(owner, people):
    upload = uploaded(owner, text_of(dti="lots"))
    batch = uploads.confirm(upload, by=people["owner"], strict=True)
    assert imports.run_upload(batch.pk).state == RunState.FAILED
    page = owner.get(reverse("admin:loans_importbatch_change", args=[batch.pk])).content.decode()
    assert here("change", upload) in page and upload.path.exists() and not LoanApplication.objects.exists()
    upload.refresh_from_db()
    second = uploads.confirm(upload, by=people["owner"], strict=False)
    owner.post(reverse("admin:loans_importbatch_cancel", args=[second.pk]))
    second.refresh_from_db()
    assert second.state == RunState.CANCELLED and imports.run_upload(second.pk) is None
    upload.refresh_from_db()
    assert imports.run_upload(uploads.confirm(upload, by=people["owner"], strict=False).pk).rows_loaded == 99


def test_an_import_whose_worker_died_is_queued_again_three_times_at_most(owner, people, monkeypatch):
    upload = uploaded(owner, text_of())
    batch = uploads.confirm(upload, by=people["owner"], strict=False)
    past = timezone.now() - timedelta(minutes=5)
    rows_of = ImportBatch.objects.filter(pk=batch.pk)
    rows_of.update(state="running", lease_until=past, attempts=1, created_at=past)
    woken = []
    monkeypatch.setattr(sweeping, "wake_import", woken.append)
    sweeping.Sweeper().sweep_once()
    assert rows_of.get().state == "queued" and imports.due_imports() == woken == [batch.pk]
    rows_of.update(state="running", lease_until=past, attempts=3)
    imports.fail_abandoned_imports()
    assert rows_of.get().state == "failed" and imports.due_imports() == []


def test_an_import_whose_file_is_gone_says_so(owner, people):
    upload = uploaded(owner, text_of())
    batch = uploads.confirm(upload, by=people["owner"], strict=False)
    upload.path.unlink()
    imports.run_upload(batch.pk)
    batch.refresh_from_db()
    assert batch.state == "failed" and "can't be read" in batch.error


def test_old_files_go_with_what_was_noted_of_them_but_not_under_a_running_import(owner, people, folder, settings, monkeypatch):
    old, busy = uploaded(owner, text_of()), uploaded(owner, text_of(30))
    uploads.confirm(busy, by=people["owner"], strict=False)
    ImportUpload.objects.update(created_at=timezone.now() - timedelta(hours=settings.IMPORT_KEEP_HOURS + 1))
    stray = folder / "stray"
    stray.write_bytes(b"x")
    os.utime(stray, (0, 0))
    monkeypatch.setattr(stored, "_next_look", 0.0)
    assert imports.forget_old_uploads() == 1
    assert [path.name for path in folder.iterdir()] == [busy.stored_as] and not ImportUpload.objects.filter(pk=old.pk).exists()


def test_nobody_sees_anothers_file(as_, people):
    upload = uploaded(as_("owner"), text_of())
    other = as_("owner2")
    for name in ("change", "preview"):
        assert other.get(here(name, upload)).status_code == 302
    for name in ("mapping", "start", "discard"):
        other.post(here(name, upload), {"how": "text", "text": "x"})
    assert ImportUpload.objects.filter(pk=upload.pk, batch=None).exists() and upload.path.exists()


@pytest.fixture
def batch(owner, people, version):
    """Imported, with one application open and scored."""
    upload = uploaded(owner, text_of())
    made = imports.run_upload(uploads.confirm(upload, by=people["owner"], strict=False, open_since="2024-04-16").pk)
    score(made.applications.filter(status="received").first(), version)
    return made


def test_an_import_nobody_decided_on_is_taken_back_whole(owner, people, batch, application):
    url = reverse("admin:loans_importbatch_undo", args=[batch.pk])
    page = owner.post(url).content.decode()
    assert "Yes, take out 100 applications" in page and batch.applications.count() == 100, "asked first"
    people_before = Applicant.objects.count()
    owner.post(url, {"sure": "1"})
    batch.refresh_from_db()
    assert batch.undone_by == people["owner"] and batch.state == "done"
    assert set(LoanApplication.objects.all()) == {application}, "what came otherwise stays"
    assert Prediction.objects.count() == ScoringJob.objects.count() == 1 and not LoanOutcome.objects.exists()
    assert Applicant.objects.count() == people_before - 100
    event = AuditEvent.objects.get(action="import.undone")
    assert event.facts["applications"] == 100 and event.facts["rows"]["prediction"] == 1
    assert "undone already" in owner.post(url, {"sure": "1"}, follow=True).content.decode()


def test_an_import_with_a_decision_stays_and_the_number_is_said(owner, people, batch):
    application = batch.applications.filter(status="open").get()
    Decision.objects.create(application=application, outcome="refer", officer=people["officer"], reason="x", reason_text="x")
    assert "1 decision" in owner.get(reverse("admin:loans_importbatch_change", args=[batch.pk])).content.decode()
    with pytest.raises(undo.NotUndoable, match="1 decision"):
        undo.undo(batch, by=people["owner"])
    assert batch.applications.count() == 100 and not AuditEvent.objects.filter(action="import.undone").exists()


def test_models_that_may_have_learned_from_it_are_named(batch, version_after):
    assert str(version_after) in undo.undoing(batch).trained_in_words


@pytest.fixture
def version_after(batch):
    from loans.models import TrainingRun

    version = make_version(2, "candidate")
    TrainingRun.objects.create(
        kind="default_risk", state="done", started_at=timezone.now(), finished_at=timezone.now(), model_version=version
    )
    return version


@pytest.fixture
def large(batch, monkeypatch):
    """The same import, as if a request took back fewer than it has; slices of ten, so that there are many."""
    monkeypatch.setattr(undo, "AT_ONCE", 99)
    monkeypatch.setattr(undo, "SLICE", 10)
    return batch


def untouched(batch: ImportBatch) -> bool:
    batch.refresh_from_db()
    scored = Prediction.objects.filter(application__import_batch=batch).count()
    return (batch.undone_at, batch.applications.count(), scored) == (None, 100, 1)


def test_a_large_import_is_undone_by_a_worker_once_with_progress(owner, people, large, monkeypatch, django_capture_on_commit_callbacks):
    woken, told = [], []
    monkeypatch.setattr(undo_runs, "wake_import_undo", woken.append)
    url, page = (reverse(f"admin:loans_importbatch_{name}", args=[large.pk]) for name in ("undo", "change"))
    with django_capture_on_commit_callbacks(execute=True):
        owner.post(url, {"sure": "1"})
        owner.post(url, {"sure": "1"})
    run = ImportUndo.objects.get()
    assert woken == [run.pk] and untouched(large), "two clicks make one"
    progress = reverse("admin:loans_importbatch_undo_progress", args=[large.pk])
    text = owner.get(page).content.decode()
    assert progress in text and "Undo this import" not in text and owner.get(progress).json()["active"]
    assert progress in owner.get(reverse("admin:index")).content.decode(), "home has it among what runs"

    told_by = undo_runs.Watch.__call__
    monkeypatch.setattr(undo_runs.Watch, "__call__", lambda self, share, step: (told.append((share, step)), told_by(self, share, step)))
    assert undo_runs.run(run.pk).state == RunState.DONE
    shares = [share for share, _ in told]
    assert len(shares) > 100 and shares == sorted(shares) and len({step for _, step in told}) >= len(undo.MADE)
    large.refresh_from_db()
    assert large.undone_by == people["owner"] and not large.applications.exists()
    assert AuditEvent.objects.filter(action="import.undone", user_id=people["owner"].pk).count() == 1
    assert undo_runs.run(run.pk) is None, "a second message finds nothing to do"
    assert "all that it had loaded was taken out again" in owner.get(page).content.decode()


@pytest.mark.parametrize("when", ["before", "amid", "at the end"])
def test_an_undo_that_is_cancelled_leaves_all_as_it_was(owner, people, large, monkeypatch, when):
    run = undo_runs.start(large, by=people["owner"])
    cancel = reverse("admin:loans_importbatch_undo_cancel", args=[large.pk])
    at = {"amid": 0.5, "at the end": 1.0}.get(when)

    def heard(self, share, step):
        if at is not None and share >= at:
            owner.post(cancel)
            if when == "amid":
                raise Cancelled  # as the watching thread, which sees committed rows only, has it raised

    monkeypatch.setattr(undo_runs.Watch, "__call__", heard)
    if when == "before":
        owner.post(cancel)
    undo_runs.run(run.pk)
    run.refresh_from_db()
    assert run.state == RunState.CANCELLED and untouched(large)
    assert "Undo this import" in owner.get(reverse("admin:loans_importbatch_change", args=[large.pk])).content.decode()
    monkeypatch.undo()
    assert undo_runs.run(undo_runs.start(large, by=people["owner"]).pk).state == RunState.DONE


def test_an_undo_whose_worker_was_killed_is_done_by_another_and_never_twice(people, large, monkeypatch):
    run = undo_runs.start(large, by=people["owner"])
    rows = ImportUndo.objects.filter(pk=run.pk)

    class Killed(BaseException):
        """What no handler of ours catches."""

    def die(self, share, step):
        if share > 0.5:
            raise Killed

    monkeypatch.setattr(undo_runs.Watch, "__call__", die)
    with pytest.raises(Killed):
        undo_runs.run(run.pk)
    assert rows.get().state == "running" and untouched(large)
    assert undo_runs.run(run.pk) is None and undo_runs.due() == [], "its lease still runs"
    rows.update(lease_until=timezone.now() - timedelta(seconds=1))
    woken = []
    monkeypatch.setattr(sweeping, "wake_import_undo", woken.append)
    sweeping.Sweeper().sweep_once()
    assert woken == [run.pk]

    monkeypatch.setattr(undo_runs.Watch, "__call__", lambda self, share, step: None)
    monkeypatch.setattr(undo_runs, "undo", lambda *args, **kwargs: (rows.update(attempts=9), undo.undo(*args, **kwargs)))
    undo_runs.run(run.pk)
    assert rows.get().state == "running" and untouched(large), "who was taken for dead writes nothing down"
    rows.update(attempts=2, lease_until=timezone.now() - timedelta(seconds=1))
    monkeypatch.undo()
    assert undo_runs.run(run.pk).state == RunState.DONE and not large.applications.exists()


def test_an_undo_that_killed_three_workers_is_given_up(people, large):
    run = undo_runs.start(large, by=people["owner"])
    ImportUndo.objects.update(state="running", attempts=3, lease_until=timezone.now() - timedelta(seconds=1))
    assert undo_runs.run(run.pk) is None and undo_runs.due() == []
    run.refresh_from_db()
    assert run.state == "failed" and "3 times" in run.error and untouched(large)


def test_a_decision_between_the_click_and_the_worker_refuses_the_undo(people, large):
    run = undo_runs.start(large, by=people["owner"])
    application = large.applications.filter(status="open").get()
    Decision.objects.create(application=application, outcome="refer", officer=people["officer"], reason="x", reason_text="x")
    assert undo_runs.run(run.pk).state == RunState.FAILED
    run.refresh_from_db()
    assert "1 decision" in run.error and untouched(large)
    with pytest.raises(undo.NotUndoable, match="1 decision"):
        undo_runs.start(large, by=people["owner"])


def test_the_command_takes_back_any_number(large, capsys):
    from django.core.management import call_command

    call_command("import_undo", large.pk)
    assert "100 applications taken out" in capsys.readouterr().out and not large.applications.exists()
