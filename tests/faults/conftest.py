"""What every fault test may use."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.db import connections

from config.servers import Postgres
from tests.faults.desk import FaultDesk


@pytest.fixture(scope="session")
def schema(django_db_setup) -> str:
    """SQL that makes a migrated, empty database. Restoring it takes a tenth of migrating anew."""
    known = connections["default"].get_connection_params()
    parts = {key: known[key] for key in ("host", "port", "user", "password") if known.get(key)}
    parts["dbname"] = settings.DATABASES["default"]["TEST"]["TEMPLATE"]
    command = [Postgres("unused").binaries / "pg_dump", "--no-owner", "--dbname", psycopg.conninfo.make_conninfo(**parts)]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def open_desk(tmp_path: Path, schema: str, django_db_blocker) -> Iterator[Callable[..., FaultDesk]]:
    """Makes desks that end with the test: open_desk(SCORING_LEASE_SECONDS="2")."""
    with ExitStack() as stack, django_db_blocker.unblock():
        yield lambda **options: stack.enter_context(FaultDesk(tmp_path, schema, **options))
