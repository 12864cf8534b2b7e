"""A training: asked for by a person or the schedule, done by one worker at a time, its result a model version.

The run's row is the promise, as a scoring job's is: a worker takes it with a lease that a thread of its own keeps renewing, so that a
worker that dies is noticed and the run is taken up by the next one. The result is registered only while the run is still ours.
"""

from __future__ import annotations

import logging
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from loans.models import ModelKind, ModelVersion, RunState, TrainingRun
from loans.services import policy, promotion, registry, segments, shadow, training_rows
from loans.services.comparators import comparators
from loans.services.fraud import learning
from loans.services.scoring import worker_name
from loans.services.training_rows import TrainingRefused
from loans.services.wakeups import wake_training
from mlcore.cluster import spread
from mlcore.progress import Cancelled, Progress, part, silent

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
REPORT_EVERY_SECONDS = 0.5


class TrainingAlreadyActive(TrainingRefused):
    """One of this kind is queued or running."""


class TrainingTakenOver(Exception):
    """The run is another worker's now; what this one made is dropped."""


def start_training(kind: str, *, by: object | None, seed: int = 0, wake: bool = True) -> TrainingRun:
    """Queue a training and wake a worker (not where the caller runs it himself).

    Raises TrainingAlreadyActive where one of this kind is under way.
    """
    if kind not in ModelKind.values:
        raise TrainingRefused(
            _("%(kind)s is not a kind of model; there are: %(values)s.") % {"kind": f"{kind!r}", "values": ", ".join(ModelKind.values)}
        )
    try:
        with transaction.atomic():
            run = TrainingRun.objects.create(kind=kind, started_by=by, seed=seed)
            if wake:
                transaction.on_commit(lambda: wake_training(run.pk))
    except IntegrityError as error:
        raise TrainingAlreadyActive(
            _("A training of %(label)s is under way; wait for it, or cancel it.") % {"label": ModelKind(kind).label.lower()}
        ) from error
    return run


def cancel(run: TrainingRun, *, by: object | None) -> None:
    """Ask a run to stop. A queued one stops at once, a running one at its next step."""
    stopped = TrainingRun.objects.filter(pk=run.pk, state=RunState.QUEUED).update(
        state=RunState.CANCELLED, finished_at=Now(), cancel_requested=True, step=_("Cancelled before it began")
    )
    if not stopped:
        TrainingRun.objects.filter(pk=run.pk, state=RunState.RUNNING).update(cancel_requested=True)
    logger.info("Training %d: cancelled by user %s", run.pk, getattr(by, "pk", None))


def run_training(run_id: int, *, progress: Progress = silent) -> TrainingRun | None:
    """Do a queued (or orphaned) run in this process; None where it is not to be had. Its end, good or bad, is on the row."""
    run = _claim(run_id)
    if run is None:
        return None
    try:
        with _lease_kept(run):
            _train(run, _watched(run, progress))
    except Cancelled:
        _finish(run, RunState.CANCELLED, step="Cancelled")
    except TrainingTakenOver:
        logger.warning("Training %d was taken over; this result is dropped.", run.pk)
    except Exception as error:
        known = isinstance(error, TrainingRefused) or type(error).__module__.startswith("mlcore.")
        if not known:
            logger.exception("Training %d failed", run.pk)
        _finish(run, RunState.FAILED, error=str(error) if known else f"{type(error).__name__}: {error}"[:2000])
    run.refresh_from_db()
    return run


def _claim(run_id: int) -> TrainingRun | None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE loans_trainingrun SET state = 'running', attempts = attempts + 1, started_at = clock_timestamp(), error = '',"
            " share_done = 0, lease_until = clock_timestamp() + make_interval(secs => %s), step = %s"
            " WHERE id = %s AND attempts < %s AND (state = 'queued' OR (state = 'running' AND lease_until < clock_timestamp()))"
            " RETURNING id",
            [settings.TRAINING_LEASE_SECONDS, f"Started by {worker_name()}", run_id, MAX_ATTEMPTS],
        )
        if cursor.fetchone() is None:
            return None
    return TrainingRun.objects.select_related("started_by").get(pk=run_id)


