"""Where personal data may be: encrypted in the database and in answers to who may see them, nowhere else; and how they go."""

from __future__ import annotations

import base64
import hmac
import io
import json
import logging
import os
from datetime import timedelta

import pytest
from django.conf import settings as live
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from redis import Redis

from loans.models import (
    ApiKey,
    Applicant,
    ApplicationLink,
    AttributeDefinition,
    AuditEvent,
    IdempotentAnswer,
    LoanApplication,
    Prediction,
    ProtectedAttributes,
    WebhookEndpoint,
    crypto,
)
from loans.services import audit, erasure, fraud, key_rotation, scoring
from tests.factories import make_champion
from tests.loans.api.conftest import URL, Api
from tests.loans.services.test_audit import seal

pytestmark = pytest.mark.django_db

CANARY = "Zqxcanary"
PERSON = {
    "name": f"{CANARY} Jensen", "email": f"{CANARY}@example.com", "phone": "5557391046", "birth_date": "1971-03-09",
    "national_id": "739-10-4655", "bank_account": "DK5000400440116243", "address": f"1 {CANARY} Street", "employer": f"{CANARY} Ltd",
}  # fmt: skip
TRACES = (CANARY.lower(), "5557391046", "1971-03-09", "739-10-4655", "739104655", "dk5000400440116243")


