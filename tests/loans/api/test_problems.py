"""Errors are problem documents whoever makes them, and give nothing away."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from django.db import InterfaceError, OperationalError
from rest_framework.exceptions import Throttled

from loans.api import problems
from loans.api.renderers import finite
from loans.models import LoanApplication
from loans.services import request_id
from tests.loans.api.conftest import URL, Api

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@pytest.mark.parametrize("path", ["/api/", "/api/v1/nothing/", "/api/v2/models/", "/api/v1/applications/1/x", "/api/problems/x/"])
@pytest.mark.parametrize("method", METHODS)
def test_an_unknown_address_is_a_problem(db, method, path):
    assert Api().call(method, path).status_code == 404


def test_a_missing_slash_is_said_and_not_redirected(api):
    answer = api.post("/api/v1/applications", {"amount": 1})
    assert answer.status_code == 404 and "slash" in answer.json()["detail"]


@pytest.mark.parametrize("path", [URL, "/api/v1/models/", "/api/v1/predictions/", "/api/schema/", "/api/docs/"])
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_a_method_that_there_is_not_names_those_that_there_are(api, method, path):
    answer = api.call(method, path)
    assert answer.status_code == 405 and "GET" in answer["Allow"]


def test_a_format_that_there_is_not(api):
    assert api.get(URL, headers={"accept": "application/xml"}).status_code == 406
    assert api.get("/api/schema/", headers={"accept": "image/png"}).status_code == 406
    assert api.get(URL, headers={"accept": "application/json;q=0.9, */*;q=0.1"}).status_code == 200


def test_what_nobody_foresaw_is_a_500_that_tells_its_id_and_nothing_else(api, monkeypatch, caplog):
    secret = "Ann Example, ann@example.org"

    def burst(*args, **kwargs):
        raise KeyError(secret)

    monkeypatch.setattr("loans.api.applications.intake.submit", burst)
    answer = api.client.post(URL, '{"amount": 1}', content_type="application/json", headers={"X-Request-ID": "trace-7"})
    assert answer.status_code == 500 and answer["Content-Type"] == problems.MEDIA_TYPE
    assert answer.json()["request_id"] == answer["X-Request-ID"] == "trace-7"
    assert "Ann" not in answer.content.decode() and "KeyError" not in answer.content.decode()
    assert "KeyError in ApplicationList" in caplog.text and "in burst" in caplog.text and secret not in caplog.text


@pytest.mark.parametrize("error", [OperationalError("server closed the connection"), InterfaceError("connection is closed")])
def test_a_database_that_is_away_is_503(api, monkeypatch, error):
    def away(*args, **kwargs):
        raise error

    monkeypatch.setattr("loans.api.applications.intake.submit", away)
    answer = api.post(body={"amount": 1})
    assert answer.status_code == 503 and answer["Retry-After"] == "5" and not LoanApplication.objects.exists()


def test_a_failure_while_the_answer_is_written_is_a_problem_too(api, monkeypatch):
    monkeypatch.setattr("loans.api.renderers.FiniteJSONRenderer.render", lambda *args, **kwargs: 1 / 0)
    answer = api.client.get(URL)
    assert answer.status_code == 500 and answer.json()["type"] == "/api/problems/unexpected/"


def test_throttling_names_the_wait():
    answer = problems.handle(Throttled(wait=12.4), {})
    assert answer.status_code == 429 and answer["Retry-After"] == "13"


def test_a_foreign_host_is_a_problem(db, settings):
    settings.ALLOWED_HOSTS = ["desk.example.org"]
    assert Api().get(URL, headers={"host": "evil.example"}).status_code == 400


def test_many_errors_are_cut_off():
    answer = problems.response("invalid", errors={f"f{number}": ["is wrong"] for number in range(500)})
    assert b"first 100 of 500" in answer.content and answer.content.count(b'"field"') == 100


def test_every_kind_of_problem_explains_itself(client, db):
    for slug, kind in problems.KINDS.items():
        answer = client.get(f"/api/problems/{slug}/")
        assert answer.status_code == 200 and answer.json()["meaning"] == kind.meaning


@pytest.mark.parametrize("sent", ["abc-123", "0123456789abcdef" * 4, "a.b_c"])
def test_a_sane_request_id_is_kept(client, db, sent):
    assert client.get("/healthz", headers={"X-Request-ID": sent})["X-Request-ID"] == sent


@pytest.mark.parametrize("sent", ["", "a b", "x" * 65, "line\nbreak", "<script>", "ü", "a\x00"])
def test_any_other_request_id_is_replaced(client, db, sent):
    answered = client.get("/healthz", headers={"X-Request-ID": sent})["X-Request-ID"]
    assert answered != sent and len(answered) == 32 and answered.isalnum()


def test_the_request_id_is_in_every_line_that_is_logged_on_the_way(api, monkeypatch, settings):
    seen = []

    def submit(*args, **kwargs):
        record = logging.LogRecord("x", logging.INFO, "", 0, "", None, None)
        request_id.RequestIdFilter().filter(record)
        seen.append(record.request_id)
        raise problems.InvalidRequest({"x": "y"})

    monkeypatch.setattr("loans.api.applications.intake.submit", submit)
    api.post(body={"amount": 1}, headers={"X-Request-ID": "trace-8"})
    assert seen == ["trace-8"] and request_id.current.get() == "-"
    late = logging.LogRecord("django.request", logging.WARNING, "", 0, "", None, None)
    late.request = SimpleNamespace(request_id="trace-9")
    request_id.RequestIdFilter().filter(late)
    assert late.request_id == "trace-9"
    assert "request_id" in settings.LOGGING["handlers"]["console"]["filters"]
    assert "%(request_id)s" in settings.LOGGING["formatters"]["line"]["format"]


def test_numbers_that_json_does_not_have_go_out_as_null():
    assert finite({"a": [float("nan"), 1.5, (float("inf"),)], "b": "NaN"}) == {"a": [None, 1.5, [None]], "b": "NaN"}
