"""Import, frame, scoring and sharing of work at a million applications, each beside its limit measured in the same run.

`python -m benchmarks.scale [--rows N] [--growth N,N,…] [--skip PART,…]` makes a database of its own on the server of DATABASE_URL,
measures, and drops it. Parts: import, score, workers, frame. Figures: build/bench/scale.json. What each limit is: docs/PERFORMANCE.md.

Beside each time stands the processor time of the client and of its database connection: on a machine that does other things too, the ratio
of those is the steadier one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from benchmarks import report
from benchmarks.ground import large_server
from benchmarks.report import Figure
from config.embedded import ensure_environment, home

DATABASE = "loandesk_bench_scale"
STORED = ("prediction", "featuresnapshot", "amountestimate", "segmentassignment", "fraudassessment")
STEP = 20_000
MEGABYTES = 1024.0


@dataclass(frozen=True)
class Spent:
    """seconds by the clock, and of the processors: the client's and its connection's server process (0 where that can't be seen)."""

    wall: float = 0.0
    client: float = 0.0
    server: float = 0.0

    @property
    def processor(self) -> float:
        return self.client + self.server

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.wall + other.wall, self.client + other.client, self.server + other.server)


def measured(work: Callable[[], Any]) -> Spent:
    wall, client, server = time.perf_counter(), time.process_time(), _server_seconds()
    work()
    return Spent(time.perf_counter() - wall, time.process_time() - client, _server_seconds() - server)


