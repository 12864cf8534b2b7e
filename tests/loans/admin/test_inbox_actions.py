"""From the list: taking and giving back, many at once, and kept searches."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from loans.models import AuditEvent, Branch, InboxRun, LoanApplication, SavedView, ScoringJob, Status
from loans.services import assigning, inbox_runs
from tests.loans.admin.conftest import make_application, make_user, score

pytestmark = pytest.mark.django_db
URL = "/admin/loans/loanapplication/"


@pytest.fixture
def rows(version):
    made = [make_application() for _ in range(5)]
    for row in made:
        score(row, version)
    return made


def act(client, name: str, rows, **fields):
    return client.post(URL, {"action": name, "_selected_action": [row.pk for row in rows], **fields}, follow=True)


def test_one_takes_it_and_the_other_is_told(as_, people, rows):
    url = reverse("admin:loans_loanapplication_claim", args=[rows[0].pk])
    assert "You have it." in as_("officer").post(url, {"step": "claim"}, follow=True).content.decode()
    page = as_("senior").post(url, {"step": "claim"}, follow=True).content.decode()
    assert "Officer has it already." in page and "Officer has it." in page
    with pytest.raises(assigning.NotYours):
        assigning.release(rows[0].pk, by=make_user("other", "Loan officers"))
    as_("senior").post(url, {"step": "release"})
    rows[0].refresh_from_db()
    assert rows[0].assigned_to is None and rows[0].assigned_at is None
    actions = list(AuditEvent.objects.filter(action__startswith="application.").order_by("pk").values_list("action", flat=True))
    assert actions == ["application.claimed", "application.released"]


def test_what_is_decided_is_not_taken(people, rows):
    LoanApplication.objects.filter(pk=rows[0].pk).update(status=Status.WITHDRAWN)
    with pytest.raises(assigning.NotYours, match="withdrawn"):
        assigning.claim(rows[0].pk, by=people["officer"])


def test_many_are_assigned_with_progress_and_decided_ones_stay(as_, people, rows):
    client, officer = as_("senior"), people["officer"]
    page = act(client, "assign_selected", rows).content.decode()
    assert "Assign 5 applications" in page and "Officer" in page
    LoanApplication.objects.filter(pk=rows[0].pk).update(status=Status.WITHDRAWN)
    sent = {"_selected_action": [row.pk for row in rows], "officer": officer.pk}
    assert client.post(reverse("admin:loans_loanapplication_assign"), sent).status_code == 302
    run = InboxRun.objects.get()
    progress = client.get(reverse("admin:loans_inboxrun_progress", args=[run.pk])).json()
    assert progress["state"] == "queued" and progress["percent"] == 0
    inbox_runs.run(run.pk)
    run.refresh_from_db()
    assert (run.state, run.done, run.skipped, run.share_done) == ("done", 4, 1, 1.0)
    assert LoanApplication.objects.filter(assigned_to=officer).count() == 4
    assert "Left as they were" in client.get(reverse("admin:loans_inboxrun_change", args=[run.pk])).content.decode()
    found = as_("officer").get(URL, {"assigned": "me"}).context["cl"].result_list
    assert len(found) == 4
    assert inbox_runs.run(run.pk) is None


def test_many_are_scored_again_once_each(as_, rows):
    client = as_("officer")
    ScoringJob.objects.create(application=rows[0])
    act(client, "score_selected", rows)
    inbox_runs.run(InboxRun.objects.get().pk)
    assert ScoringJob.objects.unfinished().count() == 5


def test_a_run_that_was_cancelled_stops_after_its_piece(people, rows, monkeypatch):
    monkeypatch.setattr(inbox_runs, "PIECE", 2)
    run = inbox_runs.start(LoanApplication.objects.all(), action="score", by=people["officer"])
    done = inbox_runs._do

    def do(*args):
        inbox_runs.cancel(run)
        return done(*args)

    monkeypatch.setattr(inbox_runs, "_do", do)
    assert (inbox_runs.run(run.pk).state, InboxRun.objects.get().done) == ("cancelled", 2)


def test_what_a_person_may_not_see_or_do_is_not_in_a_run(people, rows):
    LoanApplication.objects.filter(pk=rows[0].pk).update(branch=Branch.objects.create(code="north", name="North"))
    run = inbox_runs.start(LoanApplication.objects.all(), action="score", by=people["officer"])
    assert rows[0].pk not in run.applications and len(run.applications) == 4
    for fields in (
        {"action": "assign", "by": people["officer"], "assignee": people["officer"]},
        {"action": "assign", "by": people["senior"], "assignee": people["auditor"]},
        {"action": "score", "by": people["auditor"]},
        {"action": "delete", "by": people["senior"]},
    ):
        with pytest.raises(inbox_runs.RunRefused):
            inbox_runs.start(LoanApplication.objects.all(), **fields)


def test_officers_are_offered_what_they_may_do(as_, rows):
    for role, offered in (("officer", {"claim_selected", "score_selected"}), ("auditor", set())):
        page = as_(role).get(URL).content.decode()
        for name in ("claim_selected", "score_selected", "assign_selected", "release_selected"):
            assert (f'"{name}"' in page) == (name in offered), (role, name)


def test_a_search_is_kept_as_a_view_of_ones_own(as_, people, rows):
    client = as_("officer")
    url = reverse("admin:loans_loanapplication_views")
    client.post(url, {"name": "  Worst   first ", "query": "grade=E&view=open&after=xyz&p=3"})
    view = SavedView.objects.get()
    assert (view.name, view.query, view.user) == ("Worst first", "grade=E&view=open", people["officer"])
    page = client.get(URL, {"view": "open", "grade": "E"}).content.decode()
    assert "☆ Worst first" in page and "Forget the view" in page
    assert "You have a view of that name" in client.post(url, {"name": "Worst first", "query": "grade=A"}, follow=True).content.decode()
    assert "A view needs a name" in client.post(url, {"name": " ", "query": "grade=A"}, follow=True).content.decode()
    other = as_("senior")
    assert "Worst first" not in other.get(URL).content.decode()
    other.post(url, {"forget": view.pk})
    assert SavedView.objects.count() == 1
    as_("officer").post(url, {"forget": view.pk})
    assert SavedView.objects.count() == 0


def test_the_officers_in_filters_are_those_who_decide(as_, people, rows):
    User.objects.create_user("client")
    officer, auditor = people["officer"], people["auditor"]
    page = as_("senior").get(URL).content.decode()
    assert f'value="{officer.pk}"' in page and f'value="{auditor.pk}"' not in page
