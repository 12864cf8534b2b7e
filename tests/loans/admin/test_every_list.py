"""Every list of the admin as a file, whatever is registered."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.urls import reverse

from loans.admin import exports
from loans.admin.base import DeskAdmin
from loans.models import AuditEvent
from tests.loans.admin.conftest import make_user
from tests.loans.admin.test_permissions import rows

pytestmark = pytest.mark.django_db
one_of_each = rows


def test_every_list_there_is_offers_both_and_gives_it_logged(client, one_of_each):
    client.force_login(make_user("root", is_superuser=True))
    listed = 0
    for model, shown in admin.site._registry.items():
        assert isinstance(shown, DeskAdmin), model
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        page = client.get(reverse(f"{name}_changelist")).content.decode()
        listed += 'id="result_list"' in page
        for kind in exports.KINDS:
            address = reverse(f"{name}_export", args=[kind])
            assert f'href="{address}' in page or 'id="result_list"' not in page, (model, kind)
        # The other kind is the same lines in another wrapping.
        answer = client.get(reverse(f"{name}_export", args=["csv"]))
        assert answer.status_code == 200 and answer["Content-Type"] == exports.KINDS["csv"], model
        event = AuditEvent.objects.filter(action="list.exported").latest("pk")
        assert (event.facts["list"], event.facts["kind"], event.actor_name) == (model._meta.model_name, "csv", "root")
    assert listed >= 25