def _server_seconds() -> float:
    """Processor seconds of this connection's server process, where it runs on this machine under Linux."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        path = Path(f"/proc/{cursor.fetchone()[0]}/stat")
    try:
        fields = path.read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def query(sql: str, *parameters: Any) -> list[tuple]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else []


# --- limits ---------------------------------------------------------------------------------------------------------------


def copy_out(sql: str) -> list[bytes]:
    from django.db import connection

    with connection.cursor() as cursor, cursor.copy(f"COPY ({sql}) TO STDOUT") as copy:
        return [bytes(block) for block in copy]


def copy_in(table: str, columns: str, rows: list[bytes]) -> None:
    from django.db import connection, transaction

    with transaction.atomic(), connection.cursor() as cursor:
        # As bulk work does: foreign keys statement by statement, and the quicker compression.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(
            "SELECT set_config('default_toast_compression', 'lz4', true) FROM pg_settings"
            " WHERE name = 'default_toast_compression' AND 'lz4' = ANY(enumvals)"
        )
        with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
            copy.write(b"".join(rows))


@contextmanager
def twin(table: str) -> Iterator[str]:
    """An empty table with the same columns, checks, indexes and foreign keys; without triggers."""
    query(f"CREATE TABLE {table}_limit (LIKE {table} INCLUDING ALL)")
    try:
        keys = query(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'f' ORDER BY conname", table
        )
        for (definition,) in keys:
            query(f"ALTER TABLE {table}_limit ADD {definition}")
        yield f"{table}_limit"
    finally:
        query(f"DROP TABLE {table}_limit")


def columns_of(table: str) -> str:
    rows = query(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum", table
    )
    return ", ".join(f'"{name}"' for (name,) in rows)


def copied_again(table: str, where: str) -> Spent:
    """COPY of the rows of `table` that are there already, into a twin of it; only the COPY in is measured."""
    columns = columns_of(table)
    with twin(table) as other:
        spent = Spent()
        first, last = query(f"SELECT min({where}), max({where}) FROM {table}")[0]
        for start in range(first or 0, (last or -1) + 1, STEP):
            rows = copy_out(f"SELECT {columns} FROM {table} WHERE {where} >= {start} AND {where} < {start + STEP} ORDER BY {where}")
            spent += measured(lambda rows=rows: copy_in(other, columns, rows))
        return spent


def limit_of_scoring(first: int, end: int) -> tuple[Spent, Spent]:
    """COPY out of the applications, the probability alone of each on arrays, COPY in of all rows that scoring stored of them.

    And beside it what the limit leaves out although those rows hold it: the bare numbers of the other models on the same arrays.
    """
    import pandas as pd

    from loans.queries import columns
    from loans.queries.fraud_links import link_matrix
    from loans.services.bulk import assessed, chunk
    from mlcore.fraud.facts import LINK_NAMES

    serving = chunk.Serving.now()
    model, wanted = serving.risk.model, columns.Wanted.of([serving.risk.model.schema])
    names = ", ".join(
        f"app.{name}" for name in ("id", "submitted_at", "external_reference", "attributes", *wanted.fields) if name != "product"
    )
    spent, others = Spent(), Spent()
    for start in range(first, end, STEP):
        stop = min(start + STEP, end)
        source = f"FROM {columns.TABLES} WHERE app.id >= {start} AND app.id < {stop} ORDER BY app.id"
        spent += measured(lambda source=source: copy_out(f"SELECT {names}, product.code {source}"))
        found = columns.fetched(source, [], serving.wanted([]))
        frame, moments = found.frame(model.schema), found.submitted_at
        spent += measured(lambda frame=frame, moments=moments: model.probability(frame, moments))
        work = []
        if serving.amount is not None:
            work.append((serving.amount.model.suggest, found.frame(serving.amount.model.encoder.schema)))
        if serving.segments is not None and len(serving.segments.model):
            work.append((serving.segments.model.assign, found.frame(serving.segments.model.schema)))
        if serving.fraud is not None:
            linked = pd.DataFrame(link_matrix(found.ids.tolist()), columns=list(LINK_NAMES))
            whole = pd.concat([found.frame(assessed.own_schema(serving.fraud)), linked], axis=1)
            work.append((serving.fraud.model.overview, whole[list(serving.fraud.model.schema.names)]))
        others += sum((measured(lambda run=run, of=of, at=moments: run(of, at)) for run, of in work), Spent())
    for table in STORED:
        spent += _copied_range(f"loans_{table}", first, end)
    return spent, others


def _copied_range(table: str, first: int, end: int) -> Spent:
    columns, spent = columns_of(table), Spent()
    with twin(table) as other:
        for start in range(first, end, STEP):
            stop = min(start + STEP, end)
            rows = copy_out(
                f"SELECT {columns} FROM {table} WHERE application_id >= {start} AND application_id < {stop} ORDER BY application_id"
            )
            spent += measured(lambda rows=rows: copy_in(other, columns, rows))
    return spent


# --- the work itself ------------------------------------------------------------------------------------------------------


def bulk(kind: str, workers: int) -> tuple[float, Spent, float]:
    """(seconds, client and server time of one worker, peak MB of the largest): a bulk job, done by so many processes started for it."""
    from loans.services.bulk import run

    job = run.start(kind, by=None, wake=False)
    run._planned(job.pk, lambda share, step: None)
    with tempfile.TemporaryDirectory() as folder:
        gate, began = Path(folder) / "go", time.perf_counter()
        started = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.scale", "--work", str(job.pk), str(gate)], stdout=subprocess.PIPE, text=True
            )
            for _ in range(workers)
        ]
        for each in started:
            each.stdout.readline()  # loaded and ready
        began = time.perf_counter()
        gate.touch()
        said = [each.communicate()[0].split() for each in started]
        seconds = time.perf_counter() - began
    if any(each.returncode for each in started):
        raise SystemExit("A worker failed; see above.")
    job.refresh_from_db()
    if job.state != "done" or job.stored != job.rows:
        raise SystemExit(f"The bulk job is {job.state} with {job.stored:,} of {job.rows:,}: these figures would mean nothing.")
    spent = [Spent(*(float(value) for value in line[:3])) for line in said]
    return seconds, sum(spent, Spent()), max(float(line[3]) for line in said)


def work(job_id: int, gate: Path) -> None:
    from loans.services import registry
    from loans.services.bulk import run
    from loans.services.training import peak_memory_mb

    for kind in registry.CLASSES:
        registry.champion(kind)
    print("ready", flush=True)
    while not gate.exists():
        time.sleep(0.01)
    spent = measured(lambda: run.work(job_id))
    print(spent.wall, spent.client, spent.server, peak_memory_mb(), flush=True)


def child(*arguments: str) -> list[float]:
    """The numbers that another process of this benchmark prints."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.scale", *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def import_part(rows: int) -> list[Figure]:
    from benchmarks import scale_data

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "loans.csv"
        scale_data.write_file(file, rows)
        seconds, processor, peak = child("--import", str(file))
    others = (copied_again(f"loans_{table}", "application_id") for table in ("loanoutcome", "fraudassessment"))
    raw = sum(others, copied_again("loans_loanapplication", "id"))
    print(f"import of {rows:,}: {seconds:.1f} s, {processor:.1f} s of processor; raw COPY {raw.wall:.1f} s, {raw.processor:.1f} s")
    return [
        Figure("scale.import_vs_copy", raw.wall / seconds, "of its rate, at least .5", "raw COPY of the same rows, s", raw.wall),
        Figure("scale.import_vs_copy_processor", raw.processor / processor, "the same by processor time", "s", raw.processor),
        Figure("scale.import_rows_per_second", rows / seconds, "1/s"),
        Figure("scale.import_peak_mb", peak, "MB", "target", 700.0),
    ]


