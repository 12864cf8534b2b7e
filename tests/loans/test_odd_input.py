"""Odd histories through fraud, segments and demand on the desk: a stated fallback and a warning on the page, never an invented number."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse
from django.utils import timezone

from loans.models import DemandForecast, FraudLabel, LoanApplication, ModelVersion
from loans.services import forecasts, training
from tests.factories import make_pending

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture
def owner(client):
    user = User.objects.create_user("owner", is_staff=True)
    user.groups.add(Group.objects.get(name="Model owners"))
    client.force_login(user)
    return client


def alike(count: int, *, days: int = 30, **fields: object) -> list[LoanApplication]:
    return LoanApplication.objects.bulk_create(
        LoanApplication(
            external_reference=f"A-{number}",
            submitted_at=NOW - timedelta(days=1 + number % days),
            amount=5_000,
            annual_income=40_000,
            status="open",
            **fields,
        )
        for number in range(count)
    )


def train(kind: str) -> training.TrainingRun:
    return training.run_training(training.start_training(kind, by=None, wake=False).pk)


def page_of_run(client, run: training.TrainingRun) -> str:
    return client.get(reverse("admin:loans_trainingrun_change", args=[run.pk])).content.decode()


@pytest.mark.parametrize(
    ("make", "fraud", "segments"),
    [
        (lambda: make_pending(10), "10 applications are too few to say what is unusual", "10 applications are too few to find any"),
        (lambda: alike(250), "No column of these applications varies", "No groups"),
    ],
    ids=["ten applications", "constant columns"],
)
def test_nothing_to_learn_from(artifacts, owner, make: Callable, fraud: str, segments: str):
    make()
    run = train("fraud")
    assert run.state == "failed" and fraud in run.error and fraud in page_of_run(owner, run)
    assert not ModelVersion.objects.filter(kind="fraud").exists()
    version = train("segments").model_version
    assert segments in owner.get(reverse("admin:loans_modelversion_change", args=[version.pk])).content.decode()
    assert owner.get("/api/v1/segments/").json()["segments"] == []


def test_findings_of_one_class_only(artifacts, owner):
    make_pending(250)
    known = timezone.now() - timedelta(days=40)
    FraudLabel.objects.bulk_create(
        FraudLabel(application=row, fraud=True, known_at=known, learn_from=known) for row in LoanApplication.objects.all()
    )
    version = train("fraud").model_version
    assert version.report["supervised"] is None and version.report["judged"] is None
    text = owner.get(reverse("admin:loans_modelversion_change", args=[version.pk])).content.decode()
    assert "there are 250 confirmed and 0 cleared, it takes 200 and 200" in text and "Too few findings of either kind" in text


def daily(*spans: tuple[datetime, int], each: int = 2) -> None:
    """So many applications on each of so many days from then on."""
    LoanApplication.objects.bulk_create(
        LoanApplication(external_reference=f"D-{span}-{day}-{number}", submitted_at=start + timedelta(days=day, hours=12), amount=1_000)
        for span, (start, days) in enumerate(spans)
        for day in range(days)
        for number in range(each)
    )


@pytest.mark.parametrize(
    ("make", "frequency", "said", "forecast"),
    [
        (lambda: daily((NOW - timedelta(days=5), 5)), "daily", "5 complete days", False),
        (lambda: daily((NOW - timedelta(days=10), 10), each=1), "daily", "too few to compare methods", True),
        (lambda: daily((datetime(2022, 1, 3, tzinfo=UTC), 300), (NOW - timedelta(weeks=40), 280)), "weekly", "behind a hole", True),
        (lambda: daily((NOW - timedelta(days=210), 210), (NOW + timedelta(days=999), 40)), "weekly", "80 applications are dated", True),
        (lambda: daily((NOW - timedelta(days=900), 30)), "weekly", "too long ago to forecast from", False),
        (lambda: None, "monthly", "no complete period", False),
    ],
    ids=["five points", "ten applications", "two-year hole", "future dates", "all zero since long ago", "nothing at all"],
)
def test_odd_histories_of_demand(owner, make: Callable, frequency: str, said: str, forecast: bool):
    make()
    forecasts.refresh(frequencies=[frequency], as_of=NOW)
    vintage = DemandForecast.objects.get(measure="count")
    text = owner.get(reverse("admin:loans_demandforecast_change", args=[vintage.pk])).content.decode()
    assert said in text
    assert ("<polyline" in text) is forecast and ("No forecast for this series" in text) is not forecast
    row = owner.get(reverse("admin:loans_demandforecast_changelist")).content.decode()
    assert ("too little history" in row) is not forecast


def test_segments_leave_out_what_is_dated_in_the_future(artifacts, owner):
    alike(20)
    LoanApplication.objects.filter(external_reference__in=["A-0", "A-1"]).update(submitted_at=timezone.now() + timedelta(days=700))
    version = train("segments").model_version
    assert version.report["data"]["rows"] == 18
    text = owner.get(reverse("admin:loans_modelversion_change", args=[version.pk])).content.decode()
    assert "2 applications are dated in the future and are left out" in text
