"""A database full of made-up applications, with identifiers and models that serve: what the benchmark of scale works on.

Times, facts and shared identifiers are those of `mlcore.synth`. Names and numbers of people are digests only: encrypting eight million
fields would take longer than all that is measured.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from loans.models.fields import APPLICATION_FIELDS
from mlcore.synth import World, blocks

FIELDS = tuple(name for name in APPLICATION_FIELDS if name not in ("external_reference", "submitted_at", "product"))
TEXTS = ("channel", "purpose", "purpose_text", "employment_status", "home_ownership", "region")
MONEY = ("amount", "annual_income", "revolving_balance")
BLOCK = 20_000
"""Made up in full; what is more is copies of it, later and with identifiers of their own, shared as the first block shares them."""
TRAINED_ON = 6_000


def fill(applications: int, *, pending: bool = True) -> None:
    """So many more applications, their links, fraud assessments (linked) and outcomes, and a pending job each."""
    from django.db import connection

    from loans.models import LoanApplication

    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM loans_loanapplication")
        before = cursor.fetchone()[0]
        if not LoanApplication.objects.exists():
            (made,) = blocks(World(seed=5, applications=min(BLOCK, applications)))
            _write(connection, made, _declare())
        cursor.execute("SELECT count(*), min(id) FROM loans_loanapplication")
        have, first = cursor.fetchone()
        target = applications + (have if before else 0)
        cursor.execute("ALTER TABLE loans_loanapplication DISABLE TRIGGER application_fraud_outbox")
        block = min(BLOCK, have)
        while have < target:
            more = min(block, target - have)
            for statement in _AGAIN:
                cursor.execute(statement, {"first": first, "more": more, "shift": have})
            have += more
        cursor.execute("ALTER TABLE loans_loanapplication ENABLE TRIGGER application_fraud_outbox")
        cursor.execute("SELECT setval(pg_get_serial_sequence('loans_loanapplication', 'id'), (SELECT max(id) FROM loans_loanapplication))")
        if pending:
            cursor.execute(
                "INSERT INTO loans_scoringjob (application_id, state, attempts, created_at, due_at, claimed_by, error)"
                " SELECT id, 'pending', 0, now(), now(), '', '' FROM loans_loanapplication WHERE id > %s ORDER BY id",
                [before],
            )
        # What was filled in is to be as the server's own cleaner leaves it: statistics fresh, nothing dead.
        for table in ("loanapplication", "applicationlink", "fraudassessment", "scoringjob", "loanoutcome"):
            cursor.execute(f"VACUUM ANALYZE loans_{table}")


_OWN_ROWS = "id >= %(first)s AND id < %(first)s + %(more)s"
_COPIED = ", ".join(f'"{name}"' for name in (*FIELDS, "product_id", "attributes", "status", "synthetic", "created_at", "grade"))
_LATER = "submitted_at + make_interval(days => 30 + %(shift)s / 500)"
_AGAIN = (
    f"INSERT INTO loans_loanapplication (id, external_reference, submitted_at, {_COPIED})"
    f" SELECT id + %(shift)s, 'SCALE-' || (id + %(shift)s), {_LATER},"
    f" {_COPIED.replace(chr(34) + 'status' + chr(34), chr(39) + 'received' + chr(39))}"
    f" FROM loans_loanapplication WHERE {_OWN_ROWS}",
    "INSERT INTO loans_applicationlink (application_id, kind, digest, submitted_at, name)"
    f" SELECT application_id + %(shift)s, kind, decode(md5(digest || int4send(%(shift)s)), 'hex'), {_LATER},"
    f" decode(md5(name || int4send(%(shift)s)), 'hex') FROM loans_applicationlink WHERE {_OWN_ROWS.replace('id', 'application_id')}",
    "INSERT INTO loans_fraudassessment (application_id, state, attempts, due_at, calibrated, features, trace, error)"
    f" SELECT id + %(shift)s, 'linked', 0, now(), false, '{{}}', '[]', '' FROM loans_loanapplication WHERE {_OWN_ROWS}",
    "INSERT INTO loans_loanoutcome (application_id, state, created_at)"
    f" SELECT application_id + %(shift)s, state, created_at FROM loans_loanoutcome WHERE {_OWN_ROWS.replace('id', 'application_id')}",
)


def _declare() -> dict[str, int]:
    from loans.services import demo

    products = demo._make_products()
    demo._declare_attributes()
    return products


def _copy(cursor: Any, statement: str, frame: pd.DataFrame) -> None:
    text = io.StringIO()
    frame.to_csv(text, sep="\t", header=False, index=False, na_rep="\\N")
    with cursor.copy(statement) as copy:
        copy.write(text.getvalue())


def _write(connection: Any, made: Any, products: dict[str, int]) -> None:
    from benchmarks.fraud import identifiers
    from loans.services import demo

    n = len(made)
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM loans_loanapplication")
        first = cursor.fetchone()[0] + 1
        ids = np.arange(first, first + n)
        at = made.submitted_at.dt.strftime("%Y-%m-%d %H:%M:%S.%f+00")
        columns: dict[str, Any] = {"id": ids, "external_reference": [f"SCALE-{pk}" for pk in ids.tolist()], "submitted_at": at}
        columns["product_id"] = made.frame["product"].map(products).to_numpy()
        for name in FIELDS:
            values = made.frame[name]
            if name in TEXTS:
                columns[name] = values.fillna("").str.replace("\\", " ").to_numpy()
            elif name in MONEY:
                columns[name] = values.round(2).to_numpy()
            elif name in ("debt_to_income", "revolving_utilisation"):
                columns[name] = values.to_numpy()
            else:
                columns[name] = values.astype("Int64").to_numpy(dtype=object, na_value=None)
        columns["attributes"] = demo._attributes(made)
        frame = pd.DataFrame(columns).assign(status="received", synthetic="t", created_at=at.to_numpy(), grade="")
        cursor.execute("ALTER TABLE loans_loanapplication DISABLE TRIGGER application_fraud_outbox")
        names = ", ".join(frame.columns)
        frame["attributes"] = frame["attributes"].str.replace("\\", "\\\\")
        text = frame.to_csv(sep="\t", header=False, index=False, na_rep="\\N", quoting=3, escapechar=None, quotechar=None)
        with cursor.copy(f"COPY loans_loanapplication ({names}) FROM STDIN") as copy:
            copy.write(text)
        cursor.execute("ALTER TABLE loans_loanapplication ENABLE TRIGGER application_fraud_outbox")
        cursor.execute(
            "INSERT INTO loans_fraudassessment (application_id, state, attempts, due_at, calibrated, features, trace, error)"
            " SELECT id, 'linked', 0, now(), false, '{}', '[]', '' FROM loans_loanapplication WHERE id >= %s",
            [first],
        )
        outcomes = pd.DataFrame({"id": ids, "state": np.where(made.default == 1, "default", "repaid"), "created": at.to_numpy()})
        _copy(cursor, "COPY loans_loanoutcome (application_id, state, created_at) FROM STDIN", outcomes)
        _links(cursor, ids, at.to_numpy(), identifiers(made))
        cursor.execute("SELECT setval(pg_get_serial_sequence('loans_loanapplication', 'id'), %s)", [int(ids[-1])])


def _links(cursor: Any, ids: np.ndarray, at: np.ndarray, columns: dict[str, np.ndarray]) -> None:
    import hashlib

    from mlcore.fraud.facts import KINDS

    digests = {
        kind: pd.Series([None if value is None else hashlib.md5(f"{kind}:{value}".encode()).hexdigest() for value in values])
        for kind, values in columns.items()
    }
    name = digests["name"].map(lambda text: "\\\\x" + text, na_action="ignore")
    parts = [
        pd.DataFrame({"id": ids, "kind": KINDS.index(kind), "digest": "\\\\x" + values, "at": at, "name": name})[values.notna().to_numpy()]
        for kind, values in digests.items()
    ]
    text = pd.concat(parts).sort_values(["id", "kind"]).to_csv(sep="\t", header=False, index=False, na_rep="\\N", quoting=3)
    with cursor.copy("COPY loans_applicationlink (application_id, kind, digest, submitted_at, name) FROM STDIN") as copy:
        copy.write(text)


MAPPING = (
    """
