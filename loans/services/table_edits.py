"""Edits of a model's tables: proposed with their effect in view, decided by a second person, and made into a version of their own."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models.functions import Now
from django.utils.dateparse import parse_date
from django.utils.translation import gettext

from loans.models import EditState, ModelVersion, Prediction, TableEdit
from loans.queries.frames import outcome_frame, scoring_frame
from loans.services import audit, model_tables, policy, registry, training_rows

if TYPE_CHECKING:
    import pandas as pd

    from mlcore.risk.base import Dataset
    from mlcore.risk.model import RiskModel

PROPOSES = "loans.add_tableedit"
DECIDES = "loans.promote_modelversion"
MOST_JUDGED = 20_000
"""Loans with an outcome, the latest ones, that an effect is measured on: two seconds."""
MOST_APPLICANTS = 5_000
MOST_CELLS = 1_000


class EditRefused(Exception):
    """This can't be proposed or decided; the message says why and what to do."""


@dataclass(frozen=True)
class Wanted:
    """One cell. features: one or two positions in the model's encoder. codes: its place in their table. value: log-odds."""

    features: tuple[int, ...]
    codes: tuple[int, ...]
    value: float


def propose(base: ModelVersion, wanted: Sequence[Wanted], *, reason: str, keep_level: bool, by: Any) -> TableEdit:
    """Work out what the edit does, and keep it for a second person to decide on.

    Raises EditRefused, PermissionDenied, `model_tables.NoTables`, and ArtifactError or OSError where the artifact can't be read.
    """
    if not by.has_perm(PROPOSES):
        raise PermissionDenied(gettext("Proposing an edit needs the permission to."))
    _check_reason(reason)
    if not model_tables.has_tables(base):
        raise model_tables.NoTables(gettext("%(base)s is no sum of tables.") % {"base": base})
    if not 0 < len(wanted) <= MOST_CELLS:
        raise EditRefused(
            gettext("An edit changes between 1 and %(most_cells)s cells, not %(wanted)s.")
            % {"most_cells": f"{MOST_CELLS:,}", "wanted": f"{len(wanted):,}"}
        )
    model = registry.load(base)
    cells = _in_words(model, wanted)
    _, effect = _edited(model, cells, _rows(base, model), keep_level=keep_level)
    with transaction.atomic():
        edit = TableEdit.objects.create(base=base, cells=cells, reason=reason.strip(), keep_level=keep_level, effect=effect, proposed_by=by)
        audit.record("table_edit.proposed", actor=by, subject=edit, version=base.pk, cells=len(cells))
    return edit


@transaction.atomic
def approve(edit: TableEdit, *, reason: str, by: Any) -> TableEdit:
    """Make the edited version: a candidate, whose report says what was changed. Its base stays as it is.

    Raises EditRefused, PermissionDenied, and ArtifactError or OSError where the base's artifact can't be read.
    """
    from mlcore import golden

    edit = _to_decide(edit, by, reason)
    if not edit.base.__class__.objects.filter(kind=edit.base.kind, state="champion").exists():
        raise EditRefused(gettext("No version serves, so that the edited one would serve at once. Promote one first."))
    base = edit.base
    old = registry.load(base)
    rows = _rows(base, old)
    model, effect = _edited(old, edit.cells, rows, keep_level=edit.keep_level)
    result = registry.register(
        kind=base.kind,
        model=model,
        algorithm=base.algorithm,
        report=_report(edit, effect),
        fingerprint=base.data_fingerprint,
        synthetic=base.synthetic,
        created_by=edit.proposed_by,
        golden=golden.draw(*rows.reference, model.schema),
        learned_until=base.learned_until or base.created_at,
    )
    return _decided(edit, EditState.APPROVED, by, reason, result)


@transaction.atomic
def reject(edit: TableEdit, *, reason: str, by: Any) -> TableEdit:
    """Raises EditRefused or PermissionDenied."""
    return _decided(_to_decide(edit, by, reason), EditState.REJECTED, by, reason)


@transaction.atomic
def withdraw(edit: TableEdit, *, by: Any) -> TableEdit:
    """The proposer takes it back. Raises EditRefused where it is decided, or another's."""
    edit = _waiting(edit)
    if not edit.is_proposer(by):
        raise EditRefused(gettext("Only who proposed an edit may withdraw it; reject it instead."))
    return _decided(edit, EditState.WITHDRAWN, by, "")


def may_decide(edit: TableEdit, by: Any) -> bool:
    return edit.waits and by.has_perm(DECIDES) and not edit.is_proposer(by)


def _check_reason(reason: str) -> None:
    if not reason.strip() or len(reason.strip()) > 300:
        raise EditRefused(
            gettext("Say why: it is kept with the edit.") if not reason.strip() else gettext("A reason has at most 300 characters.")
        )


def _waiting(edit: TableEdit) -> TableEdit:
    edit = TableEdit.objects.select_for_update(of=("self",)).select_related("base", "proposed_by").get(pk=edit.pk)
    if not edit.waits:
        raise EditRefused(gettext("%(edit)s is decided already: %(lower)s.") % {"edit": edit, "lower": edit.get_state_display().lower()})
    return edit


def _to_decide(edit: TableEdit, by: Any, reason: str) -> TableEdit:
    if not by.has_perm(DECIDES):
        raise PermissionDenied(gettext("Deciding on an edit needs the permission to promote models."))
    _check_reason(reason)
    edit = _waiting(edit)
    if edit.is_proposer(by):
        raise EditRefused(gettext("Who proposed an edit can't decide on it: a second person has to."))
    return edit


