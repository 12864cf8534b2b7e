"""Whether the desk can work: database, broker, worker, sweeper, champion, each in a word and a sentence, within a fixed time.

Rule: without its database the desk serves nothing (`down`). Everything else it survives (`degraded`): with the broker or the workers away
applications are still taken in and their scoring jobs wait; without a champion they wait too; without a sweeper a lost hint waits longer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import Count, Max, Min
from django.db.models.functions import Now

from loans.models import DeliveryState, Heartbeat, ModelVersion, ScoringJob, ScoringState, WebhookDelivery
from loans.queries.partitions import Outlook, outlook

DEADLINE_SECONDS = 1.5
BEATS_MISSED = 6  # as in config.health, which asks the same for one container
ROLES = {
    "worker": "Applications are taken in; the sweeper scores them, more slowly.",
    "sweeper": "A wake-up that gets lost is repeated only by the scheduler, once a minute.",
    "training-worker": "Trainings and imports wait.",
    "beat": "Scheduled work waits.",
}
BROKER_AWAY = "Applications are taken in; the sweeper scores them when it can."


@dataclass(frozen=True)
class Check:
    """state: ok, degraded, down, or unknown where it could not be looked at."""

    name: str
    state: str
    words: str


@dataclass(frozen=True)
class Readiness:
    checks: tuple[Check, ...]

    @property
    def state(self) -> str:
        if any(check.name == "database" and check.state != "ok" for check in self.checks):
            return "down"
        return "ok" if all(check.state == "ok" for check in self.checks) else "degraded"

    @property
    def degraded(self) -> list[str]:
        return [check.name for check in self.checks if check.state != "ok"]


class _Probe:
    """One look at a time, in a thread of its own: what hangs costs a request its deadline, and never more than this one thread."""

    def __init__(self, look: Callable[[], list[Check]]) -> None:
        self.look = look
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._found: list[Check] | None = None

    def start(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._found = None
                self._thread = threading.Thread(target=self._run, name=f"health-{self.look.__name__}", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        try:
            self._found = self.look()
        finally:
            connection.close()  # this thread's own

    def wait(self, until: float) -> list[Check] | None:
        thread = self._thread
        if thread is not None:
            thread.join(max(0.0, until - time.monotonic()))
        return self._found


def database_checks() -> list[Check]:
    """The database, and all that it knows: who wrote a heartbeat lately, and which model serves."""
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(int(DEADLINE_SECONDS * 1000))])
            silence = dict(Heartbeat.objects.values_list("role").annotate(silent=Now() - Max("at")))
            champion = ModelVersion.objects.only("kind", "version").champion()
            months = outlook()
    except DatabaseError as error:
        return [Check("database", "down", f"It does not answer ({type(error).__name__}). Nothing can be served."), *_unknown()]
    checks = [Check("database", "ok", "It answers.")]
    checks += [_alive(role, silence.get(role)) for role in ROLES]
    if champion is None:
        checks.append(Check("champion", "degraded", "No model serves yet: applications wait for their score until one is trained."))
    else:
        checks.append(Check("champion", "ok", f"{champion} serves."))
    return [*checks, _partitions(months)]


def _partitions(months: Outlook) -> Check:
    if months.stray:
        words = f"Rows of {', '.join(months.stray)} had no partition of their month and are in the default one"
        return Check("partitions", "degraded", f"{words}; nothing is lost, and the next `manage.py partitions create` gives them theirs.")
    if months.missing:
        words = f"No partition for the coming month of {', '.join(months.missing)}"
        return Check("partitions", "degraded", f"{words}: the scheduler makes them nightly, `manage.py partitions create` at once.")
    return Check("partitions", "ok", f"Made for the coming {min(months.ahead.values())} months.")


def _alive(role: str, silent: timedelta | None) -> Check:
    limit = timedelta(seconds=settings.HEARTBEAT_SECONDS * BEATS_MISSED)
    if silent is None:
        return Check(role, "degraded", f"None has ever run. {ROLES[role]}")
    if silent > limit:
        return Check(role, "degraded", f"Last heard of {_ago(silent)} ago. {ROLES[role]}")
    return Check(role, "ok", f"Heard of {_ago(silent)} ago.")


def _ago(silent: timedelta) -> str:
    seconds = max(0, int(silent.total_seconds()))
    for name, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {name}s"
    return f"{seconds} second" + ("" if seconds == 1 else "s")


def _unknown() -> list[Check]:
    return [Check(name, "unknown", "Only the database knows.") for name in (*ROLES, "champion", "partitions")]


def broker_checks() -> list[Check]:
    import redis

    try:
        client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)
        with client:
            client.ping()
    except (redis.RedisError, OSError) as error:
        return [Check("broker", "degraded", f"It does not answer ({type(error).__name__}). {BROKER_AWAY}")]
    return [Check("broker", "ok", "It answers.")]


_PROBES = (_Probe(database_checks), _Probe(broker_checks))
_LATE = (
    [Check("database", "down", f"No answer within {DEADLINE_SECONDS} seconds. Nothing can be served."), *_unknown()],
    [Check("broker", "degraded", f"No answer within {DEADLINE_SECONDS} seconds. {BROKER_AWAY}")],
)


def readiness() -> Readiness:
    """All checks, side by side, in at most DEADLINE_SECONDS."""
    until = time.monotonic() + DEADLINE_SECONDS
    for probe in _PROBES:
        probe.start()
    found = [probe.wait(until) or late for probe, late in zip(_PROBES, _LATE, strict=True)]
    return Readiness(tuple(check for checks in found for check in checks))


@dataclass(frozen=True)
class Workload:
    """oldest_waiting: seconds since the oldest unfinished job was made (0 where none waits). champion: its version number, or 0. months:
    table → coming months that have their partition, -1 where rows had none.
    """

    jobs: dict[str, int]
    oldest_waiting: float
    champion: int
    webhooks: dict[str, int]
    heartbeats: dict[str, float]
    months: dict[str, int]


COUNTED_JOBS = 100_000
"""Up to so many rows jobs are counted; beyond, what is done is the planner's estimate of all less the others, which have an index each."""


def _jobs() -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples::bigint FROM pg_class WHERE oid = 'loans_scoringjob'::regclass")
        estimate = cursor.fetchone()[0]
    if estimate <= COUNTED_JOBS:
        return dict(ScoringJob.objects.values_list("state").annotate(count=Count("pk")))
    others = {
        state: ScoringJob.objects.filter(state=state).count() for state in (ScoringState.PENDING, ScoringState.RUNNING, ScoringState.FAILED)
    }
    return {ScoringState.DONE: max(0, estimate - sum(others.values()))} | others


def workload() -> Workload:
    """How much scoring is done, waits, and failed."""
    counts, months = _jobs(), outlook()
    waiting = ScoringJob.objects.unfinished().aggregate(age=Now() - Min("created_at"))["age"]
    champion = ModelVersion.objects.only("version").champion()
    return Workload(
        jobs={state: counts.get(state, 0) for state in ScoringState.values},
        oldest_waiting=max(0.0, waiting.total_seconds()) if waiting is not None else 0.0,
        champion=champion.version if champion else 0,
        webhooks={state: WebhookDelivery.objects.filter(state=state).count() for state in (DeliveryState.PENDING, DeliveryState.FAILED)},
        months={name: -1 if name in months.stray else number for name, number in months.ahead.items()},
        heartbeats={
            role: silent.total_seconds() for role, silent in Heartbeat.objects.values_list("role").annotate(silent=Now() - Max("at"))
        },
    )
