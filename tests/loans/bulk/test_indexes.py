"""Lists of tables that keep growing must come from an index, however large the tables are.

Asked twice. Once the planner is told to avoid sequential scans: it then falls back to one, or to reading an index from end to end, only
where no index serves the query. And once the catalogue says that each table holds ten million rows: it then chooses as it would there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from loans.models import AuditEvent, LoanApplication, Prediction, ScoringJob, months
from loans.queries import monitoring_desk
from loans.queries.fraud_links import link_matrix
from loans.services import audit, scoring
from tests.factories import make_champion, make_pending
from tests.loans.partitions.conftest import OLD, make_partitions, note_old, score_old, seal

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

GROWING = (
    "loans_loanapplication", "loans_prediction", "loans_featuresnapshot", "loans_scoringjob", "loans_fraudassessment", "loans_auditevent",
    "loans_amountestimate", "loans_segmentassignment", "loans_applicationlink", "loans_decision", "loans_fraudflag",
)  # fmt: skip
PAGES = (
    "/api/v1/applications/",
    "/api/v1/applications/?status=open",
    "/api/v1/applications/{application}/",
    "/api/v1/predictions/",
    "/api/v1/predictions/?created_after={day}",
    "/api/v1/predictions/?created_before={day}&created_after={before}",
    "/api/v1/predictions/?application={application}",
    "/api/v1/jobs/{job}/",
    "/api/v1/fraud-flags/",
    "/admin/",
    "/admin/loans/loanapplication/",
    "/admin/loans/loanapplication/?view=all",
    "/admin/loans/loanapplication/{application}/change/",
    "/admin/loans/decision/",
    "/admin/loans/fraudflag/",
    "/admin/loans/auditevent/",
    "/admin/loans/auditevent/?at_from={before}&at_to={day}",
    "/admin/loans/auditevent/?what=decision",
    "/admin/loans/auditevent/?subject=loanapplication%3A{application}",
    "/metrics",
)


@pytest.fixture
def desk(artifacts, client, settings):
    settings.SECURE_SSL_REDIRECT = False
    make_champion()
    make_partitions(OLD)
    score_old(20)
    note_old(20)
    make_pending(30)
    scoring.score_pending()
    for number in range(20):
        audit.record("thing.done", number=number)
    seal()
    client.force_login(get_user_model().objects.create_superuser("root"))
    return client


def _address(page: str) -> str:
    day = timezone.now().date()
    return page.format(
        application=LoanApplication.objects.latest("pk").pk,
        job=ScoringJob.objects.latest("pk").pk,
        day=day,
        before=day - timedelta(days=40),
    )


@pytest.fixture
def partial(desk) -> set[str]:
    """Indexes of some rows of a table, each as long as what it is for. Those of partitions go by names of their own."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexrelid::regclass::text FROM pg_index WHERE indpred IS NOT NULL")
        return {name for (name,) in cursor.fetchall()}


def test_a_list_reads_no_growing_table_whole(desk, partial):
    for page in PAGES:
        address, looked = _address(page), 0
        with transaction.atomic(), connection.cursor() as cursor:
            queries = _asked(desk, address)
            # On thirty rows sorting costs nothing; on ten million only an order that an index has does.
            cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
            cursor.execute("SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off")
            for sql in queries if page != "/metrics" else ():
                looked += 1
                plan = _plan(cursor, sql)
                assert not list(_read_whole(plan, partial, limited=False)), f"{address}\n{sql}\n{json.dumps(plan, indent=1)}"
            cursor.execute("RESET enable_seqscan; RESET enable_sort; RESET enable_hashjoin; RESET enable_mergejoin")
        assert looked or page == "/metrics", f"{page} reads none of them and need not be in this list"


ROWS, REAL = 10_000_000, 20_000


@pytest.fixture
def large(desk) -> None:
    """Ten million rows in each table as far as the planner knows: 20,000 real ones of two months, and the catalogue says the rest."""
    own = months.FIRST // 2 + 1
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = 'replica'")
        for at in (OLD, timezone.now()):
            first = months.base(at) + own
            day = f"timestamptz '{at.replace(day=1):%Y-%m-%d}' + g * interval '1 minute'"
            low = own if at == OLD else own + REAL
            app, job = f"{low} + g", f"{first} + g"
            _multiply(cursor, "loans_loanapplication", id=app, external_reference="'X' || " + app, created_at=day, submitted_at=day)
            _multiply(cursor, "loans_scoringjob", id=job, application_id=app, state="'done'", created_at=day)
            _multiply(cursor, "loans_prediction", id=job, scoring_job_id=job, application_id=app, created_at=day)
            _multiply(cursor, "loans_featuresnapshot", scoring_job_id=job, application_id=app, created_at=day)
            cursor.execute(
                f"INSERT INTO loans_applicationlink (application_id, kind, digest, submitted_at)"
                f" SELECT {app}, 0, decode(md5(g::text), 'hex'), {day} FROM generate_series(1, {REAL}) g"
            )
            _multiply(cursor, "loans_auditevent", id=job, at=day, subject_type="'loanapplication'", subject_id=f"({app})::text")
        cursor.execute("SET LOCAL session_replication_role = 'origin'")
        cursor.execute("ANALYZE")
        cursor.execute(
            "UPDATE pg_class SET reltuples = %s, relpages = greatest(1, pg_relation_size(oid) / 8192) WHERE relkind IN ('r', 'i')"
            " AND pg_relation_size(oid) > 0 AND (oid::regclass::text ~ %s OR oid IN (SELECT indexrelid FROM pg_index"
            " WHERE indrelid::regclass::text ~ %s AND indpred IS NULL))",
            [ROWS, f"^({'|'.join(GROWING)})(_default|_before|_[0-9_]+)?$", f"^({'|'.join(GROWING)})(_default|_before|_[0-9_]+)?$"],
        )
        assert cursor.rowcount > 50


