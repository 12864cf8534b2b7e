"""The API beside the plain alternative, both under gunicorn with as many workers, on the same PostgreSQL, in alternating rounds.

`python -m benchmarks.api` starts servers of its own in a temporary folder and writes build/bench/api.json:

api.vs_flask              requests a second of `POST applications/?wait=1` (login by key, validation of 22 fields, encrypted storage,
                          prediction, reasons, policy) over those of Flask with a logistic regression: the median of the rounds' ratios
api.p99_vs_flask          99th percentile of the answer's time over Flask's
api.batch_per_s           applications a second in batches of 1,000, from the first request until the last is scored
api.batch_…_us            processor time an application of a batch costs the site, the worker with the sweeper, and the database (Linux)
api.async_drain_s         10,000 submitted one by one without waiting: seconds from the last answer until all are scored
api.submit_to_scored_p99_s  at 100 submissions a second, from the stored row to the stored score

PARTS=batch (of side, batch, drain, steady; several with commas) runs only some of it.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import load, report
from benchmarks.report import Figure

ROOT = Path(__file__).resolve().parents[1]
WORKERS, THREADS, CLIENTS = 2, 4, 8
ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = float(os.environ.get("ROUND_SECONDS", "4"))
SUBMITTED = int(os.environ.get("SUBMITTED", "10000"))
PARTS = os.environ.get("PARTS", "side,batch,drain,steady").split(",")
URL = "/api/v1/applications/"
PORTS = {"loandesk": 18_431, "logistic": 18_432, "forest": 18_433, "capacity": 18_434}
IDENTIFIERS = ("name", "email", "phone", "national_id", "bank_account", "address")
_numbers = itertools.count(1)
OWN = ("savings_balance", "existing_customer", "device_id", "product")


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="loandesk-bench-"))
    folder.chmod(0o711)
    desk = environment(folder)
    processes: list[subprocess.Popen] = []
    try:
        key, bodies = _prepare(folder, peers="side" in PARTS)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        processes += [_serve("loandesk", "config.wsgi:application", {}, folder)]
        for kind in ("logistic", "forest") if "side" in PARTS else ():
            processes.append(_serve(kind, "benchmarks.flask_peer:app", {"PEER_MODEL": str(folder / kind)}, folder))
        figures = _side_by_side(headers, bodies) if "side" in PARTS else []
        worker = "-A config.celery:app worker --queues scoring --concurrency 1 --without-gossip --without-mingle --loglevel WARNING"
        processes.append(_process([sys.executable, "-m", "celery", *worker.split()], {}, folder / "worker.log"))
        processes.append(_process([sys.executable, "manage.py", "sweep"], {}, folder / "sweep.log"))
        _wait_for_worker()
        if "batch" in PARTS:
            figures += _batches(headers, bodies, {"site": processes[:1], "worker": processes[-2:]})
        figures += _drain(headers, bodies) if "drain" in PARTS else []
        figures += _steady(headers, bodies) if "steady" in PARTS else []
        report.show(figures)
        print(report.write("api", figures))
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
        from django.db import connections

        connections.close_all()
        desk.release()
        shutil.rmtree(folder, ignore_errors=True)


def environment(folder: Path) -> Any:
    """Servers of this benchmark's own in `folder`, held (`release` lets go of them), and the variables of a desk that uses them."""
    from config.embedded import KEYS, Desk

    desk = Desk(folder / "desk")
    secrets = desk.secrets()
    desk.acquire([desk.postgres, desk.valkey])
    os.environ |= {name: secrets[name] for name in KEYS} | {
        "SECRET_KEY": "bench" * 12, "DATABASE_URL": desk.postgres.url, "REDIS_URL": desk.valkey.url, "DEBUG": "0", "HTTPS": "0",
        "ARTIFACTS_DIR": str(folder / "artifacts"), "UPLOADS_DIR": str(folder / "uploads"), "STATIC_ROOT": str(folder / "static"),
        "DJANGO_SETTINGS_MODULE": "config.settings", "LOG_LEVEL": "WARNING", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
        "THROTTLE_SUBMIT": "0", "THROTTLE_BATCH": "0",
    }  # fmt: skip
    return desk


