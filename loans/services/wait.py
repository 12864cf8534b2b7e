"""A score within the request that submitted the application."""

from __future__ import annotations

import logging
import time

from loans.models import Prediction, ScoringJob, ScoringState
from loans.services import scoring

logger = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 0.02


def score_within(job_id: int, *, seconds: float) -> Prediction | None:
    """Score the job here and now. Where a worker was quicker to claim it, wait for that worker, at most so many seconds.

    None where there is no score yet: no model serves, scoring failed, or time ran out. The job then stays due, and nothing is lost.
    Raises nothing for a failure of scoring: the application is stored by now, and its sender must learn so.
    """
    try:
        scoring.score_now(job_id)
    except Exception as error:
        logger.warning("Scoring job %s at once failed: %s; it stays due.", job_id, type(error).__name__)
    deadline = time.monotonic() + seconds
    while True:
        state = ScoringJob.objects.values_list("state", flat=True).get(pk=job_id)
        if state == ScoringState.DONE:
            return Prediction.objects.filter(scoring_job_id=job_id, shadow=False).select_related("model_version").first()
        if state != ScoringState.RUNNING or time.monotonic() > deadline:
            return None
        time.sleep(LOOK_AGAIN_SECONDS)
