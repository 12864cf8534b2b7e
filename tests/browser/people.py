"""How people come in, and what every browser test is marked with."""

from __future__ import annotations

import functools

import pytest
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.test import Client

from tests.loans.admin.conftest import make_user

PASSWORD = "a-long-password-1"
BROWSER = [pytest.mark.browser, pytest.mark.xdist_group("browser"), pytest.mark.django_db(transaction=True)]


@functools.cache
def _hashed() -> str:
    """Hashing takes a quarter of a second, by design; once is enough."""
    return make_password(PASSWORD)


def person(name: str, group: str) -> User:
    """Of the group, who may sign in with PASSWORD."""
    user = make_user(name, group)
    user.password = _hashed()
    user.save(update_fields=["password"])
    return user


def sign_in(screen: object, name: str) -> None:
    """By the form, as people do."""
    screen.goto("/admin/")
    screen.fill("[name=username]", name)
    screen.fill("[name=password]", PASSWORD)
    screen.click("button[type=submit]")
    screen.wait_for_url("**/admin/")


def come_in(screen: object, name: str, to: str = "/admin/") -> None:
    """With a session that is there already: the form is another test's business."""
    client = Client()
    client.force_login(User.objects.get(username=name))
    screen.context.clear_cookies()
    screen.context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "domain": "localhost", "path": "/"}])
    screen.goto(to)
