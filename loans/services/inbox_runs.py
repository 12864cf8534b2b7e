"""One deed on many applications, in pieces: each is committed, so progress shows, a cancellation is heard and nothing is done twice."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from loans.models import InboxRun, LoanApplication, RunState, ScoringJob
from loans.models.application import UNDECIDED
from loans.models.inbox_run import MOST_AT_ONCE, InboxAction
from loans.services import assigning, audit, wakeups

logger = logging.getLogger(__name__)
PIECE = 200
ASSIGNS = "loans.assign_loanapplication"
DECIDES = "loans.decide_loanapplication"


class RunRefused(Exception):
    """It can't be done to these, or not by this person; the message says why."""


def start(applications: QuerySet[LoanApplication], *, action: str, by: Any, assignee: Any = None) -> InboxRun:
    """Write down what is to be done to the first MOST_AT_ONCE of these, as the starter sees them, and wake a worker. Raises RunRefused."""
    if action not in InboxAction.values:
        raise RunRefused(_("There is no such action."))
    needed = DECIDES if action == InboxAction.SCORE else ASSIGNS
    if not by.has_perm(needed):
        raise RunRefused(_("Your role may not do this to many at once."))
    if action == InboxAction.ASSIGN and (assignee is None or not assignee.is_active or not assignee.has_perm(DECIDES)):
        raise RunRefused(_("Choose somebody who decides applications."))
    visible = LoanApplication.objects.visible_to(by).filter(pk__in=applications.order_by().values("pk")[: MOST_AT_ONCE + 1])
    ids = list(visible.order_by("submitted_at", "pk").values_list("pk", flat=True)[: MOST_AT_ONCE + 1])
    if not ids:
        raise RunRefused(_("Nothing is chosen."))
    if len(ids) > MOST_AT_ONCE:
        raise RunRefused(_("At most %(most_at_once)s at once. Narrow the list down.") % {"most_at_once": f"{MOST_AT_ONCE:,}"})
    with transaction.atomic():
        run = InboxRun.objects.create(action=action, assignee=assignee, applications=ids, started_by=by)
        audit.record("inboxrun.started", actor=by, subject=run, bulk=action, applications=len(ids))
        run_id = run.pk
        transaction.on_commit(lambda: wakeups.wake_inbox_run(run_id))
    return run


def cancel(run: InboxRun) -> None:
    """A queued one stops at once, a running one after its piece; what was done stays done."""
    stopped = InboxRun.objects.filter(pk=run.pk, state=RunState.QUEUED).update(
        state=RunState.CANCELLED, finished_at=Now(), cancel_requested=True, step=_("Cancelled before it began")
    )
    if not stopped:
        InboxRun.objects.filter(pk=run.pk, state=RunState.RUNNING).update(cancel_requested=True)


def run(run_id: int) -> InboxRun | None:
    """Do a queued run, or one whose worker died, from where it was. None where it is somebody else's or over."""
    claimed = InboxRun.objects.filter(pk=run_id, state__in=(RunState.QUEUED, RunState.RUNNING)).exclude(
        state=RunState.RUNNING, lease_until__gte=Now()
    )
    if not claimed.update(state=RunState.RUNNING, started_at=Now(), lease_until=_lease(), attempts=F("attempts") + 1):
        return None
    bulk = InboxRun.objects.select_related("started_by", "assignee").get(pk=run_id)
    try:
        while _piece(bulk):
            pass
    except Exception as error:
        logger.exception("Inbox run %d failed", run_id)
        InboxRun.objects.filter(pk=run_id, state=RunState.RUNNING, attempts=bulk.attempts).update(
            state=RunState.FAILED,
            finished_at=Now(),
            lease_until=None,
            error=_("%(error)s; see the worker's log") % {"error": type(error).__name__},
        )
    bulk.refresh_from_db()
    return bulk


def _piece(bulk: InboxRun) -> bool:
    """The next PIECE of them and its mark on the row, in one transaction; whether there is more."""
    with transaction.atomic():
        row = InboxRun.objects.select_for_update(of=("self",)).get(pk=bulk.pk)
        if row.state != RunState.RUNNING or row.attempts != bulk.attempts:
            return False  # another worker took it over
        at = row.done + row.skipped
        ids = row.applications[at : at + PIECE]
        if row.cancel_requested or not ids:
            state = RunState.CANCELLED if row.cancel_requested and ids else RunState.DONE
            InboxRun.objects.filter(pk=row.pk).update(
                state=state, finished_at=Now(), lease_until=None, share_done=at / len(row.applications), step=_step(row.done, row.skipped)
            )
            return False
        done = _do(bulk, ids)
        row.done, row.skipped = row.done + done, row.skipped + len(ids) - done
        InboxRun.objects.filter(pk=row.pk).update(
            done=row.done,
            skipped=row.skipped,
            share_done=(at + len(ids)) / len(row.applications),
            step=_step(row.done, row.skipped),
            lease_until=_lease(),
        )
    return True


def _do(bulk: InboxRun, ids: list[int]) -> int:
    if bulk.action != InboxAction.SCORE:
        return len(assigning.assign(ids, to=bulk.assignee, by=bulk.started_by))
    rows = list(LoanApplication.objects.filter(pk__in=ids, status__in=UNDECIDED).order_by("pk").values_list("pk", flat=True))
    # One that waits for a score already keeps its job.
    ScoringJob.objects.bulk_create([ScoringJob(application_id=pk) for pk in rows], ignore_conflicts=True)
    transaction.on_commit(wakeups.wake_scoring)
    return len(rows)


def _step(done: int, skipped: int) -> str:
    return f"{done:,} done" + (_(", %(skipped)s left as they were") % {"skipped": f"{skipped:,}"} if skipped else "")


def _lease() -> Any:
    return timezone.now() + timedelta(seconds=settings.SCORING_LEASE_SECONDS)


def due() -> list[int]:
    """Runs whose hint or whose worker got lost."""
    waiting = InboxRun.objects.filter(state=RunState.QUEUED, created_at__lt=timezone.now() - timedelta(seconds=30))
    dead = InboxRun.objects.filter(state=RunState.RUNNING, lease_until__lt=Now())
    return [*waiting.values_list("pk", flat=True)[:20], *dead.values_list("pk", flat=True)[:20]]
