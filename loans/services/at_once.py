"""An application that is scored within the request that submits it: checked, scored in memory, and written with its score by one statement.

The result is the one that a worker would store, from the same model, policy and words. What a score does not need is left to others: the
sweeper assesses fraud, and scores for a model in shadow, at its next look. Where a score can't be had (no model serves, or it fails), the
application is stored with its pending job like any other: its sender must learn that it was received. So is one that took the process of
an earlier request down (`suspects`).
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import transaction

from loans.models import AmountEstimate, ModelKind, Prediction, SegmentAssignment, Status
from loans.queries.frames import as_plain, facts_of_one, row_of
from loans.queries.in_force import InForce, in_force
from loans.services import amounts, fraud, intake, policy, reasons, registry, segments, suspects, valid_scores, webhooks

if TYPE_CHECKING:
    from mlcore.risk.model import OneScore

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Received:
    """intake.Received, with what was said of the application; None where there is no score yet."""

    application: Any
    job: Any
    prediction: Prediction | None = None
    amount: AmountEstimate | None = None
    segment: SegmentAssignment | None = None


def submit(fields: dict[str, Any], *, submitted_by: Any, assess: bool = False) -> Received:
    """Store one application and its score. As `intake.submit`, whose exceptions it raises. assess: for fraud as well, here and now."""
    digest = suspects.digest_of(fields)
    now = in_force()
    ready = intake.prepare(
        fields, submitted_by=submitted_by, known=intake.Known(now.products, now.attributes, intake.Moulds.for_one(submitted_by))
    )
    if suspects.suspected(digest):
        logger.warning("An application took its process down when it was scored at once: it is left to the workers.")
        received = intake.store(ready)
        return Received(received.application, received.job)
    with suspects.noted(digest):
        return _scored_and_stored(ready, now, assess=assess)


def _scored_and_stored(ready: intake.Ready, now: InForce, *, assess: bool) -> Received:
    try:
        scored = _score(ready.application, now)
    except Exception as error:
        # Any failure at all. The text may hold a value of somebody's.
        logger.warning("Scoring an application at once failed: %s; it stays due.", type(error).__name__)
        scored = None
    if scored is None:
        received = intake.store(ready)
        return Received(received.application, received.job)
    prediction, snapshot = scored
    ready.application.status = Status.OPEN
    ready.application.default_probability, ready.application.grade = prediction.probability, prediction.grade
    others = assess or now.webhooks or ModelKind.LOAN_AMOUNT in now.champions or ModelKind.SEGMENTS in now.champions
    if not others:
        received = intake.store(ready, prediction, snapshot)
        return Received(received.application, received.job, prediction)
    with transaction.atomic():
        received = intake.store(ready, prediction, snapshot)
        amount, segment = _further(received)
        webhooks.send("application.scored", prediction, status="scored")
        if assess:
            fraud.link_quietly()
            fraud.assess_quietly([received.application.pk])
    return Received(received.application, received.job, prediction, amount, segment)


def _score(application: Any, now: InForce) -> tuple[Prediction, dict[str, Any]] | None:
    """(unsaved prediction, feature snapshot); None where no model serves."""
    version = now.champion
    if version is None:
        return None
    model = registry.model_of(version)
    row = row_of(application, model.schema)
    plain = as_plain(row)
    one = model.score_one(row, application.submitted_at)
    _check(one)
    terms = policy.of(now.policy, now.rules)
    advised = terms.advise(one.probability, facts_of_one(application))
    grade, points = model.grade_one(one.probability), model.points_one(one.log_odds)
    said = {
        "kind": ModelKind.DEFAULT_RISK,
        "probability": one.probability,
        "log_odds": one.log_odds,
        "baseline": one.baseline,
        "baseline_kind": model.baseline.kind,
        "grade": grade,
        "points": points,
        "contributions": dict(zip(model.schema.names, one.contributions, strict=True)),
        "reasons": reasons.for_one(model, one, plain, now.attributes.values()),
        "advice": advised.advice,
        "knock_outs": advised.knock_outs,
        "policy_id": terms.policy.pk,
    }
    prediction = intake.mould(Prediction)(said, {"model_version": version})
    return prediction, plain


def _check(one: OneScore) -> None:
    """`valid_scores.check` for a single score."""
    if not (math.isfinite(one.probability) and math.isfinite(one.log_odds) and all(map(math.isfinite, one.contributions))):
        raise valid_scores.InvalidScore("The model answered with a number that is not finite.")
    if not 0 <= one.probability <= 1:
        raise valid_scores.InvalidScore("The model answered with a probability outside 0 to 1.")
    gap = abs(one.baseline + sum(one.contributions) - one.log_odds)
    if not gap <= valid_scores.ADDITIVITY:
        raise valid_scores.InvalidScore(f"Contributions miss the score by {gap:.2g}; at most {valid_scores.ADDITIVITY:g} is allowed.")


def _further(received: intake.Received) -> tuple[AmountEstimate | None, SegmentAssignment | None]:
    """The amount range and the segment, where models of these kinds serve."""
    jobs = {received.application.pk: received.job.pk}
    ranges, groups = amounts.estimates_quietly(jobs), segments.assignments_quietly(jobs)
    AmountEstimate.objects.bulk_create(ranges)
    segments.store(groups)
    return (ranges or [None])[0], (groups or [None])[0]
