"""The hand-off from a pending job to a stored score: claim, score, store. Whatever dies in between, a job gets exactly one result.

A claim takes a lease and counts an attempt; a result is stored only while that attempt still holds the job. All times are the
database's, so a worker with a wrong clock neither steals nor keeps a job. First attempts go in large batches; what did not
come back is tried in small ones and then alone, so that one application that kills its worker takes no other down with it.
"""

from __future__ import annotations

import functools
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Now

from loans.models import AmountEstimate, FeatureSnapshot, LoanApplication, ModelKind, Prediction, ScoringJob, ScoringState, Status
from loans.queries.frames import ScoringFrame, as_snapshot, scoring_frame
from loans.services import amounts, fraud, policy, reasons, registry, segments, shadow, webhooks
from loans.services.bulk import chunk
from loans.services.valid_scores import check

if TYPE_CHECKING:
    from mlcore.risk.base import Scores

logger = logging.getLogger(__name__)

SECOND_TRY_BATCH = 25
# A round tries a whole lost batch again: behind a queue of new ones, one small batch a round would leave it waiting for forty rounds.
SECOND_TRIES_A_ROUND = 40
ALONE_A_ROUND = 25
# From so many on as columns: below, building them costs more than it saves. A last attempt is alone, and so goes the other way.
AS_COLUMNS_FROM = 20


@dataclass(frozen=True)
class Claim:
    job_id: int
    application_id: int
    attempt: int


@dataclass(frozen=True)
class Scored:
    """How many jobs one call claimed, and of those stored, released for another try, and found already taken over."""

    claimed: int = 0
    stored: int = 0
    released: int = 0

    def __add__(self, other: Scored) -> Scored:
        return Scored(self.claimed + other.claimed, self.stored + other.stored, self.released + other.released)


def worker_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


