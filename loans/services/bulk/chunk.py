"""Many applications scored and stored as columns in one transaction: a chunk of a bulk job, or what a worker has claimed.

A bulk job's chunk is the pending first attempts of a range of applications. The rows of its jobs stay locked from the reading to the
commit, so no lease is needed on each: ordinary workers skip what is locked, and what a killed process had in hands is free again at once,
with no attempt lost. What a worker has claimed is its own by lease and attempt number; its rows are locked only while they are written.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, transaction

from loans.models import ModelKind, Prediction
from loans.queries.columns import TABLES, Applications, Wanted, fetched
from loans.services import policy, registry, shadow, webhooks
from loans.services.bulk import assessed, risk, store, text
from loans.services.bulk.risk import knock_out_fields, rate

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

logger = logging.getLogger(__name__)

_JOBS = f"FROM loans_scoringjob job JOIN {TABLES.replace('LEFT JOIN', 'ON app.id = job.application_id LEFT JOIN')}"
_DUE = (
    f"{_JOBS} WHERE job.state = 'pending' AND job.attempts = 0 AND job.due_at <= clock_timestamp()"
    " AND job.application_id >= %s AND job.application_id < %s"
    " ORDER BY job.application_id FOR UPDATE OF job SKIP LOCKED"
)
_CLAIMED = f"{_JOBS} WHERE job.id = ANY(%s) ORDER BY job.application_id"


@dataclass(frozen=True)
class Serving:
    """What serves at this moment, looked up once a chunk. amount, segments, fraud: None where no such model does."""

    risk: registry.Serving
    amount: registry.Serving | None
    segments: registry.Serving | None
    fraud: registry.Serving | None
    terms: policy.Terms

    @classmethod
    def now(cls) -> Serving:
        """Raises NoChampion where no risk model serves."""
        others = (_champion_or_none(kind) for kind in (ModelKind.LOAN_AMOUNT, ModelKind.SEGMENTS, ModelKind.FRAUD))
        return cls(registry.champion(), *others, policy.in_force())

    def wanted(self, facts: list[str]) -> Wanted:
        schemas = [self.risk.model.schema]
        if self.amount:
            schemas.append(self.amount.model.encoder.schema)
        if self.segments and len(self.segments.model):
            schemas.append(self.segments.model.schema)
        return Wanted.of([*schemas, assessed.own_schema(self.fraud)], [*knock_out_fields(self.terms), *facts])


def _champion_or_none(kind: str) -> registry.Serving | None:
    try:
        return registry.champion(kind)
    except registry.NoChampion:
        return None
    except DatabaseError:
        raise
    except Exception as error:
        logger.error("The %s model can't be had: %s", kind, type(error).__name__)
        return None


def score_range(first: int, end: int) -> int:
    """Score the applications with ids from `first` to below `end` whose first attempt is due; returns how many were stored.

    Raises NoChampion, or whatever stood in the way: nothing is stored then, and the jobs are as they were.
    """
    serving = Serving.now()
    rules = assessed.rules()
    with transaction.atomic():
        applications = _fetched(_DUE, [first, end], serving, rules)
        if not len(applications):
            return 0
        _store(Rated.of(applications, serving), serving, rules, claimed=False)
    return len(applications)


def score_claimed(jobs: dict[int, int], held: Callable[[], set[int]], *, with_shadow: bool) -> int:
    """Score jobs that the caller has claimed; returns how many were stored.

    jobs: {application: job}. held: locks those whose claim still holds until the transaction ends, and gives their ids; the others are
    somebody else's by now, and nothing of them is stored. Raises as `score_range` does.
    """
    import numpy as np

    serving = Serving.now()
    rules = assessed.rules()
    rated = Rated.of(_fetched(_CLAIMED, [list(jobs.values())], serving, rules), serving)
    shadowed = shadow.predictions_quietly(jobs) if with_shadow else []
    with transaction.atomic():
        mine = held()
        rows = np.flatnonzero(np.isin(rated.applications.numbers("job"), list(mine)))
        if not len(rows):
            return 0
        if len(rows) < len(rated.applications):
            rated = Rated.of(rated.applications.taken(rows), serving)
        _store(rated, serving, rules, claimed=True)
        shadow.store_quietly([each for each in shadowed if each.scoring_job_id in mine])
    return len(rows)


def _fetched(source: str, parameters: Sequence[Any], serving: Serving, rules: list[Any]) -> Applications:
    import pyarrow as pa

    further = {"job": ("job.id", pa.int64()), "reference": ("app.external_reference", pa.string())}
    return fetched(source, parameters, serving.wanted(assessed.facts_of(rules)), **further)


@dataclass(frozen=True)
class Rated:
    """What is to be stored of these applications, beside the search for fraud. amounts, segments: None where there are none."""

    applications: Applications
    risk: risk.Rated
    amounts: dict[str, Any] | None
    segments: dict[str, Any] | None

    @classmethod
    def of(cls, applications: Applications, serving: Serving) -> Rated:
        return cls(
            applications,
            rate(applications, serving.risk, serving.terms),
            _quietly(_amounts, applications, serving.amount),
            _quietly(_segments, applications, serving.segments),
        )


def _store(found: Rated, serving: Serving, rules: list[Any], *, claimed: bool) -> None:
    """claimed: the jobs' attempts are counted already."""
    applications, jobs = found.applications, found.applications.numbers("job")
    store.prepare()
    store.show(
        jobs,
        applications.ids,
        found.risk.scores.probability,
        found.risk.grade,
        None if found.segments is None else found.segments["segment"],
        attempts=0 if claimed else 1,
    )
    store_scores(found, serving, jobs)
    assessed.assess_quietly(applications, rules, serving.terms)
    tell(jobs)


