"""Logins for trying the desk out: one for each role, with passwords that everybody knows. Never for a desk with real people's data."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import transaction

from loans.models import ApiKey
from loans.models.api_key import digest_of

API_USER = "client"
_KEY_SCOPES = ("submit", "read")


class NotForProduction(Exception):
    """DEBUG is off: logins with known passwords would be an open door."""


@dataclass(frozen=True)
class DemoLogin:
    """password: None where it is not known (any more): its user changed it, or does not exist."""

    username: str
    role: str
    may: str
    password: str | None
    group: str | None = None


_LOGINS = (
    DemoLogin("admin", "Administrator", "everything", "admin-demo"),
    DemoLogin("officer", "Loan officer", "decides applications", "officer-demo", "Loan officers"),
    DemoLogin("senior", "Senior officer", "decides in all branches, confirms", "senior-demo", "Senior officers"),
    DemoLogin("investigator", "Fraud investigator", "works on fraud flags", "investigator-demo", "Fraud investigators"),
    DemoLogin("owner", "Model owner", "imports, trains, promotes", "owner-demo", "Model owners"),
    DemoLogin("owner2", "Second model owner", "approves what the first one trained", "owner2-demo", "Model owners"),
    DemoLogin("auditor", "Auditor", "reads everything, changes nothing", "auditor-demo", "Auditors"),
)


@dataclass(frozen=True)
class DemoAccess:
    """made: usernames that are new. api_key: for `Authorization: Bearer …`, None where it is not known any more."""

    logins: list[DemoLogin]
    made: list[str]
    api_key: str | None


def demo_logins() -> list[DemoLogin]:
    """The demo logins that exist, with their passwords as far as they still are what they were made with."""
    users = {user.username: user for user in get_user_model().objects.filter(username__in=[login.username for login in _LOGINS])}
    found = []
    for login in _LOGINS:
        user = users.get(login.username)
        if user is not None:
            found.append(login if user.is_active and user.check_password(login.password) else replace(login, password=None))
    return found


def ensure_demo_users(*, force: bool = False) -> DemoAccess:
    """Make the logins that are missing; those that exist keep their passwords, groups and keys.

    Raises NotForProduction where DEBUG is off, unless forced; then new users get passwords drawn at random instead of the known ones.
    """
    if not settings.DEBUG and not force:
        raise NotForProduction(
            "DEBUG is off, so this desk may hold real people's data; demo logins have passwords that everybody knows. "
            "Make people's accounts with `manage.py createsuperuser` and in the admin. (--force makes demo logins with random passwords.)"
        )
    made: dict[str, str] = {}
    with transaction.atomic():
        for login in _LOGINS:
            password = login.password if settings.DEBUG else secrets.token_urlsafe(15)
            if _make(login, password):
                made[login.username] = password
        client, _ = get_user_model().objects.get_or_create(username=API_USER, defaults={"first_name": "API", "last_name": "client"})
        if not client.password:
            client.set_unusable_password()
            client.save(update_fields=["password"])
        key = _api_key(client)
    logins = [replace(login, password=made.get(login.username, login.password)) for login in demo_logins()]
    return DemoAccess(logins=logins, made=list(made), api_key=key)


def _make(login: DemoLogin, password: str) -> bool:
    users = get_user_model().objects
    if users.filter(username=login.username).exists():
        return False
    user = users.create_user(
        login.username,
        email=f"{login.username}@example.com",
        password=password,
        first_name="Demo",
        last_name=login.role.lower(),
        is_staff=True,
        is_superuser=login.group is None,
    )
    if login.group is not None:
        user.groups.add(Group.objects.get(name=login.group))
    return True


def key_file() -> Path:
    """Where a development machine keeps the demo client's key, since the database only has its digest."""
    return Path(os.environ.get("LOANDESK_HOME") or settings.BASE_DIR / ".loandesk") / "demo-api-key"


def _api_key(client: object) -> str | None:
    """The client's key: the one in the file while this database knows it, a new one where the client has none."""
    path = key_file()
    if settings.DEBUG and path.exists():
        text = path.read_text().strip()
        if ApiKey.objects.valid().filter(user=client, digest=digest_of(text)).exists():
            return text
    elif ApiKey.objects.valid().filter(user=client).exists():
        return None
    _, text = ApiKey.issue(user=client, name="Demo client", scopes=_KEY_SCOPES)
    if settings.DEBUG:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        temporary.touch(mode=0o600)
        temporary.write_text(text + "\n")
        temporary.replace(path)
    return text
