"""Documents of an application: what is taken, how it lies on the disk, who gets it, and how it goes."""

from __future__ import annotations

import os
import time

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.urls import reverse

from loans.models import AuditEvent, Decision, Document, LoanApplication
from loans.models.document import folder
from loans.services import documents, erasure, key_rotation
from loans.services.imports.undo import undoing
from tests.loans.admin.conftest import PDF, make_application, make_document
from tests.loans.api.conftest import Api, key_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("uploads")]
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 40


def at(application, name="document_add", *more):
    return reverse(f"admin:loans_loanapplication_{name}", args=[application.pk, *more])


def send(client, application, content=PDF, name="payslip.pdf", kind="income"):
    sent = {"kind": kind, "file": SimpleUploadedFile(name, content)} if name else {"kind": kind}
    return client.post(at(application), sent, follow=True).content.decode()


def events(action):
    return list(AuditEvent.objects.filter(action=action).order_by("pk").values_list("actor_name", "facts"))


def files():
    return [path for path in folder().rglob("*") if path.is_file()] if folder().exists() else []


def test_it_is_kept_encrypted_listed_and_given_back_as_a_download(as_, application, people, django_capture_on_commit_callbacks):
    client = as_("officer")
    page = send(client, application, name="Ann Jensen payslip.pdf")
    document = Document.objects.get()
    assert "The document is kept (Proof of income)" in page and "Ann Jensen payslip.pdf" in page and "Officer" in page
    (file,) = files()
    assert file.name == document.stored_as and file.stat().st_mode & 0o777 == 0o600
    assert PDF not in file.read_bytes() and b"%PDF" not in file.read_bytes()
    with connection.cursor() as cursor:
        cursor.execute("SELECT row::text FROM loans_document row")
        assert "Jensen" not in cursor.fetchone()[0]
    answer = client.get(at(application, "document", document.pk))
    assert answer.content == PDF and answer["Content-Type"] == "application/pdf"
    assert answer["Content-Disposition"] == 'attachment; filename="Ann Jensen payslip.pdf"'
    assert answer["X-Content-Type-Options"] == "nosniff" and "sandbox" in answer["Content-Security-Policy"]
    assert "no-store" in answer["Cache-Control"]
    assert events("document.added") == [("officer", {"document": document.pk, "kind": "income", "size": len(PDF)})]
    assert events("document.opened") == [("officer", {"document": document.pk, "kind": "income"})]
    page = client.get(reverse("admin:loans_loanapplication_change", args=[application.pk])).content.decode()
    assert "Document added" in page and "Document opened" in page
    with django_capture_on_commit_callbacks(execute=True):
        page = client.post(at(application, "document_delete", document.pk), follow=True).content.decode()
    assert "The document is deleted" in page and not files() and not Document.objects.exists()
    assert events("document.deleted") == [("officer", {"document": document.pk, "kind": "income"})]


@pytest.mark.parametrize(
    ("content", "name", "kind", "text"),
    [
        (b"", "empty.pdf", "income", "The file is empty"),
        (b"MZ\x90\0" * 10, "invoice.pdf", "income", "What it is called does not count"),
        (b"<html><script>alert(1)</script>", "page.png", "other", "Its content is none of what is taken"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "photo.webp", "other", "It is a WEBP file"),
        (PDF, "payslip.pdf", "payslip", "Say what kind"),
        (PDF, "payslip.pdf", "", "Say what kind"),
        (b"", "", "income", "Choose a file first"),
    ],
)
def test_what_is_not_taken_is_said_and_leaves_nothing(as_, application, content, name, kind, text):
    page = send(as_("officer"), application, content, name, kind)
    assert "The document was not taken" in page and text in page
    assert not Document.objects.exists() and not files() and not events("document.added")


def test_an_empty_one_is_refused_by_the_service_too(application, people):
    with pytest.raises(documents.DocumentProblem, match="empty"):
        make_document(application, people["officer"], b"")


def test_the_same_twice_is_said_and_another_application_may_have_it(as_, application):
    client = as_("officer")
    send(client, application)
    page = send(client, application, name="again.pdf", kind="contract")
    assert "The same file is here already (Proof of income)" in page
    assert Document.objects.count() == 1 and len(files()) == 1
    send(client, make_application())
    assert Document.objects.count() == 2


def test_limits_of_size_and_number(as_, application, settings):
    settings.DOCUMENT_MAX_BYTES, settings.DOCUMENTS_AN_APPLICATION = 200, 1
    client = as_("officer")
    assert "larger than" in send(client, application, PDF + b"x" * 300)
    # Larger than form and file may be together: it is passed over while it comes in.
    assert "larger than" in send(client, application, PDF + b"x" * 200_000)
    send(client, application)
    refused = client.post(at(application), {"kind": "other", "file": SimpleUploadedFile("b.png", PNG)}, follow=True).content.decode()
    assert "as many as an application may have" in refused and Document.objects.count() == 1 and len(files()) == 1


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ann\\id.pdf", "id.pdf"),
        ("fdp\u202egpj.exe", "document"),
        ('a"b\r\nSet-Cookie: x.pdf', "abSet-Cookie x.pdf"),
        ("...", "document"),
        ("", "document"),
        ("x" * 300 + ".pdf", "x" * 111 + ".pdf"),
        ("Lønseddel 😀.pdf", "Lønseddel 😀.pdf"),
    ],
)
def test_names(given, kept):
    assert documents.clean_name(given) == kept


