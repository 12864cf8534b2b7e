"""Home: a dozen queries for everybody, and today's intake beside what was expected of the day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from loans.models import Alert, DemandForecast, ImportBatch, LoanProduct, MonitoringWindow, TrainingRun
from loans.queries.intake_today import came_today, intake_today, products
from loans.queries.monitoring import health
from tests.loans.admin.conftest import REPORT, ROLES, make_application, make_version, score

pytestmark = pytest.mark.django_db
MOST = 12


def make_forecast(as_of=None, *, days=28, point=40.0, **parts):
    """Of the total and two products; `parts` replaces what the total's series says."""
    as_of = as_of or timezone.now()
    periods = [(as_of + timedelta(days=day)).date().isoformat() for day in range(days)]

    def series(product, point, region=None, **more):
        rows = [
            {"period": period, "step": step, "point": point, "lo80": point * 0.8, "hi80": point * 1.2, "lo95": 0, "hi95": point * 2}
            for step, period in enumerate(periods, start=1)
        ]
        return {"product": product, "region": region, "rows": rows, "reason": "", "notes": [], "backtest": None} | more

    data = {"series": [series(None, point, **parts), series("personal", point), series("late", 5.0), series("personal", 3.0, "north")]}
    return DemandForecast.objects.create(frequency="daily", measure="count", as_of=as_of, horizon=28, data=data, seconds=1)


@pytest.fixture
def all_of_it(application, version, people):
    """One of everything that home shows."""
    second = make_version(1, kind="segments")
    MonitoringWindow.objects.create(model_version=version, start="2026-01-01", end="2026-02-01", rows=10, breaches=2)
    MonitoringWindow.objects.create(model_version=second, start="2026-01-01", end="2026-02-01", rows=10)
    Alert.objects.create(model_version=version, metric="oe", text="O/E 1.4", grave=True)
    TrainingRun.objects.create(kind="default_risk", state="running", share_done=0.4, step="Fitting")
    ImportBatch.objects.create(file_name="a.csv", sha256="0" * 64, mapping_name="m", mapping="", state="running", step="Line 7")
    score(make_application(), version)
    make_forecast()


@pytest.mark.parametrize("role", ROLES)
def test_home_costs_a_dozen_queries_whoever_looks(as_, all_of_it, role):
    client = as_(role)
    client.get("/admin/")
    with CaptureQueriesContext(connection) as queries:
        page = client.get("/admin/")
    assert page.status_code == 200
    assert len(queries) <= MOST, [query["sql"][:110] for query in queries]


def test_and_for_somebody_with_all_roles(as_, people, all_of_it):
    people["officer"].groups.set(Group.objects.all())
    client = as_("officer")
    client.get("/admin/")
    with CaptureQueriesContext(connection) as queries:
        page = client.get("/admin/").content.decode()
    assert len(queries) <= MOST, [query["sql"][:110] for query in queries]
    for text in (
        "Training 1",
        "40%",
        "Import",
        "a.csv",
        "Line 7",
        "Default risk v1",
        "1 grave",
        "0.709",
        "the oldest waits 2 days",
        "intake",
    ):
        assert text in page.replace(f"Training {TrainingRun.objects.get().pk}", "Training 1"), text


def test_how_models_stand_is_one_query(all_of_it, version):
    with CaptureQueriesContext(connection) as queries:
        found = {one.version.kind: one for one in health(now=datetime(2026, 2, 3, tzinfo=UTC))}
    assert len(queries) == 1
    risk, segments = found["default_risk"], found["segments"]
    assert (risk.state, risk.alerts, risk.grave) == ("off", 1, 1) and "2 figures off in 2026-01-01 to 2026-02-01" in risk.in_words
    assert (segments.state, segments.alerts) == ("ok", 0) and version.report == REPORT


def seen(now=None):
    now = now or timezone.now()
    return intake_today(list(came_today(now)), list(products()), now=now)


def test_todays_intake_beside_the_forecast_of_the_day(as_, application, product):
    other = LoanProduct.objects.create(code="late", name="Late product")
    now = timezone.now()
    for _ in range(9):
        make_application(submitted_at=now, product=other)
    make_application(submitted_at=now)
    make_application(submitted_at=now - timedelta(days=1), product=other)  # not today's
    make_forecast()
    found = seen()
    lines = {line.title: (line.came, line.expected, line.low, line.high) for line in found.lines}
    assert lines["All applications"] == (10, 40.0, 32.0, 48.0) and lines["Late product"] == (9, 5.0, 4.0, 6.0)
    assert lines["Personal loan"] == (0, 40.0, 32.0, 48.0) and lines["Without a product"] == (1, None, None, None)
    page = as_("owner").get("/admin/").content.decode()
    assert "Today&#x27;s intake" in page or "Today's intake" in page
    assert "32–48" in page and page.count("more than expected") == 1
    assert "Today's intake" not in as_("investigator").get("/admin/").content.decode()


def test_it_is_the_whole_lenders_as_the_forecast_is(as_, people, application):
    from loans.models import Branch, OfficerProfile

    here, there = Branch.objects.create(code="a", name="A"), Branch.objects.create(code="b", name="B")
    OfficerProfile.objects.create(user=people["officer"], branch=here)
    make_application(submitted_at=timezone.now(), branch=there)
    make_forecast()
    page = as_("officer").get("/admin/").content.decode()
    assert "all branches" in page and seen().lines[0].came == 1


def test_without_a_forecast_it_says_so_and_compares_with_nothing(as_, application):
    make_application(submitted_at=timezone.now())
    assert seen().reason == "No forecast is made yet; the first comes with the night." and seen().lines[0].came == 1
    page = as_("owner").get("/admin/").content.decode()
    assert "Nothing to compare it with." in page and "80% range" not in page
    old = make_forecast(timezone.now() - timedelta(days=40))
    assert "does not reach today" in seen().reason and f"{old.as_of:%Y-%m-%d}" in seen().reason
    make_forecast(rows=[], reason="There are only 12 days of history.")
    assert seen().reason == "There are only 12 days of history."