def _prepare(folder: Path, *, peers: bool = True) -> tuple[str, list[dict[str, Any]]]:
    """(API key, 2,000 bodies): migrated tables, the models of both sides fitted on the same 8,000 made-up loans. peers: whether there is
    another side.
    """
    import django

    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import connection

    from loans.models import ApiKey
    from loans.services import registry
    from mlcore.calibration import Calibrator
    from mlcore.risk import ladder
    from mlcore.risk.model import RiskModel, make_baseline
    from mlcore.synth import World, generate

    call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bench_peer (id bigserial PRIMARY KEY, at timestamptz DEFAULT now(), body jsonb, probability float8)")
    world = generate(World(seed=3, applications=10_000))
    frame, schema = world.frame.drop(columns=[*OWN, "purpose_text"]), world.schema
    names = [column.name for column in schema.usable() if column.name in frame]
    schema = schema.only(names)
    past, default = frame[names].iloc[:8_000], world.default[:8_000]
    rung = ladder.make("pairwise", schema, seed=0).fit(past, default)
    model = RiskModel(rung, Calibrator("level"), schema=schema, baseline=make_baseline(rung, past))
    registry.register(
        kind="default_risk", model=model, algorithm="pairwise", report={"version": 1}, fingerprint="0" * 64, synthetic=True, created_by=None
    )
    if peers:
        _fit_peers(folder, past, default)
    people = world.applicant.iloc[8_000:].reset_index(drop=True)
    rows = frame.iloc[8_000:].astype(object).where(frame.iloc[8_000:].notna(), None).to_dict("records")
    bodies = [
        {name: _plain(value) for name, value in row.items() if value is not None}
        | {"applicant": {name: str(value) for name, value in people.iloc[number].items() if isinstance(value, str)}}
        for number, row in enumerate(rows)
    ]
    user = User.objects.create_user("bench")
    return ApiKey.issue(user=user, name="bench", scopes=("submit", "read"))[1], bodies


def _plain(value: Any) -> Any:
    return round(float(value), 2) if isinstance(value, float | np.floating) else value


