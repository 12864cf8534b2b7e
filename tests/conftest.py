"""What every test may use."""

from __future__ import annotations

import pytest
from django.db import connections


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """A test that commits is cleaned up by TRUNCATE, which append-only tables refuse outside maintenance."""
    with django_db_blocker.unblock(), connections["default"].cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {connections['default'].settings_dict['NAME']} SET loandesk.maintenance_truncate = 'on'")
        cursor.execute("SET loandesk.maintenance_truncate = 'on'")


@pytest.fixture
def artifacts(settings, tmp_path):
    """A folder of this test's own for stored models, and no model left in memory from another test."""
    from loans.services import registry

    settings.ARTIFACTS_DIR = tmp_path / "artifacts"
    registry._loaded.clear()
    yield settings.ARTIFACTS_DIR
    registry._loaded.clear()
