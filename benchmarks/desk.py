"""What the officers' pages cost with a million applications: requests through the whole of Django, in one process, PostgreSQL beside it.

`make bench-desk` (or `python -m benchmarks.desk [N] [--keep]`) makes a database of its own on the server of DATABASE_URL, fills it with N
made-up applications, a tenth of them undecided, asks for each page many times and drops the database again.
Figures: build/bench/desk.json.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from benchmarks import report
from benchmarks.report import Figure

NAME = "loandesk_bench_desk"
ASKED = 60
BRANCHES = 20
NAMES = 5_000
LIMIT_MS = 300.0
PAGE = 1_000

_APPLICANTS = """
    INSERT INTO loans_applicant (name, name_index, name_tokens, phone, phone_index)
    SELECT pool.name, pool.name_index, pool.name_tokens, pool.phone, pool.phone_index
    FROM generate_series(0, %(n)s - 1) AS i JOIN bench_name pool ON pool.place = i %% %(names)s ORDER BY i
"""
_APPLICATIONS = """
    INSERT INTO loans_loanapplication (external_reference, submitted_at, product_id, channel, amount, term_months, purpose, purpose_text,
        annual_income, debt_to_income, employment_status, employment_months, home_ownership, region, credit_score, inquiries_6m, attributes,
        applicant_id, status, branch_id, synthetic, created_at, default_probability, grade, segment)
    SELECT 'BENCH-' || lpad(i::text, 8, '0'), now() - interval '25 days' - (%(n)s - i) * interval '70 seconds',
        (SELECT min(id) FROM loans_loanproduct) + i %% 5, 'online', 1000 + (i::bigint * 7919) %% 40000, 12 * (1 + i %% 6),
        (ARRAY['car', 'debt_consolidation', 'home_improvement'])[1 + i %% 3], '', 20000 + (i::bigint * 104729) %% 90000, random() / 2,
        'employed', i %% 300, 'rent', 'R' || i %% 40, 500 + (i::bigint * 31) %% 350, i %% 6, '{}', %(first)s + i,
        CASE WHEN i < %(n)s * 0.9 THEN 'historical' ELSE (ARRAY['open', 'open', 'open', 'needs_review', 'referred'])[1 + i %% 5] END,
        CASE WHEN i %% 2 = 0 THEN (SELECT min(id) FROM loans_branch) + i %% %(branches)s END, true, now(),
        CASE WHEN i %% 5 = 3 THEN NULL ELSE power(random(), 3) END, (ARRAY['A', 'B', 'C', 'D', 'E', 'F', 'G'])[1 + i %% 7], i %% 8
    FROM generate_series(0, %(n)s - 1) AS i ORDER BY i
"""
_FLAGS = """
    INSERT INTO loans_fraudflag (application_id, kind, severity, score, calibrated, expected_loss, evidence, in_words, state, note,
        created_at)
    SELECT id, 'alert', 2, 0.4, false, amount / 10, '[]', 'Made up', 'open', '', now() FROM loans_loanapplication
    WHERE status <> 'historical' AND id %% 20 = 0
"""


def make_database(url: str) -> str:
    """An empty database beside the one that the URL names; returns its URL."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {NAME}")
    return urlunsplit(urlsplit(url)._replace(path=f"/{NAME}"))