@functools.cache
def _place() -> str:
    """Which machine's process numbers ours is one of; "" where that can't be told, and then nobody judges by the number."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]  # containers share it, machines of one name don't
        return f"@{boot}.{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def claimant() -> str:
    """Who claims: more than a name, so that who shares its process numbers can tell whether it still lives."""
    return worker_name() + _place()


def release_of_the_dead() -> int:
    """Make due what processes of this machine had claimed that live no more, without waiting for the lease. Returns how many jobs.

    A process that is gone can't store anything, so nothing is done twice; a number that was given to another process since only means
    that its lease is waited for.
    """
    if not _place():
        return 0
    here = f"{socket.gethostname()}:"
    claimants = ScoringJob.objects.filter(state=ScoringState.RUNNING, claimed_by__startswith=here, claimed_by__endswith=_place())
    dead = [name for name in claimants.order_by().values_list("claimed_by", flat=True).distinct() if not _lives(name)]
    if not dead:
        return 0
    return claimants.filter(claimed_by__in=dead).update(lease_until=Now() - timedelta(milliseconds=1))


def _lives(claimant: str) -> bool:
    number = claimant.removesuffix(_place()).rpartition(":")[2]
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError, OverflowError):
        return True
    return True


# The rows are chosen in a materialised CTE: inside `IN (…)` the planner may run the choice once a row, and a LIMIT of 1 claims them all.
_CLAIM = """
    WITH due AS MATERIALIZED (
        SELECT id FROM loans_scoringjob
        WHERE ((state = 'pending' AND due_at <= clock_timestamp()) OR (state = 'running' AND lease_until < clock_timestamp()))
          AND attempts BETWEEN %(least)s AND %(most)s AND (%(job)s::bigint IS NULL OR id = %(job)s)
        ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
    UPDATE loans_scoringjob job SET state = 'running', attempts = attempts + 1, claimed_by = %(worker)s,
           lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
    FROM due WHERE job.id = due.id
    RETURNING job.id, job.application_id, job.attempts
"""


def _claim(*, least: int, most: int, limit: int, job: int | None = None) -> list[Claim]:
    with connection.cursor() as cursor:
        cursor.execute(
            _CLAIM,
            {"worker": claimant(), "lease": settings.SCORING_LEASE_SECONDS, "least": least, "most": most, "limit": limit, "job": job},
        )
        return [Claim(*row) for row in cursor.fetchall()]


def score_pending(*, limit: int | None = None, stop: Callable[[], bool] = lambda: False) -> Scored:
    """Score one round of what is due: a full batch of first attempts, small ones of second attempts, and a few later ones, each alone.

    stop: asked before each claim; where it says so, what is claimed is finished and no more is claimed.
    """
    try:
        serving = registry.champion()
    except registry.NoChampion:
        return Scored()
    full = limit or settings.SCORING_BATCH_SIZE
    last = settings.SCORING_MAX_ATTEMPTS - 1
    total = Scored()
    for least, most, size, times in ((0, 0, full, 1), (1, 1, SECOND_TRY_BATCH, SECOND_TRIES_A_ROUND), (2, last, 1, ALONE_A_ROUND)):
        for _ in range(times):
            claims = [] if stop() else _claim(least=least, most=most, limit=size)
            if not claims:
                break
            total += _score_claims(claims, serving)
    give_up_on_exhausted()
    return total


def score_now(job_id: int) -> bool:
    """Score this one job in the caller's process; False where somebody else has it, no model serves, or it failed (it stays due)."""
    try:
        serving = registry.champion()
    except registry.NoChampion:
        return False
    claims = _claim(least=0, most=settings.SCORING_MAX_ATTEMPTS - 1, limit=1, job=job_id)
    return bool(claims) and _score_claims(claims, serving).stored == 1


def _score_claims(claims: list[Claim], serving: registry.Serving) -> Scored:
    try:
        stored = _score_and_store(claims, serving)
    except Exception as error:
        # Any failure at all: the jobs go back, and after five attempts to a person. The text may hold a value of somebody's.
        logger.warning("Scoring %d jobs failed: %s", len(claims), type(error).__name__)
        _release(claims, error=type(error).__name__)
        return Scored(claimed=len(claims), released=len(claims))
    return Scored(claimed=len(claims), stored=stored)


def _score_and_store(claims: list[Claim], serving: registry.Serving) -> int:
    fraud.link_quietly()
    if len(claims) >= AS_COLUMNS_FROM:
        # Not on a second try: whatever brought the first one down, it must not be the shadow again.
        first = all(claim.attempt == 1 for claim in claims)
        return chunk.score_claimed({claim.application_id: claim.job_id for claim in claims}, lambda: _held(claims), with_shadow=first)
    features = scoring_frame([claim.application_id for claim in claims], serving.model.schema)
    scores = serving.model.score(features.frame, features.submitted_at)
    check(scores)
    return _store(claims, serving, features, scores)


def _store(claims: list[Claim], serving: registry.Serving, features: ScoringFrame, scores: Scores) -> int:
    """Write predictions and snapshots for the jobs that this attempt still holds; returns how many."""
    by_application = {claim.application_id: claim for claim in claims}
    model = serving.model
    grades, points = model.grade(scores.probability), model.points(scores.log_odds)
    all_reasons = reasons.for_scores(model, scores, features.frame)
    snapshots = as_snapshot(features.frame)
    terms = policy.in_force()
    ranges = amounts.estimates_quietly({claim.application_id: claim.job_id for claim in claims})
    groups = segments.assignments_quietly({claim.application_id: claim.job_id for claim in claims})
    # Not on a second try: whatever brought the first one down, it must not be the shadow again.
    shadowed = shadow.predictions_quietly({claim.application_id: claim.job_id for claim in claims if claim.attempt == 1})
    with transaction.atomic():
        held = _held(claims)
        predictions, rests, updates = [], [], []
        for row, application_id in enumerate(features.application_ids):
            claim = by_application[application_id]
            if claim.job_id not in held:
                continue  # Somebody else took the job over while we were scoring: theirs counts.
            probability = float(scores.probability[row])
            advised = terms.advise(probability, features.facts[row])
            predictions.append(
                Prediction(
                    application_id=application_id,
                    scoring_job_id=claim.job_id,
                    model_version=serving.version,
                    kind=ModelKind.DEFAULT_RISK,
                    probability=probability,
                    log_odds=float(scores.log_odds[row]),
                    baseline=float(scores.baseline),
                    baseline_kind=model.baseline.kind,
                    grade=str(grades[row]),
                    points=int(points[row]),
                    contributions=dict(zip(scores.features, scores.contributions[row].tolist(), strict=True)),
                    reasons=all_reasons[row],
                    advice=advised.advice,
                    knock_outs=advised.knock_outs,
                    policy_id=terms.policy.pk,
                )
            )
            rests.append(FeatureSnapshot(scoring_job_id=claim.job_id, application_id=application_id, values=snapshots[row]))
            updates.append((application_id, probability, str(grades[row])))
        Prediction.objects.bulk_create(predictions)
        FeatureSnapshot.objects.bulk_create(rests)
        AmountEstimate.objects.bulk_create([each for each in ranges if each.scoring_job_id in held])
        segments.store([each for each in groups if each.scoring_job_id in held])
        shadow.store_quietly([each for each in shadowed if each.scoring_job_id in held])
        _show_on_applications(updates)
        fraud.assess_quietly([prediction.application_id for prediction in predictions])
        ScoringJob.objects.filter(pk__in=[prediction.scoring_job_id for prediction in predictions]).update(
            state=ScoringState.DONE, finished_at=Now(), lease_until=None, error=""
        )
        webhooks.send("application.scored", predictions, status="scored")
    return len(predictions)


def _held(claims: list[Claim]) -> set[int]:
    """The jobs whose claim is still this one, locked until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT job.id FROM loans_scoringjob job JOIN unnest(%s::bigint[], %s::int[]) AS claim(id, attempt)"
            " ON job.id = claim.id AND job.attempts = claim.attempt WHERE job.state = 'running' ORDER BY job.id FOR UPDATE OF job",
            [[claim.job_id for claim in claims], [claim.attempt for claim in claims]],
        )
        return {row[0] for row in cursor.fetchall()}


def _show_on_applications(updates: list[tuple[int, float, str]]) -> None:
    if not updates:
        return
    ids, probabilities, grades = (list(column) for column in zip(*updates, strict=True))
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE loans_loanapplication app SET default_probability = score.probability, grade = score.grade,"
            " status = CASE WHEN app.status IN ('received', 'needs_review') THEN 'open' ELSE app.status END"
            " FROM unnest(%s::bigint[], %s::float8[], %s::text[]) AS score(id, probability, grade) WHERE app.id = score.id",
            [ids, probabilities, grades],
        )


def _release(claims: list[Claim], *, error: str) -> None:
    """Give the jobs back. A batch is tried again at once in smaller ones; a job that failed alone waits longer each time."""
    longest = 8 if len(claims) == 1 else None
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE loans_scoringjob SET state = 'pending', lease_until = NULL, error = %(error)s, due_at = clock_timestamp()"
            " + make_interval(secs => CASE WHEN %(longest)s::int IS NULL THEN 0 ELSE 2 ^ least(attempts, %(longest)s) END)"
            " WHERE id = ANY(%(held)s)",
            {"error": error, "longest": longest, "held": list(_held(claims))},
        )


def give_up_on_exhausted() -> int:
    """Hand to a person what had all its attempts: the job failed, the application needs review. Returns how many."""
    with transaction.atomic():
        jobs = list(
            ScoringJob.objects.due()
            .filter(attempts__gte=settings.SCORING_MAX_ATTEMPTS)
            .select_for_update(skip_locked=True)
            .order_by("pk")[:1000]
        )
        if not jobs:
            return 0
        ScoringJob.objects.filter(pk__in=[job.pk for job in jobs]).update(state=ScoringState.FAILED, finished_at=Now(), lease_until=None)
        LoanApplication.objects.filter(pk__in=[job.application_id for job in jobs], status=Status.RECEIVED).update(
            status=Status.NEEDS_REVIEW
        )
        webhooks.send("application.scored", jobs, status="needs_review")
    logger.error("Gave %d applications to a person after %d attempts to score them.", len(jobs), settings.SCORING_MAX_ATTEMPTS)
    return len(jobs)


def request_score(application: LoanApplication) -> ScoringJob:
    """Ask for a (new) score; the job that is already waiting is returned where there is one. Call inside a transaction."""
    from loans.services.wakeups import wake_scoring

    job, made = ScoringJob.objects.get_or_create(
        application=application, state__in=(ScoringState.PENDING, ScoringState.RUNNING), defaults={"state": ScoringState.PENDING}
    )
    if made:
        transaction.on_commit(wake_scoring)
    return job
