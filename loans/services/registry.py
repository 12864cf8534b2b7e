"""Model versions: made from a training's result, promoted, and loaded where they serve."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max
from django.utils import timezone

from loans.models import ModelKind, ModelState, ModelVersion

if TYPE_CHECKING:
    from mlcore.amount.model import AmountModel
    from mlcore.risk.model import RiskModel
    from mlcore.segments.model import SegmentModel

    AnyModel = RiskModel | AmountModel | SegmentModel

CLASSES = {
    ModelKind.DEFAULT_RISK: "mlcore.risk.model:RiskModel",
    ModelKind.LOAN_AMOUNT: "mlcore.amount.model:AmountModel",
    ModelKind.SEGMENTS: "mlcore.segments.model:SegmentModel",
}
"""Kind → "module:class" with `to_state` and `from_state`. Imported when first needed: scikit-learn takes seconds to load."""


class NoChampion(Exception):
    """No model of this kind serves yet."""


class NotPromotable(Exception):
    """This version can not become champion."""


@dataclass(frozen=True)
class Serving:
    """A model that is loaded, and the row that it came from."""

    version: ModelVersion
    model: Any


_loaded: dict[int, Any] = {}
_loading = threading.Lock()


def champion(kind: str = ModelKind.DEFAULT_RISK) -> Serving:
    """The serving model. One indexed query each time, so every process follows a promotion at once; the artifact is read once.

    Raises NoChampion, or `mlcore.artifacts.ArtifactError` where the stored artifact is not what was written.
    """
    version = ModelVersion.objects.champion(kind)
    if version is None:
        raise NoChampion(f"No {ModelKind(kind).label.lower()} model serves yet; train one with: manage.py train {kind}")
    return Serving(version=version, model=_model_of(version))


def _model_of(version: ModelVersion) -> AnyModel:
    model = _loaded.get(version.pk)
    if model is None:
        with _loading:
            model = _loaded.get(version.pk) or load(version)
            # Champion and predecessor (a roll-back is then instant); older ones would only cost memory.
            while len(_loaded) >= 2 * len(CLASSES):
                _loaded.pop(next(iter(_loaded)))
            _loaded[version.pk] = model
    return model


def load(version: ModelVersion) -> AnyModel:
    """The version's model, read from disk with its digest and signature checked first."""
    from mlcore import artifacts

    state, manifest = artifacts.load(Path(settings.ARTIFACTS_DIR) / version.artifact, key=settings.ARTIFACT_KEY)
    if manifest.digest != version.sha256:
        raise artifacts.ArtifactTampered(
            f"{version}: the artifact {version.artifact} is signed, but it is not the one that was registered. Restore it, or roll back."
        )
    module, _, name = CLASSES[ModelKind(version.kind)].partition(":")
    return getattr(import_module(module), name).from_state(state)


def register(
    *, kind: str, model: AnyModel, algorithm: str, report: dict, fingerprint: str, synthetic: bool, created_by: object | None
) -> ModelVersion:
    """Store the model and its row. Call inside a transaction: the first of its kind becomes champion, and only one can be first."""
    from mlcore import artifacts

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"loandesk.model.{kind}"])
    number = (ModelVersion.objects.filter(kind=kind).aggregate(last=Max("version"))["last"] or 0) + 1
    manifest = artifacts.save(
        model.to_state(),
        Path(settings.ARTIFACTS_DIR),
        kind=kind,
        # Never a name that was used before: a training that was rolled back may have left its file.
        name=f"{kind}-{number}-{uuid.uuid4().hex[:8]}",
        key=settings.ARTIFACT_KEY,
        meta={"version": number, "algorithm": algorithm, "data_fingerprint": fingerprint, "synthetic": synthetic},
    )
    version = ModelVersion.objects.create(
        kind=kind,
        version=number,
        algorithm=algorithm,
        artifact=manifest.path.name,
        sha256=manifest.digest,
        report=report,
        data_fingerprint=fingerprint,
        synthetic=synthetic,
        created_by=created_by,
    )
    if ModelVersion.objects.champion(kind) is None:
        return promote(version, by=created_by, reason="The first of its kind.")
    return version


@transaction.atomic
def promote(version: ModelVersion, *, by: object | None, reason: str) -> ModelVersion:
    """Make this version champion and retire the one before, in one step."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"loandesk.model.{version.kind}"])
    version = ModelVersion.objects.select_for_update().get(pk=version.pk)
    if version.is_champion:
        raise NotPromotable(f"{version} serves already.")
    load(version)  # what can't be read must not serve
    ModelVersion.objects.filter(kind=version.kind, state=ModelState.CHAMPION).update(state=ModelState.RETIRED)
    version.state = ModelState.CHAMPION
    version.promoted_at = timezone.now()
    version.promoted_by = by
    version.promotion_reason = reason
    version.save(update_fields=["state", "promoted_at", "promoted_by", "promotion_reason"])
    return version
