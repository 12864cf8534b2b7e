"""What one new application costs in the search for fraud, with a million others in the database.

`python -m benchmarks.fraud_desk [N]` fills the database of DATABASE_URL with N made-up applications and their links inside one
transaction, measures, and rolls everything back. Figures: build/bench/fraud_desk.json.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from benchmarks import ground, report
from benchmarks.fraud import identifiers
from benchmarks.report import Figure
from mlcore.fraud.links import microseconds
from mlcore.fraud.velocity import Identifiers
from mlcore.synth import World, generate

NEW = 300
_APPLICATIONS = """
    INSERT INTO loans_loanapplication (external_reference, submitted_at, channel, amount, purpose, purpose_text, employment_status,
        home_ownership, region, attributes, status, synthetic, created_at, grade)
    SELECT 'BENCH-' || place, to_timestamp(at / 1e6), 'online', 10000, '', '', 'employed', 'rent', '', '{}', 'open', true, now(), ''
    FROM bench_time ORDER BY place
"""
_LINKS = """
    INSERT INTO loans_applicationlink (application_id, kind, digest, submitted_at, name)
    SELECT application.id, id.kind, decode(md5(id.key::text), 'hex'), application.submitted_at, decode(md5(named.key::text), 'hex')
    FROM bench_id id JOIN bench_application application USING (place)
    LEFT JOIN bench_id named ON named.place = id.place AND named.kind = 7
"""

_ASSESSMENTS = """
    INSERT INTO loans_fraudassessment (application_id, state, attempts, due_at, calibrated, features, trace, error)
    SELECT id, 'linked', 0, now(), false, '{}', '[]', '' FROM bench_application
"""


def fill(cursor: object, applications: int) -> list[int]:
    """Returns the ids of the last `NEW` applications that share an identifier with an earlier one, and of as many any others."""
    world = generate(World(seed=3, applications=applications))
    at = microseconds(world.submitted_at)
    ids = Identifiers.from_columns(identifiers(world))
    cursor.execute("CREATE TEMP TABLE bench_time (place int, at bigint) ON COMMIT DROP")
    cursor.execute("CREATE TEMP TABLE bench_id (place int, kind smallint, key int) ON COMMIT DROP")
    for table, columns in (("bench_time", (np.arange(len(at)), at)), ("bench_id", (ids.row, ids.kind, ids.key))):
        with cursor.copy(f"COPY {table} FROM STDIN") as copy:
            for start in range(0, len(columns[0]), 50_000):
                lines = zip(*(column[start : start + 50_000].tolist() for column in columns), strict=True)
                copy.write("".join("\t".join(map(str, line)) + "\n" for line in lines))
    cursor.execute("ANALYZE bench_time")
    cursor.execute("ANALYZE bench_id")
    # Assessed rows from the start: a million rows rewritten within one transaction would leave a million dead ones in every index.
    cursor.execute("ALTER TABLE loans_loanapplication DISABLE TRIGGER application_fraud_outbox")
    cursor.execute(_APPLICATIONS)
    cursor.execute(
        "CREATE TEMP TABLE bench_application ON COMMIT DROP AS SELECT id, submitted_at, substr(external_reference, 7)::int AS place"
        " FROM loans_loanapplication WHERE external_reference LIKE 'BENCH-%'"
    )
    cursor.execute(_LINKS)
    cursor.execute(_ASSESSMENTS)
    for table in ("loans_applicationlink", "loans_fraudassessment", "loans_loanapplication"):
        cursor.execute(f"ANALYZE {table}")
    shared = np.bincount(ids.key)[ids.key] > 1
    place = np.unique(ids.row[shared & (ids.kind < 6)])[-NEW:].tolist() + list(range(len(at) - NEW, len(at)))
    cursor.execute("SELECT id FROM bench_application WHERE place = ANY(%s) ORDER BY place", [place])
    return [row[0] for row in cursor.fetchall()]


def main() -> None:
    ground.ready()
    from django.db import connection, transaction

    from loans.queries.fraud_links import link_features
    from loans.services.fraud import assessment

    applications = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with transaction.atomic(), connection.cursor() as cursor:
        began = time.perf_counter()
        new = fill(cursor, applications)
        print(f"{applications:,} applications filled in within {time.perf_counter() - began:.0f} s; measuring {len(new)} of the last.")
        link_features(new[:5])
        alone, whole = [], []
        for pk in new:
            began = time.perf_counter()
            link_features([pk])
            alone.append(1000 * (time.perf_counter() - began))
        for pk in new[: NEW // 3]:
            began = time.perf_counter()
            assessment.assess([pk])
            whole.append(1000 * (time.perf_counter() - began))
        began = time.perf_counter()
        assessment.assess(new[:200])
        batch = 1000 * (time.perf_counter() - began) / 200
        figures = [
            Figure("fraud.link_one_ms", float(np.median(alone)), "ms, median"),
            Figure("fraud.link_one_p99_ms", float(np.quantile(alone, 0.99)), "ms"),
            Figure("fraud.assess_one_ms", float(np.median(whole)), "ms, rules and flag stored"),
            Figure("fraud.assess_batch_ms", batch, "ms an application in a batch of 200"),
        ]
        report.show(figures)
        print(f"Written to {report.write('fraud_desk', figures)}.")
        transaction.set_rollback(True)


if __name__ == "__main__":
    main()
