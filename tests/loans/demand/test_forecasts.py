"""The demand forecast from rows to pages: a world with a known rate, and none at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import DatabaseError, transaction
from django.urls import reverse

from loans.models import ApiKey, DemandForecast, LoanApplication, LoanProduct
from loans.queries.demand import history
from loans.services import forecasts, wakeups

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
A_DAY = 5


@pytest.fixture
def busy(settings):
    """Two products, five applications a day for 300 days until the day before NOW."""
    settings.COUNTRY = "US"
    products = [LoanProduct.objects.create(code=code, name=code) for code in ("car", "home")]
    LoanApplication.objects.bulk_create(
        LoanApplication(
            external_reference=f"D-{day}-{number}",
            submitted_at=NOW - timedelta(days=day, hours=number - 4),
            amount=1000 + 10 * number,
            product=products[number % 2],
        )
        for day in range(1, 301)
        for number in range(A_DAY)
    )


def test_a_steady_desk_is_forecast_at_its_rate_and_adds_up(busy):
    (count, amount) = forecasts.refresh(frequencies=["weekly"], as_of=NOW)
    assert (count.measure, amount.measure) == ("count", "amount")
    from mlcore.demand import ForecastSet

    vintage = ForecastSet.from_json(count.data)
    assert vintage.incoherence() == 0
    assert len(vintage.total.rows) == 13
    for row in vintage.total.rows[1:]:
        assert row.point == pytest.approx(7 * A_DAY, rel=0.15)
        assert row.lo95 <= row.lo80 <= row.point <= row.hi80 <= row.hi95


def test_a_vintage_is_made_once_and_never_changed(busy):
    (first, _) = forecasts.refresh(frequencies=["monthly"], as_of=NOW)
    (again, _) = forecasts.refresh(frequencies=["monthly"], as_of=NOW)
    assert first.pk == again.pk
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        DemandForecast.objects.update(horizon=1)


def test_an_empty_desk_says_why_there_is_no_forecast():
    out = StringIO()
    call_command("forecast", "monthly", stdout=out)
    assert "no forecast" in out.getvalue()
    assert DemandForecast.objects.count() == 2


def test_bad_arguments_end_with_what_there_is(capsys):
    with pytest.raises(SystemExit) as ended:
        call_command("forecast", "yearly", stderr=StringIO())
    assert ended.value.code == 2
    with pytest.raises(SystemExit):
        call_command("forecast", "--as-of", "soon", stderr=StringIO())
    assert not DemandForecast.objects.exists()


def test_the_page_shows_history_forecast_and_figures(busy, client):
    vintage, _ = forecasts.refresh(frequencies=["weekly"], as_of=NOW)
    owner = User.objects.create_user("owner", is_staff=True)
    owner.groups.add(Group.objects.get(name="Model owners"))
    client.force_login(owner)
    page = reverse("admin:loans_demandforecast_change", args=[vintage.pk])
    for series in ("|", "car|"):
        answer = client.get(page, {"series": series})
        assert answer.status_code == 200
        assert b"<polyline" in answer.content
        assert b"Seasonal naive" in answer.content
    assert client.get(page, {"series": "boat|"}).status_code == 404
    table = client.get(reverse("admin:loans_demandforecast_csv", args=[vintage.pk])).content.decode("utf-8-sig").splitlines()
    assert table[0].startswith("period,forecast")
    past, ahead = ([line for line in table[1:] if bool(line.split(",")[1]) == later] for later in (False, True))
    assert len(ahead) == 13 and past and table[1:] == past + ahead and past[-1].split(",")[7]


def test_the_list_has_the_next_period_and_how_good_it_is(busy, client):
    LoanApplication.objects.update(synthetic=True)
    forecasts.refresh(frequencies=["weekly"], as_of=NOW)
    owner = User.objects.create_user("owner", is_staff=True)
    owner.groups.add(Group.objects.get(name="Model owners"))
    client.force_login(owner)
    text = client.get(reverse("admin:loans_demandforecast_changelist")).content.decode()
    assert "in 80 of 100" in text and "13 weeks" in text and "origins" in text and "Made up by the demo generator" in text


def test_the_history_is_that_of_the_rows(busy):
    from mlcore.demand import SeriesSet

    rows = LoanApplication.objects.values_list("submitted_at", "amount", "product__code", "region")
    wanted = SeriesSet.from_applications((at, float(amount), product, region or None) for at, amount, product, region in rows)
    made = history()
    assert made.sizes == pytest.approx(wanted.sizes) and (made.products == wanted.products).all() and made.from_rows
    for name in ("leaf", "period", "counts", "amounts"):
        assert getattr(made, name).tolist() == getattr(wanted, name).tolist(), name


def test_making_one_takes_a_post_and_the_permission(client, monkeypatch):
    sent = []
    monkeypatch.setattr(wakeups, "_send", lambda name, **more: sent.append(name) or True)
    url = reverse("admin:loans_demandforecast_make")
    for group, status in (("Loan officers", 403), ("Model owners", 302)):
        user = User.objects.create_user(group, is_staff=True)
        user.groups.add(Group.objects.get(name=group))
        client.force_login(user)
        assert client.get(url).status_code == 405
        assert client.post(url).status_code == status
    assert sent == ["loans.forecast"]


def test_the_api_lists_vintages_and_reads_one(busy, client):
    vintage, _ = forecasts.refresh(frequencies=["weekly"], as_of=NOW)
    _, key = ApiKey.issue(user=User.objects.create_user("client"), name="k", scopes=("read",))
    headers = {"Authorization": f"Bearer {key}"}
    rows = client.get("/api/v1/forecasts/?measure=count", headers=headers).json()["results"]
    assert [row["id"] for row in rows] == [vintage.pk]
    one = client.get(f"/api/v1/forecasts/{vintage.pk}/", headers=headers).json()
    assert {(each["product"], each["region"]) for each in one["series"]} >= {(None, None), ("car", None)}
    assert one["series"][0]["rows"][0]["lo80"] is not None
    assert client.get("/api/v1/forecasts/999999/", headers=headers).status_code == 404
