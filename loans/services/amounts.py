"""The amount model at work: a range for each application that is scored, where an amount model serves."""

from __future__ import annotations

import logging
import math
from decimal import Decimal

from django.db import DatabaseError

from loans.models import AmountEstimate, ModelKind
from loans.queries.frames import scoring_frame
from loans.services import registry

logger = logging.getLogger(__name__)

LARGEST = Decimal("999999999999.99")


def estimates_quietly(jobs: dict[int, int]) -> list[AmountEstimate]:
    """`estimates`, or none where the amount model fails: an officer can decide without a range, but not without a score."""
    try:
        return estimates(jobs)
    except DatabaseError:
        raise  # the scoring around it can't go on either
    except Exception as error:
        logger.error("No amounts for %d applications: %s", len(jobs), type(error).__name__)
        return []


def estimates(jobs: dict[int, int]) -> list[AmountEstimate]:
    """Unsaved estimates for {application id: scoring job id}; none where no amount model serves."""
    try:
        serving = registry.champion(ModelKind.LOAN_AMOUNT)
    except registry.NoChampion:
        return []
    features = scoring_frame(list(jobs), serving.model.encoder.schema)
    found = serving.model.suggest(features.frame, features.submitted_at)
    made = []
    for row, application_id in enumerate(features.application_ids):
        low, middle, high = (_money(values[row]) for values in (found.low, found.middle, found.high))
        if low is None or middle is None or high is None:
            continue
        made.append(
            AmountEstimate(
                application_id=application_id,
                scoring_job_id=jobs[application_id],
                model_version=serving.version,
                low=low,
                middle=middle,
                high=high,
                cap=_money(found.cap[row]),
                capped=bool(found.capped[row]),
            )
        )
    return made


def _money(value: float) -> Decimal | None:
    """Whole units: cents would promise a precision that a quantile of past loans does not have."""
    return min(Decimal(round(float(value))), LARGEST) if math.isfinite(value) else None
