"""What a benchmark of the desk stands on: servers of the benchmarks' own where none are given, and migrated tables."""

from __future__ import annotations

import os


def large_server() -> dict[str, str]:
    """Settings of a server for millions of rows: a quarter of the memory, as PostgreSQL's manual proposes to begin with.

    With the 128 MB that it comes with, a million applications' keys no longer fit, and each look at one reads a page from elsewhere.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"shared_buffers": f"{memory // 4 // 2**20}MB"}


def ready() -> None:
    """Django set up on a migrated database; PostgreSQL and Valkey are started where DATABASE_URL and REDIS_URL are unset."""
    from config.embedded import ensure_environment, home

    ensure_environment(home() / "bench", durable=False)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0, interactive=False)
