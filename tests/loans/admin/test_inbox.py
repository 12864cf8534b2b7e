"""The inbox: what it opens on, its order, search, filters, and that it counts and decrypts no more than it shows."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from loans.models import Decision, LoanApplication, Status
from loans.queries import inbox
from tests.loans.admin.conftest import make_application, make_user, score

pytestmark = pytest.mark.django_db
URL = "/admin/loans/loanapplication/"


def shown(answer) -> list[str]:
    return [row.external_reference for row in answer.context["cl"].result_list]


def test_opens_on_what_is_to_be_decided_oldest_first(as_, version):
    now = timezone.now()
    waits = make_application()
    young, old = make_application(submitted_at=now), make_application(submitted_at=now - timedelta(days=9))
    decided = make_application(status=Status.HISTORICAL)
    for each in (young, old):
        score(each, version)
    review = make_application(submitted_at=now - timedelta(days=5), status=Status.NEEDS_REVIEW)
    answer = as_("officer").get(URL)
    assert shown(answer) == [old.external_reference, review.external_reference, young.external_reference]
    assert shown(as_("officer").get(URL, {"view": "waiting"})) == [waits.external_reference]
    assert shown(as_("officer").get(URL, {"view": "historical"})) == [decided.external_reference]
    assert len(shown(as_("officer").get(URL, {"view": "all"}))) == 5


def test_at_the_same_time_the_riskiest_and_the_unscored_come_first(as_, version):
    now = timezone.now()
    low, high = make_application(submitted_at=now), make_application(submitted_at=now)
    score(low, version, 0.05)
    score(high, version, 0.4)
    unscored = make_application(submitted_at=now, status=Status.NEEDS_REVIEW)
    order = [each.external_reference for each in (unscored, high, low)]
    assert shown(as_("officer").get(URL)) == order
    # Sorted by risk, the first click is the riskiest first and what has no score last.
    for role in ("officer", "owner"):
        answer = as_(role).get(as_(role).get("/admin/").context["by_risk_url"])
        assert shown(answer) == [high.external_reference, low.external_reference, unscored.external_reference]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("AD-SEARCH", True),
        ("ad-search", True),
        ("Ann Jensen", True),
        ("  ann   JENSEN ", True),
        ("555 010 77 77", True),
        ("ann@example.org", True),
        ("Ann", True),
        ("jensen", True),
        ("Jensen, Ann", True),
        ("Ann Weber", False),
        ("Jens", False),
        ("EARCH", False),
    ],
)
def test_search_by_reference_and_by_whole_name_phone_or_email(as_, version, query, found):
    mine = make_application(external_reference="AD-SEARCH-1", name="Ann Jensen")
    mine.applicant.phone, mine.applicant.email = "+1 555 010 7777", "Ann@example.org"
    mine.applicant.save()
    make_application(name="Bo Weber")
    score(mine, version)
    answer = as_("officer").get(URL, {"q": query})
    assert shown(answer) == (["AD-SEARCH-1"] if found else [])
    if not found:
        assert "Nothing matches" in answer.content.decode()


def test_a_search_finds_decided_ones_too(as_, application, people):
    Decision.objects.create(
        application=application, outcome="decline", officer=people["officer"], reason="other", reason_text="x", prediction=None
    )
    LoanApplication.objects.filter(pk=application.pk).update(status=Status.DECLINED)
    assert shown(as_("officer").get(URL, {"q": "Ann Jensen"})) == [application.external_reference]


def test_without_personal_data_names_are_neither_shown_nor_searched(as_, application):
    client = as_("owner")
    with CaptureQueriesContext(connection) as queries:
        page = client.get(URL).content.decode()
    assert "Ann Jensen" not in page and application.external_reference in page
    assert not any("loans_applicant" in query["sql"] for query in queries)
    assert shown(client.get(URL, {"q": "Ann Jensen"})) == []


def test_filters(as_, version, product):
    now = timezone.now()
    mine = make_application(product=product, channel="branch", submitted_at=now - timedelta(days=3))
    other = make_application(channel="online", submitted_at=now - timedelta(days=1))
    score(mine, version, 0.4, grade="G")
    score(other, version, 0.03, grade="A")
    client = as_("officer")
    day = f"{mine.submitted_at:%Y-%m-%d}"
    for filters in (
        {"grade": "G"},
        {"band": "35-100"},
        {"product__id__exact": product.pk},
        {"channel__exact": "branch"},
        {"submitted_at_from": day, "submitted_at_to": day},
        {"view": "open", "grade": "G"},
    ):
        assert shown(client.get(URL, filters)) == [mine.external_reference], filters
    assert shown(client.get(URL, {"band": "none"})) == []


@pytest.mark.parametrize(
    "query", ["grade=Z", "band=oops", "view=nowhere", "submitted_at_from=oops", "p=999", "p=x", "o=99", "q=%00", "q=" + "x" * 5000]
)
def test_a_strange_address_is_no_error(as_, application, query):
    assert as_("officer").get(f"{URL}?{query}").status_code in (200, 302)


def test_the_page_is_cheap_and_counts_no_table(as_, version, product):
    for _ in range(60):
        score(make_application(product=product), version)
    client = as_("officer")
    client.get(URL)
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(URL)
    assert len(shown(answer)) == 50
    assert len(queries) <= 13, [query["sql"][:120] for query in queries]
    counts = [query["sql"] for query in queries if "COUNT(" in query["sql"]]
    assert counts and all("LIMIT 1001" in sql for sql in counts)
    people = [query["sql"] for query in queries if "loans_applicant" in query["sql"]]
    assert len(people) == 1 and '"name"' in people[0] and '"email"' not in people[0]


def test_pages_beyond_the_counted_are_reached_and_the_last_one_has_no_next(as_, version, monkeypatch):
    monkeypatch.setattr("loans.admin.base.MOST_COUNTED", 60)
    for _ in range(130):
        make_application()
    client = as_("officer")
    first = client.get(URL, {"view": "waiting"})
    assert "more than 60" in first.content.decode() and first.context["cl"].next_page
    seen, answer = shown(first), first
    while answer.context["cl"].next_page:
        with CaptureQueriesContext(connection) as queries:
            answer = client.get(URL + answer.context["cl"].next_page)
        assert not any("OFFSET" in query["sql"] or "COUNT(" in query["sql"] for query in queries)
        seen += shown(answer)
    assert seen == list(LoanApplication.objects.inbox_order().values_list("external_reference", flat=True))
    assert len(shown(answer)) == 30 and "101–130" in answer.content.decode()
    back = client.get(URL + answer.context["cl"].previous_page)
    assert shown(back) == seen[50:100] and "51–100" in back.content.decode()
    assert shown(client.get(URL + back.context["cl"].previous_page)) == seen[:50]


@pytest.mark.parametrize("order", ["", "-3.6", *(pytest.param(each, marks=pytest.mark.slow) for each in ("5", "-5", "6", "-6", "3"))])
def test_every_order_is_walked_to_its_end_and_back(as_, version, order):
    """Ties, and rows without a value, on both sides of a page's edge."""
    now = timezone.now()
    for number in range(23):
        row = make_application(submitted_at=now - timedelta(days=number // 5), amount=1000 + number % 3, status=Status.NEEDS_REVIEW)
        if number % 4:
            LoanApplication.objects.filter(pk=row.pk).update(default_probability=(number % 6) / 10)
    client = as_("officer")
    query = {"o": order} if order else {}
    whole = shown(client.get(URL, query))
    assert len(whole) == 23
    from loans.admin.application import LoanApplicationAdmin

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LoanApplicationAdmin, "list_per_page", 4)
        answer = client.get(URL, query)
        seen = [shown(answer)]
        while answer.context["cl"].next_page:
            answer = client.get(URL + answer.context["cl"].next_page)
            seen.append(shown(answer))
        assert sum(seen, []) == whole
        for expected in reversed(seen[:-1]):
            answer = client.get(URL + answer.context["cl"].previous_page)
            assert shown(answer) == expected
        assert not answer.context["cl"].previous_page


@pytest.mark.parametrize("cursor", ["x", "W10", "WzFd", "", "W251bGwsMSwyLDNd", "A" * 3000])
def test_a_strange_position_is_the_first_page(as_, application, cursor):
    assert shown(as_("officer").get(URL, {"after": cursor})) == [application.external_reference]


def test_empty_says_why_and_what_to_do(as_):
    client = as_("officer")
    assert "No applications yet" in client.get(URL).content.decode()
    make_application()
    assert "No model serves yet" in client.get(URL).content.decode()


def test_empty_with_a_model(as_, version):
    waiting = make_application()
    assert "wait for their score" in as_("officer").get(URL).content.decode()
    LoanApplication.objects.filter(pk=waiting.pk).update(status=Status.WITHDRAWN)
    assert "Every application has been decided" in as_("officer").get(URL).content.decode()


def test_neighbours_walk_the_inbox_in_its_order(version):
    now = timezone.now()
    rows = []
    for days, probability in ((5, None), (5, 0.4), (5, 0.1), (5, 0.1), (2, 0.9)):
        row = make_application(submitted_at=now - timedelta(days=days), status=Status.NEEDS_REVIEW)
        if probability is not None:
            LoanApplication.objects.filter(pk=row.pk).update(default_probability=probability)
            row.default_probability = probability
        rows.append(row)
    everyone = LoanApplication.objects.all()
    assert list(everyone.to_decide().inbox_order()) == rows
    for one, after in zip(rows, rows[1:], strict=False):
        assert inbox.neighbour(one, everyone) == after
        assert inbox.neighbour(after, everyone, forward=False) == one
    assert inbox.neighbour(rows[-1], everyone) is None and inbox.neighbour(rows[0], everyone, forward=False) is None
    # A case that left the inbox still knows who is next.
    LoanApplication.objects.filter(pk=rows[1].pk).update(status=Status.WITHDRAWN)
    assert inbox.neighbour(rows[1], everyone) == rows[2]


def test_a_person_without_the_permission_has_no_inbox(client, application):
    client.force_login(make_user("nobody"))
    assert client.get(URL).status_code == 403
    assert client.get(reverse("admin:loans_loanapplication_change", args=[application.pk])).status_code == 403


def test_the_synthetic_mark(as_, version):
    made = make_application(synthetic=True)
    score(made, version)
    page = as_("officer").get(URL).content.decode()
    assert "Made up by the demo generator" in page
    score(make_application(), version)
    assert 'title="Made up by the demo generator"' in as_("officer").get(URL).content.decode()
