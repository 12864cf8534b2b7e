"""From a model's contributions to reasons that a person can read, in the words of the rule pack or the lender's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from loans.models import AttributeDefinition
from loans.services import rulepack

if TYPE_CHECKING:
    import pandas as pd

    from mlcore.risk.base import Scores
    from mlcore.risk.model import OneScore, RiskModel
    from mlcore.risk.reasons import Reason

MOST_FAVOURABLE = 3


def for_scores(model: RiskModel, scores: Scores, frame: pd.DataFrame) -> list[list[dict[str, Any]]]:
    """Per application its main reasons: at most four against (adverse), then up to three for it.

    Each is {"direction": "against"|"for", "code", "text", "family", "column" (its strongest), "title", "effect" (log-odds),
    "probability_change", "value" (of that column), "missing"}.
    """
    pack = rulepack.in_force()
    own = {row.family or row.name: row for row in AttributeDefinition.objects.features()}
    against = model.adverse(scores, frame)
    in_favour = model.favourable(scores, frame, MOST_FAVOURABLE)
    return [
        [_said(pack, own, reason, adverse=True) for reason in adverse] + [_said(pack, own, reason, adverse=False) for reason in favourable]
        for adverse, favourable in zip(against, in_favour, strict=True)
    ]


def for_one(model: RiskModel, one: OneScore, row: dict[str, Any], attributes: Iterable[AttributeDefinition]) -> list[dict[str, Any]]:
    """`for_scores` of what `score_one` gave. row: {column: plain value}. attributes: the lender's own, read already."""
    pack = rulepack.in_force()
    own = {each.family or each.name: each for each in attributes if each.is_feature}
    against, in_favour = model.adverse_one(one, row), model.favourable_one(one, row, MOST_FAVOURABLE)
    said = [_said(pack, own, reason, adverse=True) for reason in against]
    return said + [_said(pack, own, reason, adverse=False) for reason in in_favour]


def _said(pack: rulepack.RulePack, own: dict[str, AttributeDefinition], reason: Reason, *, adverse: bool) -> dict[str, Any]:
    code, text = _words(pack, own, reason.family, adverse=adverse)
    return {"direction": "against" if adverse else "for", "code": code, "text": text, **reason.to_json()}


def _words(pack: rulepack.RulePack, own: dict[str, AttributeDefinition], family: str, *, adverse: bool) -> tuple[str, str]:
    attribute = own.get(family)
    if attribute is not None:
        text = attribute.reason_text if adverse and attribute.reason_text else str(attribute)
        return ("other" if adverse else ""), text
    if adverse:
        return pack.adverse_text(family) or ("other", family.replace("_", " ").capitalize())
    return "", pack.favourable_text(family) or family.replace("_", " ").capitalize()
