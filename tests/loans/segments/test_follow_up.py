"""Outcomes that come in after the training are in the figures by the next morning, on the page and in the API."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse

from loans.models import LoanApplication, LoanOutcome, SegmentFollowUp, Status
from loans.tasks import follow_segments
from tests.factories import make_application
from tests.loans.segments.conftest import make_groups, train

pytestmark = pytest.mark.django_db


@pytest.fixture
def officer(client):
    user = User.objects.create_user("officer", is_staff=True)
    user.groups.add(Group.objects.get(name="Loan officers"))
    client.force_login(user)
    return client


def listed(client) -> list[dict]:
    return client.get("/api/v1/segments/").json()["segments"]


def test_figures_grow_with_the_outcomes(segmented, officer, django_assert_max_num_queries):
    page = reverse("admin:loans_modelversion_change", args=[segmented.pk])
    before = listed(officer)
    assert "looked at anew every night" not in officer.get(page).content.decode()
    follow_segments()
    assert listed(officer) == before, "nothing has happened since"
    came = make_groups(150, seed=9, prefix="N")
    LoanApplication.objects.filter(pk__in=[row.pk for row in came]).update(submitted_at="2026-03-01T00:00Z")
    LoanOutcome.objects.filter(application__in=came).update(state="default")
    follow_segments()
    after = listed(officer)
    assert sum(row["later_loans"] for row in after) == sum(row["later_loans"] for row in before) + 150
    assert all(row["later_default_rate"]["value"] > old["later_default_rate"]["value"] for row, old in zip(after, before, strict=True))
    assert [row["share"] for row in after] == [row["share"] for row in before], "what was learned stays"
    assert SegmentFollowUp.objects.get().data["share_over_time"][-1]["period"].startswith("2026-0")
    with django_assert_max_num_queries(12):
        assert "looked at anew every night" in officer.get(page).content.decode()


def test_without_groups_there_is_nothing_to_follow(artifacts, db):
    follow_segments()
    for _ in range(12):
        make_application(status=Status.OPEN)
    train()
    follow_segments()
    assert not SegmentFollowUp.objects.exists()
