"""Clients of the API. Whatever test asks through them, an error that is not a proper problem document fails it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from loans.api.problems import KINDS
from loans.models import ApiKey

URL = "/api/v1/applications/"


class Api:
    """`get` and `post` with this key or session; bodies go out as JSON unless they are bytes."""

    def __init__(self, *, key: str = "", user: User | None = None, csrf: bool = False) -> None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self.client = Client(headers=headers, enforce_csrf_checks=csrf, raise_request_exception=False)
        if user is not None:
            self.client.force_login(user)

    def get(self, path: str, **more: Any) -> Any:
        return checked(self.client.get(path, **more))

    def post(self, path: str = URL, body: Any = None, content_type: str = "application/json", **more: Any) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body)
        return checked(self.client.post(path, data, content_type=content_type, **more))

    def call(self, method: str, path: str, **more: Any) -> Any:
        return checked(self.client.generic(method, path, **more))


def checked(response: Any) -> Any:
    if response.status_code < 400:
        return response
    assert response.status_code < 500 or response.status_code == 503, response.content
    assert response["Content-Type"] == "application/problem+json"
    problem = response.json()
    kind = KINDS[problem["type"].split("/")[-2]]
    assert problem["status"] == kind.status == response.status_code
    assert problem["title"] == kind.title and problem["detail"]
    assert problem["request_id"] == response["X-Request-ID"]
    for error in problem.get("errors", []):
        assert set(error) == {"field", "message"} and error["message"]
    return response


def fields_of(response: Any) -> set[str]:
    return {error["field"] for error in response.json().get("errors", [])}


def make_user(name: str, *groups: str, permissions: tuple[str, ...] = (), **fields: Any) -> User:
    user = User.objects.create_user(name, **fields)
    user.groups.set(Group.objects.filter(name__in=groups))
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="loans", codename__in=permissions))
    return user


def key_of(user: User, *scopes: str, **more: Any) -> str:
    return ApiKey.issue(user=user, name="test", scopes=scopes or ("submit", "read", "decide"), **more)[1]


@pytest.fixture
def sender(db):
    """The account of an API client, without any permission."""
    return make_user("sender")


@pytest.fixture
def api(sender):
    return Api(key=key_of(sender, "submit", "read"))


@pytest.fixture
def officer(db):
    return make_user("officer", "Loan officers", is_staff=True)


@pytest.fixture
def officer_api(officer):
    return Api(key=key_of(officer))


@pytest.fixture
def other_api(db):
    """Another client, who has sent in nothing."""
    return Api(key=key_of(make_user("other")))
