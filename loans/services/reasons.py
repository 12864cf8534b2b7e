"""From a model's contributions to reasons that a person can read, in the words of the rule pack or the lender's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loans.models import AttributeDefinition
from loans.services import rulepack

if TYPE_CHECKING:
    import pandas as pd

    from mlcore.risk.base import Scores
    from mlcore.risk.model import RiskModel


def for_scores(model: RiskModel, scores: Scores, frame: pd.DataFrame) -> list[list[dict[str, Any]]]:
    """Per application its main reasons: at most four against (adverse), then up to three for it.

    Each is {"direction": "against"|"for", "family", "code", "text", "contribution" (log-odds), "features": {name: value or null}}.
    """
    from mlcore.risk.reasons import main_reasons

    pack = rulepack.in_force()
    own = {row.family or row.name: row for row in AttributeDefinition.objects.features()}
    answers = []
    for row, found in enumerate(main_reasons(scores, model.schema)):
        said = []
        for reason in found:
            code, text = _words(pack, own, reason.family, adverse=reason.adverse)
            said.append(
                {
                    "direction": "against" if reason.adverse else "for",
                    "family": reason.family,
                    "code": code,
                    "text": text,
                    "contribution": reason.contribution,
                    "features": {name: _value(frame, row, name) for name in reason.features},
                }
            )
        answers.append(said)
    return answers


def _words(pack: rulepack.RulePack, own: dict[str, AttributeDefinition], family: str, *, adverse: bool) -> tuple[str, str]:
    attribute = own.get(family)
    if attribute is not None:
        text = attribute.reason_text if adverse and attribute.reason_text else str(attribute)
        return ("other" if adverse else ""), text
    if adverse:
        return pack.adverse_text(family) or ("other", family.replace("_", " ").capitalize())
    return "", pack.favourable_text(family) or family.replace("_", " ").capitalize()


def _value(frame: pd.DataFrame, row: int, name: str) -> Any:
    if name not in frame:
        return None
    value = frame[name].iat[row]
    if value is None or value != value:
        return None
    return value.isoformat() if hasattr(value, "isoformat") else value
