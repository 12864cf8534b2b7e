"""The investigators' queue: which flags are in it, and in which order, so that random reviews get their share of the day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Case, Count, DecimalField, F, IntegerField, Q, QuerySet, Value, When, Window
from django.db.models.functions import RowNumber
from django.utils import timezone
from django.utils.translation import gettext_lazy

from loans.models import FlagKind, FlagState, FraudFlag

QUEUES: dict[str, str] = {
    "queue": gettext_lazy("To look at"),
    "mine": "Mine",
    "unassigned": "Nobody's",
    "sample": gettext_lazy("Drawn at random"),
    "snoozed": "Snoozed",
    "confirmed": "Confirmed",
    "cleared": "Cleared",
    "all": "All",
}
IN_ORDER = ("queue", "mine", "unassigned", "sample")
LOOKS_BACK = timedelta(days=7)
MOST_BEHIND = 1
"""Random reviews that are made up for at once, where fewer were done than their share: more would keep the gravest flags waiting."""

MOST_AHEAD = 1_000


@dataclass(frozen=True)
class Pace:
    """What was done in the last seven days. every: of so many flags one is a random review; 0 where they come last."""

    alerts: int
    samples: int
    every: int

    @property
    def samples_owed_from(self) -> int:
        """Random reviews done, or as many as would leave no more than `MOST_BEHIND` to make up for."""
        return max(self.samples, self.alerts // (self.every - 1) - MOST_BEHIND) if self.every else self.samples


@dataclass(frozen=True)
class Today:
    """capacity: flags that the investigators get through in a day. every: see `Pace`."""

    capacity: int
    every: int
    done: int
    samples_done: int
    waiting: int
    samples_waiting: int

    @property
    def nth(self) -> str:
        return {2: "second", 3: "third", 4: "fourth", 5: "fifth", 10: "tenth"}.get(self.every) or f"{self.every}th"


def of_queue(flags: QuerySet[FraudFlag], name: str, user: Any) -> QuerySet[FraudFlag]:
    if name == "mine":
        return flags.in_queue().filter(assignee=user)
    if name == "unassigned":
        return flags.in_queue().filter(assignee__isnull=True)
    if name == "sample":
        return flags.in_queue().filter(kind=FlagKind.SAMPLE)
    if name == "snoozed":
        return flags.filter(state=FlagState.SNOOZED, snoozed_until__gt=timezone.now())
    if name in (FlagState.CONFIRMED, FlagState.CLEARED):
        return flags.filter(state=name)
    return flags if name == "all" else flags.in_queue()


def every_so_many() -> int:
    share = settings.FRAUD_SAMPLE_CAPACITY
    return max(2, round(1 / share)) if share > 0 else 0


def pace_of(flags: QuerySet[FraudFlag]) -> Pace:
    """Of these flags (all that somebody may see), what was disposed of lately."""
    done = flags.filter(disposed_at__gte=timezone.now() - LOOKS_BACK).aggregate(
        alerts=Count("pk", filter=Q(kind=FlagKind.ALERT)), samples=Count("pk", filter=Q(kind=FlagKind.SAMPLE))
    )
    return Pace(done["alerts"], done["samples"], every_so_many())


def in_order(queue: QuerySet[FraudFlag], pace: Pace) -> QuerySet[FraudFlag]:
    """The queue by `place`: flags by what is expected to be lost, every so-manieth place a random review, the longest waiting first.

    By expected loss alone random reviews would sink to the end for good, and with them all that is known of what was not flagged. Places
    go on counting from what was done lately, so that a team that gets through fewer a day than that gets to them all the same.
    """
    gravest = Case(When(kind=FlagKind.ALERT, then=-F("expected_loss")), default=Value(0), output_field=DecimalField())
    rank = Window(RowNumber(), partition_by=F("kind"), order_by=[gravest.asc(), F("pk").asc()])
    ranked = queue.annotate(rank=rank - 1)
    if not pace.every:
        return ranked.annotate(place=Case(When(kind=FlagKind.SAMPLE, then=F("rank") + 10**9), default=F("rank"))).order_by("place")
    alert = F("rank") + pace.alerts
    others = pace.every - 1
    sample = (F("rank") + pace.samples_owed_from) * pace.every + others
    # Whole numbers: of ten places the first nine are the flags', the tenth the random review's.
    place = Case(When(kind=FlagKind.SAMPLE, then=sample), default=alert + alert / others, output_field=IntegerField())
    return ranked.annotate(place=place).order_by("place")


def next_in_queue(flags: QuerySet[FraudFlag], flag: FraudFlag) -> FraudFlag | None:
    """The flag after this one in the queue; its first where this one has left it, is the last, or lies further down than `MOST_AHEAD`."""
    places = list(in_order(flags.in_queue(), pace_of(flags)).values_list("pk", flat=True)[:MOST_AHEAD])
    here = places.index(flag.pk) + 1 if flag.pk in places else 0
    after = [*places[here:], *(pk for pk in places[:here] if pk != flag.pk)]
    return flags.filter(pk=after[0]).first() if after else None


def today(flags: QuerySet[FraudFlag]) -> Today:
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    done = flags.filter(disposed_at__gte=midnight).aggregate(all=Count("pk"), samples=Count("pk", filter=Q(kind=FlagKind.SAMPLE)))
    waiting = flags.in_queue().aggregate(all=Count("pk"), samples=Count("pk", filter=Q(kind=FlagKind.SAMPLE)))
    return Today(settings.FRAUD_DAILY_CAPACITY, every_so_many(), done["all"], done["samples"], waiting["all"], waiting["samples"])
