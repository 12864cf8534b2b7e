"""Every address of the API, from the URL map, by every kind of caller, at an object of his own and at somebody else's.

What each may is computed from the table in docs/API.md: a key's scopes, its owner's permissions, and whose application it is.
"""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse

from loans.api import urls
from loans.api.base import DeskView
from loans.models import ApiKey, FraudFlag, ScoringJob
from tests.factories import make_application
from tests.loans.admin.conftest import ensure_roles
from tests.loans.api.conftest import Api

pytestmark = pytest.mark.django_db
SCOPES = ("submit", "read", "decide")
# view name → the permission that a key's owner needs beside the scope
KEY_NEEDS = {
    "fraud-flags": "loans.view_fraudflag",
    "fraud-flag": "loans.view_fraudflag",
    "monitoring": "loans.view_monitoringwindow",
    "alerts": "loans.view_alert",
}
# They belong to nobody; their lists say who may see them.
NOBODY_S = ("forecast", "monitoring-window")


def views():
    """(name, view class, whether it is about one object) of each address that asks who one is."""
    for pattern in urls.urlpatterns:
        view = getattr(getattr(pattern, "callback", None), "view_class", None)
        if view is not None and issubclass(view, DeskView):
            yield pattern.name, view, "<int:" in str(pattern.pattern)


@pytest.fixture
def world(db):
    ensure_roles()
    one, two = (User.objects.create_user(name) for name in ("one", "two"))
    officer = User.objects.create_user("officer", is_staff=True)
    officer.groups.add(Group.objects.get(name="Loan officers"))
    auditor = User.objects.create_user("auditor", is_staff=True)
    auditor.groups.add(Group.objects.get(name="Auditors"))
    application = make_application(submitted_by=one)
    objects = {
        "application": application,
        "decision": application,
        "documents": application,
        "job": ScoringJob.objects.create(application=application),
        "fraud-flag": FraudFlag.objects.create(application=application, severity=2, score=0.1, expected_loss=1),
    }
    return {"one": one, "two": two, "officer": officer, "auditor": auditor}, objects


def allowed(user: User, scopes: tuple[str, ...], name: str, scope: str, about_application: bool) -> bool:
    if scope not in scopes:
        return False
    if scope == "decide" and not user.has_perm("loans.decide_loanapplication"):
        return False
    if name in KEY_NEEDS and not user.has_perm(KEY_NEEDS[name]):
        return False
    return not about_application or user.username == "one" or user.has_perm("loans.view_loanapplication")


def test_every_cell(world):
    users, objects = world
    callers = [
        (user, scopes, Api(key=ApiKey.issue(user=user, name="x", scopes=scopes)[1]))
        for user in users.values()
        for scopes in ((), ("read",), ("submit",), ("decide",), SCOPES)
    ]
    asked = 0
    for name, view, single in views():
        if name in NOBODY_S:
            continue
        assert view.scopes, f"{name} names no scopes: it would be open to every key"
        url = reverse(f"api:{name}", args=[objects[name].pk] if single else [])
        for user, scopes, client in callers:
            for method, scope in view.scopes.items():
                may = allowed(user, scopes, name, scope, single)
                status = client.call(method, url, data=b"{}", content_type="application/json").status_code
                # An empty body is a 400 for whoever was let in.
                assert (status in (200, 201, 400, 409)) == may, (name, user.username, scopes, method, status)
                assert may or status in (403, 404), (name, user.username, scopes, method, status)
                asked += 1
        assert Api().call("GET", url).status_code in (401, 405)
        assert Api(key="ld_nothing").call("GET", url).status_code in (401, 405)
    assert asked > 250
