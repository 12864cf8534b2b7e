"""How the groups of the serving version fare: default rates and value grow with the outcomes that come in after its training."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from django.utils import timezone

from loans.models import ModelKind, ModelVersion, SegmentFollowUp
from loans.queries.report import dig
from loans.queries.segments import everybody
from loans.services import policy, registry

logger = logging.getLogger(__name__)


def follow_up() -> SegmentFollowUp | None:
    """Work it out anew from the newest applications; None where no groups serve. Raises what loading the serving version raises."""
    try:
        serving = registry.champion(ModelKind.SEGMENTS)
    except registry.NoChampion:
        return None
    model = serving.model
    if not len(model):
        return None
    import numpy as np

    from mlcore import splits
    from mlcore.metrics import rounded
    from mlcore.segments import evaluate

    now, since = timezone.now(), judged_since(serving.version)
    everyone = everybody(model.schema)
    labels = model.positions(everyone.frame, everyone.submitted_at)
    late = splits.as_utc(everyone.submitted_at) >= np.datetime64(since.astimezone(UTC).replace(tzinfo=None))
    amount = everyone.frame["amount"].to_numpy(dtype=float)[late] if "amount" in everyone.frame else None
    later = evaluate.later(labels[late], len(model), everyone.default[late], amount, policy.profit_terms())
    data = {"later": later, "share_over_time": evaluate.over_time(labels, len(model), everyone.submitted_at)}
    made, _ = SegmentFollowUp.objects.update_or_create(
        model_version=serving.version, defaults={"as_of": now, "since": since, "data": rounded(data)}
    )
    logger.info("%s followed up on %d later applications", serving.version, int(late.sum()))
    return made


def judged_since(version: ModelVersion) -> datetime:
    """From when on applications had no part in the fit; where all of them had (there were too few to keep some back), those after it."""
    cut = dig(version.report, "split", "cut")
    if isinstance(cut, str):
        return datetime.fromisoformat(cut).replace(tzinfo=UTC)
    return version.learned_until or version.created_at
