"""Several small questions in one query: a first page tells how much waits, not how large a table is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from loans.queries.inbox import MOST_COUNTED
from loans.queries.words import whole


def tally(
    counts: Mapping[str, QuerySet], lists: Mapping[str, QuerySet] | None = None
) -> tuple[dict[str, int], dict[str, list[dict[str, Any]]]]:
    """({name: rows, counted no further than MOST_COUNTED}, {name: the rows themselves}).

    lists: querysets of `.values(…)`, each bounded by its caller; times come as ISO text, as JSON has them.
    """
    lists = lists or {}
    if not counts and not lists:
        return {}, {}
    parts, parameters = [], []
    for rows in counts.values():
        sql, given = rows.order_by().values("pk")[:MOST_COUNTED].query.sql_with_params()
        parts.append(f"(SELECT count(*) FROM ({sql}) counted)")  # noqa: S608 - the ORM wrote it, its values are parameters
        parameters += given
    for rows in lists.values():
        sql, given = rows.query.sql_with_params()
        parts.append(f"(SELECT coalesce(json_agg(row_to_json(listed)), '[]') FROM ({sql}) listed)")  # noqa: S608 - likewise
        parameters += given
    with connection.cursor() as cursor:
        cursor.execute("SELECT " + ", ".join(parts), parameters)
        found = cursor.fetchone()
    return dict(zip(counts, found, strict=False)), dict(zip(lists, found[len(counts) :], strict=True))


def in_words(count: int) -> str:
    return f"{whole(MOST_COUNTED)}+" if count >= MOST_COUNTED else whole(count)
