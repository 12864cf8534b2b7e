"""Deciding: the form's way from reason to history, and what happens to whoever comes second."""

from __future__ import annotations

import re
import threading

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from loans.models import Decision, LoanApplication, ScoringJob, Status
from tests.loans.admin.conftest import make_application, make_user, score

pytestmark = pytest.mark.django_db


def decide(client, application, **fields):
    seen = application.predictions.order_by("-pk").first()
    data = {"outcome": "decline", "reason": "recent_inquiries", "note": "", "seen_prediction": seen.pk if seen else 0, **fields}
    return client.post(reverse("admin:loans_loanapplication_decide", args=[application.pk]), data, follow=True)


@pytest.mark.parametrize(
    ("outcome", "reason", "note", "status"),
    [
        ("decline", "recent_inquiries", "", "declined"),
        ("refer", "second_opinion", "", "referred"),
    ],
)
def test_a_decision_is_kept_with_who_why_and_on_what(as_, people, application, outcome, reason, note, status):
    page = decide(as_("officer"), application, outcome=outcome, reason=reason, note=note).content.decode()
    application.refresh_from_db()
    decision = Decision.objects.get()
    assert application.status == status
    assert (decision.outcome, decision.reason, decision.note, decision.officer) == (outcome, reason, note, people["officer"])
    assert decision.prediction == application.predictions.get()
    assert f"{application} {status}" in page and "The inbox is empty now" in page


def test_afterwards_the_next_in_the_inbox_is_one_click_away(as_, application, version):
    following = make_application()
    score(following, version)
    page = decide(as_("officer"), application).content.decode()
    assert f"Next in inbox: {following}" in page
    assert reverse("admin:loans_loanapplication_change", args=[following.pk]) in page


def test_the_models_reasons_come_first_in_the_decline_list(as_, application):
    page = as_("officer").get(reverse("admin:loans_loanapplication_change", args=[application.pk])).content.decode()
    start = (
        page.index("The model&#x27;s main reasons") if "The model&#x27;s main reasons" in page else page.index("The model's main reasons")
    )
    group = page[start : page.index("Other reasons", start)]
    assert 'value="recent_inquiries"' in group and 'data-note="Credit score reported by the credit bureau"' in group
    assert page.count('value="recent_inquiries"') == 1


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"reason": "other", "note": ""}, "needs a note"),
        ({"reason": ""}, "Choose a reason from the list"),
        ({"reason": "no_such"}, "Choose a reason from the list"),
        ({"note": "x" * 4001}, "at most 4000"),
        ({"outcome": "delete"}, "is not an outcome"),
        ({"seen_prediction": "999999999"}, "scored anew while you looked"),
    ],
)
def test_what_is_refused_is_said_kindly_and_nothing_is_lost(as_, application, fields, text):
    answer = decide(as_("officer"), application, **{"note": "My own words", **fields})
    page = answer.content.decode()
    assert answer.status_code == 200 and text in page
    assert fields.get("note", "My own words")[:12] in page or fields.get("outcome") == "delete"
    assert Decision.objects.count() == 0
    application.refresh_from_db()
    assert application.status == Status.OPEN


def test_a_score_that_arrived_meanwhile_is_shown_before_anything_is_decided(as_, application, version):
    old = application.predictions.get()
    score(application, version, 0.9)
    page = decide(as_("officer"), application, seen_prediction=old.pk).content.decode()
    assert "scored anew" in page and "90.0%" in page and Decision.objects.count() == 0


def test_a_first_score_that_arrived_meanwhile_counts_as_well(as_, version):
    application = make_application(status=Status.NEEDS_REVIEW)
    score(application, version, 0.03)
    page = decide(as_("officer"), application, seen_prediction=0).content.decode()
    assert "scored anew" in page and "3.0%" in page and Decision.objects.count() == 0


def test_who_comes_second_learns_who_was_first(as_, people, application):
    assert "declined" in decide(as_("officer"), application).content.decode()
    second = make_user("second", "Loan officers")
    client = Client()
    client.force_login(second)
    answer = decide(client, application, outcome="approve", reason="compensating_factors", note="I would")
    page = answer.content.decode()
    assert "Officer decided this" in page and "Nothing of yours was recorded" in page
    assert Decision.objects.get().officer == people["officer"]


