"""Other ways to approve the same loans, beside which a training puts its model: the rules alone, and the policy that it would follow."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from django.db.models.functions import Now
from django.utils.translation import gettext as _

from loans.models import KnockOutRule, ModelVersion, Policy
from loans.queries.words import percent
from loans.services import policy, registry

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from mlcore.risk.base import Dataset
    from mlcore.risk.profit import Comparator

logger = logging.getLogger(__name__)


def comparators(data: Dataset) -> list[Comparator]:
    """Of these loans: whom the knock-out rules alone would have approved, and whom the model in service with them, under the policy in
    force and under the one before. One that can't be worked out is left out: no rules, no model yet, a rule on a column that is not here.
    """
    import numpy as np

    from mlcore.risk.profit import Comparator

    terms = policy.in_force()
    ruled_out = _ruled_out(terms.rules, data.frame)
    made = []
    if terms.rules and ruled_out is not None:
        many = len(terms.rules)
        title = _("the knock-out rules alone (%(many)s rule%(more)s)") % {"many": many, "more": "" if many == 1 else "s"}
        made.append(Comparator("rules", title, ruled_out.astype(float), ~ruled_out))
    found = _scored(data)
    if found is None:
        return made
    version, probability = found
    out = np.zeros(len(data), dtype=bool) if ruled_out is None else ruled_out
    # Whom a rule rules out comes last, in the order of the risk.
    score = probability + out
    note = ""
    if version.learned_until is not None:
        note = _("%(version)s had learned from loans up to %(learned_until)s; it is flattered by the judged ones among them.") % {
            "version": version,
            "learned_until": f"{version.learned_until:%Y-%m-%d}",
        }
    for name, title, row in (
        ("policy", _("the policy in force until now"), terms.policy),
        ("former_policy", _("the former policy"), _before(terms.policy)),
    ):
        if row is not None:
            with_rules = _(", with the knock-out rules") if ruled_out is not None and terms.rules else ""
            words = f"{title} ({version} below {percent(row.approve_below)}{with_rules})"
            made.append(Comparator(name, words, score, (probability < row.approve_below) & ~out, note))
    return made


def _ruled_out(rules: list[KnockOutRule], frame: pd.DataFrame) -> np.ndarray | None:
    """(n,) bool: at least one rule rules the loan out. None where a rule is on a column that the frame lacks."""
    import numpy as np

    out = np.zeros(len(frame), dtype=bool)
    for rule in rules:
        if rule.field not in frame:
            logger.warning("The rule %r is on %r, which no model learns from: nothing is compared with the rules.", rule.name, rule.field)
            return None
        out |= np.array([bool(rule.hits(value)) for value in frame[rule.field].tolist()], dtype=bool)
    return out


def _scored(data: Dataset) -> tuple[ModelVersion, np.ndarray] | None:
    from mlcore.artifacts import ArtifactError

    try:
        serving = registry.champion()
    except registry.NoChampion:
        return None
    except (ArtifactError, OSError) as error:
        logger.warning("The model in service can't be read (%s): nothing is compared with it.", type(error).__name__)
        return None
    return serving.version, serving.model.probability(data.frame, data.submitted_at)


def _before(current: Policy) -> Policy | None:
    """The policy that the one in force took the place of."""
    if current.pk is None:
        return None
    earlier = Policy.objects.filter(effective_from__lte=Now()).order_by("-effective_from", "-pk")
    return next((row for row in earlier[:20] if (row.effective_from, row.pk) < (current.effective_from, current.pk)), None)
