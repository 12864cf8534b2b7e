"""A batch scored within its request: the same rows in every table as by a worker, and stored whatever becomes of its scores."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from loans.models import FraudAssessment, LoanApplication, Prediction, ScoringJob, WebhookDelivery, WebhookEndpoint, crypto
from loans.queries import columns
from loans.queries.held_columns import held
from loans.queries.in_force import in_force
from loans.services import batch, fraud, intake, scoring, suspects
from loans.services.bulk import assessed, chunk
from mlcore.risk.model import RiskModel
from tests.factories import START, make_champion
from tests.loans.bulk.test_chunk import desk, stored  # noqa: F401 - a fixture
from tests.loans.services.test_at_once import site  # noqa: F401 - a fixture

pytestmark = pytest.mark.django_db

COUNT = 90
SEQUENCES = ("loans_loanapplication_id_seq", "loans_applicant_id_seq", "loans_scoringjob_id_seq")


def rows(count: int = COUNT) -> list[dict[str, Any]]:
    """Submissions that share identifiers with the desk's and with one another, some of them dated back among the desk's."""
    chance = np.random.default_rng(7)
    made = []
    for number in range(count):
        fields: dict[str, Any] = {
            "external_reference": f"N-{number:04d}",
            "amount": Decimal(str(round(1500 + 13.37 * number, 2))) if number % 30 else Decimal("600000.00"),
            "annual_income": Decimal(str(round(float(chance.lognormal(10.5, 0.8)), 2))) if number % 5 else None,
            "debt_to_income": float(chance.random()),
            "credit_history_months": int(chance.integers(0, 60)) if number % 4 else None,
            "home_ownership": ("rent", "own", "mortgage", "")[number % 4],
            "channel": "online" if number % 2 else "",
            "product": "car" if number % 3 else None,
            "submitted_at": START + timedelta(minutes=61 * number, microseconds=7 * number) if number % 3 else START + timedelta(days=30),
        }
        if number % 4:
            fields["applicant"] = {"name": f"Person {number % 40}", "phone": f"555-0{number % 30:03d}", "email": f"n{number}@example.org"}
        fields["attributes"] = {
            "savings": [0.0, -0.0, 1e17, 2.5e-7, 100.0, -12.25][number % 6],
            "member": bool(number % 2),
            "trade": ("baker", 'said "so"', "tab\there", "back\\slash", "\\N", "Ärztin")[number % 6],
            "opened": f"20{number % 25:02d}-03-0{1 + number % 9}",
            "device_id": f"device {number % 60}",
        }
        made.append(fields)
    return made


def prepared(made: list[dict[str, Any]]) -> list[intake.Ready]:
    now = in_force()
    user = User.objects.get_or_create(username="shop")[0]
    return [intake.prepare(each, submitted_by=user, known=intake.Known(now.products, now.attributes)) for each in made]


def submit(made: list[dict[str, Any]]) -> list[Any]:
    return batch.submit(prepared(made), now=in_force(), digest=suspects.digest_of(made))


def begun_alike() -> None:
    """The ids that come next are the same in every try."""
    with connection.cursor() as cursor:
        for name in SEQUENCES:
            cursor.execute(f"SELECT setval('{name}', 50000)")


def everything() -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = dict(stored())
    for job in found["loans_scoringjob"]:
        job.pop("claimed_by")
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_jsonb(l)::text FROM loans_applicationlink l ORDER BY application_id, kind, digest")
        found["links"] = [json.loads(text) for (text,) in cursor.fetchall()]
    return found


def test_it_stores_what_workers_would_have_stored_to_the_last_digit(desk):  # noqa: F811
    User.objects.create_user("shop")
    while scoring.score_pending().stored:
        pass
    with transaction.atomic():
        begun_alike()
        intake.store_many(prepared(rows()))
        assert scoring.score_pending().stored == COUNT
        by_worker = everything()
        transaction.set_rollback(True)
    begun_alike()
    received = submit(rows())
    here = everything()
    assert not ScoringJob.objects.unfinished().exists() and not FraudAssessment.objects.exclude(state="assessed").exists()
    for table, theirs in by_worker.items():
        assert len(here[table]) == len(theirs), table
        for mine, other in zip(here[table], theirs, strict=True):
            assert mine == other, table
    new = [each.application.pk for each in received]
    seen = [row for row in here["loans_fraudassessment"] if row["application_id"] in new]
    assert any(row["features"].get("shared_people") for row in seen) and {row["score"] for row in seen} != {seen[0]["score"]}
    assert {flag["application_id"] for flag in here["loans_fraudflag"]} & set(new)


def test_columns_held_are_those_that_the_database_gives_back(desk):  # noqa: F811
    serving, rules = chunk.Serving.now(), assessed.rules()
    wanted = serving.wanted([*assessed.facts_of(rules), "savings", "member", "trade", "amount", "credit_history_months"])
    ready = prepared(rows())
    intake.number(ready)
    mine = held([each.application for each in ready], wanted)
    intake.store_many(ready)
    theirs = columns.applications([each.application.pk for each in ready], wanted)
    mine = held([each.application for each in ready], wanted)
    for model in (serving.risk.model.schema, serving.amount.model.encoder.schema, serving.segments.model.schema):
        pd.testing.assert_frame_equal(mine.frame(model), theirs.frame(model), check_exact=True)
    pd.testing.assert_series_equal(mine.submitted_at, theirs.submitted_at, check_exact=True)
    for name in ("savings", "member", "trade", "amount", "credit_history_months"):
        assert [(v, type(v)) for v in mine.fact(name)] == [(v, type(v)) for v in theirs.fact(name)]


@pytest.fixture
def simple(artifacts):
    make_champion()
    return [{"amount": Decimal(1000 + n), "annual_income": Decimal(40_000), "external_reference": f"S-{n}"} for n in range(25)]


def test_a_reference_that_is_taken_leaves_the_others_scored(simple):
    submit(simple)
    again = submit([*simple[:2], *({**each, "external_reference": f"T-{n}"} for n, each in enumerate(simple)), simple[3]])
    assert [type(each).__name__ for each in again] == ["DuplicateReference"] * 2 + ["Received"] * 25 + ["DuplicateReference"]
    assert Prediction.objects.count() == 50 == LoanApplication.objects.filter(status="open").count()
    for each in again[2:-1]:
        score = Prediction.objects.get(scoring_job=each.job)
        assert (score.application_id, score.probability) == (each.application.pk, each.application.default_probability)


def _off(self, frame, submitted_at=None, honest=RiskModel.score):
    scores = honest(self, frame, submitted_at)
    scores.contributions[7, 0] += 1e-3
    return scores


def _fails(*_: Any, **__: Any) -> None:
    raise ValueError("one bad row")


def _refused(*_: Any, **__: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO loans_prediction (probability) VALUES (2)")


@pytest.mark.parametrize(
    ("where", "name", "how"),
    [(RiskModel, "score", _off), (batch, "held", _fails), (chunk, "store_scores", _refused)],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_where_scoring_fails_the_batch_is_received_and_waits_for_the_workers(simple, monkeypatch, where, name, how):
    with monkeypatch.context() as broken:
        broken.setattr(where, name, how)
        assert all(isinstance(each, intake.Received) for each in submit(simple))
    assert set(ScoringJob.objects.values_list("state", "attempts")) == {("pending", 0)} and not Prediction.objects.exists()
    assert set(LoanApplication.objects.values_list("status", "default_probability", "grade")) == {("received", None, "")}
    assert set(FraudAssessment.objects.values_list("state", flat=True)) == {"waiting"}
    assert scoring.score_pending().stored == 25


@pytest.mark.parametrize("name", ["link_matrix", "_flag"])
def test_where_the_search_for_fraud_fails_the_scores_stand_and_the_sweeper_assesses(simple, monkeypatch, name):
    with monkeypatch.context() as broken:
        broken.setattr(assessed, name, _fails)
        submit(simple)
    assert Prediction.objects.count() == 25 and not FraudAssessment.objects.filter(state="assessed").exists()
    fraud.sweep()
    assert FraudAssessment.objects.filter(state="assessed").count() == 25


def test_what_came_before_and_waits_is_linked_first(simple):
    intake.submit({"amount": Decimal(5), "submitted_at": START, "applicant": {"email": "a@example.org"}}, submitted_by=None)
    submit([*(each | {"applicant": {"email": "a@example.org"}} for each in simple[:3]), *simple[3:]])
    assert FraudAssessment.objects.filter(state="assessed").count() == 25
    assert FraudAssessment.objects.get(application__submitted_at=START).state == "linked"
    linked = FraudAssessment.objects.filter(state="assessed", application__applicant__isnull=False).order_by("application__submitted_at")
    assert [each.findings()[0]["component_size"] for each in linked] == [1, 2, 3], "those of the same batch were before it as well"


def test_a_small_batch_and_one_without_a_model_wait(simple):
    submit(simple[: batch.AT_ONCE_FROM - 1])
    assert not Prediction.objects.exists() and ScoringJob.objects.unfinished().count() == batch.AT_ONCE_FROM - 1


def test_an_endpoint_is_told_of_each_score(simple):
    user = User.objects.get_or_create(username="shop")[0]
    WebhookEndpoint.objects.create(name="x", user=user, url="https://example.org/x", events=["application.scored"])
    submit(simple)
    assert WebhookDelivery.objects.filter(event="application.scored").count() == 25


@pytest.mark.django_db(transaction=True)
def test_what_took_a_process_down_left_nothing_half_done_and_waits_the_next_time(simple, site):  # noqa: F811
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        _submit_until_killed(simple, tell)
    assert os.read(told, 1) == b"!", "its predictions are written and not committed"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert not LoanApplication.objects.exists() and not Prediction.objects.exists()
    assert suspects.died(3) == 1
    submit(simple)
    assert not Prediction.objects.exists() and ScoringJob.objects.filter(state="pending").count() == 25


@pytest.mark.django_db(transaction=True)
def test_of_two_batches_at_the_same_time_the_second_sees_the_first(simple, monkeypatch):
    honest, reached = assessed._flag, threading.Event()

    def slow(*values):
        honest(*values)
        if threading.current_thread().name == "first":
            reached.set()
            time.sleep(0.4)

    def first():
        try:
            submit([each | {"applicant": {"email": f"{number}@example.org"}} for number, each in enumerate(simple)])
        finally:
            connection.close()

    monkeypatch.setattr(assessed, "_flag", slow)
    thread = threading.Thread(target=first, name="first")
    thread.start()
    assert reached.wait(20), "it is assessed and not committed"
    later = [each | {"external_reference": f"L-{number}"} for number, each in enumerate(simple)]
    received = submit([each | {"applicant": {"email": f"{number}@example.org"}} for number, each in enumerate(later)])
    thread.join()
    for each in received:
        assert FraudAssessment.objects.get(pk=each.application.pk).findings()[0]["component_size"] == 1


def _submit_until_killed(made: list[dict[str, Any]], tell: int) -> None:
    try:
        connection.connection = None  # the parent's; it must not be closed from here
        honest = chunk.store_scores

        def store_scores(*values):
            honest(*values)
            os.write(tell, b"!")
            time.sleep(60)

        chunk.store_scores = store_scores
        submit(made)
    finally:
        os._exit(1)


def test_links_go_with_their_application_whoever_deletes_it(simple):
    submit([each | {"applicant": {"email": f"{number}@example.org"}} for number, each in enumerate(simple)])
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")  # what else hangs on them stays for this moment
        cursor.execute("DELETE FROM loans_loanapplication WHERE external_reference = 'S-3'")
        cursor.execute("SELECT count(*) FROM loans_applicationlink")
        assert cursor.fetchone() == (24,)
    transaction.set_rollback(True)


def test_a_column_is_encrypted_as_each_value_is():
    values = ["Ann", "", None, "Zoë Möller", "x" * 300]
    sealed = crypto.encrypt_many(values, context="t.name")
    assert [each and crypto.decrypt(each, context="t.name") for each in sealed] == ["Ann", None, None, "Zoë Möller", "x" * 300]
    assert len({*sealed}) == 4 and len({each[9:25] for each in sealed if each}) == 3, "each under a nonce of its own"
