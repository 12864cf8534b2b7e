"""Numbers, money and days as the place writes them, on every page that shows some, and no picture broken by a decimal comma."""

from __future__ import annotations

import importlib
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.urls import reverse
from django.utils import formats, timezone, translation

from config.formats.en import formats as english
from loans.models import AdverseActionNotice, AmountEstimate, Decision, FraudFlag
from loans.queries import words
from loans.queries.application_page import headline
from loans.services import letters, notices
from tests.loans.admin.conftest import make_application, make_version, score
from tests.loans.admin.test_home import make_forecast

# Attributes of a picture that hold one number each; a comma in one breaks it.
ONE_NUMBER = re.compile(r'\s(?:x|y|x1|x2|y1|y2|cx|cy|r|rx|width|height|font-size|stroke-width|aria-valuenow)="([^"{}]*)"')
WIDTHS = re.compile(r'style="width: ([^";]*)')


@pytest.fixture
def comma():
    with translation.override("de"):
        yield


@pytest.fixture
def place(settings):
    """`place(NUMBER_FORMATS="de")`: the English desk there, until the test is over."""

    def put(**given):
        for name, value in given.items():
            setattr(settings, name, value)
        importlib.reload(english)
        formats.reset_format_cache()

    yield put
    put(NUMBER_FORMATS="en", DAY_FORMAT="Y-m-d", MOMENT_FORMAT="Y-m-d H:i")


def test_an_english_desk_in_a_place_with_a_comma(place):
    place(NUMBER_FORMATS="de", DAY_FORMAT="d.m.Y", MOMENT_FORMAT="d.m.Y H:i")
    assert words.money(Decimal("1234.56")) == "$1.234,56" and words.percent(0.1234) == "12,3%" and words.percent(0.0001) == "<0,1%"
    assert words.frequency(0.004) == "of 1.000 applicants like this about 4 default" and words.points(-0.031) == "−3,1"
    assert words.figure(0.35) == "0,35" and words.figure(1200) == "1.200" and words.signed(-1234.5, 1) == "−1.234,5"
    moment = datetime(2026, 3, 1, 14, 5, tzinfo=UTC)
    assert words.day_of(moment) == "01.03.2026" and words.moment_of(moment) == "01.03.2026 14:05"


def test_as_it_is_by_default(place):
    place()
    assert words.money(Decimal("1234.56")) == "$1,234.56" and words.day_of(datetime(2026, 3, 1, tzinfo=UTC)) == "2026-03-01"


def test_a_language_brings_its_own(comma):
    assert words.money(Decimal("1234.56")) == "$1.234,56" and words.day_of(datetime(2026, 3, 1, tzinfo=UTC)) == "01.03.2026"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"CURRENCY": "EUR"}, "€1,234.56"),
        ({"CURRENCY": "EUR", "CURRENCY_AFTER": True}, "1,234.56 €"),
        ({"CURRENCY": "CHF"}, "1,234.56 CHF"),
        ({"CURRENCY": "CHF", "CURRENCY_AFTER": False}, "CHF 1,234.56"),
        ({"CURRENCY": "JPY"}, "¥1,235"),
        ({"CURRENCY": "KWD"}, "1,234.560 KWD"),
        ({"CURRENCY": "DKK", "CURRENCY_SYMBOL": "kr.", "CURRENCY_DECIMALS": 0}, "kr.1,235"),
    ],
)
def test_money(settings, given, text):
    for name, value in given.items():
        setattr(settings, name, value)
    assert words.money(Decimal("1234.56")) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [("8.000,50", "8000.50"), ("8000,5", "8000.5"), ("8.000", "8000"), ("9.5", "9.5"), ("9,5", "9.5"), ("1 234,5", "1234.5"), ("12", "12")],
)
def test_what_is_typed_there(comma, text, value):
    assert words.read_number(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "six", "1.2.3", "NaN", "Infinity", "1e"])
def test_what_is_no_number(text):
    with pytest.raises(ValueError, match="^" + re.escape(text)):
        words.read_number(text)


@pytest.fixture
def desk(application, people, product, version, uploads):
    """A page of each kind; amounts with cents, so that both separators show."""
    type(application).objects.filter(pk=application.pk).update(amount=Decimal("12345.67"), annual_income=Decimal("54321.50"))
    application.refresh_from_db()
    declined = make_application(amount=Decimal("1234.56"))
    prediction = score(declined, version)
    decision = Decision.objects.create(
        application=declined, outcome="decline", officer=people["officer"], reason="x", reason_text="x", prediction=prediction
    )
    type(declined).objects.filter(pk=declined.pk).update(status="declined")
    notice = AdverseActionNotice.objects.create(
        decision=decision, application=declined, reasons=["Income"], rule_pack="x", due_on=timezone.now().date() + timedelta(days=20)
    )
    flag = FraudFlag.objects.create(application=application, severity=2, score=0.1, expected_loss=Decimal("1234.56"))
    amounts = make_version(1, kind="loan_amount")
    AmountEstimate.objects.create(
        application=application,
        scoring_job=application.scoring_jobs.first(),
        model_version=amounts,
        low=9000,
        middle=11000,
        high=15000,
        capped=False,
    )
    make_forecast(point=6.4)
    return {"application": application, "notice": notice, "flag": flag, "version": version, "decision": decision}


def pages(desk):
    def change(name, row):
        return reverse(f"admin:loans_{name}_change", args=[row.pk])

    yield "officer", "/admin/", "$12.345,67"
    yield "officer", reverse("admin:loans_loanapplication_changelist"), "$12.345,67"
    yield "officer", change("loanapplication", desk["application"]), "$12.345,67"
    yield "officer", reverse("admin:loans_decision_changelist"), "$1.234,56"
    yield "officer", change("adverseactionnotice", desk["notice"]), f"{desk['notice'].due_on:%d.%m.%Y}"
    yield "officer", reverse("admin:loans_adverseactionnotice_letter", args=[desk["notice"].pk]), "$1.234,56"
    yield "investigator", reverse("admin:loans_fraudflag_changelist"), "$12.345,67"
    yield "investigator", change("fraudflag", desk["flag"]), "$12.345,67"
    yield "owner", change("modelversion", desk["version"]), "0,709"
    yield "owner", reverse("admin:loans_modelversion_changelist"), "0,709"
    yield "owner", "/admin/", "0,709"


@pytest.mark.django_db
def test_pages_with_a_decimal_comma(as_, desk, comma):
    for role, url, text in pages(desk):
        answer = as_(role).get(url)
        page = answer.content.decode()
        assert answer.status_code == 200 and text in page, (url, text)
        body = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
        broken = [value for value in ONE_NUMBER.findall(body) + WIDTHS.findall(body) if "," in value]
        assert not broken, (url, broken[:5])
        # An id is no quantity: with a thousands separator a form would name another row.
        assert not re.search(r'<input type="hidden"[^>]*value="\d+[.,]\d+"', body), url


@pytest.mark.django_db
def test_exports_and_the_pdf_too(as_, desk, comma):
    text = as_("officer").get(reverse("admin:loans_decision_export", args=["csv"])).content.decode("utf-8-sig")
    assert '"$1.234,56"' in text
    request = headline(desk["notice"].application)
    assert "$1.234,56" in request
    letter = notices.letter(AdverseActionNotice.objects.get(), request=request)
    assert letters.pdf(letter, reference="x").startswith(b"%PDF")