def run_import(file: Path) -> None:
    from benchmarks import scale_data
    from loans.services import imports
    from loans.services.imports.mapping import parse_mapping
    from loans.services.training import peak_memory_mb

    mapping = parse_mapping(scale_data.MAPPING, name="scale")
    few = file.with_name("few.csv")
    scale_data.write_file(few, 50, prefix="FEW")
    imports.run_import(few, mapping=mapping)  # what is imported and planned once is not what is measured
    spent = measured(lambda: imports.run_import(file, mapping=mapping))
    print(spent.wall, spent.processor, peak_memory_mb())


def score_part(sizes: list[int]) -> list[Figure]:
    """Fill up to each size and score what is new: the cost of one application as the tables grow."""
    from benchmarks import scale_data

    cost, processor, peak, figures = [], [], 0.0, []
    have = 0
    for size in sizes:
        scale_data.fill(size - have)
        if not have:
            scale_data.serve_models()
        first, end = query("SELECT min(application_id), max(application_id) + 1 FROM loans_scoringjob WHERE state = 'pending'")[0]
        seconds, spent, used = bulk("pending", 1)
        peak = max(peak, used)
        cost.append(seconds / (size - have))
        processor.append(spent.processor / (size - have))
        times = f"{seconds:.1f} s, client {spent.client:.1f} s, server {spent.server:.1f} s, {used:.0f} MB"
        print(f"scored {size - have:,} more of {size:,}: {times}")
        have = size
        if size == _headline(sizes):
            limit, others = limit_of_scoring(first, end)
            whole = limit + others
            print(f"limit: {limit.wall:.1f} s, client {limit.client:.1f} s, server {limit.server:.1f} s")
            print(f"the other models' bare numbers, not in it: {others.wall:.1f} s, client {others.client:.1f} s")
            figures += [
                Figure("scale.score_vs_limit", seconds / limit.wall, "×, at most 2", "COPY out + predict + COPY in, s", limit.wall),
                Figure("scale.score_vs_limit_processor", spent.processor / limit.processor, "× by processor time", "s", limit.processor),
                Figure("scale.score_vs_all_models", seconds / whole.wall, "× with all models' bare numbers in the limit", "s", whole.wall),
                Figure(
                    "scale.score_vs_all_models_processor", spent.processor / whole.processor, "× by processor time", "s", whole.processor
                ),
                Figure("scale.score_rows_per_second", (end - first) / seconds, "1/s"),
            ]
    if len(sizes) > 1:
        figures += [
            Figure("scale.growth", max(cost[1:]) / cost[0], "× linear, at most 1.15", f"{sizes[0]:,} → {sizes[-1]:,} rows"),
            Figure("scale.growth_processor", max(processor[1:]) / processor[0], "× by processor time"),
        ]
    return [*figures, Figure("scale.score_peak_mb", peak, "MB", "target", 700.0)]


def _headline(sizes: list[int]) -> int:
    return sizes[1] if len(sizes) > 1 else sizes[0]


def workers_part() -> list[Figure]:
    """All open applications scored again, by one process and then by two."""
    one, spent_one, _ = bulk("rescore", 1)
    query("VACUUM ANALYZE loans_loanapplication")
    query("VACUUM ANALYZE loans_fraudassessment")
    two, spent_two, _ = bulk("rescore", 2)
    print(f"again by one: {one:.1f} s ({spent_one.processor:.1f} s of processor), by two: {two:.1f} s ({spent_two.processor:.1f} s)")
    return [Figure("scale.two_workers", one / two, "× one, at least 1.5", f"one worker on {os.cpu_count()} cores, s", one)]