def fill(applications: int) -> None:
    """Rows in bulk, as COPY and INSERT … SELECT write them; the search for fraud is told not to look at each."""
    from django.db import connection

    from loans.models import Applicant, Branch, LoanProduct
    from loans.models.crypto import blind_index, encrypt, name_tokens

    LoanProduct.objects.bulk_create([LoanProduct(code=f"p{k}", name=f"Product {k}") for k in range(5)])
    Branch.objects.bulk_create([Branch(code=f"b{k}", name=f"Branch {k}") for k in range(BRANCHES)])
    context = {name: f"{Applicant._meta.db_table}.{name}" for name in ("name", "phone")}
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMP TABLE bench_name (place int PRIMARY KEY, name text, name_index bytea, name_tokens bytea[], phone text,"
            " phone_index bytea)"
        )
        with cursor.copy("COPY bench_name FROM STDIN") as copy:
            for place in range(NAMES):
                name, phone = f"First{place % 97} Last{place}", f"555 {place:07d}"
                copy.write_row((
                    place, encrypt(name, context=context["name"]), blind_index("name", name), name_tokens(name),
                    encrypt(phone, context=context["phone"]), blind_index("phone", phone),
                ))  # fmt: skip
        cursor.execute("ALTER TABLE loans_loanapplication DISABLE TRIGGER USER")
        cursor.execute(_APPLICANTS, {"n": applications, "names": NAMES})
        cursor.execute("SELECT min(id) FROM loans_applicant")
        first = cursor.fetchone()[0]
        cursor.execute(_APPLICATIONS, {"n": applications, "first": first, "branches": BRANCHES})
        cursor.execute("ALTER TABLE loans_loanapplication ENABLE TRIGGER USER")
        cursor.execute(_FLAGS % ())
        cursor.execute("VACUUM ANALYZE")


def score_some(version: Any, many: int) -> list[int]:
    """Predictions with reasons for some open applications, all over the inbox; their ids."""
    from loans.models import LoanApplication, Prediction, ScoringJob
    from tests.loans.admin.conftest import REASONS

    opened = LoanApplication.objects.to_decide().order_by("pk")
    total = opened.count()
    ids = [opened.values_list("pk", flat=True)[int(total * k / many)] for k in range(many)]
    jobs = ScoringJob.objects.bulk_create([ScoringJob(application_id=pk, state="done", attempts=1) for pk in ids])
    Prediction.objects.bulk_create(
        Prediction(
            application_id=job.application_id, scoring_job=job, model_version=version, probability=0.2, log_odds=-1.4, baseline=-2.2,
            grade="D", points=520, contributions={f"feature_{k}": 0.1 for k in range(20)}, reasons=REASONS, advice="refer",
        )
        for job in jobs
    )  # fmt: skip
    return ids


def people() -> dict[str, Any]:
    from django.contrib.auth.models import Group, User

    from loans.models import Branch, OfficerProfile

    made = {}
    for name, group in (("officer", "Loan officers"), ("senior", "Senior officers")):
        made[name] = User.objects.create_user(name, is_staff=True)
        made[name].groups.add(Group.objects.get(name=group))
    OfficerProfile.objects.create(user=made["officer"], branch=Branch.objects.first())
    return made


class Desk:
    """Signed-in clients, and how long and how many queries a page takes."""

    def __init__(self) -> None:
        from django.test import Client

        self.clients = {}
        for name, user in people().items():
            self.clients[name] = Client(HTTP_HOST="localhost")
            self.clients[name].force_login(user)

    def ask(self, name: str, url: str) -> tuple[float, Any]:
        began = time.perf_counter()
        answer = self.clients[name].get(url)
        spent = 1000 * (time.perf_counter() - began)
        if answer.status_code != 200:
            raise SystemExit(f"{url} answered {answer.status_code}")
        return spent, answer

    def times(self, name: str, url: str | Callable[[int], str], many: int = ASKED) -> list[float]:
        self.ask(name, url if isinstance(url, str) else url(0))
        return [self.ask(name, url if isinstance(url, str) else url(k))[0] for k in range(many)]

    def queries(self, name: str, url: str) -> int:
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        self.ask(name, url)
        with CaptureQueriesContext(connection) as captured:
            self.ask(name, url)
        return len(captured)


