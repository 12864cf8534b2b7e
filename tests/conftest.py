"""What every test may use."""

from __future__ import annotations

import gc
import os
import subprocess
import sys

import hypothesis
import pytest
from django.conf import settings as django_settings
from django.db import connections
from django.test import TransactionTestCase

from tests import template

# Its 200 ms an example say how busy the machine is, not whether the code is right.
hypothesis.settings.register_profile("loandesk", deadline=None)
hypothesis.settings.load_profile("loandesk")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more process than cores: many a test waits for a server or a browser."""
    return (os.cpu_count() or 1) + 1


def pytest_configure(config: pytest.Config) -> None:
    # Otherwise it looks through every package's static files once for each test client.
    django_settings.WHITENOISE_AUTOREFRESH = True
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        # Not waited for: a process that needs it sooner waits, or makes it itself.
        subprocess.Popen([sys.executable, "-m", "tests.template"], cwd=template.PROJECT, stdin=subprocess.DEVNULL)


def pytest_collection_finish() -> None:
    """Collecting garbage among half a million objects that live as long as the run took a sixth of its time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs no database first: that is still being made. A file that shares something fitted stays in one process, which fits once."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/mlcore"))
    for item in items:
        if item.nodeid.startswith(("tests/mlcore", "tests/loans/api/test_schema", "tests/loans/bulk/test_chunk")):
            item.add_marker(pytest.mark.xdist_group(item.path.name))


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix, django_db_use_migrations, django_db_blocker):
    """Migrating takes seconds: it is done once for each state of the migrations, and every test database is a copy of that."""
    if django_db_use_migrations:
        with django_db_blocker.unblock():
            django_settings.DATABASES["default"].setdefault("TEST", {})["TEMPLATE"] = template.ensure()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """Tests that commit may clean up after themselves, in this connection and in those of servers that tests start."""
    with django_db_blocker.unblock(), connections["default"].cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {connections['default'].settings_dict['NAME']} SET {template.TRUNCATES}")
        cursor.execute(f"SET {template.TRUNCATES}")
    flush = TransactionTestCase._fixture_teardown
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda self: template.empty() or flush(self))
        yield


@pytest.fixture
def artifacts(settings, tmp_path):
    """A folder of this test's own for stored models, and no model left in memory from another test."""
    from loans.services import registry

    settings.ARTIFACTS_DIR = tmp_path / "artifacts"
    registry._loaded.clear()
    yield settings.ARTIFACTS_DIR
    registry._loaded.clear()