name = "scale"
[fields]
external_reference = "reference"
submitted_at = "submitted_at"
product = "product"
"""
    + "\n".join(f'{name} = "{name}"' for name in FIELDS)
    + """
[attributes.savings_balance]
column = "savings_balance"
kind = "number"
[outcome]
column = "state"
default = ["default"]
repaid = ["repaid"]
"""
)


def write_file(path: Path, rows: int, prefix: str = "FILE") -> None:
    """A lender's CSV of past loans: a block made up in full, and copies of it under other references."""
    (block,) = blocks(World(seed=5, applications=min(BLOCK, rows)), identities=False)
    frame = block.frame[["product", *FIELDS, "savings_balance"]].copy()
    for name in FIELDS:
        if name in MONEY:
            frame[name] = frame[name].round(2)
        elif name not in TEXTS and name not in ("debt_to_income", "revolving_utilisation"):
            frame[name] = frame[name].astype("Int64")
    frame.insert(0, "reference", "")
    frame.insert(1, "submitted_at", block.submitted_at.dt.strftime("%Y-%m-%d %H:%M:%S").to_numpy())
    frame["state"] = np.where(block.default == 1, "default", "repaid")
    for start in range(0, rows, BLOCK):
        piece = frame.iloc[: min(BLOCK, rows - start)]
        piece.assign(reference=[f"{prefix}-{start + number}" for number in range(len(piece))]).to_csv(
            path, mode="a", header=not start, index=False
        )


