"""Many risk scores at once as columns to store: the score, its contributions, its reasons in words, and what the policy makes of it.

What `scoring` does row by row, in the same words and to the last digit: the arithmetic is the model's either way, and each text comes from
the function that writes it for one application.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loans.models import AttributeDefinition
from loans.models.policy import Advice
from loans.queries.columns import Applications
from loans.services import policy, reasons, registry, rulepack
from loans.services.bulk import text

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from mlcore.risk.base import Scores


@dataclass(frozen=True)
class Rated:
    """n scores as they are to be stored. Numbers are (n,) arrays, the others (n,) texts; `advice` and `grade` are objects of str."""

    scores: Scores
    grade: np.ndarray
    points: np.ndarray
    contributions: pa.StringArray
    reasons: pa.StringArray
    snapshot: pa.StringArray
    advice: np.ndarray
    knock_outs: pa.StringArray


def rate(applications: Applications, serving: registry.Serving, terms: policy.Terms) -> Rated:
    """Raises `valid_scores.InvalidScore` where a score must not be stored."""
    from loans.services.valid_scores import check

    model = serving.model
    frame = applications.frame(model.schema)
    scores = model.score(frame, applications.submitted_at)
    check(scores)
    values = [text.json_values(frame[column.name], column.kind) for column in model.schema]
    advice, knock_outs = _advised(applications, scores, terms)
    return Rated(
        scores=scores,
        grade=model.grade(scores.probability),
        points=model.points(scores.log_odds).astype("int64"),
        contributions=text.json_object(scores.features, [text.floats(column) for column in scores.contributions.T]),
        reasons=_reasons(model, scores, frame, values),
        snapshot=text.json_object(model.schema.names, values),
        advice=advice,
        knock_outs=knock_outs,
    )


def _reasons(model: Any, scores: Scores, frame: pd.DataFrame, values: list[pa.StringArray]) -> pa.StringArray:
    import pyarrow as pa

    words = _Words(model)
    stacked = pa.concat_arrays([text.or_null(value) for value in values])
    items = _side(model, scores, words, stacked, side="adverse") + _side(model, scores, words, stacked, side="favourable")
    return text.json_list(items)


def _side(model: Any, scores: Scores, words: _Words, values: pa.StringArray, *, side: str) -> list[pa.StringArray]:
    """One column of texts for each place, null where there are fewer reasons. values: JSON of all columns, one behind the other."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from mlcore.metrics import expit
    from mlcore.risk.reasons import MOST_REASONS, leads, strongest

    limit = MOST_REASONS if side == "adverse" else reasons.MOST_FAVOURABLE
    chosen, effects = strongest(scores, model.families, side=side, limit=limit)
    changes = scores.probability[:, None] - expit(scores.log_odds[:, None] - effects)
    lead = leads(scores, model.families, chosen, side=side)
    rows = np.arange(len(chosen))
    # The value behind a reason is that of its strongest column: looked up in the frame by the column's name.
    place_of = np.array([model.schema.names.index(name) for name in model.families.columns])
    items = []
    for place in range(limit):
        at = lead[:, place]
        given = at >= 0
        value = values.take(pa.array(np.where(given, place_of[at] * len(rows) + rows, 0)))
        gone = pc.if_else(pc.equal(value, "null"), "true", "false")
        items.append(
            text.joined(
                text.picked(words.openings(side), at),
                ', "effect": ',
                text.floats(effects[:, place]),
                ', "probability_change": ',
                text.floats(changes[:, place]),
                ', "value": ',
                value,
                ', "missing": ',
                gone,
                "}",
            )
        )
    return items


class _Words:
    """The constant part of a reason by its strongest column, from the function that words a single one."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.pack = rulepack.in_force()
        self.own = {row.family or row.name: row for row in AttributeDefinition.objects.features()}
        self._openings: dict[str, list[str]] = {}

    def openings(self, side: str) -> list[str]:
        if side not in self._openings:
            self._openings[side] = [self._opening(name, side) for name in self.model.families.columns]
        return self._openings[side]

    def _opening(self, column: str, side: str) -> str:
        from mlcore.risk.reasons import Reason

        families = self.model.families
        reason = Reason(families.of[column], column, families.titles[column], 0.0, 0.0)
        said = reasons._said(self.pack, self.own, reason, adverse=side == "adverse")
        constant = {name: value for name, value in said.items() if name not in ("effect", "probability_change", "value", "missing")}
        return text.plain(constant)[:-1]


def _advised(applications: Applications, scores: Scores, terms: policy.Terms) -> tuple[np.ndarray, pa.StringArray]:
    import numpy as np

    bands = terms.policy
    advice = np.where(
        scores.probability < bands.approve_below,
        Advice.APPROVE.value,
        np.where(scores.probability >= bands.decline_from, Advice.DECLINE.value, Advice.REFER.value),
    ).astype(object)
    hit = np.zeros(len(advice), dtype=bool)
    facts = {rule.field: applications.fact(rule.field) for rule in terms.rules}
    for rule in terms.rules:
        hit |= _hits(rule, facts[rule.field])
    written = np.full(len(advice), "[]", dtype=object)
    for row in np.flatnonzero(hit).tolist():
        advised = terms.advise(float(scores.probability[row]), {name: values[row] for name, values in facts.items()})
        advice[row], written[row] = str(advised.advice), text.plain(advised.knock_outs)
    import pyarrow as pa

    return advice, pa.array(written, type=pa.string())


def _hits(rule: Any, values: np.ndarray) -> np.ndarray:
    """(n,) bool: the rule asked once for each distinct value."""
    import numpy as np
    import pandas as pd

    codes, distinct = pd.factorize(pd.Series(values, dtype=object), use_na_sentinel=True)
    answers = np.array([bool(rule.hits(each)) for each in distinct] + [bool(rule.hits(None))])
    return answers[codes]


def knock_out_fields(terms: policy.Terms) -> list[str]:
    return [rule.field for rule in terms.rules]
