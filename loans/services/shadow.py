"""A challenger in shadow: it scores what the champion scores, is watched, and decides nothing.

Its predictions are rows with `shadow` set and no advice. Nothing that an officer, a client, a policy or a frame reads shows them, and the
database refuses a decision that rests on one. Whatever goes wrong with them costs no score.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db import DatabaseError, transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext

from loans.models import ModelAction, ModelKind, ModelState, ModelVersion, Prediction
from loans.queries.frames import scoring_frame
from loans.services import reasons, registry
from loans.services.valid_scores import check

logger = logging.getLogger(__name__)

KINDS = (ModelKind.DEFAULT_RISK,)
"""Of these a version in shadow scores; the others have no score that a decision rests on."""
STARTS_FROM = (ModelState.CANDIDATE, ModelState.CHALLENGER, ModelState.RETIRED)


class NotShadowable(registry.NotPromotable):
    """This version can not go into shadow, or is not there."""


@transaction.atomic
def start(version: ModelVersion, *, by: object | None, reason: str) -> ModelVersion:
    """Put a version into shadow. Raises NotShadowable, and ArtifactError where it can't be loaded."""
    registry.lock(version.kind)
    version = ModelVersion.objects.select_for_update().get(pk=version.pk)
    if version.kind not in KINDS:
        raise NotShadowable(gettext("Only default-risk models run in shadow; %(version)s is checked without.") % {"version": version})
    if version.state not in STARTS_FROM:
        raise NotShadowable(
            gettext("%(version)s is %(lower)s and can't go into shadow.")
            % {"version": version, "lower": version.get_state_display().lower()}
        )
    running = ModelVersion.objects.shadow(version.kind)
    if running is not None:
        raise NotShadowable(gettext("%(running)s is in shadow; one at a time. Stop it first.") % {"running": running})
    registry.load(version)
    version.state, version.shadow_since = ModelState.SHADOW, timezone.now()
    version.save(update_fields=["state", "shadow_since"])
    registry.record(version, ModelAction.SHADOW_STARTED, by=by, reason=reason)
    return version


@transaction.atomic
def stop(version: ModelVersion, *, by: object | None, reason: str) -> ModelVersion:
    """Take a version out of shadow; its time there stays counted, and its scores stay for comparison."""
    registry.lock(version.kind)
    version = ModelVersion.objects.select_for_update().get(pk=version.pk)
    if version.state != ModelState.SHADOW:
        raise NotShadowable(gettext("%(version)s is not in shadow.") % {"version": version})
    version.shadow_seconds, version.shadow_since = registry.shadow_seconds(version), None
    version.state = ModelState.CHALLENGER
    version.save(update_fields=["state", "shadow_since", "shadow_seconds"])
    registry.record(version, ModelAction.SHADOW_STOPPED, by=by, reason=reason)
    return version


def time_in(version: ModelVersion) -> timedelta:
    return timedelta(seconds=registry.shadow_seconds(version))


def predictions_quietly(jobs: dict[int, int], *, kind: str = ModelKind.DEFAULT_RISK) -> list[Prediction]:
    """`predictions`, or none where the shadow fails."""
    try:
        return predictions(jobs, kind=kind)
    except DatabaseError:
        raise  # the scoring around it can't go on either
    except Exception as error:
        logger.error("The shadow scored none of %d applications: %s", len(jobs), type(error).__name__)
        return []


def predictions(jobs: dict[int, int], *, kind: str = ModelKind.DEFAULT_RISK) -> list[Prediction]:
    """Unsaved shadow predictions for {application id: scoring job id}; none where no version is in shadow. Advice is never given."""
    version = ModelVersion.objects.defer("report").shadow(kind) if jobs else None
    if version is None:
        return []
    model = registry.model_of(version)
    features = scoring_frame(list(jobs), model.schema)
    scores = model.score(features.frame, features.submitted_at)
    check(scores)
    grades, points = model.grade(scores.probability), model.points(scores.log_odds)
    found = reasons.for_scores(model, scores, features.frame)
    return [
        Prediction(
            application_id=application_id,
            scoring_job_id=jobs[application_id],
            model_version_id=version.pk,
            kind=kind,
            probability=float(scores.probability[row]),
            log_odds=float(scores.log_odds[row]),
            baseline=float(scores.baseline),
            grade=str(grades[row]),
            points=int(points[row]),
            contributions=dict(zip(scores.features, scores.contributions[row].tolist(), strict=True)),
            reasons=found[row],
            shadow=True,
        )
        for row, application_id in enumerate(features.application_ids)
    ]


def store_quietly(rows: list[Prediction]) -> None:
    """Write them behind a savepoint inside the scoring transaction: what the database refuses here costs no score."""
    if not rows:
        return
    try:
        with transaction.atomic():
            Prediction.objects.bulk_create(rows)
    except Exception as error:
        logger.error("The shadow's %d scores were not kept: %s", len(rows), type(error).__name__)


CATCH_UP = 500
CATCH_UP_AFTER = timedelta(seconds=20)
"""A batch that is being stored has its shadow's scores a moment later; after this it will not get them any more by itself."""
_seen: dict[int, int] = {}


def catch_up(*, kind: str = ModelKind.DEFAULT_RISK) -> int:
    """For the sweeper: what was scored without the shadow (one at once, in bulk, or on a second try) since it began. Returns how many.

    Each process goes through the scores once, in order: what the shadow fails on is not tried again at every look.
    """
    version = ModelVersion.objects.defer("report").shadow(kind)
    if version is None:
        return 0
    mine = Prediction.objects.filter(scoring_job=OuterRef("scoring_job"), model_version=version)
    found = list(
        Prediction.objects.filter(
            kind=kind, shadow=False, pk__gt=_seen.get(version.pk, 0), created_at__gte=version.shadow_since,
            created_at__lt=Now() - CATCH_UP_AFTER,
        )
        .order_by("pk")
        .annotate(done=Exists(mine))
        .values_list("pk", "application_id", "scoring_job_id", "done")[:CATCH_UP]
    )  # fmt: skip
    if not found:
        return 0
    _seen.clear()
    _seen[version.pk] = found[-1][0]
    rows = predictions_quietly({application: job for _, application, job, done in found if not done}, kind=kind)
    store_quietly(rows)
    return len(rows)
