"""Those who decide nothing, in a real browser: the auditor reads and leaves a trace, the administrator gives access and sees nobody."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from loans.models import ApiKey, AuditEvent, Decision
from tests.browser.people import BROWSER, come_in, person
from tests.loans.admin.conftest import make_application, make_version, score

pytestmark = BROWSER


@pytest.fixture
def decided(live_server):
    """An application that is open, and one that Olivia declined."""
    olivia, version = person("olivia", "Loan officers"), make_version()
    rows = [make_application(name="Ann Jensen"), make_application(name="Bo Weber")]
    for row in rows:
        score(row, version, 0.31)
    Decision.objects.create(application=rows[1], outcome="decline", officer=olivia, reason="recent_inquiries", reason_text="Many inquiries")
    return rows


def test_an_auditor_reads_everything_and_can_do_nothing(screen, shoot, decided):
    person("aude", "Auditors")
    come_in(screen, "aude")
    shoot("auditor-home")
    screen.goto(f"/admin/loans/loanapplication/{decided[0].pk}/change/")
    assert "Ann Jensen" in screen.inner_text("#content") and "Of 100 applicants like this about 31 default." in screen.inner_text(
        "#content"
    )
    assert screen.locator("#content form[method=post]").count() == 0
    screen.keyboard.press("a")
    assert screen.locator("details[data-key][open]").count() == 0
    shoot("auditor-application", whole=True)

    screen.click("nav >> text=Decisions")
    assert "Olivia" in screen.inner_text("#result_list") and "Many inquiries" in screen.inner_text("#result_list")
    screen.click("text=Audit trail")
    first = screen.locator("#result_list tbody tr").first
    assert "aude" in first.inner_text()
    shoot("auditor-trail")
    # That he looked at her data is itself in the trail, without a word of them.
    screen.goto("/admin/loans/auditevent/?what=applicant")
    assert "aude" in screen.inner_text("#result_list") and "Jensen" not in screen.inner_text("#content")
    with screen.expect_download() as download:
        screen.click("a:has-text('CSV')")
    assert "aude" in download.value.path().read_text(encoding="utf-8-sig")
    assert AuditEvent.objects.filter(action="list.exported", actor_name="aude").exists()


def test_an_administrator_makes_an_account_and_a_key_and_sees_no_applicant(screen, shoot, decided):
    person("addi", "Administrators")
    come_in(screen, "addi")
    assert "Jensen" not in screen.content() and "AD-" not in screen.inner_text("#content")
    assert screen.locator("nav >> text=Inbox").count() == 0
    shoot("administrator-home")
    for address in ("loanapplication/", f"loanapplication/{decided[0].pk}/change/", "decision/", "fraudflag/", "auditevent/"):
        assert screen.request.get(f"/admin/loans/{address}").status == 403, address

    screen.goto("/admin/auth/user/add/")
    screen.fill("[name=username]", "newby")
    screen.fill("[name=password1]", "quite-a-long-word-7")
    screen.fill("[name=password2]", "quite-a-long-word-7")
    screen.click("[name=_continue]")
    shoot("administrator-account")
    screen.wait_for_url("**/change/")
    screen.check("[name=is_staff]")
    screen.get_by_label("Loan officers").check()
    shoot("administrator-user", whole=True)
    screen.click("[name=_save]")
    screen.wait_for_selector("#result_list")
    newby = User.objects.get(username="newby")
    assert newby.is_staff and not newby.is_superuser and [group.name for group in newby.groups.all()] == ["Loan officers"]
    shoot("administrator-users")

    screen.goto("/admin/loans/apikey/add/")
    screen.fill("[name=name]", "Web shop")
    screen.click(".field-user .select2-selection")
    screen.fill(".select2-search__field", "newb")
    screen.click(".select2-results__option:has-text('newby')")
    screen.check("[name=scopes][value=submit]")
    screen.click("[name=_save]")
    screen.wait_for_selector("#issued-key")
    text = screen.inner_text("#issued-key")
    shoot("administrator-key")
    key = ApiKey.objects.get()
    assert text.startswith(key.prefix) and key.scopes == ["submit"]
    screen.click("text=Done")
    screen.wait_for_selector("#result_list")
    assert text not in screen.content() and "Web shop" in screen.inner_text("#result_list")