def _people(bodies: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """So many bodies, each of a person of its own: a desk gets the same documents from another hundred people only from fraudsters, and the
    search for them would be what is measured.
    """
    made = []
    for number in range(count):
        body = bodies[number % len(bodies)]
        own = {name: f"{next(_numbers)}{value}" for name, value in body["applicant"].items() if name in IDENTIFIERS}
        if "phone" in own:
            own["phone"] = f"555{next(_numbers):07d}"
        made.append(body | {"applicant": body["applicant"] | own})
    return made


def _fit_peers(folder: Path, frame: Any, default: np.ndarray) -> None:
    import joblib
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = [name for name in frame if frame[name].dtype == float]
    words = [name for name in frame if name not in numbers]

    def made(model: Any) -> Any:
        columns = make_column_transformer(
            (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            (make_pipeline(SimpleImputer(strategy="most_frequent", missing_values=None), OneHotEncoder(handle_unknown="ignore")), words),
        )
        return make_pipeline(columns, model)

    joblib.dump(made(LogisticRegression(max_iter=2000)).fit(frame, default), folder / "logistic")
    joblib.dump(made(RandomForestClassifier(100, min_samples_leaf=20, random_state=0)).fit(frame, default), folder / "forest")


def _process(arguments: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen:
    with log.open("ab") as stream:
        return subprocess.Popen(arguments, cwd=ROOT, env=os.environ | environment, stdout=stream, stderr=stream)


def _serve(name: str, app: str, environment: dict[str, str], folder: Path) -> subprocess.Popen:
    process = _process(
        [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py", "--access-logfile", "/dev/null", "--max-requests", "0", app],
        environment | {"PORT": str(PORTS[name]), "WEB_CONCURRENCY": str(WORKERS), "WEB_THREADS": str(THREADS)},
        folder / f"{name}.log",
    )
    deadline = time.monotonic() + 120
    while True:
        try:
            import socket

            socket.create_connection(("127.0.0.1", PORTS[name]), 1).close()
            return process
        except OSError:
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError(f"{name} does not start:\n{(folder / f'{name}.log').read_text()[-2000:]}") from None
            time.sleep(0.2)


def _side_by_side(headers: dict[str, str], bodies: list[dict[str, Any]]) -> list[Figure]:
    ours = [json.dumps(body).encode() for body in bodies]
    plain = [json.dumps({name: value for name, value in body.items() if name != "applicant"}).encode() for body in bodies]
    peer = ("/predict", plain, headers, 200)
    sides = {"loandesk": (f"{URL}?wait=1", ours, headers, 201), "logistic": peer, "forest": peer}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    p99: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(ROUNDS + 1):  # the first warms up
        for name, (path, made, sent, expect) in sides.items():
            rate, took = load.closed_loop(
                PORTS[name], path, lambda k, made=made: made[k % len(made)], sent, seconds=SECONDS, clients=CLIENTS, expect=expect
            )
            if number:
                rates[name].append(rate)
                p99[name].append(float(np.quantile(took, 0.99)))
                print(f"round {number}  {name:9}  {rate:7.1f} requests/s  p99 {1000 * p99[name][-1]:7.1f} ms", flush=True)
    _all_scored_in_request()
    figures = []
    for name, suffix in (("logistic", ""), ("forest", "_forest")):
        ratios = [mine / theirs for mine, theirs in zip(rates["loandesk"], rates[name], strict=True)]
        tails = [mine / theirs for mine, theirs in zip(p99["loandesk"], p99[name], strict=True)]
        figures += [
            Figure(f"api.vs_flask{suffix}", statistics.median(ratios), "×", "at least", 2.0),
            Figure(f"api.p99_vs_flask{suffix}", statistics.median(tails), "×", "below", 1.0),
            Figure(f"api.vs_flask{suffix}_least", min(ratios), "×", "greatest", max(ratios)),
        ]
    figures.append(
        Figure("api.requests_per_s", statistics.median(rates["loandesk"]), "/s", "Flask, logistic", statistics.median(rates["logistic"]))
    )
    return figures


def _all_scored_in_request() -> None:
    """The comparison holds only where every request of ours was stored and scored."""
    from loans.models import LoanApplication, Prediction

    stored, scored = LoanApplication.objects.count(), Prediction.objects.count()
    if stored != scored:
        raise RuntimeError(f"{stored:,} stored and {scored:,} scored within their requests")


def _wait_for_worker() -> None:
    from loans.models import Heartbeat

    deadline = time.monotonic() + 120
    while not Heartbeat.objects.filter(role="worker").exists():
        if time.monotonic() > deadline:
            raise RuntimeError("the worker does not start")
        time.sleep(0.2)


def _unscored() -> int:
    from loans.models import ScoringJob

    return ScoringJob.objects.unfinished().count()


def _wait_scored(seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while _unscored():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{_unscored():,} are still unscored after {seconds:g} s")
        time.sleep(0.05)


def _seconds_of(roots: list[int]) -> float:
    """Processor time so far of these processes and all that they started (Linux; 0 elsewhere)."""
    found: dict[int, tuple[int, float]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # gone meanwhile
        found[int(path.parent.name)] = (int(fields[1]), sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK"))
    ours, count = set(roots), 0
    while len(ours) > count:
        count = len(ours)
        ours |= {pid for pid, (parent, _) in found.items() if parent in ours}
    return sum(found[pid][1] for pid in ours if pid in found)


def _batches(
    headers: dict[str, str], bodies: list[dict[str, Any]], processes: dict[str, list[subprocess.Popen]], batches: int = 10
) -> list[Figure]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_read_file('postmaster.pid')")
        roots = {name: [each.pid for each in some] for name, some in processes.items()} | {
            "database": [int(cursor.fetchone()[0].split()[0])]
        }
    made = [json.dumps({"applications": _people(bodies, 1000)}).encode() for _ in range(batches + 4)]
    load.open_loop(PORTS["loandesk"], f"{URL}batch/", lambda k: made[-1 - k], headers, rate=1000, count=4, clients=2, expect=200)
    _wait_scored()
    before = {name: _seconds_of(pids) for name, pids in roots.items()}
    began = time.perf_counter()
    load.open_loop(PORTS["loandesk"], f"{URL}batch/", lambda k: made[k], headers, rate=1000, count=batches, clients=2, expect=200)
    stored = time.perf_counter() - began
    _wait_scored()
    took = time.perf_counter() - began
    return [
        Figure("api.batch_per_s", 1000 * batches / took, "/s", "at least", 5000.0),
        Figure("api.batch_stored_per_s", 1000 * batches / stored, "/s"),
        *(
            Figure(f"api.batch_{name}_us", (_seconds_of(pids) - before[name]) * 1e6 / (1000 * batches), "µs")
            for name, pids in roots.items()
        ),
    ]


def _drain(headers: dict[str, str], bodies: list[dict[str, Any]]) -> list[Figure]:
    made = [json.dumps(body).encode() for body in _people(bodies, SUBMITTED)]
    load.open_loop(
        PORTS["loandesk"], URL, lambda k: made[k % len(made)], headers, rate=10_000, count=SUBMITTED, clients=CLIENTS, expect=201
    )
    began = time.perf_counter()
    _wait_scored()
    return [Figure("api.async_drain_s", time.perf_counter() - began, "s", "at most", 5.0)]


def _steady(headers: dict[str, str], bodies: list[dict[str, Any]], *, rate: float = 100, seconds: float = 20) -> list[Figure]:
    from django.db.models import F

    from loans.models import ScoringJob

    made = [json.dumps(body).encode() for body in _people(bodies, int(rate * seconds))]
    last = ScoringJob.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    late = load.open_loop(
        PORTS["loandesk"], URL, lambda k: made[k % len(made)], headers, rate=rate, count=int(rate * seconds), clients=16, expect=201
    )
    _wait_scored()
    waits = [
        (done - made_at).total_seconds()
        for made_at, done in ScoringJob.objects.filter(pk__gt=last).values_list("created_at", F("finished_at"))
    ]
    return [
        Figure("api.submit_to_scored_p99_s", float(np.quantile(waits, 0.99)), "s", "at most", 2.0),
        Figure("api.late_submissions", late / (rate * seconds), "share"),
    ]


if __name__ == "__main__":
    main()
