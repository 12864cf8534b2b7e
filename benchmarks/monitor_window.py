"""One window of very many stored predictions, monitored as the desk does it, against the time that merely reading it takes.

Everything is written into the database of DATABASE_URL within one transaction and rolled back. Foreign keys and triggers rest meanwhile
(`session_replication_role`), which takes a superuser, as the embedded and a test database's user is.
"""

from __future__ import annotations

import gc
import io
import json
import sys
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import ground
from benchmarks.report import Figure, table
from mlcore.synth import Generated, World, blocks

REFERENCE = 200_000
EXTRAS = 6
"""Attributes beside the two of the made-up lender, so that 30 columns are watched."""
_MONEY = ("amount", "annual_income", "revolving_balance")
_WHOLE = (
    "term_months", "employment_months", "credit_score", "credit_history_months", "open_accounts", "total_accounts", "delinquencies_24m",
    "months_since_delinquency", "public_records", "inquiries_6m",
)  # fmt: skip
_SHARES = ("debt_to_income", "revolving_utilisation")
_TEXTS = ("channel", "purpose", "employment_status", "home_ownership", "region")
_APPLICATION = ("id", "external_reference", "submitted_at", *_MONEY, *_WHOLE, *_SHARES, *_TEXTS, "purpose_text", "attributes", "product_id")
_APPLICATION += ("status", "synthetic", "created_at", "grade")


def _schema() -> Any:
    from mlcore.schema import CORE, Column

    own = [Column("savings_balance", "number"), Column("existing_customer", "boolean")]
    return CORE.with_columns([*own, *(Column(f"extra_{k}", "number") for k in range(EXTRAS)), Column("campaign", "category")]).usable()