def dump() -> str:
    """Every row of every table as text."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'")
        tables = [row[0] for row in cursor.fetchall()]
        lines = []
        for table in tables:
            cursor.execute(f"SELECT row::text FROM {table} row")
            lines += [f"{table} {row[0]}" for row in cursor.fetchall()]
    return "\n".join(lines)


def traces(text: str) -> list[str]:
    """What of the planted data is in the text, in clear or as the hex that bytea columns show."""
    low = text.lower()
    return [each for each in TRACES if each in low or each.encode().hex() in low]


def broker() -> str:
    with Redis.from_url(live.REDIS_URL) as redis:
        read = {b"string": redis.get, b"list": lambda key: redis.lrange(key, 0, -1), b"hash": redis.hgetall, b"set": redis.smembers}
        return " ".join(f"{key!r} {read.get(redis.type(key), repr)(key)!r}" for key in redis.keys("*"))


@pytest.fixture
def shop(artifacts):
    make_champion()
    AttributeDefinition.objects.create(name="device_id", kind="category", link_kind="device")
    AttributeDefinition.objects.create(name="sex", kind="category", protected=True)
    user = User.objects.create_user("shop")
    WebhookEndpoint.objects.create(name="x", user=user, url="https://example.com/", events=["application.scored"])
    return Api(key=ApiKey.issue(user=user, name="x")[1])


def test_the_planted_person_is_in_no_log_no_broker_no_error_no_address_and_no_dump(shop, caplog, django_capture_on_commit_callbacks):
    caplog.set_level(logging.DEBUG)
    body = {"amount": 5000, "applicant": PERSON}
    errors = []
    with django_capture_on_commit_callbacks(execute=True):
        made = shop.post(URL + "?wait=1", body, headers={"Idempotency-Key": "k"})
        shop.post(URL, body)
        shop.post("/api/v1/applications/batch/", {"applications": [body, body | {"amount": 0}]})
        for name in PERSON:
            wrong = shop.post(URL, {"amount": 5000, "applicant": PERSON | {name: [PERSON[name]]}})
            errors.append(wrong.content.decode())
        errors.append(shop.post(URL, {"amount": 5000, "applicant": PERSON | {"email": f"{CANARY} no email"}}).content.decode())
        errors.append(shop.post(URL, json.dumps(body).encode()[:-3]).content.decode())
    scoring.score_pending()
    fraud.sweep()
    shop.get(made["Location"])
    seal()
    call_command("audit_verify", stdout=io.StringIO())
    assert made.json()["applicant"]["name"] == PERSON["name"], "the sender sees it"
    logged = "\n".join(f"{record.getMessage()} {record.exc_text or ''}" for record in caplog.records if record.name != "django.db.backends")
    assert logged and traces(logged) == []
    assert traces(broker()) == [] and traces(made["Location"]) == [] and [traces(error) for error in errors if traces(error)] == []
    assert traces(dump()) == []


def test_the_canary_would_be_found(db):
    LoanApplication.objects.create(external_reference="x", amount=1, purpose_text=PERSON["name"])
    assert traces(dump()) == [CANARY.lower()]


def test_rotating_keys_leaves_nothing_under_the_old_one_and_reads_the_same(shop, settings):
    shop.post(URL, {"amount": 5000, "applicant": PERSON}, headers={"Idempotency-Key": "k"})
    Applicant.objects.create(name="Partly done")
    secret = WebhookEndpoint.objects.get().secret
    old, new = settings.PII_KEYS, [os.urandom(32)]
    settings.PII_KEYS = new + old
    Applicant.objects.create(name="Under the new key already")
    before = Applicant.objects.order_by("pk").values_list("name", "email", "birth_date")
    expected = list(before)
    out = io.StringIO()
    call_command("rotate_keys", stdout=out)
    assert "4 rows encrypted anew" in out.getvalue() and AuditEvent.objects.get(action="keys.rotated").facts["rows"] == 4
    settings.PII_KEYS = new
    assert list(before.all()) == expected and WebhookEndpoint.objects.get().secret == secret
    assert json.loads(IdempotentAnswer.objects.get().body)["applicant"]["name"] == PERSON["name"]
    assert key_rotation.rotate() == 0


def test_rotation_begins_again_where_it_was_stopped(db, settings, monkeypatch):
    for number in range(7):
        Applicant.objects.create(name=f"P{number}")
    monkeypatch.setattr(key_rotation, "BATCH", 3)
    settings.PII_KEYS = [os.urandom(32), *settings.PII_KEYS]

    def stop(rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        key_rotation.rotate(progress=stop)
    assert key_rotation.left() == 4
    assert key_rotation.rotate() == 4 and key_rotation.left() == 0


def test_rotation_without_the_old_key_says_which_one_is_missing(db, settings):
    Applicant.objects.create(name="P")
    settings.PII_KEYS = [base64.b64decode(base64.b64encode(os.urandom(32)))]
    with pytest.raises(CommandError, match="No key in PII_KEYS has the id"):
        call_command("rotate_keys")


def decided(shop, **fields):
    pk = shop.post(URL + "?wait=1", {"amount": 5000, "applicant": PERSON, **fields}, headers={"Idempotency-Key": "k"}).json()["id"]
    fraud.sweep()
    LoanApplication.objects.filter(pk=pk).update(status="declined")
    return LoanApplication.objects.get(pk=pk)


def test_an_erased_person_is_gone_and_the_decision_and_the_trail_stand(shop):
    application = decided(shop, attributes={"device_id": "dev-739", "sex": "f"}, purpose_text=f"A car for {CANARY}")
    assert ApplicationLink.objects.filter(application=application).exists()
    call_command("erase_applicant", str(application.pk), yes=True, case="R-7", stdout=io.StringIO())
    application.refresh_from_db()
    person = application.applicant
    assert person.erased_at is not None and not any(getattr(person, name) for name in PERSON) and person.name_index is None
    assert application.attributes == {} and application.purpose_text == "" and not ProtectedAttributes.objects.exists()
    assert not ApplicationLink.objects.exists() and not IdempotentAnswer.objects.exists()
    assert Prediction.objects.filter(application=application).exists() and traces(dump()) == [] and "dev-739" not in dump()
    seal()
    assert AuditEvent.objects.get(action="applicant.erased").facts == {"case": "R-7"} and audit.verify().faults == []


def test_retention_and_open_cases_are_honoured(shop, settings):
    application = decided(shop)
    settings.RETENTION_DAYS = 700
    with pytest.raises(erasure.NotErasable, match="is kept until"):
        erasure.erase(application.pk, by=None)
    LoanApplication.objects.filter(pk=application.pk).update(submitted_at=timezone.now() - timedelta(days=701))
    erasure.erase(application.pk, by=None)
    with pytest.raises(erasure.NotErasable, match="was erased on"):
        erasure.erase(application.pk, by=None)
    settings.RETENTION_DAYS = 0
    waiting = shop.post(URL, {"amount": 5000}).json()["id"]
    with pytest.raises(erasure.NotErasable, match="undecided"):
        erasure.erase(waiting, by=None)


@pytest.mark.parametrize("length", [0, 1, 32, 64, 65, 200])
def test_keyed_digests_are_hmac_sha256(length):
    key, message = bytes(range(length)), b"email\0ann@example.org"
    assert crypto._digest(key, message) == hmac.digest(key, message, "sha256")
