"""The version's page, the inbox's filter and the API, for each role."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse

from loans.admin.segment import map_picture, share_picture
from loans.models import LoanApplication, ModelVersion, SegmentAssignment, Status
from loans.services import segments
from tests.factories import make_application
from tests.loans.segments.conftest import make_groups, train

pytestmark = pytest.mark.django_db
ROLES = {"officer": "Loan officers", "owner": "Model owners", "auditor": "Auditors", "administrator": "Administrators", "stranger": None}


@pytest.fixture
def as_(client):
    def sign_in(role: str):
        user = User.objects.create_user(role, is_staff=True)
        if ROLES[role]:
            user.groups.add(Group.objects.get(name=ROLES[role]))
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def opened(segmented):
    rows = make_groups(12, status=Status.OPEN, seed=3, prefix="P")
    segments.assign_open()
    return LoanApplication.objects.filter(pk__in=[row.pk for row in rows])


@pytest.mark.parametrize(
    ("role", "status"), [("officer", 200), ("owner", 200), ("auditor", 200), ("administrator", 403), ("stranger", 403)]
)
def test_the_page_of_a_version_per_role(segmented, as_, role, status, django_assert_max_num_queries):
    client = as_(role)
    with django_assert_max_num_queries(10):
        response = client.get(reverse("admin:loans_modelversion_change", args=[segmented.pk]))
    assert response.status_code == status
    if status == 200:
        page = response.content.decode()
        assert "3 groups" in page and all(row["name"] in page for row in segmented.report["segments"])
        assert "<circle" in page and "Share over time" in page and "Least Jaccard" in page and "G-1-" not in page
        assert "Promote this version" not in page


def test_a_version_that_found_nothing_or_an_empty_report_has_a_page(artifacts, as_):
    for _ in range(12):
        make_application()
    version = train()
    client = as_("owner")
    page = client.get(reverse("admin:loans_modelversion_change", args=[version.pk])).content.decode()
    assert "too few" in page and "<circle" not in page
    assert client.get(reverse("admin:loans_modelversion_card", args=[version.pk])).status_code == 200
    ModelVersion.objects.filter(pk=version.pk).update(report={})
    assert client.get(reverse("admin:loans_modelversion_change", args=[version.pk])).status_code == 200
    assert client.get("/api/v1/segments/").json()["segments"] == []


def test_the_inbox_filters_by_segment_and_the_application_says_its_own(opened, as_):
    client = as_("officer")
    application = opened.first()
    url = reverse("admin:loans_loanapplication_changelist")
    found = client.get(f"{url}?segment={application.segment}")
    assert {row.pk for row in found.context["cl"].result_list} == set(
        opened.filter(segment=application.segment).values_list("pk", flat=True)
    )
    for odd in ("x", "99999999999", "-1"):
        assert client.get(f"{url}?segment={odd}").status_code == 200
    row = SegmentAssignment.objects.latest_of(application)
    page = client.get(reverse("admin:loans_loanapplication_change", args=[application.pk])).content.decode()
    assert "Segment:" in page and row.name in page and f"share {row.share:.0%}" in page
    assert "Segment:" not in client.get(reverse("admin:loans_loanapplication_change", args=[make_application().pk])).content.decode()


def test_the_api_lists_segments_and_filters_applications(opened, as_, django_assert_max_num_queries):
    client = as_("officer")
    with django_assert_max_num_queries(7):
        answer = client.get("/api/v1/segments/").json()
    assert answer["model"]["kind"] == "segments" and len(answer["segments"]) == 3 and answer["in_words"].startswith("3 groups")
    first = answer["segments"][0]
    assert first["later_default_rate"]["low"] <= first["later_default_rate"]["value"] <= first["later_default_rate"]["high"]
    assert {row["column"] for row in first["profile"]} >= {"annual_income", "credit_score"} and first["differences"]
    key = opened.first().segment
    listed = client.get(f"/api/v1/applications/?segment={key}").json()["results"]
    assert {row["id"] for row in listed} == set(opened.filter(segment=key).values_list("pk", flat=True))
    one = client.get(f"/api/v1/applications/{listed[0]['id']}/").json()
    assert one["segment"]["key"] == key and one["segment"]["model"]["version"] == 1
    assert client.get("/api/v1/applications/?segment=x").status_code == 400
    assert client.get("/api/v1/segments/?nonsense=1").status_code == 400


def test_the_api_of_segments_per_role_and_without_any(as_, client):
    assert client.get("/api/v1/segments/").status_code == 401
    assert as_("officer").get("/api/v1/segments/").json() == {
        "model": None,
        "in_words": "No segments were trained yet.",
        "as_of": None,
        "segments": [],
    }
    assert as_("stranger").get("/api/v1/segments/").status_code == 403


def test_pictures_of_odd_reports():
    assert map_picture({}) is None and map_picture({"points": [[0, 0]]}) is None
    assert share_picture([{"shares": [1.0]}], ["one"]) is None
    assert len(share_picture([{"period": "2025-01-01", "rows": 3, "shares": [0.5, 0.5]}] * 3, ["a", "b"]).marks) == 6