def serve_models() -> None:
    """Fit a model of each kind on applications of the same world, and let them serve. Call after `fill`."""
    from sklearn.cluster import KMeans

    from loans.models import LoanApplication, ModelKind
    from loans.queries.columns import Wanted
    from loans.queries.columns import applications as fetched
    from loans.queries.frames import schema_in_force
    from loans.queries.fraud_links import link_matrix
    from loans.services import registry
    from loans.services.fraud.model import fraud_schema
    from mlcore import calibration
    from mlcore.amount.train import train_amount
    from mlcore.fraud.anomaly import Anomaly
    from mlcore.fraud.facts import LINK_NAMES
    from mlcore.fraud.model import FraudDetector
    from mlcore.risk import ladder
    from mlcore.risk.model import RiskModel, make_baseline
    from mlcore.segments.cluster import Clusters
    from mlcore.segments.model import Segment, SegmentModel
    from mlcore.segments.prepare import Preparation
    from mlcore.synth import generate

    data = generate(World(seed=6, applications=TRAINED_ON), identities=False).dataset()
    schema = schema_in_force().usable()
    rung = ladder.make("pairwise", schema, seed=0).fit(data.frame, data.default, submitted_at=data.submitted_at)
    calibrator = calibration.fit(rung.log_odds(data.frame, data.submitted_at), data.default)
    risk = RiskModel(rung, calibrator, schema=schema, baseline=make_baseline(rung, data.frame, data.submitted_at))
    some = data.take(np.arange(2_000))
    preparation = Preparation.fit(some.frame, schema, some.submitted_at)
    matrix = preparation.transform(some.frame, some.submitted_at)
    centres = KMeans(4, n_init=1, random_state=0).fit(matrix).cluster_centers_
    clusters = Clusters("kmeans", centres, np.ones_like(centres), np.full(4, 0.25))
    groups = SegmentModel(preparation, clusters, [Segment(key, f"Group {key}", 0.25, 3.0) for key in range(1, 5)], 5)
    ids = list(LoanApplication.objects.order_by("pk").values_list("pk", flat=True)[:TRAINED_ON])
    whole = fraud_schema()
    own = whole.only([name for name in whole.names if name not in LINK_NAMES])
    frame = fetched(ids, Wanted.of([own])).frame(own)
    linked = pd.DataFrame(link_matrix(ids), columns=list(LINK_NAMES))
    anomaly = Anomaly.fit(pd.concat([frame, linked], axis=1)[list(whole.names)], whole)
    fitted = {
        ModelKind.DEFAULT_RISK: risk,
        ModelKind.LOAN_AMOUNT: train_amount(some).model,
        ModelKind.SEGMENTS: groups,
        ModelKind.FRAUD: FraudDetector(anomaly, None),
    }
    for kind, model in fitted.items():
        registry.register(
            kind=kind, model=model, algorithm="bench", report={"version": 1}, fingerprint="0" * 64, synthetic=True, created_by=None
        )
