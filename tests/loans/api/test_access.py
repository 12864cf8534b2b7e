"""Who may do what: every cell of the table in docs/API.md, and how a key or a session is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from loans.models import ApiKey, LoanApplication, Status
from tests.factories import make_application, make_champion
from tests.loans.api.conftest import URL, Api, key_of, make_user

READ_URLS = (URL, f"{URL}{{own}}/", f"{URL}{{own}}/decision/", "/api/v1/predictions/", "/api/v1/jobs/{job}/", "/api/v1/decision-reasons/")
REFER = {"outcome": "refer", "reason": "second_opinion"}


@pytest.fixture
def world(sender):
    """One open application of the sender's, and one of nobody's."""
    own = make_application(submitted_by=sender, status=Status.OPEN)
    foreign = make_application(status=Status.OPEN)
    return {"own": own.pk, "job": own.scoring_jobs.create().pk, "foreign": foreign.pk, "foreign_job": foreign.scoring_jobs.create().pk}


@pytest.mark.parametrize("url", [*READ_URLS, "/api/v1/models/"])
def test_nobody_reads_without_a_login(world, url):
    answer = Api().get(url.format(**world))
    assert answer.status_code == 401 and answer["WWW-Authenticate"] == 'Bearer realm="Loandesk"'


@pytest.mark.parametrize("url", [*READ_URLS, "/api/v1/models/"])
def test_reading_takes_the_scope_read(world, sender, url):
    assert Api(key=key_of(sender, "read")).get(url.format(**world)).status_code == 200
    refused = Api(key=key_of(sender, "submit", "decide")).get(url.format(**world))
    assert refused.status_code == 403 and "“read”" in refused.json()["detail"]


def test_submitting_takes_the_scope_submit_and_waiting_read_as_well(sender):
    body = {"amount": 5000}
    assert Api().post(body=body).status_code == 401
    assert Api(key=key_of(sender, "read", "decide")).post(body=body).status_code == 403
    submit_only = Api(key=key_of(sender, "submit"))
    assert submit_only.post(body=body).status_code == 201
    assert submit_only.post(f"{URL}?wait=1", body).status_code == 403
    assert LoanApplication.objects.count() == 1


def test_deciding_takes_scope_and_permission_and_sight(world, sender, officer):
    url = f"{URL}{world['own']}/decision/"
    assert Api().post(url, REFER).status_code == 401
    assert Api(key=key_of(sender, "decide")).post(url, REFER).status_code == 403
    assert Api(key=key_of(officer, "submit", "read")).post(url, REFER).status_code == 403
    blind = make_user("blind", permissions=("decide_loanapplication",))
    assert Api(key=key_of(blind)).post(url, REFER).status_code == 404
    assert Api(key=key_of(officer, "decide")).post(url, REFER).status_code == 201


@pytest.mark.parametrize("url", ["{foreign}/", "{foreign}/decision/"])
def test_what_belongs_to_others_is_not_there_for_a_client_and_is_for_staff(world, sender, officer, url):
    url = URL + url.format(**world)
    assert Api(key=key_of(sender)).get(url).status_code == 404
    assert Api(key=key_of(officer)).get(url).status_code == 200
    # Staff without the permission, and the permission without being staff, see their own only.
    assert Api(key=key_of(make_user("clerk", is_staff=True))).get(url).status_code == 404
    assert Api(key=key_of(make_user("guest", permissions=("view_loanapplication",)))).get(url).status_code == 404


def test_jobs_and_lists_keep_to_the_same_border(world, sender, officer):
    client, staff = Api(key=key_of(sender)), Api(key=key_of(officer))
    assert client.get(f"/api/v1/jobs/{world['foreign_job']}/").status_code == 404
    assert staff.get(f"/api/v1/jobs/{world['foreign_job']}/").status_code == 200
    assert [row["id"] for row in client.get(URL).json()["results"]] == [world["own"]]
    assert len(staff.get(URL).json()["results"]) == 2


@pytest.mark.parametrize("number", ["0", "999999", "9" * 18, "9" * 30, "9" * 5000, "-1", "x"])
def test_what_does_not_exist_is_404_whatever_its_number(api, number):
    for url in (f"{URL}{number}/", f"{URL}{number}/decision/", f"/api/v1/jobs/{number}/"):
        assert api.get(url).status_code == 404


def test_people_who_are_logged_in_have_permissions_instead_of_scopes(world, sender, officer, artifacts):
    make_champion()
    person, desk = Api(user=sender), Api(user=officer)
    assert person.get(f"{URL}{world['own']}/").status_code == 200
    assert person.get(f"{URL}{world['foreign']}/").status_code == 404
    assert person.post(body={"amount": 5000}).status_code == 403
    assert person.get("/api/v1/models/").status_code == 403
    assert desk.get("/api/v1/models/").status_code == 200
    assert desk.post(body={"amount": 5000}).status_code == 403
    assert desk.post(f"{URL}{world['own']}/decision/", REFER).status_code == 201
    assert Api(user=make_user("root", is_superuser=True, is_staff=True)).post(body={"amount": 5000}).status_code == 201


def test_a_session_needs_its_csrf_token_to_write_and_a_key_does_not(world, officer):
    url = f"{URL}{world['own']}/decision/"
    session = Api(user=officer, csrf=True)
    refused = session.post(url, REFER)
    assert refused.status_code == 403 and "CSRF" in refused.json()["detail"]
    assert session.get(url).json()["history"] == []
    # Any page with a form hands the token out.
    session.client.get("/admin/login/")
    session.client.cookies["csrftoken"] = "a" * 32
    assert session.post(url, REFER, headers={"X-CSRFToken": "a" * 32}).status_code == 201
    assert Api(key=key_of(officer), csrf=True).post(url, REFER).status_code == 409


def test_a_key_ends_with_its_date_its_revocation_and_its_account(sender):
    now = timezone.now()
    api = Api(key=key_of(sender, "read"))
    key = ApiKey.objects.get()
    assert api.get(URL).status_code == 200
    for change, words in (
        ({"expires_at": now - timedelta(seconds=1)}, "expired"),
        ({"revoked_at": now, "expires_at": None}, "revoked"),
    ):
        ApiKey.objects.filter(pk=key.pk).update(**change)
        refused = api.get(URL)
        assert refused.status_code == 401 and words in refused.json()["detail"]
    ApiKey.objects.filter(pk=key.pk).update(revoked_at=None, expires_at=now + timedelta(minutes=1))
    assert api.get(URL).status_code == 200
    sender.is_active = False
    sender.save()
    assert api.get(URL).status_code == 401


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Bearer ld_", "Bearer ld_wrong", "Bearer x y z", "Bearer ld_\x80é", "bearer none"])
def test_a_key_that_is_not_one_is_refused(db, header):
    answer = Api().get(URL, headers={"authorization": header})
    assert answer.status_code == 401 and answer["WWW-Authenticate"].startswith("Bearer")


def test_a_bad_key_is_not_made_up_for_by_a_session(officer):
    assert Api(user=officer).get(URL, headers={"authorization": "Bearer ld_wrong"}).status_code == 401


def test_a_key_is_kept_as_a_digest_only(sender):
    text = key_of(sender)
    row = ApiKey.objects.values().get()
    assert text not in str(row) and row["prefix"] == text[:10]


def test_last_use_is_written_once_a_minute_at_most(sender, django_assert_num_queries):
    api = Api(key=key_of(sender, "read"))
    with django_assert_num_queries(3):  # key, last use, page
        api.get(URL)
    used = ApiKey.objects.get().last_used_at
    assert used is not None
    with django_assert_num_queries(2):
        api.get(URL)
    assert ApiKey.objects.get().last_used_at == used
    ApiKey.objects.update(last_used_at=used - timedelta(minutes=2))
    api.get(URL)
    assert ApiKey.objects.get().last_used_at > used - timedelta(seconds=1)
