"""A migrated, empty database that every test database is a copy of: migrating takes seconds, and is done once for each state of the code.

`python -m tests.template` makes it; a parallel run starts that first of all, and tests without a database run meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from django.core.management import call_command
from django.db import connections, transaction

TRUNCATES = "loandesk.maintenance_truncate = 'on'"
"""A test that commits is cleaned up by TRUNCATE, which append-only tables refuse outside maintenance."""
PROJECT = Path(__file__).parents[1]


def ensure() -> str:
    """The name of a migrated, empty database, made if there is none for these migrations yet; older ones go."""
    digest = hashlib.sha256()
    for file in [*sorted((PROJECT / "loans" / "migrations").glob("*.py")), PROJECT / "loans" / "models", PROJECT / "requirements.txt"]:
        digest.update(file.read_bytes() if file.is_file() else b"".join(each.read_bytes() for each in sorted(file.glob("*.py"))))
    name = f"loandesk_template_{digest.hexdigest()[:16]}"
    making = f"{name}_making"
    with _maintenance() as server:
        # Held until this connection ends; the processes of a parallel run come here at the same moment.
        server.execute("SELECT pg_advisory_lock(hashtext('loandesk.tests.template'))")
        known = {row[0] for row in server.execute("SELECT datname FROM pg_database WHERE datname LIKE 'loandesk\\_template\\_%'")}
        if name not in known:
            for old in known:
                server.execute(f'DROP DATABASE IF EXISTS "{old}" WITH (FORCE)')
            server.execute(f'CREATE DATABASE "{making}"')
            with _connected_to(making):
                call_command("migrate", verbosity=0)
            server.execute(f'ALTER DATABASE "{making}" RENAME TO "{name}"')
    return name


def renew(name: str) -> None:
    """The test database `name` as a fresh copy of the template."""
    copied = ensure()
    connections.close_all()
    with _maintenance() as server:
        server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{copied}"')
        server.execute(f'ALTER DATABASE "{name}" SET {TRUNCATES}')


@contextmanager
def _maintenance() -> Iterator[psycopg.Connection]:
    database = {**connections["default"].get_connection_params(), "dbname": "postgres"}
    known = ("dbname", "user", "password", "host", "port")
    with psycopg.connect(**{key: database[key] for key in known if database.get(key)}, autocommit=True) as server:
        yield server


def empty() -> bool:
    """Delete every row of the test database but the migrations' content types, permissions and groups. False where the user may not.

    After a test that commits, Django's TRUNCATE of every table and all permissions made anew take a second, though most tables are empty.
    """
    kept = {"django_migrations", "django_content_type", "auth_permission", "auth_group", "auth_group_permissions"}
    with transaction.atomic(), connections["default"].cursor() as cursor:
        cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        if cursor.fetchone() != (True,):
            return False
        # Neither foreign keys nor the guards of append-only tables are asked: all of it goes.
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(
            "SELECT oid::regclass::text FROM pg_class"
            " WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = %s::regnamespace",
            ["public"],
        )
        tables = [name for (name,) in cursor.fetchall() if name not in kept]
        cursor.execute(" UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (SELECT FROM {name})" for name in tables))
        for (name,) in cursor.fetchall():
            cursor.execute(f"DELETE FROM {name}")
    return True


@contextmanager
def _connected_to(name: str) -> Iterator[None]:
    connection = connections["default"]
    before = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = name
    try:
        yield
    finally:
        connection.close()
        # a pool, where there is one, must not keep a connection to what is about to be renamed
        getattr(connection, "close_pool", lambda: None)()
        connection.settings_dict["NAME"] = before


if __name__ == "__main__":
    import django

    django.setup()
    ensure()
