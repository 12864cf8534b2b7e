"""Model versions: made from a training's result, promoted, and loaded where they serve."""

from __future__ import annotations

import logging
import threading
import uuid
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max
from django.utils import timezone
from django.utils.translation import gettext

from loans.models import ModelAction, ModelEvent, ModelKind, ModelState, ModelVersion, PromotedHow
from loans.services import audit

if TYPE_CHECKING:
    from mlcore.amount.model import AmountModel
    from mlcore.artifacts import Manifest
    from mlcore.fraud.model import FraudDetector
    from mlcore.risk.model import RiskModel
    from mlcore.segments.model import SegmentModel

    AnyModel = RiskModel | AmountModel | SegmentModel | FraudDetector

logger = logging.getLogger(__name__)

CLASSES = {
    ModelKind.DEFAULT_RISK: "mlcore.risk.model:RiskModel",
    ModelKind.LOAN_AMOUNT: "mlcore.amount.model:AmountModel",
    ModelKind.SEGMENTS: "mlcore.segments.model:SegmentModel",
    ModelKind.FRAUD: "mlcore.fraud.model:FraudDetector",
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
    # Its report has some 100 KB that no score needs.
    version = ModelVersion.objects.defer("report").champion(kind)
    if version is None:
        raise NoChampion(f"No {ModelKind(kind).label.lower()} model serves yet; train one with: manage.py train {kind}")
    return Serving(version=version, model=model_of(version))


def model_of(version: ModelVersion) -> AnyModel:
    """The version's model, read once in each process and kept while it serves. Raises as `load` does."""
    model = _loaded.get(version.pk)
    if model is None:
        with _loading:
            model = _loaded.get(version.pk) or load(version)
            # Champion and predecessor (a roll-back is then instant); older ones would only cost memory.
            while len(_loaded) >= 2 * len(CLASSES):
                _loaded.pop(next(iter(_loaded)))
            _loaded[version.pk] = model
    return model


def glimpse(version: ModelVersion) -> AnyModel:
    """The version's model to look at once: not kept, so that a comparison pushes no serving model out of memory."""
    return _loaded.get(version.pk) or load(version)


def load(version: ModelVersion) -> AnyModel:
    """The version's model, read from disk: digest and signature are checked first, then its golden rows are scored anew.

    Raises `mlcore.artifacts.ArtifactError`, of which `mlcore.golden.GoldenDrift` is one.
    """
    from mlcore import artifacts

    state, manifest = artifacts.load(
        Path(settings.ARTIFACTS_DIR) / version.artifact, key=settings.ARTIFACT_KEY, old_keys=settings.OLD_ARTIFACT_KEYS
    )
    if manifest.digest != version.sha256:
        raise artifacts.ArtifactTampered(
            gettext(
                "%(version)s: the artifact %(artifact)s is signed, but it is not the one that was registered. Restore it, or roll back."
            )
            % {"version": version, "artifact": version.artifact}
        )
    module, _, name = CLASSES[ModelKind(version.kind)].partition(":")
    model = getattr(import_module(module), name).from_state(state)
    _check_golden(version, model, state.get("golden"), manifest)
    return model


def _check_golden(version: ModelVersion, model: AnyModel, stored: dict[str, Any] | None, manifest: Manifest) -> None:
    """Whether a library upgrade matters is for the golden rows to say, not for version numbers."""
    from mlcore import golden

    changed = _changed(manifest)
    try:
        if stored is not None:
            golden.check(model, stored, model.schema)
    except Exception as error:  # whatever a changed library raises is a refusal too
        said = (
            str(error)
            if isinstance(error, golden.GoldenDrift)
            else gettext("Scoring its golden rows fails with %(error)s.") % {"error": type(error).__name__}
        )
        since = (
            f"Changed since: {', '.join(changed)}."
            if changed
            else gettext("Neither libraries nor code have changed, so look at the machine.")
        )
        raise golden.GoldenDrift(
            f"{version} is not used: {said} {since} Put back what it was made with, or train anew: manage.py train {version.kind}"
        ) from error
    if changed:
        logger.info("%s answers its golden rows as it did, although these changed: %s", version, ", ".join(changed))


def _changed(manifest: Manifest) -> list[str]:
    from mlcore import artifacts

    now = artifacts.library_versions()
    before = manifest.libraries
    made = [
        f"{name} {before.get(name, 'absent')} → {now.get(name, 'absent')}"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]
    if manifest.code and manifest.code != artifacts.code_digest():
        made.append(f"code {manifest.code} → {artifacts.code_digest()}")
    return made


def register(
    *,
    kind: str,
    model: AnyModel,
    algorithm: str,
    report: dict,
    fingerprint: str,
    synthetic: bool,
    created_by: object | None,
    golden: dict[str, Any] | None = None,
    learned_until: datetime | None = None,
) -> ModelVersion:
    """Store the model and its row. Call inside a transaction: the first of its kind becomes champion, and only one can be first.

    golden: inputs drawn from the training data (`mlcore.golden.draw`); made up from the model's schema where None. learned_until: when the
    latest application that it learned from was made.
    """
    from mlcore import artifacts
    from mlcore import golden as rows

    lock(kind)
    number = (ModelVersion.objects.filter(kind=kind).aggregate(last=Max("version"))["last"] or 0) + 1
    state = model.to_state()
    if hasattr(model, "answers"):
        state |= {"golden": rows.record(model, rows.made_up(model.schema) if golden is None else golden, model.schema)}
    manifest = artifacts.save(
        state,
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
        environment={"libraries": manifest.libraries, "code": manifest.code, "commit": manifest.code_commit or ""},
        learned_until=learned_until,
        synthetic=synthetic,
        created_by=created_by,
    )
    record(version, ModelAction.TRAINED, by=created_by, algorithm=algorithm, sha256=version.sha256)
    if ModelVersion.objects.champion(kind) is None:
        return promote(version, by=created_by, reason=gettext("The first of its kind."), how=PromotedHow.FIRST)
    return version


@transaction.atomic
def promote(version: ModelVersion, *, by: object | None, reason: str, how: str) -> ModelVersion:
    """Make this version champion and retire the one before, in one step. Whether it may is for `services.promotion` to say first.

    Raises NotPromotable, and ArtifactError or OSError where it can't be loaded.
    """
    lock(version.kind)
    version = ModelVersion.objects.select_for_update().get(pk=version.pk)
    if version.is_champion:
        raise NotPromotable(f"{version} serves already.")
    load(version)  # what can't be read, or would predict otherwise, must not serve
    before = ModelVersion.objects.champion(version.kind)
    if before is not None:
        ModelVersion.objects.filter(pk=before.pk).update(state=ModelState.RETIRED)
        record(before, ModelAction.RETIRED, by=by, reason=f"{version} took over.")
    version.shadow_seconds = shadow_seconds(version)
    version.shadow_since = None
    version.state = ModelState.CHAMPION
    version.promoted_at = timezone.now()
    version.promoted_by = by
    version.promotion_reason = reason
    version.promoted_how = how
    if how != PromotedHow.ROLLED_BACK:
        version.predecessor = before
    version.save(
        update_fields=[
            "state", "promoted_at", "promoted_by", "promotion_reason", "promoted_how", "predecessor", "shadow_since", "shadow_seconds"
        ]
    )  # fmt: skip
    action = ModelAction.ROLLED_BACK if how == PromotedHow.ROLLED_BACK else ModelAction.PROMOTED
    record(version, action, by=by, reason=reason, how=how, before=None if before is None else str(before))
    return version


def predecessor(kind: str) -> ModelVersion | None:
    """The version that a roll-back would return to."""
    serving = ModelVersion.objects.defer("report").filter(kind=kind, state=ModelState.CHAMPION).select_related("predecessor").first()
    return serving.predecessor if serving is not None else None


@transaction.atomic
def roll_back(kind: str, *, by: object | None, reason: str) -> ModelVersion:
    """Return to what served before. One person may: it was approved once, and when scores go wrong nobody should wait for a second one.

    Raises NotPromotable where there is nothing to return to, and ArtifactError where the predecessor can't be loaded.
    """
    lock(kind)
    serving = ModelVersion.objects.champion(kind)
    if serving is None or serving.predecessor_id is None:
        raise NotPromotable(gettext("Nothing served before this version, so there is nothing to return to."))
    return promote(serving.predecessor, by=by, reason=reason, how=PromotedHow.ROLLED_BACK)


def shadow_seconds(version: ModelVersion) -> float:
    """How long the version has been in shadow, all spells together."""
    now = 0.0 if version.shadow_since is None else (timezone.now() - version.shadow_since).total_seconds()
    return version.shadow_seconds + max(now, 0.0)


def record(version: ModelVersion, action: str, *, by: object | None, reason: str = "", **facts: Any) -> None:
    """One step in the version's life, in the caller's transaction, and in the audit trail."""
    ModelEvent.objects.create(version=version, action=action, actor=by, reason=reason[:300], facts=facts)
    told = {"kind": version.kind, "version": version.version, "sha256": version.sha256} | facts
    audit.record(f"model.{action}", actor=by, subject=version, **told)


def lock(kind: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"loandesk.model.{kind}"])