def _multiply(cursor: Any, table: str, **changes: str) -> None:
    """REAL copies of one of its rows, but for these columns."""
    cursor.execute(
        "SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped", [table]
    )
    columns = [name for (name,) in cursor.fetchall()]
    values = ", ".join(changes.get(name, name) for name in columns)
    cursor.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM (SELECT * FROM {table} LIMIT 1) one, generate_series(1, {REAL}) g"
    )


def test_at_ten_million_rows_the_planner_takes_the_indexes(large, desk, partial):
    for page in PAGES:
        address = _address(page)
        queries = _asked(desk, address)
        with connection.cursor() as cursor:
            for sql in queries:
                plan = _plan(cursor, sql)
                read = [table for table in _read_whole(plan, partial, limited=False) if _is_filled(cursor, table)]
                assert not read, f"{address}\n{sql}\n{json.dumps(plan, indent=1)}"


def test_a_date_leaves_out_the_months_that_can_not_have_it(large, desk):
    def months(page: str, table: str) -> set[str]:
        with connection.cursor() as cursor:
            plans = [_plan(cursor, sql) for sql in _asked(desk, _address(page)) if f'FROM "{table}"' in sql]
        assert plans
        return {name.removeprefix(table) for plan in plans for name in _tables(plan) if name.startswith(table)}

    old = f"_{OLD:%Y_%m}"
    assert old in months("/admin/loans/auditevent/", "loans_auditevent")
    assert old not in months("/admin/loans/auditevent/?at_from={before}", "loans_auditevent")
    this = f"_{timezone.now():%Y_%m}"
    assert this in months("/api/v1/predictions/", "loans_prediction")
    assert this not in months(f"/api/v1/predictions/?created_before={OLD + timedelta(days=60):%Y-%m-%d}", "loans_prediction")


def test_single_rows_and_links_are_found_by_the_index(large, desk, partial):
    job, event, prediction = (model.objects.latest("pk").pk for model in (ScoringJob, AuditEvent, Prediction))
    since = timezone.now() - timedelta(days=7)
    linked = list(LoanApplication.objects.order_by("-pk").values_list("pk", flat=True)[:20])
    with CaptureQueriesContext(connection) as seen:
        ScoringJob.objects.filter(pk=job).first()
        AuditEvent.objects.filter(pk=event).first()
        Prediction.objects.filter(pk=prediction).first()
        scoring.score_pending(limit=500)
        link_matrix(linked)
        monitoring_desk.jobs(since.date(), timezone.now().date())
    with connection.cursor() as cursor:
        for sql in (query["sql"] for query in seen.captured_queries):
            if not sql.lstrip().startswith(("SELECT", "WITH", "UPDATE")) or not any(table in sql for table in GROWING):
                continue
            plan = _plan(cursor, sql)
            if "loans_applicationlink" in sql:
                assert not list(_read_whole(plan, partial, limited=False)), f"{sql}\n{json.dumps(plan, indent=1)}"
            scans = {
                node["Relation Name"]
                for node in _nodes(plan)
                if node["Node Type"] == "Seq Scan" and node["Relation Name"].startswith(GROWING)
            }
            assert not [name for name in scans if _is_filled(cursor, name)], f"{sql}\n{json.dumps(plan, indent=1)}"
    assert len(seen) > 5


def _asked(desk: Any, address: str) -> list[str]:
    """What a page asks of the growing tables."""
    with CaptureQueriesContext(connection) as seen:
        answer = desk.get(address)
    assert answer.status_code == 200, f"{address}: {answer.status_code}"
    statements = (query["sql"] for query in seen.captured_queries)
    return [sql for sql in statements if sql.startswith(("SELECT", "WITH")) and any(f'"{table}"' in sql for table in GROWING)]


def _plan(cursor: Any, sql: str) -> dict[str, Any]:
    cursor.execute("EXPLAIN (FORMAT JSON) " + sql)
    plan = cursor.fetchone()[0]
    return (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _tables(plan: dict[str, Any]) -> set[str]:
    return {node["Relation Name"] for node in _nodes(plan) if "Relation Name" in node}


def _is_filled(cursor: Any, table: str) -> bool:
    cursor.execute("SELECT pg_relation_size(%s::regclass) > 0", [table])
    return cursor.fetchone()[0]


def _read_whole(node: dict[str, Any], partial: set[str], *, limited: bool) -> Iterator[str]:
    """Tables that a plan reads from end to end. A partial index is as long as what it is for; below a LIMIT reading stops early, unless
    something in between must see all rows first, or a sequential scan looks for rows of which there are fewer than one in a hundred.
    """
    kind = node["Node Type"]
    limited = kind == "Limit" or (limited and kind not in ("Sort", "Aggregate", "Hash", "WindowAgg"))
    table = node.get("Relation Name")
    by_index = "Index Cond" in node or node.get("Index Name") in partial or kind == "Bitmap Heap Scan"
    if (
        table is not None
        and table.startswith(GROWING)
        and not by_index
        and not (limited and (kind != "Seq Scan" or "Filter" not in node or node["Plan Rows"] >= ROWS / 100))
    ):
        yield table
    for child in node.get("Plans", ()):
        yield from _read_whole(child, partial, limited=limited)