def _decided(edit: TableEdit, state: str, by: Any, reason: str, result: ModelVersion | None = None) -> TableEdit:
    TableEdit.objects.filter(pk=edit.pk).update(state=state, decided_by=by, decided_at=Now(), decision_reason=reason.strip(), result=result)
    edit.refresh_from_db()
    audit.record(f"table_edit.{state}", actor=by, subject=edit, version=edit.base_id, result=edit.result_id)
    return edit


def _in_words(model: RiskModel, wanted: Sequence[Wanted]) -> list[dict[str, Any]]:
    """The cells as they are kept: where they are, in words too, and from what to what. Cells that would not change are left out."""
    from mlcore.risk.editing import EditError, table_of

    names, labels = model_tables.titles_and_labels(model)
    cells = []
    for cell in wanted:
        try:
            old = float(table_of(model.rung.tables_, cell.features)[cell.codes])
        except (EditError, IndexError):
            raise EditRefused(
                gettext("The model has no cell %(codes)s in a table of the features %(features)s.")
                % {"codes": cell.codes, "features": cell.features}
            ) from None
        if cell.value != old:
            cells.append(
                {
                    "features": list(cell.features),
                    "codes": list(cell.codes),
                    "table": " × ".join(names[j] for j in cell.features),
                    "cell": " × ".join(labels[j][code] for j, code in zip(cell.features, cell.codes, strict=True)),
                    "from": old,
                    "to": float(cell.value),
                }
            )
    return cells


@dataclass(frozen=True)
class _Rows:
    """Whom an effect is shown on; `reference` is whose mean probability the level rests on."""

    judged: Dataset | None
    latest: tuple[pd.DataFrame, pd.Series] | None
    reference: tuple[pd.DataFrame, pd.Series]


def _rows(base: ModelVersion, model: RiskModel) -> _Rows:
    judged, latest = _judged(base, model), _latest(base, model)
    reference = (judged.frame, judged.submitted_at) if judged is not None else latest
    if reference is None:
        raise EditRefused(gettext("There are neither loans with an outcome nor scored applications: what the edit does can't be shown."))
    return _Rows(judged, latest, reference)


def _edited(model: RiskModel, cells: list[dict[str, Any]], rows: _Rows, *, keep_level: bool) -> tuple[RiskModel, dict[str, Any]]:
    """The edited model and its effect, on the loans and applicants as they are now."""
    from mlcore.risk.editing import Change, EditError, edited, effect
    from mlcore.risk.model import ModelError

    changes = [Change(tuple(cell["features"]), tuple(cell["codes"]), cell["to"]) for cell in cells]
    try:
        made = edited(model, changes, *rows.reference, keep_level=keep_level)
        return made, effect(model, made, judged=rows.judged, latest=rows.latest, cutoff=policy.in_force().policy.approve_below)
    except (EditError, ModelError) as refusal:
        raise EditRefused(str(refusal)) from refusal


def _judged(base: ModelVersion, model: RiskModel) -> Dataset | None:
    """Loans with a known outcome from the first day that the version was judged on, those since included; the latest without such a day."""
    report = base.report if isinstance(base.report, dict) else {}
    day = parse_date(str(((report.get("split") or {}).get("test") or {}).get("from") or ""))
    since = None if day is None else datetime.combine(day, time.min, tzinfo=UTC)
    loans = outcome_frame(model.schema, since=since, most=MOST_JUDGED)
    if loans.frame.empty:
        return None
    try:
        return training_rows.labelled(loans, model.schema)[0]
    except training_rows.TrainingRefused:  # none of them is known to have defaulted, or to have been repaid
        return None


def _latest(base: ModelVersion, model: RiskModel) -> tuple[pd.DataFrame, pd.Series] | None:
    """The applicants who were scored last, whichever version scored them."""
    scored = Prediction.objects.filter(kind=base.kind, shadow=False).order_by("-pk").values_list("application_id", flat=True)
    found = scoring_frame(sorted(set(scored[:MOST_APPLICANTS])), model.schema)
    return (found.frame, found.submitted_at) if len(found.frame) else None


def _report(edit: TableEdit, effect: dict[str, Any]) -> dict[str, Any]:
    """The base's report, with what was changed in front: its figures were measured before the edit, and the first warning says so."""
    report = copy.deepcopy(edit.base.report) if isinstance(edit.base.report, dict) else {}
    # An edit of an edited version says all of its story: the earlier ones stay in the list.
    earlier = [*(report.get("edits") or [])]
    report["edits"] = [
        *earlier,
        {
            "edit": edit.pk,
            "of": str(edit.base),
            "of_version": edit.base.version,
            "reason": edit.reason,
            "keep_level": edit.keep_level,
            "cells": edit.cells,
            "effect": effect,
        },
    ]
    known = [text for text in report.get("warnings") or [] if not str(text).startswith(EDITED)]
    many = sum(len(each["cells"]) for each in report["edits"])
    said = gettext(
        "%(edited)s %(base)s with %(many)s cell%(more)s of its tables changed by hand. All figures, curves and "
        "fairness here were measured before the edit; what it did is shown with it."
    ) % {"edited": EDITED, "base": edit.base, "many": many, "more": "" if many == 1 else "s"}
    report["warnings"] = [said, *known]
    return report


EDITED = "An edited version:"
