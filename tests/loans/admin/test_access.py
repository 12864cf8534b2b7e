"""What holds for every page, whoever asks. Who may go where: test_permissions.py."""

from __future__ import annotations

import pytest
from django.urls import reverse

from loans.models import Decision
from tests.loans.admin import walk
from tests.loans.admin.conftest import make_application, score

pytestmark = pytest.mark.django_db

ORDER = ("officer", "senior", "investigator", "owner", "auditor", "administrator", "stranger")


@pytest.mark.parametrize("role", ORDER)
def test_home_for_each_role(as_, application, role):
    answer = as_(role).get(reverse("admin:index"))
    assert answer.status_code == 200
    page = answer.content.decode()
    assert ("Riskiest to decide" in page) == (role in ("officer", "senior", "investigator", "owner", "auditor"))
    assert ("Ann Jensen" in page) == (role in ("officer", "senior", "investigator", "auditor"))


def test_nobody_signed_out_sees_anything(client, application):
    for name, arguments in walk.names():
        if not arguments:
            assert client.get(reverse(f"admin:{name}")).status_code == 302, name
    assert client.post(reverse("admin:loans_loanapplication_decide", args=[application.pk])).status_code == 302
    assert Decision.objects.count() == 0


def test_superusers_edit_no_application_or_decision_either(admin_client, application, people, version):
    for name in ("loanapplication", "decision", "modelversion"):
        assert admin_client.get(reverse(f"admin:loans_{name}_add")).status_code == 403
    assert admin_client.post(reverse("admin:loans_loanapplication_delete", args=[application.pk]), {"post": "yes"}).status_code == 403
    other = make_application()
    score(other, version)
    answer = admin_client.post(reverse("admin:loans_loanapplication_change", args=[other.pk]), {"status": "approved"})
    other.refresh_from_db()
    assert answer.status_code == 200 and other.status == "open"


def test_the_policy_of_the_page_allows_no_inline_script(as_, application):
    client = as_("officer")
    for url in (
        reverse("admin:index"),
        reverse("admin:loans_loanapplication_changelist"),
        reverse("admin:loans_loanapplication_change", args=[application.pk]),
    ):
        answer = client.get(url)
        script = next(part for part in answer["Content-Security-Policy"].split(";") if "script-src" in part)
        assert "unsafe-inline" not in script
        page = answer.content.decode()
        assert "onclick=" not in page and "<script>" not in page
