"""The fitted part of fraud detection: anomaly and, from enough confirmed cases on, the supervised model; trained, stored, served together.

Without either, rules alone decide: nothing here is needed for a flag.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max

from loans.models import ApplicationLink, FraudLabel, FraudModelVersion, LoanApplication
from loans.queries.frames import schema_in_force, scoring_frame
from loans.queries.fraud_links import Features, link_features, link_table
from mlcore.fraud.facts import FAMILIES, LABELS, LINK_NAMES
from mlcore.fraud.merge import Thresholds
from mlcore.progress import Progress, part, silent
from mlcore.schema import Column, Schema

if TYPE_CHECKING:
    import pandas as pd

    from mlcore.fraud.anomaly import Anomaly
    from mlcore.fraud.supervised import FraudModel

USUAL_ROWS = 20_000
"""The latest applications, from which what is usual is learned."""
BULK_LINKS = 3_000_000
"""Up to so many links the bulk computation reads them all (100 bytes each); beyond, each application is looked up by itself."""
BATCH = 500
RISING = ("direct_frauds", "component_frauds", "double_matches", "strongest_match")


class NothingToLearn(Exception):
    """There is too little to fit anything on; the message says what there is."""


@dataclass(frozen=True)
class Judged:
    """What the models say of one application; None and empty where there is no model."""

    unusual: float | None = None
    odd: list[str] = field(default_factory=list)
    probability: float | None = None
    drivers: list[tuple[str, float]] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    version: FraudModelVersion | None = None


@dataclass(frozen=True)
class _Loaded:
    anomaly: Anomaly | None
    supervised: FraudModel | None


_loaded: dict[int, _Loaded] = {}
_loading = threading.Lock()


def thresholds() -> Thresholds:
    return Thresholds(probability=settings.FRAUD_FLAG_PROBABILITY)


def fraud_schema() -> Schema:
    """What an application says, and what its links say of it."""
    links = [Column(name, "number", LABELS[name], direction=int(name in RISING), family=FAMILIES[name]) for name in LINK_NAMES]
    return schema_in_force().with_columns(links).usable()


def judge(application_ids: Sequence[int], features: dict[int, Features]) -> dict[int, Judged]:
    version = FraudModelVersion.objects.filter(serving=True).defer("report").first()
    if version is None:
        return {pk: Judged() for pk in application_ids}
    import numpy as np

    loaded = _load(version)
    schema = (loaded.supervised or loaded.anomaly).schema
    ids, frame, submitted_at = _frame(application_ids, schema, features)
    labels = {column.name: column.title for column in schema}
    made = {}
    odd = loaded.anomaly.score(frame) if loaded.anomaly else None
    probability = loaded.supervised.probability(frame, submitted_at) if loaded.supervised else None
    parts = loaded.supervised.contributions(frame, submitted_at) if loaded.supervised else None
    for row, pk in enumerate(ids):
        drivers = [] if parts is None else [(schema.names[at], float(parts[row, at])) for at in np.argsort(-parts[row])[:3]]
        made[pk] = Judged(
            unusual=None if odd is None else float(odd.unusual[row]),
            odd=[] if odd is None else odd.strongest(row),
            probability=None if probability is None else float(probability[row]),
            drivers=drivers,
            labels=labels,
            version=version,
        )
    return made


def _frame(application_ids: Sequence[int], schema: Schema, features: dict[int, Features]) -> tuple[list[int], pd.DataFrame, pd.Series]:
    import numpy as np

    own = schema.only([name for name in schema.names if name not in LINK_NAMES])
    scoring = scoring_frame(application_ids, own)
    frame = scoring.frame
    for name in LINK_NAMES:
        values = [features[pk][name] for pk in scoring.application_ids]
        frame[name] = np.array([np.nan if value is None else float(value) for value in values], dtype=float)
    return scoring.application_ids, frame[list(schema.names)], scoring.submitted_at


def _load(version: FraudModelVersion) -> _Loaded:
    found = _loaded.get(version.pk)
    if found is None:
        from mlcore import artifacts
        from mlcore.fraud.anomaly import Anomaly
        from mlcore.fraud.supervised import FraudModel

        with _loading:
            state, manifest = artifacts.load(Path(settings.ARTIFACTS_DIR) / version.artifact, key=settings.ARTIFACT_KEY)
            if manifest.digest != version.sha256:
                raise artifacts.ArtifactTampered(f"{version}: {version.artifact} is signed, but it is not the one that was registered.")
            found = _Loaded(
                Anomaly.from_state(state["anomaly"]) if state["anomaly"] else None,
                FraudModel.from_state(state["supervised"]) if state["supervised"] else None,
            )
            _loaded.clear()
            _loaded[version.pk] = found
    return found


def train(*, seed: int = 0, progress: Progress = silent) -> FraudModelVersion:
    """Fit both on what is known now, store them, and let them serve. What can't be fitted is left out, and the report says why.

    Raises NothingToLearn where neither can be.
    """
    from mlcore.fraud import supervised
    from mlcore.fraud.anomaly import Anomaly, TooLittle
    from mlcore.risk.base import FitError

    schema = fraud_schema()
    labels = _labels()
    progress(0.0, "Reading applications")
    usual = list(LoanApplication.objects.order_by("-submitted_at", "-pk").values_list("pk", flat=True)[:USUAL_ROWS])
    wanted = sorted({*usual, *labels})
    features = _features_of(wanted, part(progress, 0.05, 0.4))
    ids, frame, submitted_at = _frame(wanted, schema, features)
    report: dict[str, Any] = {"applications": len(usual), "labels": len(labels), "warnings": []}
    place = {pk: row for row, pk in enumerate(ids)}
    anomaly = model = None
    progress(0.4, "Learning what is usual")
    try:
        anomaly = Anomaly.fit(frame.iloc[[place[pk] for pk in usual if pk in place]].reset_index(drop=True), schema, seed=seed)
    except TooLittle as error:
        report["warnings"].append(str(error))
    progress(0.5, "Learning from confirmed cases")
    known = [pk for pk in ids if pk in labels]
    rows = [place[pk] for pk in known]
    try:
        import numpy as np

        model = supervised.fit(
            frame.iloc[rows].reset_index(drop=True),
            np.array([labels[pk][0] for pk in known], dtype=np.int8),
            schema,
            submitted_at=submitted_at.iloc[rows].reset_index(drop=True),
            weight=np.array([labels[pk][1] for pk in known], dtype=float),
            seed=seed,
            progress=part(progress, 0.5, 0.95),
        )
        report["supervised"] = model.report
    except (supervised.TooFewCases, FitError) as error:
        report["warnings"].append(str(error))
    if anomaly is None and model is None:
        raise NothingToLearn(" ".join(report["warnings"]))
    progress(0.97, "Storing the model")
    synthetic = LoanApplication.objects.filter(pk__in=wanted[:1000], synthetic=True).exists()
    return _register(anomaly, model, report, synthetic)


def _labels() -> dict[int, tuple[bool, float]]:
    """{application: (fraud, how many it stands for)} of the standing findings that are ripe. One of the sample stands for all unflagged."""
    from django.utils import timezone

    share = max(settings.FRAUD_SAMPLE_SHARE, 1e-3)
    ripe = FraudLabel.objects.filter(withdrawn_at__isnull=True, learn_from__lte=timezone.now())
    return {pk: (fraud, 1 / share if sampled else 1.0) for pk, fraud, sampled in ripe.values_list("application_id", "fraud", "sampled")}


def _features_of(wanted: list[int], progress: Progress) -> dict[int, Features]:
    if ApplicationLink.objects.count() <= BULK_LINKS:
        return _bulk(wanted)
    made: dict[int, Features] = {}
    for start in range(0, len(wanted), BATCH):
        made |= link_features(wanted[start : start + BATCH])
        progress((start + BATCH) / len(wanted), f"{min(start + BATCH, len(wanted)):,} of {len(wanted):,} applications linked")
    return made


def _bulk(wanted: list[int]) -> dict[int, Features]:
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


def _register(anomaly: Anomaly | None, model: FraudModel | None, report: dict[str, Any], synthetic: bool) -> FraudModelVersion:
    from mlcore import artifacts

    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('loandesk.model.fraud'))")
        number = (FraudModelVersion.objects.aggregate(last=Max("version"))["last"] or 0) + 1
        manifest = artifacts.save(
            {"anomaly": anomaly.to_state() if anomaly else None, "supervised": model.to_state() if model else None},
            Path(settings.ARTIFACTS_DIR),
            kind="fraud",
            name=f"fraud-{number}-{uuid.uuid4().hex[:8]}",
            key=settings.ARTIFACT_KEY,
            meta={"version": number, "synthetic": synthetic},
        )
        FraudModelVersion.objects.filter(serving=True).update(serving=False)
        return FraudModelVersion.objects.create(
            version=number,
            serving=True,
            artifact=manifest.path.name,
            sha256=manifest.digest,
            report=report,
            synthetic=synthetic,
        )
