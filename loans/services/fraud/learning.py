"""What the fraud model is learned from: applications for what is usual, ripe findings for what fraud looks like."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext

from loans.models import ApplicationLink, FraudLabel, LoanApplication
from loans.queries.frames import facts_of
from loans.queries.fraud_links import Features, link_features, link_table
from loans.services.fraud import links
from loans.services.fraud.assessment import rules_in_force
from loans.services.fraud.model import frame_of, fraud_schema
from mlcore.fraud.facts import LINK_NAMES
from mlcore.fraud.rules import Trace, trace_all
from mlcore.progress import Progress, part

if TYPE_CHECKING:
    from mlcore.fraud.train import FraudResult, Material

USUAL_ROWS = 20_000
"""The latest applications, from which what is usual is learned."""
BULK_LINKS = 3_000_000
"""Up to so many links the bulk computation reads them all (100 bytes each); beyond, each application is looked up by itself."""
BATCH = 500


@dataclass(frozen=True)
class Learned:
    result: FraudResult
    material: Material
    fingerprint: str
    synthetic: bool


def enough_to_learn() -> bool:
    """Whether a training would end with a model; for a schedule that is not to fail every week in a new installation."""
    from mlcore.fraud.anomaly import LEAST_ROWS

    return LoanApplication.objects.order_by()[:LEAST_ROWS].count() >= LEAST_ROWS


def fit(*, seed: int, progress: Progress) -> Learned:
    """Learn from what is known now. Raises `mlcore.fraud.train.NothingToLearn`."""
    from mlcore.fraud.train import train_fraud

    progress(0.0, gettext("Linking applications"))
    while links.link_waiting():
        pass
    ids, material = _material(part(progress, 0.02, 0.4))
    result = train_fraud(material, capacity=settings.FRAUD_DAILY_CAPACITY, seed=seed, progress=part(progress, 0.4, 1.0))
    return Learned(
        result=result,
        material=material,
        fingerprint=hashlib.sha256(" ".join(map(str, ids)).encode()).hexdigest(),
        synthetic=LoanApplication.objects.filter(pk__in=ids[:1000], synthetic=True).exists(),
    )


def _material(progress: Progress) -> tuple[list[int], Material]:
    import numpy as np

    from mlcore.fraud.train import Material

    schema, labels = fraud_schema(), ripe_labels()
    usual = set(LoanApplication.objects.order_by("-submitted_at", "-pk").values_list("pk", flat=True)[:USUAL_ROWS])
    wanted = sorted({*usual, *labels})
    features = _features_of(wanted, part(progress, 0.0, 0.8))
    progress(0.8, gettext("Reading applications"))
    ids, frame, submitted_at = frame_of(wanted, schema, features)
    traces = _traces([pk for pk in ids if pk in labels], features)
    material = Material(
        frame=frame,
        schema=schema,
        submitted_at=submitted_at,
        usual=np.array([pk in usual for pk in ids], dtype=bool),
        fraud=np.array([float(labels[pk][0]) if pk in labels else np.nan for pk in ids], dtype=float),
        weight=np.array([labels[pk][1] if pk in labels else 1.0 for pk in ids], dtype=float),
        amount=frame["amount"].to_numpy(dtype=float),
        traces={row: traces[pk] for row, pk in enumerate(ids) if pk in traces},
    )
    return ids, material


def ripe_labels() -> dict[int, tuple[bool, float]]:
    """{application: (fraud, how many it stands for)} of the standing findings that are ripe. One of the sample stands for all unflagged."""
    share = max(settings.FRAUD_SAMPLE_SHARE, 1e-3)
    ripe = FraudLabel.objects.filter(withdrawn_at__isnull=True, learn_from__lte=timezone.now())
    return {pk: (fraud, 1 / share if sampled else 1.0) for pk, fraud, sampled in ripe.values_list("application_id", "fraud", "sampled")}


def _traces(application_ids: list[int], features: dict[int, Features]) -> dict[int, list[Trace]]:
    """What today's rules make of each: the yardstick for what is learned, which has to beat the rules that would do without it."""
    rules, made = rules_in_force(), {}
    for start in range(0, len(application_ids), BATCH):
        batch = application_ids[start : start + BATCH]
        facts = facts_of(batch)
        made |= {pk: trace_all(rules, facts[pk] | features[pk]) for pk in batch}
    return made


def _features_of(wanted: list[int], progress: Progress) -> dict[int, Features]:
    if ApplicationLink.objects.count() <= BULK_LINKS:
        return _bulk(wanted)
    made: dict[int, Features] = {}
    for start in range(0, len(wanted), BATCH):
        made |= link_features(wanted[start : start + BATCH])
        progress(
            (start + BATCH) / len(wanted),
            gettext("%(min)s of %(wanted)s applications linked")
            % {"min": f"{min(start + BATCH, len(wanted)):,}", "wanted": f"{len(wanted):,}"},
        )
    return made


def _bulk(wanted: list[int]) -> dict[int, Any]:
    import numpy as np
    import pandas as pd

    from mlcore.fraud.links import link_features as in_bulk

    rows = list(LoanApplication.objects.order_by("pk").values_list("pk", "submitted_at"))
    times = pd.Series(pd.to_datetime([at for _, at in rows], utc=True), index=[pk for pk, _ in rows])
    table = link_table(times)
    frame = in_bulk(table.at, table.identifiers, table.frauds).frame
    place = {pk: row for row, pk in enumerate(table.application_ids)}
    values = frame.to_numpy()[[place[pk] for pk in wanted]]
    return {
        pk: {name: None if np.isnan(value) else float(value) for name, value in zip(LINK_NAMES, row, strict=True)}
        for pk, row in zip(wanted, values, strict=True)
    }