def deep(page: int, size: int) -> str:
    """The address of this page of the inbox, as its predecessor links to it."""
    from loans.models import LoanApplication
    from loans.queries import keyset

    rows = LoanApplication.objects.to_decide().inbox_order()
    keys = keyset.keys_of(rows)
    last = rows[(page - 1) * size - 1]
    return "?after=" + keyset.Cursor(keyset.FORWARD, keyset.position(last, keys), (page - 1) * size).encode()


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def measure(applications: int) -> list[Figure]:
    from django.core.management import call_command

    from loans.models import LoanApplication
    from tests.loans.admin.conftest import make_version

    began = time.perf_counter()
    call_command("migrate", verbosity=0)
    fill(applications)
    ids = score_some(make_version(), ASKED)
    print(f"{applications:,} applications filled in within {time.perf_counter() - began:.0f} s.")
    desk, inbox = Desk(), "/admin/loans/loanapplication/"
    size = 50
    to_decide = LoanApplication.objects.to_decide().count()
    page = min(PAGE, to_decide // size)
    reference = LoanApplication.objects.values_list("external_reference", flat=True).get(pk=ids[3])
    asked: dict[str, tuple[str, str]] = {
        "page 1, all branches": ("senior", inbox),
        "page 1, own branch": ("officer", inbox),
        f"page {page:,}": ("senior", inbox + deep(page, size)),
        "by risk": ("senior", inbox + "?o=6"),
        "grade G": ("senior", inbox + "?grade=G"),
        "20–35 %": ("senior", inbox + "?band=20-35"),
        "with a flag": ("senior", inbox + "?flag=open"),
        "one product": ("senior", inbox + f"?product__id__exact={LoanApplication.objects.first().product_id}"),
        "all, incl. history": ("senior", inbox + "?view=all"),
        "a reference": ("senior", inbox + f"?q={reference}"),
        "a whole name": ("senior", inbox + "?q=First3+Last3"),
        "a first name": ("senior", inbox + "?q=First3"),
        "a phone": ("senior", inbox + "?q=555+0000003"),
        "home": ("senior", "/admin/"),
    }
    taken = {name: desk.times(who, url) for name, (who, url) in asked.items()}
    pages = [f"{inbox}{pk}/change/" for pk in ids]
    taken["application"] = desk.times("senior", lambda k: pages[k % len(pages)])
    rows = [(name, statistics.median(values), p95(values)) for name, values in taken.items()]
    print(report.table(("page", "median ms", "p95 ms"), rows))
    first, far = taken["page 1, all branches"], taken[f"page {page:,}"]
    worst = max(p95(first), p95(taken["page 1, own branch"]))
    return [
        Figure("desk.inbox_p95_ms", worst, "ms, page 1, the slower of two scopes", "limit", LIMIT_MS),
        Figure("desk.inbox_deep_ratio", statistics.median(far) / statistics.median(first), f"page {page:,} over page 1", "limit", 1.1),
        Figure("desk.inbox_queries", desk.queries("senior", inbox), "queries"),
        Figure("desk.application_p95_ms", p95(taken["application"]), "ms"),
        Figure("desk.home_queries", desk.queries("senior", "/admin/"), "queries", "limit", 12),
    ]


def main() -> None:
    from config.embedded import ensure_environment, home

    ensure_environment(home() / "bench", durable=False)
    plain = os.environ["DATABASE_URL"]
    os.environ["DATABASE_URL"] = make_database(plain)
    os.environ["DEBUG"] = "1"  # no manifest of static files is needed then
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    from django.conf import settings
    from django.db import connections

    settings.DEBUG = False  # else every query would be kept and the pages slowed by it
    numbers = [argument for argument in sys.argv[1:] if argument.isdecimal()]
    try:
        figures = measure(int(numbers[0]) if numbers else 1_000_000)
        report.show(figures)
        print(f"Written to {report.write('desk', figures)}.")
    finally:
        connections.close_all()
        if "--keep" not in sys.argv:
            import psycopg

            with psycopg.connect(plain, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")


if __name__ == "__main__":
    main()
