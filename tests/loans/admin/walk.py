"""Every address of the admin, asked as each role would ask it. What answers is compared with docs/PERMISSIONS.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import User
from django.contrib.messages.storage.cookie import CookieStorage
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404
from django.test import RequestFactory
from django.urls import resolve, reverse

from loans.models import Document

PAGE = Path(settings.BASE_DIR) / "docs" / "PERMISSIONS.md"
ROLES = ("officer", "senior", "investigator", "owner", "auditor", "administrator", "stranger")
# They are everybody's, signed in or not, or are about no row of ours.
COMMON = {
    "index",
    "login",
    "logout",
    "password_change",
    "password_change_done",
    "jsi18n",
    "search",
    "view_on_site",
    "app_list",
    "autocomplete",
}

# A chart that the row of each has.
CHARTS = {
    "loans_modelversion_chart": "calibration",
    "loans_modelcomparison_chart": "calibration-first",
    "loans_fraudflag_chart": "links",
    "loans_monitoringwindow_chart": "psi-amount",
    "loans_monitoringwindow_model_chart": "psi-amount",
}


def names() -> Iterator[tuple[str, tuple[str, ...]]]:
    """(name, names of its arguments) of each address that has a name."""
    for pattern in _flat(admin.site.urls[0]):
        if pattern.name and pattern.name not in COMMON:
            yield pattern.name, tuple(pattern.pattern.converters) or ("id",) * pattern.pattern.regex.groups


def _flat(patterns: Any) -> Iterator[Any]:
    for pattern in patterns:
        if hasattr(pattern, "url_patterns"):
            yield from _flat(pattern.url_patterns)
        else:
            yield pattern


def address(name: str, arguments: tuple[str, ...], rows: dict[str, Any]) -> str:
    """Of the row that `rows` has for this model, else of the first there is. Raises LookupError where there is none."""
    if not arguments:
        return reverse(f"admin:{name}")
    model = next(model for model in admin.site._registry if name.startswith(f"{model._meta.app_label}_{model._meta.model_name}_"))
    row = rows.get(f"{model._meta.app_label}_{model._meta.model_name}") or model._default_manager.first()
    if row is None:
        raise LookupError(f"there is no {model.__name__} to ask {name} for: make one in the fixture `rows`")
    further = {"version_id": rows["loans_modelversion"].pk, "key": "x", "kind": "csv", "name": CHARTS.get(name)}
    if "document_id" in arguments:
        further["document_id"] = rows["loans_document"].pk if "loans_document" in rows else Document.objects.get().pk
    return reverse(f"admin:{name}", args=[further.get(argument, row.pk) for argument in arguments])


def asks(user: User, url: str, method: str = "get") -> int:
    """The status that a request ends with, its page not rendered; whatever it wrote is undone."""
    request = getattr(RequestFactory(), method)(url)
    request.user = user
    request.session = SessionStore()
    request._messages = CookieStorage(request)
    request._dont_enforce_csrf_checks = True
    match = resolve(url)
    with transaction.atomic():
        try:
            answer = match.func(request, *match.args, **match.kwargs)
            # Back to the first page: there is no such row for this person.
            gone = answer.status_code == 302 and answer["Location"] == reverse("admin:index")
            status = 404 if gone else answer.status_code
        except PermissionDenied:
            status = 403
        except Http404:
            status = 404
        except Exception:
            # It was let in; that this bare row has nothing to show is another test's business.
            status = 500
        transaction.set_rollback(True)
    return status


def observed(people: dict[str, User], rows: dict[str, Any]) -> dict[str, str]:
    """{name of an address: a letter a role, `y` where it may go there}. What listens to POST alone is asked by POST."""
    found = {}
    for name, arguments in names():
        url = address(name, arguments, rows)
        letters = ""
        for role in ROLES:
            status = asks(people[role], url)
            if status == 405:
                status = asks(people[role], url, "post")
            letters += "n" if status in (403, 404) else "y"
        if "y" in letters:
            found[name] = letters
    return found


def documented() -> dict[str, str]:
    """The same from the table in docs/PERMISSIONS.md; what it does not name is closed to all."""
    rows = re.findall(r"^\| `(\w+)` \|(.+)\|$", PAGE.read_text(), re.MULTILINE)
    return {name: "".join("y" if cell.strip() == "✓" else "n" for cell in cells.split("|")) for name, cells in rows}


def table(found: dict[str, str]) -> str:
    """Lines to paste into the page."""
    return "\n".join(
        f"| `{name}` | " + " | ".join("✓" if letter == "y" else "–" for letter in letters) + " |" for name, letters in found.items()
    )
