"""The loans that a training learns from: those with a known outcome, bar some left to be judged on; a sample where they are too many."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils.translation import gettext as _

from loans.models import LoanOutcome, ModelKind, ModelVersion
from loans.queries.frames import OutcomeFrame, outcome_frame, schema_in_force
from loans.services import comparison, promotion

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from mlcore.labels import Labels
    from mlcore.risk.base import Dataset
    from mlcore.sampling import Sample


class TrainingRefused(Exception):
    """This training can't be done; the message says why and what to do."""


@dataclass(frozen=True)
class Gathered:
    """loans: what all loans on file say, their columns those of the sample where there is one. cut: from when on loans judge, where that is
    settled already. held_back, sample: for the report; {} where every loan is learned from.
    """

    data: Dataset
    labels: Labels
    loans: OutcomeFrame
    held_back: dict[str, Any]
    sample: dict[str, Any]
    cut: pd.Timestamp | None = None


def gathered(kind: str, *, seed: int) -> Gathered:
    """What a training of this kind learns from now. Raises TrainingRefused.

    Above TRAINING_MOST_ROWS, dates and outcomes of all loans are read first, and then the columns of those that were drawn: never more
    than that lies in memory.
    """
    import numpy as np

    schema, most = schema_in_force(), settings.TRAINING_MOST_ROWS
    if not most or LoanOutcome.objects.count() <= most:
        loans = outcome_frame(schema)
        data, labels = labelled(loans, schema)
        data, held_back = _hold_back(kind, data)
        return Gathered(data, labels, loans, held_back, {})
    whole = outcome_frame(schema.only([name for name in ("product",) if name in schema.names]), protected=False)
    known, labels = labelled(whole, schema)
    known.frame["id"] = whole.application_ids[labels.known]
    known, held_back = _hold_back(kind, known)
    if len(known) <= most:
        drawn, sample, rows = None, {}, known.frame["id"].to_numpy()
    else:
        drawn = _sample(kind, known, most, seed)
        rows = known.frame["id"].to_numpy()[drawn.rows]
        sample = drawn.report(known.default[drawn.rows])
    loans = outcome_frame(schema, only=rows)
    if not np.array_equal(loans.application_ids, rows):
        raise TrainingRefused(_("Loans went away while they were read; start the training again."))
    # What is known of the others decides what is known of one: the labels are those of all loans.
    data = _dataset(loans, schema, known.default if drawn is None else known.default[drawn.rows])
    cut = None
    if drawn is not None:
        data, cut = replace(data, weight=drawn.weight), drawn.cut
    # The fingerprint is that of everything on file: it says whether anything is new, whatever was drawn.
    loans = replace(loans, fingerprint=whole.fingerprint, synthetic=whole.synthetic)
    return Gathered(data, labels, loans, held_back, sample, cut)


def _sample(kind: str, known: Dataset, most: int, seed: int) -> Sample:
    from mlcore import sampling

    if kind != ModelKind.DEFAULT_RISK:
        # Quantiles of amounts are fitted without weights.
        return sampling.proportional(known.default, known.submitted_at, most=most, seed=seed)
    return sampling.stratified(known.default, known.submitted_at, _products(known), most=most, seed=seed)


def _products(known: Dataset) -> np.ndarray:
    import numpy as np
    import pandas as pd

    return pd.factorize(known.frame["product"])[0] if "product" in known.frame else np.zeros(len(known), dtype=np.int64)


def labelled(loans: OutcomeFrame, schema: Any) -> tuple[Dataset, Labels]:
    """The rows that have a label, and what became of the others. Raises TrainingRefused where there is nothing to learn from."""
    from mlcore.labels import LabelPolicy, label

    window = settings.OUTCOME_WINDOW_MONTHS or None
    labels = label(
        loans.outcomes["state"],
        submitted_at=loans.submitted_at,
        outcome_at=loans.outcomes["defaulted_on"],
        policy=LabelPolicy(window_months=window),
    )
    known = labels.known
    defaults = int((labels.default[known] == 1).sum())
    if not known.any() or defaults == 0 or defaults == int(known.sum()):
        raise TrainingRefused(
            f"There are {int(known.sum())} loans with a known outcome, {defaults} of them defaults: a model needs both. "
            "Import past loans with their outcomes: manage.py import_loans FILE --mapping NAME"
        )
    return _dataset(loans, schema, labels.default).take(known), labels


def _dataset(loans: OutcomeFrame, schema: Any, default: np.ndarray) -> Dataset:
    from mlcore.risk.base import Dataset

    return Dataset(
        frame=loans.frame,
        default=default,
        schema=schema,
        submitted_at=loans.submitted_at,
        amount=loans.frame["amount"].to_numpy() if "amount" in loans.frame else None,
        protected=loans.protected if len(loans.protected.columns) else None,
        defaulted_at=loans.outcomes["defaulted_on"],
    )


def _hold_back(kind: str, data: Dataset) -> tuple[Dataset, dict[str, Any]]:
    """The loans to learn from, without the latest of those that the serving version did not learn from either.

    They are what both versions can be judged on: without them, a promotion would wait until as many new loans have run their course.
    Nothing is held back where that would not be enough for a promotion check.
    """
    import numpy as np

    limits = promotion.policy_for(kind)
    serving = ModelVersion.objects.defer("report").champion(kind)
    if serving is None or data.submitted_at is None or not limits.held_back:
        return data, {"rows": 0, "in_words": ""}
    newer = np.flatnonzero((data.submitted_at > comparison.later_than(serving)).to_numpy())
    newer = newer[np.argsort(data.submitted_at.to_numpy()[newer], kind="stable")]
    held = newer[len(newer) - round(limits.held_back * len(newer)) :]
    bad = int(data.default[held].sum())
    if len(held) < limits.least_rows or bad < limits.least_defaults:
        words = _(
            "%(newer)s loans are newer than what %(serving)s learned from: too few to hold some back for a promotion "
            "check, so all were learned from. The check waits for later ones."
        ) % {"newer": f"{len(newer):,}", "serving": serving}
        return data, {"rows": 0, "in_words": words}
    first = data.submitted_at.iloc[held[0]]
    rest = data.take((data.submitted_at < first).to_numpy())
    kept = len(data) - len(rest)
    words = _(
        "The %(kept)s latest loans, from %(first)s on, were left out, so that this version and %(serving)s can be judged on them."
    ) % {"kept": f"{kept:,}", "first": f"{first:%Y-%m-%d}", "serving": serving}
    return rest, {"rows": kept, "defaults": int(data.default.sum() - rest.default.sum()), "from": first.isoformat(), "in_words": words}
