"""The fraud model at work: what it says of applications that are assessed.

Without one, rules alone decide: nothing here is needed for a flag.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.conf import settings

from loans.models import ModelKind, ModelVersion
from loans.queries.frames import schema_in_force, scoring_frame
from loans.queries.fraud_links import Features
from loans.services import registry
from mlcore.fraud.facts import FAMILIES, LABELS, LINK_NAMES
from mlcore.fraud.merge import Judged, Thresholds
from mlcore.schema import Column, Schema

if TYPE_CHECKING:
    import pandas as pd

RISING = ("direct_frauds", "component_frauds", "double_matches", "strongest_match")


def thresholds() -> Thresholds:
    return Thresholds(probability=settings.FRAUD_FLAG_PROBABILITY)


def fraud_schema() -> Schema:
    """What an application says, and what its links say of it."""
    links = [Column(name, "number", LABELS[name], direction=int(name in RISING), family=FAMILIES[name]) for name in LINK_NAMES]
    return schema_in_force().with_columns(links).usable()


def judge(application_ids: Sequence[int], features: dict[int, Features]) -> tuple[ModelVersion | None, dict[int, Judged]]:
    """The serving version and {application id: what it says}; (None, {}) where no fraud model serves.

    Raises `mlcore.artifacts.ArtifactError` where the stored model is not what was written.
    """
    try:
        serving = registry.champion(ModelKind.FRAUD)
    except registry.NoChampion:
        return None, {}
    ids, frame, submitted_at = frame_of(application_ids, serving.model.schema, features)
    return serving.version, dict(zip(ids, serving.model.judge(frame, submitted_at), strict=True))


def frame_of(application_ids: Sequence[int], schema: Schema, features: dict[int, Features]) -> tuple[list[int], pd.DataFrame, pd.Series]:
    """(ids, (n, columns of `schema`), (n,) times): what the applications say beside their link features."""
    import numpy as np

    own = schema.only([name for name in schema.names if name not in LINK_NAMES])
    scoring = scoring_frame(application_ids, own)
    frame = scoring.frame
    for name in LINK_NAMES:
        values = [features[pk][name] for pk in scoring.application_ids]
        frame[name] = np.array([np.nan if value is None else float(value) for value in values], dtype=float)
    return scoring.application_ids, frame[list(schema.names)], scoring.submitted_at