def tell(jobs: np.ndarray) -> None:
    webhooks.send("application.scored", _told(jobs), status="scored")


def _told(jobs: np.ndarray) -> Iterator[Prediction]:
    """Asked for, and the question put together, only where an endpoint wants to know."""
    yield from Prediction.objects.filter(scoring_job__in=jobs.tolist(), shadow=False).only("pk", "application_id")


def store_scores(found: Rated, serving: Serving, jobs: np.ndarray) -> None:
    """Predictions, snapshots, amounts and segments. jobs: (n,) of these applications. Both are there already."""
    rated, amounts, segments = found.risk, found.amounts, found.segments
    jobs, ids = text.integers(jobs), text.integers(found.applications.ids)
    store.copy_in(
        "loans_prediction",
        {
            "application_id": ids,
            "scoring_job_id": jobs,
            "model_version_id": str(serving.risk.version.pk),
            "kind": ModelKind.DEFAULT_RISK.value,
            "probability": text.floats(rated.scores.probability),
            "log_odds": text.floats(rated.scores.log_odds),
            "baseline": text.plain(float(rated.scores.baseline)),
            "baseline_kind": serving.risk.model.baseline.kind,
            "grade": _strings(rated.grade),
            "points": text.integers(rated.points),
            "contributions": rated.contributions,
            "reasons": rated.reasons,
            "advice": _strings(rated.advice),
            "knock_outs": rated.knock_outs,
            "policy_id": None if serving.terms.policy.pk is None else str(serving.terms.policy.pk),
            "shadow": "f",
        },
    )
    store.copy_in("loans_featuresnapshot", {"scoring_job_id": jobs, "application_id": ids, "values": rated.snapshot})
    if amounts is not None and len(amounts["low"]):
        rows = amounts["rows"]
        owned = {"application_id": ids.take(rows), "scoring_job_id": jobs.take(rows), "model_version_id": str(serving.amount.version.pk)}
        store.copy_in("loans_amountestimate", owned | {name: column for name, column in amounts.items() if name != "rows"})
    if segments is not None:
        owned = {"application_id": ids, "scoring_job_id": jobs, "model_version_id": str(serving.segments.version.pk)}
        store.copy_in("loans_segmentassignment", owned | segments)


def _quietly(make: Any, applications: Applications, serving: registry.Serving | None) -> dict[str, Any] | None:
    """What this model adds, or None: an officer can decide without a range or a segment, but not without a score."""
    if serving is None:
        return None
    try:
        return make(applications, serving)
    except DatabaseError:
        raise
    except Exception as error:
        logger.error("%s failed for %d applications: %s", serving.version, len(applications), type(error).__name__)
        return None


def _amounts(applications: Applications, serving: registry.Serving) -> dict[str, Any]:
    """Columns to store, and `rows`: which applications they are of."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from loans.services.amounts import LARGEST

    found = serving.model.suggest(applications.frame(serving.model.encoder.schema), applications.submitted_at)
    rows = np.flatnonzero(np.isfinite(found.low) & np.isfinite(found.middle) & np.isfinite(found.high))

    def money(values: np.ndarray) -> pa.StringArray:
        values = values[rows]
        known = np.isfinite(values)
        # Whole units, halves to the even one, as `amounts.estimates` rounds them; what is larger than the column holds is cut to it.
        whole = text.integers(np.rint(np.minimum(np.where(known, values, 0.0), 1e15)), known)
        large = known & (np.rint(values) > float(LARGEST))
        return pc.if_else(pa.array(large), str(LARGEST), whole) if large.any() else whole

    return {
        "rows": pa.array(rows),
        "low": money(found.low),
        "middle": money(found.middle),
        "high": money(found.high),
        "cap": money(found.cap),
        "capped": _strings(np.where(found.capped[rows], "t", "f")),
    }


def _segments(applications: Applications, serving: registry.Serving) -> dict[str, Any] | None:
    import numpy as np

    model = serving.model
    if not len(model):
        return None
    keys, distances = model.assign(applications.frame(model.schema), applications.submitted_at)
    place = {segment.key: number for number, segment in enumerate(model.segments)}
    codes = np.array([place[key] for key in keys.tolist()], dtype=np.int64)
    return {
        "segment": text.integers(keys),
        "name": text.picked([segment.name for segment in model.segments], codes),
        "share": text.picked([text.plain(float(segment.share)) for segment in model.segments], codes),
        "distance": text.floats(np.array([round(value, 4) for value in distances.tolist()])),
    }


def _strings(values: np.ndarray) -> pa.StringArray:
    import pyarrow as pa

    return pa.array(values.tolist(), type=pa.string())
