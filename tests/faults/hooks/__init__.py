"""What a fault does inside a process. Each is one variable of that process's environment; without any, nothing is changed.

FAULTS_POISON=1         an application whose reference begins with POISON kills the process that scores it, within a request too
FAULTS_HANG=1           one whose reference begins with HANGS never comes back; scoring is given 5 s instead of a minute
FAULTS_SLOW=SECONDS     every batch takes so much longer
FAULTS_CLOCK_AHEAD=N    its clock is so many seconds ahead (with tests/faults/clock on PYTHONPATH)
FAULTS_FEW_RUNGS=1      a training climbs two rungs of the ladder only, so that a flow takes minutes
FAULTS_NEW_CODE=1       the code of a coming release, which knows columns that today's doesn't
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.apps import AppConfig


class Hooks(AppConfig):
    name = "tests.faults.hooks"
    label = "faults"

    def ready(self) -> None:
        from loans.services import at_once, batch, scoring

        if os.environ.get("FAULTS_POISON"):
            _before(scoring, "_score_claims", lambda claims: _die_of_poison(claims))
            _before(at_once, "_score", lambda application: _die_of(application.external_reference))
            _before(batch, "held", lambda rows: [_die_of(row.external_reference) for row in rows])
        if os.environ.get("FAULTS_HANG"):
            from loans.tasks.scoring import score_pending

            score_pending.time_limit = 5
            _before(scoring, "_score_claims", lambda claims: _hang(claims))
        if seconds := float(os.environ.get("FAULTS_SLOW", "0")):
            _before(scoring, "_score_claims", lambda claims: time.sleep(seconds))
            _before(at_once, "_score", lambda application: time.sleep(seconds))
            _before(batch, "held", lambda rows: time.sleep(seconds))
        if os.environ.get("FAULTS_FEW_RUNGS"):
            _climb_two_rungs()
        if ahead := float(os.environ.get("FAULTS_CLOCK_AHEAD", "0")):
            _set_clocks(timedelta(seconds=ahead))
        if os.environ.get("FAULTS_NEW_CODE"):
            from tests.faults.release import become_new_code

            become_new_code()


def _set_clocks(ahead: timedelta) -> None:
    """What `tests/faults/clock` can't reach: now, as Django and Celery say it."""
    from django.utils import timezone

    from config.celery import app

    django, celery = timezone.now, app.now
    timezone.now = lambda: django() + ahead
    app.now = lambda: celery() + ahead


def _before(module: Any, name: str, act: Callable[[Any], object]) -> None:
    """`act` on the first argument of each call, before it."""
    honest = getattr(module, name)

    def hooked(first: Any, *more: Any, **named: Any) -> Any:
        act(first)
        return honest(first, *more, **named)

    setattr(module, name, hooked)


def _any_named(claims: list[Any], prefix: str) -> bool:
    from loans.models import LoanApplication

    ids = [claim.application_id for claim in claims]
    return LoanApplication.objects.filter(pk__in=ids, external_reference__startswith=prefix).exists()


def _die_of_poison(claims: list[Any]) -> None:
    if _any_named(claims, "POISON"):
        os.kill(os.getpid(), signal.SIGKILL)


def _die_of(reference: str) -> None:
    if reference.startswith("POISON"):
        os.kill(os.getpid(), signal.SIGKILL)


def _hang(claims: list[Any]) -> None:
    if _any_named(claims, "HANGS"):
        while True:
            time.sleep(3600)


def _climb_two_rungs() -> None:
    from mlcore.risk import train

    whole = train.train_default_risk
    train.train_default_risk = lambda data, **more: whole(data, **{**more, "rungs": ["prior", "logistic"]})
