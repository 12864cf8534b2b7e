"""Logging in: lockout, second factor, and sessions that end with a change of roles."""

from __future__ import annotations

import io
import time

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.urls import reverse

from loans.models import AuditEvent, SecondFactor
from loans.services import logins, second_factor
from tests.loans.admin.conftest import ensure_roles

pytestmark = pytest.mark.django_db
LOGIN = "/admin/login/"


@pytest.fixture
def officer(db, settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the real one takes its time on purpose
    ensure_roles()
    user = User.objects.create_user("ann", password="right-horse-battery", is_staff=True)
    user.groups.add(Group.objects.get(name="Loan officers"))
    return user


def enter(client, password="right-horse-battery", code="", **more):
    return client.post(LOGIN, {"username": "ann", "password": password, "code": code}, **more)


def test_five_failures_close_the_name_from_there_and_from_nowhere_else(client, officer):
    statuses = [enter(client, "wrong").status_code for _ in range(5)]
    assert statuses[:4] == [200] * 4 and statuses[4] == 429
    shut = enter(client)
    assert shut.status_code == 429 and "Too many tries" in shut.content.decode()
    assert enter(client, REMOTE_ADDR="10.9.9.9").status_code == 302


def test_behind_a_proxy_the_address_is_the_proxy_s_own_entry(rf, settings):
    request = rf.get("/", HTTP_X_FORWARDED_FOR="6.6.6.6, 7.7.7.7", REMOTE_ADDR="10.0.0.1")
    assert logins.client_address(request) == "10.0.0.1"
    settings.BEHIND_PROXY = True
    assert logins.client_address(request) == "7.7.7.7"


def test_codes_are_those_of_the_standard():
    """RFC 6238, appendix B, for SHA-1; of eight digits the last six."""
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    times = {59: "94287082", 1111111109: "07081804", 1111111111: "14050471", 1234567890: "89005924", 2000000000: "69279037"}
    assert {at: second_factor.code_at(secret, at // 30) for at in times} == {at: code[-6:] for at, code in times.items()}


def test_setting_one_up_and_logging_in_with_it(client, officer):
    client.force_login(officer)
    page = client.get("/admin/second-factor/").content.decode()
    factor = SecondFactor.objects.get()
    assert factor.secret[:4] in page and "otpauth://totp/Loandesk%3Aann" in page
    assert "not the code" in client.post("/admin/second-factor/", {"code": "000000"}).content.decode()
    step = int(time.time() // 30)
    assert client.post("/admin/second-factor/", {"code": second_factor.code_at(factor.secret, step)}).status_code == 302
    assert factor.secret[:4] not in client.get("/admin/second-factor/").content.decode(), "shown no more"
    client.logout()
    assert enter(client).status_code == 200 and enter(client, code="123456").status_code == 200
    used = second_factor.code_at(factor.secret, step)
    assert enter(client, code=used).status_code == 200, "a code is good once"
    assert enter(client, code=second_factor.code_at(factor.secret, step + 1)).status_code == 302
    assert AuditEvent.objects.filter(action="login.refused", subject_id=str(officer.pk)).count() == 3
    call_command("remove_second_factor", "ann", stdout=io.StringIO())
    client.logout()
    assert enter(client).status_code == 302


def test_where_it_is_required_nothing_else_opens_before(client, officer, settings):
    settings.MFA_REQUIRED = True
    client.force_login(officer)
    for url in (reverse("admin:index"), reverse("admin:loans_loanapplication_changelist"), "/api/v1/applications/"):
        answer = client.get(url)
        assert (answer.status_code, answer["Location"]) == (302, "/admin/second-factor/"), url
    factor = second_factor.begin(officer)
    client.post("/admin/second-factor/", {"code": second_factor.code_at(factor.secret, int(time.time() // 30))})
    assert client.get(reverse("admin:index")).status_code == 200


@pytest.mark.parametrize("change", ["group", "superuser", "staff"])
def test_a_change_of_roles_ends_the_session(client, officer, change):
    client.force_login(officer)
    assert client.get(reverse("admin:index")).status_code == 200
    if change == "group":
        officer.groups.add(Group.objects.get(name="Model owners"))
    else:
        User.objects.filter(pk=officer.pk).update(**{f"is_{change}": change == "superuser"})
    assert client.get(reverse("admin:index"))["Location"].startswith("/admin/login/")
    assert "_auth_user_id" not in client.session
