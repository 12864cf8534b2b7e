"""Who sees and does what on the pages of table edits."""

from __future__ import annotations

import pytest
from django.urls import reverse

from loans.models import TableEdit
from tests.factories import make_outcomes, make_pairwise
from tests.loans.admin.conftest import REPORT, make_user

pytestmark = pytest.mark.django_db


def at(name: str, *args) -> str:
    return reverse(f"admin:loans_tableedit_{name}", args=args)


@pytest.fixture
def version(artifacts):
    make_outcomes(120)
    return make_pairwise(report=REPORT | {"split": {}})


def sent(**fields):
    return {"table": "2", "unit": "log-odds", "reason": "Rents rose here.", "keep_level": "1", "c-0": "+0.900", **fields}


def test_from_the_tables_to_a_version_by_two_people(as_, people, client, version):
    owner = as_("owner")
    tables = reverse("admin:loans_modelversion_tables", args=[version.pk])
    form = at("propose", version.pk)
    assert form in owner.get(tables).content.decode()
    page = owner.get(f"{form}?table=2").content.decode()
    assert 'name="c-0"' in page and "Home ownership" in page and "?table=2&amp;unit=points" in page
    answer = owner.post(form, sent(), follow=True)
    edit = TableEdit.objects.get()
    page = answer.content.decode()
    assert "a second person has to decide" in page and "+0.900" in page and "Observed / expected" in page
    assert at("withdraw", edit.pk) in page and at("approve", edit.pk) not in page
    assert at("change", edit.pk) in owner.get(tables).content.decode()
    refused = owner.post(at("approve", edit.pk), {"reason": "Mine."}).content.decode()
    assert "second person" in refused and TableEdit.objects.get().waits

    client.force_login(make_user("second", "Model owners"))
    assert at("approve", edit.pk) in client.get(at("change", edit.pk)).content.decode()
    assert "Say why" in client.post(at("approve", edit.pk), {"reason": ""}).content.decode()
    page = client.post(at("approve", edit.pk), {"reason": "Agreed."}, follow=True).content.decode()
    made = TableEdit.objects.get().result
    assert f"{made} is a candidate now" in page and made.state == "candidate"
    page = client.get(reverse("admin:loans_modelversion_change", args=[made.pk])).content.decode()
    assert "Edited by hand" in page and "Rents rose here." in page and "An edited version" in page
    assert "figures here are those of before" in client.get(reverse("admin:loans_modelversion_policy", args=[made.pk])).content.decode()
    assert "Edited by hand" in client.get(reverse("admin:loans_modelversion_card", args=[made.pk])).content.decode()
    assert "edited by hand" in client.get(reverse("admin:loans_modelversion_changelist")).content.decode()
    listed = client.get(at("changelist")).content.decode()
    assert "Approved" in listed and "1 in Home ownership" in listed


def test_a_form_that_can_not_be_proposed_says_why_and_keeps_what_was_written(as_, version):
    owner = as_("owner")
    form = at("propose", version.pk)
    for fields, said in (
        ({"c-0": "many"}, "is not a number"),
        ({"c-0": ""}, "No cell is changed"),
        ({"c-0": "9"}, "9 log-odds is no value"),
        ({"reason": ""}, "Say why"),
    ):
        page = owner.post(form, sent(**fields)).content.decode()
        assert said in page, fields
        assert f'value="{sent(**fields)["c-0"]}"' in page or not fields.get("c-0", "x")
    assert not TableEdit.objects.exists()
    assert owner.get(f"{form}?table=77").status_code == 302
    assert owner.get(at("propose", 999)).status_code == 302


def test_by_role_and_method(as_, client, people, version):
    form = at("propose", version.pk)
    as_("owner").post(form, sent())
    edit = TableEdit.objects.get()
    for role, reads, proposes in (
        ("owner", 200, 200),
        ("auditor", 200, 403),
        ("officer", 403, 403),
        ("administrator", 403, 403),
        ("stranger", 403, 403),
    ):
        person = as_(role)
        assert person.get(at("change", edit.pk)).status_code == reads, role
        assert person.get(at("changelist")).status_code == reads, role
        assert person.get(f"{form}?table=2").status_code == proposes, role
        if role != "owner":
            assert person.post(form, sent()).status_code == 403
            for name in ("approve", "reject"):
                assert person.post(at(name, edit.pk), {"reason": "x"}).status_code == 403, (role, name)
    for name in ("approve", "reject", "withdraw"):
        assert as_("owner").get(at(name, edit.pk)).status_code == 405
    assert as_("auditor").post(at("withdraw", edit.pk)).status_code == 403
    assert as_("auditor").get(reverse("admin:loans_modelversion_tables", args=[version.pk])).content.decode().count(form) == 0
    assert TableEdit.objects.get().waits and TableEdit.objects.count() == 1
    as_("owner").post(at("withdraw", edit.pk))
    assert TableEdit.objects.get().state == "withdrawn"
