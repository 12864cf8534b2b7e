"""A chunk of a bulk job against the same applications scored one by one: the same rows in every table, to the last digit."""

from __future__ import annotations

import functools
import json
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from django.db import connection, transaction

from loans.models import (
    Applicant,
    AttributeDefinition,
    FraudAssessment,
    FraudLabel,
    KnockOutRule,
    LoanApplication,
    LoanProduct,
    ModelKind,
    Policy,
    Prediction,
    ScoringJob,
)
from loans.queries import columns, frames
from loans.services import fraud, registry, scoring, valid_scores
from loans.services.bulk import chunk
from loans.services.fraud import assessment, links
from loans.services.fraud.rules import kept
from mlcore.fraud.facts import LINK_NAMES
from mlcore.fraud.findings import Terms
from mlcore.schema import CORE, Schema
from tests.factories import START

pytestmark = pytest.mark.django_db

COUNT = 300
OWN = (("savings", "number"), ("member", "boolean"), ("trade", "category"), ("opened", "date"))
HOMES = ("rent", "own", "mortgage", "")
# What a file or a form may hold: quotes, separators, escapes, line ends, another script, and nothing.
TRADES = ("baker", 'said "so"', "a,b", "tab\there", "back\\slash", "two\nlines", "\\N", "Ärztin", "")


def declare() -> Schema:
    for name, kind in OWN:
        AttributeDefinition.objects.create(name=name, kind=kind)
    AttributeDefinition.objects.create(name="device_id", kind="category", link_kind="device")
    return frames.schema_in_force().usable()


