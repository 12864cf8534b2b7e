"""Webhooks: owed with the event, signed, tried again, and never sent to what stands beside us."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import socket
import threading
import time

import pytest
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models.functions import Now

from loans.models import DeliveryState, WebhookDelivery, WebhookEndpoint
from loans.services import decisions, scoring, webhook_http, webhooks
from tests.factories import make_application, make_champion, make_pending
from tests.loans.admin.conftest import ensure_roles


class _Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.got.append((self.path, dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        if self.server.status == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def receiver(settings):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
    server.got, server.status = [], 204
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def client_user(db):
    return User.objects.create_user("shop")


def endpoint_for(user, receiver=None, **fields):
    url = f"http://127.0.0.1:{receiver.server_port}/hook?x=1" if receiver else "https://example.com/hook"
    events = ["application.scored", "application.decided", "application.flagged"]
    return WebhookEndpoint.objects.create(**{"name": "Shop", "user": user, "url": url, "events": events, **fields})


def age(delivery):
    WebhookDelivery.objects.filter(pk=delivery.pk).update(due_at=Now())


def test_a_notice_is_owed_only_of_what_its_user_may_see(client_user):
    endpoint = endpoint_for(client_user)
    mine, other = make_application(submitted_by=client_user), make_application()
    assert webhooks.send("application.scored", [mine, other]) == 1
    assert WebhookDelivery.objects.get().payload["data"] == {
        "object": "loanapplication", "id": mine.pk, "application": mine.pk, "url": f"/api/v1/applications/{mine.pk}/"
    }  # fmt: skip
    assert webhooks.send("application.flagged", mine) == 0, "flags are for who may view flags"
    endpoint.active = False
    endpoint.save()
    assert webhooks.send("application.scored", [mine]) == 0


def test_nothing_is_owed_for_what_was_rolled_back(client_user):
    endpoint_for(client_user)
    with transaction.atomic():
        webhooks.send("application.scored", make_application(submitted_by=client_user))
        transaction.set_rollback(True)
    assert not WebhookDelivery.objects.exists()


def test_scores_and_decisions_are_told(client_user, artifacts):
    make_champion()
    endpoint_for(client_user)
    job = make_pending(1, submitted_by=client_user, debt_to_income=0.01)[0]
    scoring.score_pending()
    ensure_roles()
    officer = User.objects.create_user("officer", is_staff=True)
    officer.groups.add(Group.objects.get(name="Loan officers"))
    decisions.decide(job.application_id, officer=officer, outcome="approve", reason="meets_policy")
    scored, decided = WebhookDelivery.objects.order_by("pk")
    assert (scored.event, scored.payload["data"]["application"]) == ("application.scored", job.application_id)
    assert (decided.event, decided.payload["data"]["outcome"]) == ("application.decided", "approve")


def test_it_goes_out_signed_and_is_noted(client_user, receiver):
    endpoint = endpoint_for(client_user, receiver)
    webhooks.send("application.scored", make_application(submitted_by=client_user))
    assert webhooks.deliver_due() == 1 and webhooks.deliver_due() == 0
    path, headers, body = receiver.got[0]
    delivery = WebhookDelivery.objects.get()
    signed = f"{delivery.uid}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(endpoint.secret.removeprefix("whsec_"))
    assert headers["webhook-signature"] == "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-id"] == str(delivery.uid) and abs(int(headers["webhook-timestamp"]) - time.time()) < 10
    assert path == "/hook?x=1" and json.loads(body) == delivery.payload
    assert (delivery.state, delivery.status_code, len(delivery.log)) == (DeliveryState.DELIVERED, 204, 1)


@pytest.mark.parametrize(("status", "error"), [(500, "It answered 500."), (302, "It answered 302.")])
def test_any_other_answer_is_tried_again_later_and_given_up_at_last(client_user, receiver, settings, status, error):
    settings.WEBHOOK_MAX_ATTEMPTS = 2
    receiver.status = status
    endpoint_for(client_user, receiver)
    webhooks.send("application.scored", make_application(submitted_by=client_user))
    webhooks.deliver_due()
    delivery = WebhookDelivery.objects.get()
    assert (delivery.state, delivery.error, delivery.attempts) == (DeliveryState.PENDING, error, 1)
    assert webhooks.deliver_due() == 0, "not before its time"
    age(delivery)
    webhooks.deliver_due()
    delivery.refresh_from_db()
    assert (delivery.state, len(delivery.log)) == (DeliveryState.FAILED, 2) and len(receiver.got) == 2
    receiver.status = 200
    assert webhooks.replay(delivery) and webhooks.deliver_due() == 1
    delivery.refresh_from_db()
    assert (delivery.state, len(delivery.log)) == (DeliveryState.DELIVERED, 3)
    assert receiver.got[0][1]["webhook-id"] == receiver.got[-1][1]["webhook-id"]


def test_gone_is_given_up_at_once(client_user, receiver):
    receiver.status = 410
    endpoint_for(client_user, receiver)
    webhooks.send("application.scored", make_application(submitted_by=client_user))
    webhooks.deliver_due()
    assert WebhookDelivery.objects.get().state == DeliveryState.FAILED


def test_a_dead_courier_s_claim_runs_out(client_user, receiver):
    endpoint_for(client_user, receiver)
    webhooks.send("application.scored", make_application(submitted_by=client_user))
    WebhookDelivery.objects.update(attempts=1, lease_until=Now())
    assert webhooks.deliver_due() == 1


def test_waits_grow():
    waits = [webhooks.wait_after(attempt) for attempt in range(1, 11)]
    assert 9 <= waits[0] <= 11 and 80 <= waits[2] <= 100 and waits[-1] <= 1.1 * 12 * 3600


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/", "https://10.0.0.8/", "https://192.168.1.1/", "https://169.254.169.254/latest/meta-data", "https://[::1]/",
        "https://[fe80::1]/", "https://[::ffff:10.0.0.1]/", "https://[64:ff9b::a00:1]/", "https://[2002:a00:1::]/", "https://0.0.0.0/",
        "https://224.0.0.1/", "https://100.64.0.1/", "http://example.com/", "ftp://example.com/", "https://user:pass@example.com/",
        "https:///nothing", "https://example.com:99999/",
    ],
)  # fmt: skip
def test_addresses_that_are_refused_as_they_stand(url):
    with pytest.raises(webhook_http.Refused):
        webhook_http.check_url(url, [])


def test_a_name_that_leads_to_us_is_refused_even_as_one_of_several(monkeypatch):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in ("93.184.215.14", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
    with pytest.raises(webhook_http.Refused, match="not a public address"):
        webhook_http.post("https://rebind.example/", b"", {})


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch, receiver):
    """A name that answers with another address the second time (rebinding) is not asked a second time."""
    answers = {"named.example": iter(["127.0.0.1"])}

    def resolve(host, port, *args, **kwargs):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers[host]) if host in answers else host, port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    status = webhook_http.post(f"http://named.example:{receiver.server_port}/", b"{}", {}, allowed=["127.0.0.0/8"])
    assert status == 204 and receiver.got[0][1]["Host"] == f"named.example:{receiver.server_port}"


def test_a_receiver_that_dribbles_is_cut_off():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)

    def dribble():
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            for _ in range(50):
                try:
                    connection.sendall(b"X-A: b\r\n")
                except OSError:
                    return
                time.sleep(0.05)

    threading.Thread(target=dribble, daemon=True).start()
    began = time.monotonic()
    with pytest.raises(webhook_http.Unreachable):
        webhook_http.post(f"http://127.0.0.1:{listener.getsockname()[1]}/", b"{}", {}, allowed=["127.0.0.0/8"], seconds=0.3)
    assert time.monotonic() - began < 1.5
    listener.close()
