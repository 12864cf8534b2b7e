"""The import wizard in a real browser: a file comes in, its columns are corrected, a worker imports it, and it is taken back."""

from __future__ import annotations

from loans.models import ImportBatch, ImportUpload, LoanApplication
from loans.services import imports
from tests.browser.people import BROWSER, come_in, person
from tests.loans.admin.test_import_wizard import text_of

pytestmark = BROWSER


def test_a_model_owner_brings_a_file_in_and_takes_it_back(screen, shoot, live_server, settings, tmp_path):
    settings.UPLOADS_DIR = tmp_path / "uploads"
    person("mona", "Model owners")
    (tmp_path / "loans.csv").write_bytes(text_of(savings="few"))
    come_in(screen, "mona")
    screen.click("text=Imports")
    screen.click("text=Import a file")
    screen.set_input_files("[name=file]", tmp_path / "loans.csv")
    shoot("import-file")
    screen.click("text=Upload and look at it")

    savings = screen.locator(".ld-mapping tr", has=screen.locator("th span:text-is('savings')"))
    kind, why = savings.locator("[name^=kind]"), savings.locator("[name^=why]")
    kind.wait_for(state="visible")
    assert not why.is_visible()
    savings.locator("select[data-role]").select_option("ignored")
    why.wait_for(state="visible")
    assert not kind.is_visible()
    savings.locator("[name^=why]").fill("Nobody knows its unit")
    savings.locator("select[data-role]").select_option("attribute")
    shoot("import-columns", whole=True)
    screen.click("text=Go on to the preview")

    screen.wait_for_selector(".ld-preview")
    assert "1 of 100 rows are bad" in screen.inner_text("#main, main, body")
    assert "is not a number" in screen.locator(".ld-badcell").inner_text()
    shoot("import-preview", whole=True)
    screen.click("button:has-text('Import loans.csv')")
    screen.wait_for_selector("[data-progress-url] button:has-text('Cancel')")
    shoot("import-waiting")

    imports.run_upload(ImportBatch.objects.get().pk)
    screen.wait_for_selector("text=Finished")  # by itself: the page asks every second
    assert LoanApplication.objects.count() == 99 and not ImportUpload.objects.exists()
    shoot("import-done", whole=True)
    with screen.expect_download() as download:
        screen.click("text=As CSV")
    assert "few" in download.value.path().read_text()

    screen.click("text=Undo this import")
    screen.click("text=Yes, take out 99 applications")
    screen.wait_for_selector("text=all that it had loaded was taken out again")
    assert not LoanApplication.objects.exists()
    shoot("import-undone")