@contextmanager
def _lease_kept(run: TrainingRun) -> Iterator[None]:
    """A fit may take minutes without coming up for air, so a thread renews the lease; it dies with the process, and that is the point."""
    stop = threading.Event()

    def renew() -> None:
        try:
            while not stop.wait(settings.TRAINING_LEASE_SECONDS / 4):
                try:
                    _ours(run).update(lease_until=_lease_end())
                except Exception:
                    logger.warning("Training %d: lease not renewed, trying again", run.pk)
                    connection.close()
        finally:
            connection.close()

    thread = threading.Thread(target=renew, name=f"lease-{run.pk}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=5)


def _lease_end() -> Any:
    from datetime import timedelta

    return Now() + timedelta(seconds=settings.TRAINING_LEASE_SECONDS)


def _ours(run: TrainingRun) -> Any:
    return TrainingRun.objects.filter(pk=run.pk, state=RunState.RUNNING, attempts=run.attempts)


def _watched(run: TrainingRun, progress: Progress) -> Progress:
    """Passes progress on and writes it to the row, at most every half second; raises Cancelled when somebody asked for it."""
    last = 0.0

    def report(share: float, step: str) -> None:
        nonlocal last
        progress(share, step)
        now = time.monotonic()
        if now - last < REPORT_EVERY_SECONDS and share < 1:
            return
        last = now
        row = _ours(run).values_list("cancel_requested", flat=True).first()
        if row is None:
            raise TrainingTakenOver
        if row:
            raise Cancelled
        _ours(run).update(share_done=min(max(share, 0.0), 1.0), step=step[:200], lease_until=_lease_end())

    return report


def _train(run: TrainingRun, progress: Progress) -> None:
    progress(0.0, _("Reading applications and outcomes"))
    with spread(settings.TRAINING_SCHEDULER):
        fitted = _FITS[ModelKind(run.kind)](run, progress)
    progress(0.98, _("Storing the model"))
    with transaction.atomic():
        if not _ours(run).select_for_update().exists():
            raise TrainingTakenOver
        version = registry.register(
            kind=run.kind,
            model=fitted.model,
            algorithm=fitted.algorithm,
            report=fitted.report,
            fingerprint=fitted.fingerprint,
            synthetic=fitted.synthetic,
            created_by=run.started_by,
            golden=fitted.golden,
            learned_until=fitted.learned_until,
        )
        _ours(run).update(
            state=RunState.DONE,
            finished_at=Now(),
            lease_until=None,
            share_done=1.0,
            step="Done",
            rows=fitted.rows,
            model_version=version,
            peak_memory_mb=peak_memory_mb(),
        )
    _shadow_at_once(version)
    if run.kind == ModelKind.SEGMENTS and version.is_champion:
        segments.assign_open_quietly()


@dataclass(frozen=True)
class _Fitted:
    model: Any
    algorithm: str
    report: dict[str, Any]
    rows: int = 0
    fingerprint: str = ""
    synthetic: bool = False
    golden: dict[str, Any] | None = None
    learned_until: datetime | None = None

    def remembering(self, frame: Any, submitted_at: Any) -> _Fitted:
        """With golden rows drawn from what it learned from, and when the latest of that was."""
        from mlcore import golden

        latest = None if submitted_at is None else submitted_at.max()
        known = latest is not None and latest == latest  # NaT is not itself
        return replace(
            self,
            golden=golden.draw(frame, submitted_at, self.model.schema),
            learned_until=latest.to_pydatetime() if known else None,
        )


def _of_labels(fit: Callable[[TrainingRun, training_rows.Gathered, Progress], _Fitted]) -> Callable[[TrainingRun, Progress], _Fitted]:
    """A fit that learns from outcomes, given the loans that have one."""

    def learned(run: TrainingRun, progress: Progress) -> _Fitted:
        found = training_rows.gathered(run.kind, seed=run.seed)
        data, loans = found.data, found.loans
        fitted = fit(run, found, part(progress, 0.05, 0.97))
        # Counted, never treated as good: an application that was declined has no outcome.
        report = fitted.report | {"without_outcome": {"declined": loans.declined, "undecided": loans.undecided}}
        report |= {"held_back": found.held_back, "sample": found.sample}
        # What monitoring holds later windows against.
        report["learned_from"] = {"first": data.submitted_at.min().isoformat(), "until": data.submitted_at.max().isoformat()}
        made = replace(fitted, report=report, rows=len(data), fingerprint=loans.fingerprint, synthetic=loans.synthetic)
        return made.remembering(data.frame, data.submitted_at)

    return learned


def _fit_default_risk(run: TrainingRun, found: training_rows.Gathered, progress: Progress) -> _Fitted:
    from mlcore.risk.train import train_default_risk

    terms = policy.in_force().policy
    result = train_default_risk(
        found.data,
        seed=run.seed,
        labels=found.labels,
        cut=found.cut,
        terms=policy.profit_terms(),
        cutoff=terms.approve_below,
        baseline=settings.REASON_BASELINE,
        now=timezone.now(),
        augment=settings.TRAINING_AUGMENT,
        comparators=comparators(found.data),
        progress=progress,
    )
    return _Fitted(result.model, result.model.name, result.report)


def _fit_loan_amount(run: TrainingRun, found: training_rows.Gathered, progress: Progress) -> _Fitted:
    from mlcore.amount.train import train_amount

    result = train_amount(found.data, seed=run.seed, progress=progress)
    return _Fitted(result.model, "quantiles", result.report | {"labels": found.labels.report()})


def _fit_segments(run: TrainingRun, progress: Progress) -> _Fitted:
    model, report, data = segments.fit(seed=run.seed, progress=part(progress, 0.05, 0.97))
    fitted = _Fitted(model, model.name, report, len(data), data.fingerprint, data.synthetic)
    return fitted.remembering(data.frame, data.submitted_at)


def _fit_fraud(run: TrainingRun, progress: Progress) -> _Fitted:
    made = learning.fit(seed=run.seed, progress=part(progress, 0.02, 0.97))
    model, report, material = made.result.model, made.result.report, made.material
    fitted = _Fitted(model, model.name, report, int(material.usual.sum()), made.fingerprint, made.synthetic)
    return fitted.remembering(material.frame, material.submitted_at)


_FITS: dict[str, Callable[[TrainingRun, Progress], _Fitted]] = {
    ModelKind.DEFAULT_RISK: _of_labels(_fit_default_risk),
    ModelKind.LOAN_AMOUNT: _of_labels(_fit_loan_amount),
    ModelKind.SEGMENTS: _fit_segments,
    ModelKind.FRAUD: _fit_fraud,
}


def _shadow_at_once(version: ModelVersion) -> None:
    """Where the promotion policy says so and no other version is there. What refuses the shadow does not undo the training."""
    if version.is_champion or version.kind not in shadow.KINDS or not promotion.policy_for(version.kind).shadow_at_once:
        return
    try:
        shadow.start(version, by=None, reason=_("The promotion policy puts a new version into shadow."))
    except shadow.NotShadowable as refusal:
        logger.info("%s did not go into shadow: %s", version, refusal)


def _finish(run: TrainingRun, state: str, *, step: str = "", error: str = "") -> None:
    _ours(run).update(
        state=state, finished_at=Now(), lease_until=None, step=step or F("step"), error=error, peak_memory_mb=peak_memory_mb()
    )


def peak_memory_mb() -> float:
    """Of this process, since it began."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 * 1024 if sys.platform == "darwin" else 1024), 1)


def orphaned_runs() -> list[int]:
    """Ids of runs that wait for a worker, or whose worker died; those that died too often are failed here and not listed."""
    dead = TrainingRun.objects.filter(state=RunState.RUNNING, lease_until__lt=Now())
    dead.filter(attempts__gte=MAX_ATTEMPTS).update(
        state=RunState.FAILED,
        finished_at=Now(),
        lease_until=None,
        error=_("The worker died %(max_attempts)s times during this training; see its log.") % {"max_attempts": MAX_ATTEMPTS},
    )
    waiting = TrainingRun.objects.filter(state=RunState.QUEUED) | dead.filter(attempts__lt=MAX_ATTEMPTS)
    return list(waiting.order_by("pk").values_list("pk", flat=True))
