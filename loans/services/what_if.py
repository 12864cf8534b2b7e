"""What would change the outcome: the nearest feasible changes, verified on the serving model under the policy in force."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loans.models import LoanApplication, ModelVersion
from loans.queries.frames import scoring_frame
from loans.services import policy, registry

if TYPE_CHECKING:
    from mlcore.risk.counterfactual import Proposal


@dataclass(frozen=True)
class WhatIf:
    """proposals: nearest first, each {"changes": [{"column", "title", "unit", "old", "new", "follows"}], "probability"}.

    knock_outs: rules that rule the application out as it stands; no change of the score helps while one holds.
    """

    version: ModelVersion
    probability: float
    cutoff: float
    lowest: float
    in_words: str
    proposals: list[dict[str, Any]] = field(default_factory=list)
    knock_outs: list[dict[str, Any]] = field(default_factory=list)


def what_if(application: LoanApplication) -> WhatIf:
    """Scores some hundreds of variations; a second or less. Raises registry.NoChampion, or LookupError where the application is gone."""
    from mlcore.risk.counterfactual import counterfactuals

    serving = registry.champion()
    terms = policy.in_force()
    features = scoring_frame([application.pk], serving.model.schema)
    if not features.application_ids:
        raise LookupError(f"Application {application.pk} is not there any more.")
    found = counterfactuals(serving.model, features.frame, cutoff=terms.policy.approve_below, submitted_at=features.submitted_at)
    kept = [proposal for proposal in found.proposals if not _ruled_out(terms, features.facts[0], proposal)]
    return WhatIf(
        version=serving.version,
        probability=found.probability,
        cutoff=found.cutoff,
        lowest=found.lowest,
        in_words=found.in_words(),
        proposals=[
            {
                "changes": [
                    {
                        "column": change.column,
                        "title": change.title,
                        "unit": change.unit,
                        "old": change.old,
                        "new": change.new,
                        "follows": change.follows,
                    }
                    for change in proposal.changes
                ],
                "probability": proposal.probability,
            }
            for proposal in kept
        ],
        knock_outs=terms.advise(found.probability, features.facts[0]).knock_outs,
    )


def _ruled_out(terms: policy.Terms, facts: dict[str, Any], proposal: Proposal) -> bool:
    """Whether the change would run into a knock-out rule that does not hold now: that would be bad advice."""
    changed = facts | {change.column: change.new for change in proposal.changes}
    now = {hit["rule"] for hit in terms.advise(0.0, facts).knock_outs}
    return bool({hit["rule"] for hit in terms.advise(0.0, changed).knock_outs} - now)
