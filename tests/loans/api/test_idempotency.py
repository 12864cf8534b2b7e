"""Idempotency-Key: sent twice, done once; and nobody learns anything of another's keys or references."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone

from loans.models import ApiKey, IdempotentAnswer, LoanApplication
from loans.models.applicant import Applicant
from loans.services import idempotency
from tests.loans.api.conftest import URL, Api

BODY = {"amount": "5000.00", "applicant": {"name": "Ann Jensen"}}


@pytest.fixture
def two(db):
    users = [User.objects.create_user(name) for name in ("one", "two")]
    return [Api(key=ApiKey.issue(user=user, name="x")[1]) for user in users]


def test_the_same_request_gets_the_same_answer_and_one_row(two):
    first = two[0].post(body=BODY, headers={"Idempotency-Key": "k-1"})
    again = two[0].post(body=dict(reversed(BODY.items())), headers={"Idempotency-Key": "k-1"})
    assert first.status_code == again.status_code == 201 and again.json() == first.json()
    assert again["Location"] == first["Location"] and again["Idempotency-Replayed"] == "true" and "Idempotency-Replayed" not in first
    assert LoanApplication.objects.count() == 1 and Applicant.objects.count() == 1


def test_another_body_or_address_with_the_key_is_refused(two):
    two[0].post(body=BODY, headers={"Idempotency-Key": "k-1"})
    other = two[0].post(body=BODY | {"amount": "5000.01"}, headers={"Idempotency-Key": "k-1"})
    elsewhere = two[0].post(URL + "?wait=1", body=BODY, headers={"Idempotency-Key": "k-1"})
    assert other.status_code == elsewhere.status_code == 422 and other.json()["type"].endswith("/key-reused/")
    assert LoanApplication.objects.count() == 1


def test_another_client_s_key_tells_nothing(two):
    first, second = (client.post(body=BODY, headers={"Idempotency-Key": "k-1"}) for client in two)
    assert second.status_code == 201 and second.json()["id"] != first.json()["id"]
    assert two[1].post(body={"amount": 1}, headers={"Idempotency-Key": "k-1"}).status_code == 422


def test_a_renewed_key_of_the_same_client_is_the_same_client(two):
    two[0].post(body=BODY, headers={"Idempotency-Key": "k-1"})
    renewed = Api(key=ApiKey.issue(user=User.objects.get(username="one"), name="new")[1])
    assert renewed.post(body=BODY, headers={"Idempotency-Key": "k-1"})["Idempotency-Replayed"] == "true"


def test_a_refused_request_keeps_no_answer(two):
    assert two[0].post(body={"amount": -1}, headers={"Idempotency-Key": "k-1"}).status_code == 400
    assert two[0].post(body=BODY, headers={"Idempotency-Key": "k-1"}).status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "é", "\u00a0"], ids=["empty", "long", "space", "accent", "nbsp"])
def test_a_key_that_is_none_is_an_error(two, key):
    answer = two[0].post(body=BODY, headers={"Idempotency-Key": key})
    assert answer.status_code == 400 and answer.json()["errors"][0]["field"] == "Idempotency-Key"
    assert not LoanApplication.objects.exists()


def test_after_thirty_days_it_is_forgotten(two):
    two[0].post(body=BODY, headers={"Idempotency-Key": "k-1"})
    IdempotentAnswer.objects.update(created_at=timezone.now() - timedelta(days=29, hours=23))
    assert idempotency.forget_old() == 0
    assert two[0].post(body=BODY, headers={"Idempotency-Key": "k-1"})["Idempotency-Replayed"] == "true"
    IdempotentAnswer.objects.update(created_at=timezone.now() - timedelta(days=30, minutes=1))
    assert "Idempotency-Replayed" not in two[0].post(body=BODY, headers={"Idempotency-Key": "k-1"})
    IdempotentAnswer.objects.update(created_at=timezone.now() - timedelta(days=30, minutes=1))
    assert idempotency.forget_old() == 1


def test_the_kept_answer_is_encrypted(two):
    two[0].post(body=BODY, headers={"Idempotency-Key": "k-1"})
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(kept)::text FROM loans_idempotentanswer kept")
        kept = cursor.fetchone()[0]
    assert "Jensen" not in kept and "k-1" not in kept


def test_a_reference_that_another_client_has_taken_is_free(two):
    assert [client.post(body=BODY | {"external_reference": "A-1"}).status_code for client in two] == [201, 201]
    assert two[0].post(body=BODY | {"external_reference": "A-1"}).status_code == 409


@pytest.mark.django_db(transaction=True)
def test_fifty_threads_with_one_key_make_one_row():
    text = ApiKey.issue(user=User.objects.create_user("one"), name="x")[1]
    statuses, start = [], threading.Barrier(50)

    def send() -> None:
        client = Client(headers={"authorization": f"Bearer {text}"})
        start.wait()
        try:
            answer = client.post(URL, BODY, content_type="application/json", headers={"Idempotency-Key": "k-1"})
            statuses.append((answer.status_code, answer.json().get("id")))
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert LoanApplication.objects.count() == 1 and IdempotentAnswer.objects.count() == 1
    made = LoanApplication.objects.get().pk
    assert len(statuses) == 50 and set(statuses) <= {(201, made), (409, None)} and (201, made) in statuses