def frame_part() -> list[Figure]:
    from loans.queries.columns import TABLES
    from loans.queries.frames import schema_in_force

    names = ", ".join(f"app.{name}" for name in ("id", "submitted_at", *_plain_fields()))
    own = ", ".join(
        f"app.attributes ->> '{column.name}'"
        for column in schema_in_force()
        if column.name not in _plain_fields() and column.name != "product"
    )
    source = f"loans_loanoutcome outcome JOIN {TABLES.replace('LEFT', 'ON app.id = outcome.application_id LEFT', 1)}"
    raw = measured(lambda: copy_out(f"SELECT {names}, {own}, product.code, outcome.state FROM {source}"))
    seconds, processor, peak, rows, columns = child("--frame")
    print(f"frame of {rows:,.0f} × {columns:.0f}: {seconds:.1f} s ({processor:.1f} s of processor)")
    print(f"COPY out of the same: {raw.wall:.1f} s ({raw.processor:.1f} s)")
    return [
        Figure("scale.frame_vs_copy", seconds / raw.wall, "×, at most 3", "COPY out, s", raw.wall),
        Figure("scale.frame_vs_copy_processor", processor / raw.processor, "× by processor time", "s", raw.processor),
        Figure("scale.frame_peak_mb", peak, "MB", "target", 2048.0),
    ]


def _plain_fields() -> list[str]:
    from loans.models.fields import FEATURE_FIELDS

    return [name for name in FEATURE_FIELDS if name != "product"]


def run_frame() -> None:
    from loans.queries.frames import outcome_frame, schema_in_force
    from loans.services.training import peak_memory_mb

    made: list[Any] = []
    schema = schema_in_force().usable()
    outcome_frame(schema, most=1)  # what is imported once is not what is measured
    spent = measured(lambda: made.append(outcome_frame(schema)))
    print(spent.wall, spent.processor, peak_memory_mb(), *made[0].frame.shape)


# --- the run --------------------------------------------------------------------------------------------------------------


@contextmanager
def database() -> Iterator[None]:
    """A database of our own on the server of DATABASE_URL, which children find by the same variable."""
    import psycopg

    given = urlsplit(os.environ["DATABASE_URL"])
    own = urlunsplit(replace_path(given, f"/{DATABASE}"))
    with psycopg.connect(urlunsplit(given), autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        server.execute(f"CREATE DATABASE {DATABASE}")
        os.environ["DATABASE_URL"] = own
        try:
            yield
        finally:
            from django.db import connection

            connection.close()
            server.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")


def replace_path(parts: Any, path: str) -> Any:
    return parts._replace(path=path)


def empty() -> None:
    from django.core.management import call_command

    query("SET loandesk.maintenance_truncate = 'on'")
    call_command("flush", interactive=False, verbosity=0)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rows", type=int, default=1_000_000)
    asked.add_argument(
        "--growth", help="sizes to grow through, the second is the one compared with its limit; default: a tenth, all, thrice"
    )
    asked.add_argument("--skip", default="", help="parts to leave out: import,score,workers,frame")
    asked.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    asked.add_argument("--import", dest="file", help=argparse.SUPPRESS)
    asked.add_argument("--frame", action="store_true", help=argparse.SUPPRESS)
    given = asked.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    if given.work or given.file or given.frame:
        _ready()
        if given.work:
            work(int(given.work[0]), Path(given.work[1]))
        elif given.file:
            run_import(Path(given.file))
        else:
            run_frame()
        return
    # A database is made on this server and dropped again.
    ensure_environment(home() / "bench", durable=False, postgres=large_server())
    sizes = [int(size) for size in given.growth.split(",")] if given.growth else [given.rows // 10, given.rows, 3 * given.rows]
    skip = set(given.skip.split(","))
    with database(), tempfile.TemporaryDirectory() as artifacts:
        os.environ["ARTIFACTS_DIR"] = artifacts
        _ready()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        figures: list[Figure] = []
        if "import" not in skip:
            figures += import_part(given.rows)
            empty()
            call_command("migrate", verbosity=0)
        if "score" not in skip:
            figures += score_part(sizes)
        if "workers" not in skip:
            figures += workers_part()
        if "frame" not in skip:
            figures += frame_part()
        peaks = [figure.value for figure in figures if figure.name in ("scale.import_peak_mb", "scale.score_peak_mb")]
        if peaks:
            figures.append(Figure("scale.peak_mb", max(peaks), "MB, at most 700"))
    report.show(figures)
    print(f"Written to {report.write('scale', [replace(figure, value=round(figure.value, 4)) for figure in figures])}.")


def _ready() -> None:
    import logging

    import django

    django.setup()
    logging.disable(logging.INFO)


if __name__ == "__main__":
    main()
