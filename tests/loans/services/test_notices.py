"""Notices: what a decline drafts, what may go out, and that it is kept."""

from __future__ import annotations

import io
from datetime import date, timedelta
from decimal import Decimal

import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from pypdf import PdfReader

from loans.models import AdverseActionNotice
from loans.services import decisions, letters, notices
from loans.services.decisions import DecisionRefused, Offer
from tests.loans.admin.conftest import make_application, make_version, score

pytestmark = pytest.mark.django_db


@pytest.fixture
def officer():
    return get_user_model().objects.create_user("olga", first_name="Olga")


@pytest.fixture
def lender(settings):
    settings.NOTICE_CREDITOR = "Example Bank\n1 High Street"
    settings.NOTICE_AGENCY = "The agency\nIts address"
    settings.NOTICE_RIGHTS = "The applicant's rights."


@pytest.fixture
def declined(officer, request):
    if "lender" in request.fixturenames:
        request.getfixturevalue("lender")
    application = make_application(name="Zoë Łukasz", amount=12_000)
    application.applicant.address = "2 Low Road, Town"
    application.applicant.save()
    score(application, make_version(), advice="decline")
    decisions.decide(application.pk, officer=officer, outcome="decline", reason="income_insufficient")
    return application


def test_a_decline_drafts_the_officers_reason_first_then_what_the_advice_rested_on(declined):
    notice = declined.notices.get()
    assert notice.reasons == [
        "Income insufficient for amount of credit requested",
        "Number of recent inquiries on credit bureau report",
        "Credit score reported by the credit bureau",
    ]
    assert notice.due_on == (declined.submitted_at + timedelta(days=30)).date()
    assert "Regulation B" in notice.rule_pack and not notice.is_sent


def test_an_approval_drafts_none(officer):
    application = make_application()
    score(application, make_version(), 0.05, advice="approve")
    decisions.decide(application.pk, officer=officer, outcome="approve", reason="meets_policy")
    assert not AdverseActionNotice.objects.exists()


def test_an_offer_that_was_not_taken_has_its_own_clock(officer):
    application = make_application()
    score(application, make_version(), 0.05, advice="approve")
    offered = decisions.decide(application.pk, officer=officer, outcome="counter", reason="smaller_amount", offer=Offer(Decimal(5_000)))
    decisions.decide(application.pk, officer=officer, outcome="decline", reason="income_insufficient")
    assert application.notices.get().due_on == (offered.created_at + timedelta(days=90)).date()


@pytest.mark.parametrize("note", ["Failed to achieve a qualifying score", "The SCORE  was too low", "Does not meet our internal standards"])
def test_a_missed_score_is_no_reason(officer, declined, note):
    other = make_application()
    score(other, declined.predictions.get().model_version)
    with pytest.raises(DecisionRefused, match="no reason that an applicant may be given"):
        decisions.decide(other.pk, officer=officer, outcome="decline", reason="other", note=note)
    with pytest.raises(notices.NoticeRefused, match="no reason that an applicant may be given"):
        notices.revise(declined.notices.get().pk, reasons=["Length of employment", note], by=officer)


@pytest.mark.parametrize("reasons", [[], ["  "], [f"Reason {n}" for n in range(5)], ["x" * 201], ["a\x00b"]])
def test_what_can_not_be_told_is_refused(declined, officer, reasons):
    with pytest.raises(notices.NoticeRefused):
        notices.revise(declined.notices.get().pk, reasons=reasons, by=officer)


def test_what_is_not_set_is_named_and_keeps_it_from_going_out(declined, officer):
    with pytest.raises(notices.NoticeRefused, match="NOTICE_CREDITOR.*NOTICE_AGENCY.*NOTICE_RIGHTS"):
        notices.send(declined.notices.get().pk, by=officer)


def test_sent_it_is_kept_25_months_and_never_changed(declined, officer, lender):
    notice = notices.revise(declined.notices.get().pk, reasons=["Length of employment"], by=officer)
    sent = notices.send(notice.pk, by=officer)
    assert sent.keep_until == notices.months_later(timezone.now().date(), 25)
    with pytest.raises(notices.NoticeRefused, match="was sent on"):
        notices.revise(notice.pk, reasons=["Other"], by=officer)
    for sql in ("UPDATE loans_adverseactionnotice SET reasons = '[]'", "DELETE FROM loans_adverseactionnotice"):
        with pytest.raises(DatabaseError, match="can not be changed|kept until"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql)


def test_months_later_ends_with_the_month():
    assert notices.months_later(date(2026, 1, 31), 25) == date(2028, 2, 29) and notices.months_later(date(2026, 12, 5), 1) == date(
        2027, 1, 5
    )


def test_the_pdf_says_it_all_and_a_draft_says_that_it_is_one(declined, officer, lender):
    notice = declined.notices.get()
    letter = notices.letter(notice, request="$12,000 for a car")
    text = " ".join(PdfReader(io.BytesIO(letters.pdf(letter, reference="R-1"))).pages[0].extract_text().split())
    for part in ("Example Bank", "Zoë Łukasz", "2 Low Road", "$12,000 for a car", "Income insufficient", "The agency", "rights", "R-1"):
        assert part in text
    assert "DRAFT" not in text
    notice.creditor = ""
    assert "DRAFT" in PdfReader(io.BytesIO(letters.pdf(notices.letter(notice, request="x"), reference="R-1"))).pages[0].extract_text()
    declined.applicant.name = "山田"
    notice.application = declined
    with pytest.raises(letters.CannotShow, match="山"):
        letters.pdf(notices.letter(notice, request="x"), reference="R-1")