def apply(count: int = COUNT) -> list[int]:
    chance = np.random.default_rng(4)
    product = LoanProduct.objects.create(code="car", name="Car loan")
    people = Applicant.objects.bulk_create(
        [Applicant(name=f"Person {n % 90}", phone=f"555-0{n % 70:03d}", email=f"p{n}@example.org") for n in range(count // 2)]
    )
    for person in people:
        person.set_indexes()
    Applicant.objects.bulk_update(people, ["name_index", "phone_index", "email_index"])

    def some(value: Any, share: float = 0.2) -> Any:
        return None if chance.random() < share else value

    rows = [
        LoanApplication(
            external_reference=f"B-{n:05d}",
            submitted_at=START + timedelta(minutes=37 * n, microseconds=n),
            product=product if n % 3 else None,
            channel=("online", "")[n % 2],
            amount=[1000 + 7.31 * n, 30_000, 999_999_999][n % 3 if n % 50 == 0 else 0],
            term_months=some(36),
            annual_income=some(round(float(chance.lognormal(10.5, 0.8)), 2)),
            debt_to_income=some(float(chance.random())),
            employment_status=("employed", "unemployed", "")[n % 3],
            home_ownership=HOMES[n % 4],
            region=f"R{n % 40}",
            credit_score=some(int(chance.integers(300, 850))),
            credit_history_months=some(int(chance.integers(0, 200))),
            delinquencies_24m=some(int(chance.integers(0, 4))),
            attributes={
                name: value
                for name, value in {
                    "savings": some(float(chance.normal(0, 1e4))),
                    "member": some(bool(n % 2)),
                    "trade": some(TRADES[n % len(TRADES)]),
                    "opened": some(f"20{n % 25:02d}-03-0{1 + n % 9}"),
                    "device_id": some(f"device {n % 60}"),
                }.items()
                if value is not None
            },
            applicant=people[n // 2] if n % 2 else None,
        )
        for n in range(count)
    ]
    LoanApplication.objects.bulk_create(rows)
    ScoringJob.objects.bulk_create([ScoringJob(application=row) for row in rows])
    while links.link_waiting():
        pass
    return [row.pk for row in rows]


def past(schema: Schema, rows: int = 500) -> tuple[pd.DataFrame, pd.Series, np.ndarray]:
    """Made-up applications to fit on, that know fewer categories than `apply` brings."""
    chance = np.random.default_rng(0)
    made = {}
    for column in schema:
        if column.kind == "category":
            made[column.name] = chance.choice(np.array(["rent", "own", "baker", "R1", "online", "car", None], dtype=object), rows)
        elif column.kind == "date":
            made[column.name] = pd.to_datetime("2015-01-01", utc=True) + pd.to_timedelta(chance.integers(0, 3000, rows), unit="D")
        elif column.kind == "boolean":
            made[column.name] = chance.integers(0, 2, rows).astype(float)
        else:
            values = chance.lognormal(8, 1.5, rows)
            made[column.name] = values if column.name == "amount" else np.where(chance.random(rows) < 0.1, np.nan, values)
    frame = pd.DataFrame(made)
    at = pd.Series(pd.to_datetime("2025-01-01", utc=True) + pd.to_timedelta(np.arange(rows), unit="h"))
    odds = -1 + (np.nan_to_num(np.log(frame["annual_income"]), nan=8.0) - 8) + (frame["home_ownership"] == "rent")
    return frame, at.astype("datetime64[ns, UTC]"), (chance.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.int8)


def serve(schema: Schema) -> None:
    for kind, model in fitted_models(schema).items():
        registry.register(
            kind=kind, model=model, algorithm="test", report={"version": 1}, fingerprint="0" * 64, synthetic=True, created_by=None
        )


@functools.cache
def fitted_models(schema: Schema) -> dict[str, Any]:
    """A model of every kind, fitted as the trainings fit them but on less and with less care; once for all tests."""
    from mlcore import calibration
    from mlcore.amount.affordability import AffordabilityRule
    from mlcore.amount.train import _quantile_models
    from mlcore.fraud.anomaly import Anomaly
    from mlcore.fraud.model import FraudDetector
    from mlcore.progress import silent
    from mlcore.risk import ladder
    from mlcore.risk.base import Dataset
    from mlcore.risk.model import RiskModel, make_baseline
    from mlcore.segments.cluster import Clusters
    from mlcore.segments.model import Segment, SegmentModel
    from mlcore.segments.prepare import Preparation

    frame, at, default = past(schema)
    rung = ladder.make("logistic", schema, seed=0).fit(frame, default, submitted_at=at)
    calibrator = calibration.fit(rung.log_odds(frame, at), default)
    loans = Dataset(frame, default, schema, at, frame["amount"].to_numpy())
    preparation = Preparation.fit(frame, schema, at)
    matrix = preparation.transform(frame, at)
    centres = matrix[:3]
    clusters = Clusters("kmeans", centres, np.ones_like(centres), np.ones(3) / 3)
    fitted = {
        ModelKind.DEFAULT_RISK: RiskModel(rung, calibrator, schema=schema, baseline=make_baseline(rung, frame, at)),
        ModelKind.LOAN_AMOUNT: _quantile_models(loans, frame["amount"].to_numpy(), schema, AffordabilityRule(), 0, silent),
        ModelKind.SEGMENTS: SegmentModel(
            preparation, clusters, [Segment(key, f"Group {key}", key / 10, 1.0 + key / 7) for key in (1, 2, 5)], 6
        ),
    }
    from loans.services.fraud.model import fraud_schema

    whole = fraud_schema()
    known, _, _ = past(whole)
    fitted[ModelKind.FRAUD] = FraudDetector(Anomaly.fit(known, whole, seed=0), None)
    return fitted


def rules(ids: list[int]) -> None:
    model = registry.champion().model
    features = frames.scoring_frame(ids, model.schema)
    low, high = np.quantile(model.probability(features.frame, features.submitted_at), (0.3, 0.6))
    Policy.objects.create(approve_below=low, decline_from=high, reason="For this test.")
    for name, field, operator, value in (
        ("Young file", "credit_history_months", "below", "12"),
        ("No income", "annual_income", "missing", ""),
        ("Trade", "trade", "is", 'SAID "so"'),
        ("Large", "amount", "above", "500000"),
    ):
        KnockOutRule.objects.create(name=name, field=field, operator=operator, value=value, reason="income_insufficient")


TABLES = {
    "loans_prediction": "application_id",
    "loans_featuresnapshot": "application_id",
    "loans_amountestimate": "application_id",
    "loans_segmentassignment": "application_id",
    "loans_fraudassessment": "application_id",
    "loans_loanapplication": "id",
    "loans_scoringjob": "id",
    "loans_fraudflag": "application_id",
}
# When and by which number a row was written, and nothing of what it says.
_DIFFER = {"loans_fraudflag": {"id"}, "loans_scoringjob": set(), "loans_loanapplication": set()}
_TIMES = {"created_at", "assessed_at", "finished_at", "due_at"}


def stored() -> dict[str, list[dict[str, Any]]]:
    found = {}
    with connection.cursor() as cursor:
        for table, order in TABLES.items():
            cursor.execute(f"SELECT to_jsonb(t)::text FROM {table} t ORDER BY {order}")
            rows = [json.loads(text, parse_float=str) for (text,) in cursor.fetchall()]
            drop = _TIMES | _DIFFER.get(table, {"id"})
            found[table] = [{name: value for name, value in row.items() if name not in drop} for row in rows]
    return found


@pytest.fixture
def desk(artifacts, settings):
    settings.FRAUD_SAMPLE_SHARE = 0.05
    schema = declare()
    ids = apply()
    serve(schema)
    rules(ids)
    kept(Terms(tuple(assessment.rules_in_force()), LINK_NAMES))  # written once, it has the same number in both tries
    FraudLabel.objects.create(application_id=ids[8], fraud=True, known_at=START, learn_from=START)
    return ids


def _by_a_worker() -> dict[str, list[dict[str, Any]]]:
    """What is stored by two claims, which are undone again."""
    with transaction.atomic():
        done = scoring.score_pending(limit=150) + scoring.score_pending(limit=150)
        assert (done.stored, done.released) == (COUNT, 0)
        found = stored()
        transaction.set_rollback(True)
    assert not Prediction.objects.exists()
    return found


def test_a_chunk_and_a_claim_as_columns_store_what_scoring_one_by_one_stores(desk, monkeypatch):
    with monkeypatch.context() as rows_only:
        rows_only.setattr(scoring, "AS_COLUMNS_FROM", COUNT)
        rows_only.setattr(chunk, "score_claimed", None)
        alone = _by_a_worker()
    claimed = _by_a_worker()
    assert chunk.score_range(desk[0], desk[-1] + 1) == COUNT
    together = stored()
    for table, rows in alone.items():
        assert len(rows) == len(together[table]) == len(claimed[table])
        for one, *others in zip(rows, together[table], claimed[table], strict=True):
            assert others == [one, one], table
    seen = alone["loans_prediction"]
    assert {row["advice"] for row in seen} == {"approve", "refer", "decline"} and any(row["knock_outs"] for row in seen)
    assert len({row["segment"] for row in alone["loans_segmentassignment"]}) > 1
    assert alone["loans_amountestimate"] and {row["capped"] for row in alone["loans_amountestimate"]} == {True, False}
    assert {row["kind"] for row in alone["loans_fraudflag"]} == {"alert", "sample"}
    assert any(row["features"].get("direct_frauds") for row in alone["loans_fraudassessment"])
    assert any(fact is not None for row in alone["loans_fraudassessment"] for fact in row["trace"]["facts"])


def test_columns_and_rows_make_the_same_frame(desk):
    schema = frames.schema_in_force()
    one = frames.scoring_frame(desk, schema)
    many = columns.applications(desk, columns.Wanted.of([schema], ["trade", "savings", "amount", "term_months"]))
    pd.testing.assert_frame_equal(one.frame, many.frame(schema), check_exact=True)
    pd.testing.assert_series_equal(one.submitted_at, many.submitted_at, check_exact=True)
    assert one.application_ids == many.ids.tolist()
    for name in ("trade", "savings", "amount", "term_months"):
        assert [(value, type(value)) for value in many.fact(name)] == [(f.get(name), type(f.get(name))) for f in one.facts]


def test_what_another_worker_has_in_hands_is_left_to_it(desk):
    ScoringJob.objects.filter(application_id__in=desk[:3]).update(state="running", lease_until=START)
    ScoringJob.objects.filter(application_id__in=desk[3:5]).update(attempts=1)
    assert chunk.score_range(desk[0], desk[9] + 1) == 5
    assert chunk.score_range(desk[0], desk[9] + 1) == 0
    assert Prediction.objects.count() == 5


def test_what_was_scored_without_it_is_assessed_as_columns_as_it_would_be_by_rows(desk, monkeypatch):
    FraudAssessment.objects.update(state="linked", due_at=START)
    with transaction.atomic(), monkeypatch.context() as rows_only:
        rows_only.setattr(assessment, "AS_COLUMNS_FROM", COUNT + 1)
        assert (fraud.sweep(), fraud.sweep()) == ((0, 200), (0, COUNT - 200))
        alone = stored()
        transaction.set_rollback(True)
    assert fraud.sweep() == (0, COUNT)
    together = stored()
    for table in ("loans_fraudassessment", "loans_fraudflag"):
        assert alone[table] and alone[table] == together[table]


def test_of_a_claim_as_columns_only_what_still_holds_is_stored(desk):
    claims = scoring._claim(least=0, most=0, limit=40)
    taken_over = [claim.job_id for claim in claims[:7]]
    ScoringJob.objects.filter(pk__in=taken_over).update(attempts=2)
    done = scoring._score_claims(claims, registry.champion())
    assert (done.claimed, done.stored, done.released) == (40, 33, 0)
    assert not Prediction.objects.filter(scoring_job__in=taken_over).exists()
    assert set(ScoringJob.objects.filter(pk__in=taken_over).values_list("state", "attempts")) == {("running", 2)}


def test_nothing_is_stored_of_a_chunk_that_fails_and_its_jobs_are_as_they_were(desk, monkeypatch):
    model = registry.champion().model
    honest = model.score

    def off(frame, submitted_at=None):
        scores = honest(frame, submitted_at)
        scores.contributions[7, 0] += 1e-3
        return scores

    monkeypatch.setattr(model, "score", off)
    with pytest.raises(valid_scores.InvalidScore), transaction.atomic():
        chunk.score_range(desk[0], desk[-1] + 1)
    assert not Prediction.objects.exists()
    assert set(ScoringJob.objects.values_list("state", "attempts")) == {("pending", 0)}


def test_schema_of_core_reads_text_too(desk):
    only = Schema(column for column in CORE if column.kind == "text")
    assert columns.applications(desk[:3], columns.Wanted.of([only])).frame(only).isna().all(axis=None)
