"""A real browser, where there is one. The tests say where they looked when there is none.

All of them are of one group (`people.BROWSER`), so that one process runs them with one browser, one server and one cache of its scripts
and styles.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings as django_settings

from tests import template

SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# As root Chromium has no sandbox; the rest keeps it from calling home while it is tested.
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip
NONE = "no browser: none at $CHROMIUM, no {names} on the PATH, and Playwright has not installed its own (playwright install chromium)"


def find_browser(playwright: object) -> str | None:
    """$CHROMIUM, then the system's, then Playwright's own."""
    for candidate in (os.environ.get("CHROMIUM"), *map(shutil.which, NAMES), playwright.chromium.executable_path):
        if candidate and Path(candidate).exists():
            return candidate
    return None


@pytest.fixture(scope="package", autouse=True)
def _database_as_it_was(django_db_setup, django_db_blocker) -> Iterator[None]:
    """TRUNCATE after tests that commit takes the migrations' own rows as well; what comes after this package finds them again."""
    yield
    with django_db_blocker.unblock():
        template.renew(django_settings.DATABASES["default"]["NAME"])


@pytest.fixture(scope="package")
def browser() -> Iterator[object]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="no browser test: Playwright is not installed")
    # Playwright's sync API keeps an event loop in this thread, and Django then takes the whole test for async code.
    with pytest.MonkeyPatch.context() as environment, sync_api.sync_playwright() as playwright:
        environment.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        path = find_browser(playwright)
        if path is None:
            pytest.skip(NONE.format(names=", ".join(NAMES)))
        with playwright.chromium.launch(executable_path=path, args=FLAGS) as running:
            yield running


@pytest.fixture(scope="package")
def window(browser, live_server) -> Iterator[object]:
    """1280 px wide. Shared, for its cache; each test gets a page of its own and nobody's cookies."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, base_url=live_server.url)
    yield context
    context.close()


def then_loaded(page: object, act: Callable[..., object]) -> Callable[..., object]:
    def acted(*args: object, **options: object) -> object:
        result = act(*args, **options)
        page.wait_for_load_state("load")
        return result

    return acted


@pytest.fixture
def screen(window) -> Iterator[object]:
    """A page. Whatever the console or the page complains of fails the test, what the Content-Security-Policy refuses included."""
    page = window.new_page()
    page.set_default_timeout(20_000)
    # What a busy machine makes of an assertion straight after a click: half a page. Both wait for the whole of the one they led to.
    for name in ("click", "wait_for_selector"):
        setattr(page, name, then_loaded(page, getattr(page, name)))
    complaints: list[str] = []
    page.on(
        "console", lambda message: complaints.append(f"{message.type}: {message.text}") if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    yield page
    page.close()
    window.clear_cookies()
    assert complaints == []


@pytest.fixture
def shoot(screen):
    """`shoot("name")` keeps a picture in build/screenshots/ for people to look at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)

    def take(name: str, *, whole: bool = False) -> None:
        screen.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=whole)

    return take