@pytest.mark.django_db(transaction=True)
def test_two_officers_at_once_make_one_decision(application, people):
    score(application, application.predictions.get().model_version, advice="refer")
    second = make_user("second", "Loan officers")
    barrier, answers = threading.Barrier(2), {}

    def press(user, outcome, reason):
        try:
            client = Client()
            client.force_login(user)
            barrier.wait(timeout=20)
            answers[user.username] = decide(client, application, outcome=outcome, reason=reason, note="x").content.decode()
        finally:
            connection.close()

    threads = [
        threading.Thread(target=press, args=(people["officer"], "decline", "recent_inquiries")),
        threading.Thread(target=press, args=(second, "approve", "compensating_factors")),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    decision = Decision.objects.get()
    application.refresh_from_db()
    assert application.status == {"decline": "declined", "approve": "approved"}[decision.outcome]
    loser = next(name for name in answers if name != decision.officer.username)
    assert "decided this on" in answers[loser] and "Nothing of yours was recorded" in answers[loser]


def test_without_a_score_it_can_be_declined_but_not_approved(as_):
    application = make_application(status=Status.NEEDS_REVIEW)
    ScoringJob.objects.create(application=application, state="failed", attempts=5)
    client = as_("officer")
    assert "no valid score" in decide(client, application, outcome="approve", reason="meets_policy").content.decode()
    decide(client, application)
    application.refresh_from_db()
    assert application.status == Status.DECLINED


def test_against_the_advice_is_announced_and_kept_as_an_override(as_, application):
    client = as_("officer")
    assert (
        "Against the advice (decline)" in client.get(reverse("admin:loans_loanapplication_change", args=[application.pk])).content.decode()
    )
    page = decide(client, application, outcome="approve", reason="compensating_factors", note="Guarantor").content.decode()
    assert "Choose from the list why" in page and "Guarantor" in page
    page = decide(
        client, application, outcome="approve", reason="compensating_factors", note="Guarantor", override_reason="security"
    ).content.decode()
    assert "waits for a second person" in page and "Withdraw the proposal" in page and not Decision.objects.exists()
    senior = as_("senior")
    url = reverse("admin:loans_loanapplication_change", args=[application.pk])
    page = senior.get(url).content.decode()
    assert "A guarantor or security" in page and 'value="confirm"' in page
    sent = {"proposal": application.proposals.get().pk, "step": "confirm", "answer": "Agreed"}
    page = senior.post(reverse("admin:loans_loanapplication_confirm", args=[application.pk]), sent, follow=True).content.decode()
    assert f"{application} approved" in page
    assert Decision.objects.get().override
    client = as_("officer")
    assert "override" in client.get(reverse("admin:loans_decision_changelist")).content.decode()
    assert "Approved against the advice" in client.get(url).content.decode()


def test_other_terms_are_offered_and_taken(as_, application):
    LoanApplication.objects.filter(pk=application.pk).update(default_probability=0.2)
    client = as_("officer")
    score(application, application.predictions.get().model_version, 0.2, advice="refer")
    page = decide(client, application, outcome="counter", reason="smaller_amount", offered_amount="six").content.decode()
    assert "is not a number" in page and 'value="six"' in page
    sent = {"offered_amount": "8,000", "offered_term_months": "24", "offered_rate": "9.5"}
    assert "offered other terms" in decide(client, application, outcome="counter", reason="smaller_amount", **sent).content.decode()
    page = client.get(reverse("admin:loans_loanapplication_change", args=[application.pk])).content.decode()
    assert "$8,000 over 24 months at 9.50% a year" in page and "Offer accepted" in page and "Counter-offer…" not in page
    # The form as a browser would send it: there is no reason to choose.
    form = next(each for each in re.findall(r"<form.*?</form>", page, re.DOTALL) if "Offer accepted AD-" in each)
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form))
    assert fields["outcome"] == "approve" and fields["seen_prediction"]
    assert "approved" in decide(client, application, **fields).content.decode()
    application.refresh_from_db()
    assert application.status == Status.APPROVED


def test_a_decline_leads_to_its_notice_which_is_corrected_and_sent(as_, application, settings):
    settings.NOTICE_CREDITOR, settings.NOTICE_AGENCY, settings.NOTICE_RIGHTS = "Example Bank", "The agency", "Rights"
    client = as_("officer")
    decide(client, application)
    notice = application.notices.get()
    url = reverse("admin:loans_adverseactionnotice_change", args=[notice.pk])
    assert url in client.get(reverse("admin:loans_loanapplication_change", args=[application.pk])).content.decode()
    page = client.get(url).content.decode()
    assert "Ann Jensen" in page and "Number of recent inquiries on credit bureau report" in page and "due in 28 days" in page
    revise, send = (reverse(f"admin:loans_adverseactionnotice_{name}", args=[notice.pk]) for name in ("revise", "send"))
    page = client.post(revise, {"reason": ["Score too low"]}).content.decode()
    assert "no reason that an applicant may be given" in page and 'value="Score too low"' in page
    client.post(revise, {"reason": ["Length of employment", ""]})
    notice.refresh_from_db()
    assert notice.reasons == ["Length of employment"]
    assert "Kept until" in client.post(send, follow=True).content.decode()
    letter = client.get(reverse("admin:loans_adverseactionnotice_letter", args=[notice.pk])).content.decode()
    assert "Example Bank" in letter and "Length of employment" in letter and "Draft" not in letter
    pdf = client.get(reverse("admin:loans_adverseactionnotice_pdf", args=[notice.pk]))
    assert pdf.content.startswith(b"%PDF") and pdf["Content-Disposition"].startswith("attachment")


def test_the_history_is_searched_and_filtered(as_, application, people, version):
    other = make_application(name="Bo Weber")
    score(other, version)
    client = as_("officer")
    decide(client, application)
    decide(client, other, outcome="refer", reason="second_opinion")
    url = reverse("admin:loans_decision_changelist")

    def found(**filters):
        return [row.application.external_reference for row in client.get(url, filters).context["cl"].result_list]

    assert found() == [str(other), str(application)]
    assert found(q=str(application)) == [str(application)] and found(q="Bo Weber") == [str(other)] and found(q="nobody") == []
    assert found(outcome="refer") == [str(other)] and found(officer__id__exact=people["auditor"].pk) == []
    today = f"{Decision.objects.first().created_at:%Y-%m-%d}"
    assert len(found(created_at_from=today, created_at_to=today)) == 2 and found(created_at_to="2020-01-01") == []
    assert client.get(reverse("admin:loans_decision_change", args=[Decision.objects.first().pk])).status_code == 302


def test_the_lists_filters_are_carried_to_the_page_and_back(as_, application):
    client = as_("officer")
    page = client.get("/admin/loans/loanapplication/?view=open&grade=E").content.decode()
    assert "_changelist_filters=view%3Dopen%26grade%3DE" in page or "_changelist_filters=grade%3DE%26view%3Dopen" in page
    url = reverse("admin:loans_loanapplication_change", args=[application.pk]) + "?_changelist_filters=view%3Dopen"
    page = client.get(url).content.decode()
    assert 'href="/admin/loans/loanapplication/?view=open"' in page and "decide/?_changelist_filters=view%3Dopen" in page