def _with_extras(made: Generated, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng([seed, len(made), int(made.number[0])])
    frame = made.frame[[name for name in _schema().names if name in made.frame]].copy()
    for k in range(EXTRAS):
        frame[f"extra_{k}"] = np.round(rng.normal(size=len(made)), 3)
    frame["campaign"] = rng.choice(["spring", "autumn", "none"], len(made)).astype(object)
    return frame


def _copy(cursor: Any, target: str, frame: pd.DataFrame) -> None:
    text = io.StringIO()
    frame.to_csv(text, index=False, header=False)
    with cursor.cursor.copy(f"COPY {target} ({', '.join(frame.columns)}) FROM STDIN (FORMAT csv, FORCE_NULL ({frame.columns[0]}))") as copy:
        copy.write(text.getvalue())


def _write(cursor: Any, made: Generated, frame: pd.DataFrame, first: int, products: dict[str, int], mark: str) -> np.ndarray:
    """One block of applications and outcomes; returns their ids."""
    n = len(made)
    ids = np.arange(first, first + n)
    rows = pd.DataFrame({"id": ids, "external_reference": [f"{mark}-{number}" for number in ids]})
    rows["submitted_at"] = made.submitted_at.astype(str).to_numpy()
    for name in (*_MONEY, *_SHARES):
        rows[name] = frame[name].round(4 if name in _SHARES else 2).to_numpy()
    for name in _WHOLE:
        rows[name] = frame[name].round().astype("Int64").array
    for name in _TEXTS:
        # Quoted, so that a missing text is the empty string that the column wants and not NULL.
        rows[name] = frame[name].fillna("").to_numpy()
    rows["purpose_text"] = ""
    own = frame[["savings_balance", "existing_customer", *(f"extra_{k}" for k in range(EXTRAS)), "campaign"]].astype(object)
    own = own.where(own.notna(), None).to_dict("records")
    rows["attributes"] = [json.dumps({name: value for name, value in one.items() if value is not None}) for one in own]
    rows["product_id"] = frame["product"].map(products).to_numpy()
    rows["status"], rows["synthetic"], rows["created_at"], rows["grade"] = "historical", True, datetime.now(UTC).isoformat(), ""
    text = io.StringIO()
    rows.to_csv(text, index=False, header=False)
    not_null = ", ".join((*_TEXTS, "purpose_text", "grade"))
    names = ", ".join(rows.columns)
    with cursor.cursor.copy(f"COPY loans_loanapplication ({names}) FROM STDIN (FORMAT csv, FORCE_NOT_NULL ({not_null}))") as copy:
        copy.write(text.getvalue())
    outcomes = pd.DataFrame({"application_id": ids, "state": np.where(made.default == 1, "default", "repaid")})
    outcomes["created_at"] = datetime.now(UTC).isoformat()
    _copy(cursor, "loans_loanoutcome", outcomes)
    return ids


_PREDICTIONS = """
    INSERT INTO loans_prediction (application_id, scoring_job_id, model_version_id, kind, probability, log_odds, baseline, grade, points,
        contributions, reasons, advice, knock_outs, shadow, created_at)
    SELECT application_id, application_id, %s, 'default_risk', probability, 0, 0, grade, 600, %s::jsonb, jsonb_build_array(
        jsonb_build_object('direction', 'against', 'family', reason, 'code', 'other', 'text', 'A reason as it is said to the applicant')),
        CASE WHEN probability < .15 THEN 'approve' ELSE 'decline' END, '[]', false, now() FROM bench_said
"""


def window_figures(rows: int) -> list[Figure]:
    """Fill, look, report; the database is as it was afterwards."""
    ground.ready()
    from django.conf import settings
    from django.db import connection, transaction

    # Not one of the processes that a query log would help.
    settings.DEBUG = False
    with tempfile.TemporaryDirectory() as folder, transaction.atomic(), connection.cursor() as cursor:
        settings.ARTIFACTS_DIR = Path(folder)
        cursor.execute("SET LOCAL session_replication_role = 'replica'")
        began = time.perf_counter()
        version, span = _fill(cursor, rows)
        print(f"{rows:,} predictions and {REFERENCE:,} reference rows written in {time.perf_counter() - began:.0f} s; now looking.")
        gc.collect()
        figures = _measured(version, span, rows)
        transaction.set_rollback(True)
    return figures


def _fill(cursor: Any, rows: int) -> tuple[Any, Any]:
    from loans.models import LoanProduct
    from loans.services import registry
    from loans.services.monitoring_look import Span

    schema = _schema()
    cursor.execute("SELECT coalesce(max(id), 0) FROM loans_loanapplication")
    next_id = cursor.fetchone()[0] + 1
    reference = World(seed=5, start=date(2023, 1, 1), months=24, applications=REFERENCE)
    products = {code: LoanProduct.objects.get_or_create(code=code, defaults={"name": code})[0].pk for code in _products()}
    model = None
    for made in blocks(reference, identities=False):
        frame = _with_extras(made, 5)
        model = model or _model(schema, frame, made.default)
        next_id += len(_write(cursor, made, frame, next_id, products, f"BR{reference.seed}"))
    learned = {"first": "2023-01-01T00:00:00+00:00", "until": "2024-12-31T12:00:00+00:00"}
    version = registry.register(
        kind="default_risk", model=model, algorithm="logistic", report={"data": {"rows": REFERENCE}, "learned_from": learned},
        fingerprint="0" * 64, synthetic=True, created_by=None,
    )  # fmt: skip
    cursor.execute("CREATE TEMP TABLE bench_said (application_id bigint, probability float8, grade text, reason text) ON COMMIT DROP")
    window = World(seed=6, start=date(2025, 1, 1), months=1, applications=rows)
    for made in blocks(window, identities=False):
        frame = _with_extras(made, 6)
        ids = _write(cursor, made, frame, next_id, products, "BW6")
        next_id += len(ids)
        scores = model.score(frame, made.submitted_at)
        sums = model.families.sums(scores.contributions)
        reasons = np.array(model.families.names, dtype=object)[sums.argmax(axis=1)]
        said = {"application_id": ids, "probability": scores.probability, "grade": model.grade(scores.probability), "reason": reasons}
        _copy(cursor, "bench_said", pd.DataFrame(said))
    contributions = json.dumps(dict.fromkeys(schema.names, -0.123456789))
    cursor.execute(_PREDICTIONS, [version.pk, contributions])
    for name in ("loans_loanapplication", "loans_prediction", "loans_loanoutcome"):
        cursor.execute(f"ANALYZE {name}")
    return version, Span(date(2025, 1, 1), date(2025, 2, 1), rows, rows)


def _products() -> list[str]:
    from mlcore.synth import PRODUCTS

    return [product.code for product in PRODUCTS]


def _model(schema: Any, frame: pd.DataFrame, default: np.ndarray) -> Any:
    from mlcore import calibration
    from mlcore.risk import ladder
    from mlcore.risk.model import RiskModel, make_baseline

    some = frame.iloc[:6_000]
    rung = ladder.make("logistic", schema, seed=0).fit(some, default[:6_000])
    calibrator = calibration.fit(rung.log_odds(frame.iloc[6_000:20_000]), default[6_000:20_000])
    return RiskModel(rung, calibrator, schema=schema, baseline=make_baseline(rung, some))


def _measured(version: Any, span: Any, rows: int) -> list[Figure]:
    from loans.queries import monitoring_frames as frames
    from loans.services import monitoring, registry
    from loans.services.monitoring_look import Watcher

    names, query = frames._query(registry.load(version).schema)
    wanted = {"version": version.pk, "start": "2025-01-01 00:00:00+00", "end": "2025-02-01 00:00:00+00", "share": 10_000}
    from django.db import connection

    # The first reading warms the database's memory, so that the look is not held against a slower one than its own.
    sent, raw = 0, []
    for _ in range(2):
        began = time.perf_counter()
        with connection.cursor() as cursor, cursor.cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT csv)", wanted) as copy:
            sent = sum(len(part) for part in copy)
        raw.append(time.perf_counter() - began)
    _reset_peak()
    before = _memory("VmRSS")
    clock, processor = time.perf_counter(), time.process_time()
    watcher = Watcher(version, registry.load(version), monitoring.reference_of(version), datetime.now(UTC) + timedelta(days=400))
    watcher.learn()
    learned = time.perf_counter() - clock
    window = watcher.look(span, None)
    seconds, cpu = time.perf_counter() - clock, time.process_time() - processor
    peak = _memory("VmHWM")
    columns = len([name for name in names if name not in (*frames._SAID, "submitted_at")])
    print(
        table(
            ("what", "value"),
            [
                ("window's rows", f"{window.rows:,}"),
                ("columns watched", columns),
                ("with an outcome", f"{window.labelled:,}"),
                ("figures", window.figures.count()),
                ("off", ", ".join(map(str, window.figures.filter(breach=True))) or "nothing"),
                ("reading it twice, thrown away", f"{raw[0]:.1f} s and {raw[1]:.1f} s, {sent / 1e6:,.0f} MB"),
                ("reference learned", f"{learned:.1f} s"),
                ("looking, reference included", f"{seconds:.1f} s, {cpu:.1f} s of processor here"),
                ("memory before and at most", f"{before:,.0f} MB and {peak:,.0f} MB" if peak else "not told by this system"),
            ],
        )
    )
    return [
        Figure("monitor.window_s", seconds, f"s for {rows:,} × {columns}, with its reference", "at most", 60.0),
        Figure("monitor.window_read_s", seconds, "s", "merely reading it", raw[1]),
        Figure("monitor.window_mb", peak, "MB at most", "at most", 1536.0),
    ]


def _memory(name: str) -> float:
    """MB of this process, from /proc; 0 where there is none."""
    path = Path("/proc/self/status")
    if not path.exists():
        return 0.0
    found = [line.split()[1] for line in path.read_text().splitlines() if line.startswith(name)]
    return int(found[0]) / 1024 if found else 0.0


def _reset_peak() -> None:
    if sys.platform == "linux":
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            pass
