"""What a window of time shows of decisions, forecasts, fraud flags, jobs and young loans. Read only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.db.models import Avg, Count, Min, Q
from django.utils import timezone

from loans.models import Decision, DemandForecast, FlagKind, FlagState, FraudFlag, LoanOutcome, ScoringJob, ScoringState

if TYPE_CHECKING:
    import numpy as np

EARLY_YEARS = 3


def _between(start: date, end: date, field: str) -> dict[str, datetime]:
    return {f"{field}__gte": datetime.combine(start, time(), UTC), f"{field}__lt": datetime.combine(end, time(), UTC)}


@dataclass(frozen=True)
class Decisions:
    """Of final decisions: advised: with an advice beside them; overridden: against it; overruled: approved against it, and of these, those
    with an outcome, their defaults, and the mean probability that they had.
    """

    final: int
    approved: int
    advised: int
    overridden: int
    overruled: int
    overruled_labelled: int
    overruled_defaults: int
    overruled_expected: float | None


def decisions(start: date, end: date) -> Decisions:
    rows = Decision.objects.filter(outcome__in=("approve", "decline"), **_between(start, end, "created_at"))
    overruled = Q(outcome="approve", override=True)
    known = overruled & Q(application__outcome__state__in=("default", "repaid"))
    found = rows.aggregate(
        final=Count("pk"),
        approved=Count("pk", filter=Q(outcome="approve")),
        advised=Count("pk", filter=~Q(advice="")),
        overridden=Count("pk", filter=Q(override=True) & ~Q(advice="")),
        overruled=Count("pk", filter=overruled),
        overruled_labelled=Count("pk", filter=known),
        overruled_defaults=Count("pk", filter=known & Q(application__outcome__state="default")),
        overruled_expected=Avg("prediction__probability", filter=known),
    )
    return Decisions(**found)


@dataclass(frozen=True)
class Accuracy:
    origins: int
    ours: float
    naive: float | None


def forecast_accuracy(start: date, end: date) -> Accuracy | None:
    """1 − WAPE of the total of the vintages made in this window, by week and count, against what came since."""
    from loans.queries.demand import history
    from mlcore.demand import ForecastSet, accuracy

    vintages = DemandForecast.objects.filter(frequency="weekly", measure="count", **_between(start, end, "as_of")).order_by("as_of")[:60]
    if not vintages:
        return None
    found = accuracy([ForecastSet.from_json(row.data) for row in vintages], history(), timezone.now())
    total = next((each for each in found if each.level == "total" and each.one_minus_wape is not None), None)
    return None if total is None else Accuracy(total.origins, total.one_minus_wape, total.naive_one_minus_wape)


def disposed_flags(start: date, end: date) -> tuple[int, int]:
    """Of the flags that evidence raised in this window: confirmed and cleared."""
    rows = FraudFlag.objects.filter(kind=FlagKind.ALERT, **_between(start, end, "created_at"))
    found = rows.aggregate(
        confirmed=Count("pk", filter=Q(state=FlagState.CONFIRMED)), cleared=Count("pk", filter=Q(state=FlagState.CLEARED))
    )
    return found["confirmed"], found["cleared"]


@dataclass(frozen=True)
class Jobs:
    """p50, p95: seconds from the promise of a score to the score."""

    jobs: int
    done: int
    failed: int
    retried: int
    p50: float | None
    p95: float | None


def jobs(start: date, end: date) -> Jobs:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), count(*) FILTER (WHERE state = 'done'), count(*) FILTER (WHERE state = 'failed'),"
            " count(*) FILTER (WHERE attempts > 1), percentile_cont(0.5) WITHIN GROUP (ORDER BY took),"
            " percentile_cont(0.95) WITHIN GROUP (ORDER BY took) FROM (SELECT state, attempts,"
            " CASE WHEN state = 'done' THEN extract(epoch FROM finished_at - created_at) END AS took FROM loans_scoringjob"
            " WHERE created_at >= %s AND created_at < %s) job",
            list(_between(start, end, "at").values()),
        )
        count, done, failed, retried, p50, p95 = cursor.fetchone()
    return Jobs(count, done, failed, retried, None if p50 is None else float(p50), None if p95 is None else float(p95))


def oldest_pending() -> datetime | None:
    return ScoringJob.objects.filter(state=ScoringState.PENDING).aggregate(oldest=Min("created_at"))["oldest"]


@dataclass(frozen=True)
class Booked:
    """Loans of some years: (n,) datetime64[s]. past_due, defaulted: NaT where it did not come to that."""

    started: np.ndarray
    watched_until: np.ndarray
    past_due: np.ndarray
    defaulted: np.ndarray


def booked(start: date, as_of: datetime) -> Booked | None:
    """Every loan that began in the three years before `start` or since, and says until when it was watched; None where none does."""
    import numpy as np

    since = datetime.combine(start - timedelta(days=366 * EARLY_YEARS), time(), UTC)
    rows = LoanOutcome.objects.filter(application__submitted_at__gte=since, application__submitted_at__lt=as_of, observed_on__isnull=False)
    names = ("application__submitted_at", "observed_on", "past_due_30_on", "defaulted_on")
    found = list(rows.values_list(*names).iterator(chunk_size=20_000))
    if not found:
        return None
    started, watched, past_due, defaulted = zip(*found, strict=True)
    naive = np.array([each.replace(tzinfo=None) for each in started], dtype="datetime64[s]")
    return Booked(naive, _days(watched), _days(past_due), _days(defaulted))


def _days(values: Any) -> np.ndarray:
    import numpy as np

    return np.array(values, dtype="datetime64[D]").astype("datetime64[s]")