def test_it_is_served_as_what_it_is_not_as_what_it_was_called(as_, application, people):
    document = make_document(application, people["officer"], PNG, name="setup.exe")
    answer = as_("officer").get(at(application, "document", document.pk))
    assert answer["Content-Type"] == "image/png" and answer["Content-Disposition"] == 'attachment; filename="setup.exe.png"'


def test_who_adds_opens_and_deletes(as_, application, people):
    document = make_document(application, people["senior"])
    page_url = reverse("admin:loans_loanapplication_change", args=[application.pk])
    page = as_("owner").get(page_url).content.decode()
    assert "payslip.pdf" not in page and "Proof of income" in page and "Add the document" not in page
    assert as_("owner").get(at(application, "document", document.pk)).status_code == 403
    assert "Delete it for good" not in as_("officer").get(page_url).content.decode()
    answer = as_("officer").post(at(application, "document_delete", document.pk), follow=True)
    assert "Somebody else added it" in answer.content.decode() and Document.objects.exists()
    assert "Delete it for good" in as_("senior").get(page_url).content.decode()
    assert as_("auditor").post(at(application), {"kind": "other"}).status_code == 403
    other = make_application()
    assert as_("officer").get(at(other, "document", document.pk)).status_code == 404
    assert as_("officer").get(at(application)).status_code == 405


def test_what_a_decision_rests_on_stays_until_the_person_is_erased(as_, application, people, django_capture_on_commit_callbacks):
    document = make_document(application, people["officer"])
    Decision.objects.create(application=application, outcome="decline", officer=people["officer"], reason="x", reason_text="x")
    LoanApplication.objects.filter(pk=application.pk).update(status="declined")
    answer = as_("senior").post(at(application, "document_delete", document.pk), follow=True)
    assert "what the decision rests on is kept" in answer.content.decode() and files()
    with django_capture_on_commit_callbacks(execute=True):
        erasure.erase(application.pk, by=None, case="R-1")
    assert not Document.objects.exists() and not files()
    assert AuditEvent.objects.get(action="applicant.erased").facts == {"case": "R-1", "documents": 1}
    application.refresh_from_db()
    with pytest.raises(documents.DocumentProblem, match="erased"):
        make_document(application, people["officer"])
    assert not files()


def test_a_file_that_was_altered_or_lost_does_not_open(as_, application, people):
    one, two = make_document(application, people["officer"]), make_document(application, people["officer"], PNG)
    two.path.write_bytes(one.path.read_bytes())
    one.path.unlink()
    for document in (one, two):
        page = as_("officer").get(at(application, "document", document.pk), follow=True).content.decode()
        assert "damaged or gone" in page
    assert not events("document.opened")


def test_keys_rotate_with_the_files(application, people, settings):
    document = make_document(application, people["officer"])
    lost = make_document(application, people["officer"], PNG)
    lost.path.unlink()
    new = os.urandom(32)
    settings.PII_KEYS = [new, *settings.PII_KEYS]
    assert key_rotation.left() >= 2
    key_rotation.rotate()
    settings.PII_KEYS = [new]
    assert key_rotation.left() == 0 and documents.read(document, by=None) == PDF and len(files()) == 1


def test_what_a_crash_left_is_dropped_and_nothing_else(application, people, monkeypatch):
    kept = make_document(application, people["officer"])
    hour_ago = time.time() - 2 * documents.STRAY_SECONDS
    stray, young = (kept.path.with_name(f"{kept.stored_as[:2]}{name * 38}") for name in "ab")
    for path in (stray, young):
        path.write_bytes(b"x")
    for path in (stray, kept.path):
        os.utime(path, (hour_ago, hour_ago))
    monkeypatch.setattr(documents, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(documents, "_next_look", 0.0)
    assert sum(documents.drop_strays() for _ in range(256)) == 1
    assert set(files()) == {kept.path, young}


def test_a_failure_after_the_file_leaves_no_file(application, people, monkeypatch):
    monkeypatch.setattr(documents.audit, "record", lambda *args, **facts: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make_document(application, people["officer"])
    assert not files()


def test_an_import_with_documents_is_not_undone(application, people):
    from loans.models import ImportBatch

    batch = ImportBatch.objects.create(file_name="a.csv", sha256="0" * 64, mapping_name="m", mapping="", state="done")
    LoanApplication.objects.filter(pk=application.pk).update(import_batch=batch)
    make_document(application, people["officer"])
    assert ("document", 1) in undoing(batch).acted


def test_the_api_lists_them_with_names_for_who_may_see_them(application, people):
    make_document(application, people["officer"])
    url = f"/api/v1/applications/{application.pk}/documents/"
    seen = Api(key=key_of(people["officer"], "read")).get(url).json()["results"]
    assert [(row["kind"], row["name"], row["size"], row["content_type"]) for row in seen] == [
        ("income", "payslip.pdf", len(PDF), "application/pdf")
    ]
    masked = Api(key=key_of(people["owner"], "read")).get(url).json()["results"]
    assert masked[0]["name"] == "•••"
    assert Api(key=key_of(people["stranger"], "read")).get(url).status_code == 404
    assert events("documents.listed")[0][0].startswith("test (")


def test_the_settings_name_the_types_that_are_known(settings):
    source = (settings.BASE_DIR / "config" / "settings.py").read_text()
    assert all(f'"{name}"' in source for name in documents.TYPES)
