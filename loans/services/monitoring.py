"""Monitoring: each past window of a serving model held against what the model was built on, kept as rows, and rung where it is off.

The reference is what the model learned from, at most its last two years, so that every window has its own time of the year in it. A window
is looked at when it is over, and again whenever outcomes have come in since. Rows that have no stored score of this version (applications
from before it served) are scored for the look and counted as such; those scores go nowhere else.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta

from django.conf import settings
from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext

from loans.models import ModelKind, ModelVersion, MonitoringWindow
from loans.queries import monitoring_frames as frames
from loans.services import alerts, registry, retraining
from loans.services.monitoring_look import Span, Watcher
from mlcore.progress import Progress, part, silent

logger = logging.getLogger(__name__)

PERIODS = ("week", "month", "quarter")
REFERENCE_DAYS = 731
MOST_WINDOWS = 24


class MonitoringRefused(ValueError):
    """There is nothing to monitor, or no such kind or window; the message says which and what to do."""


def refresh(
    kinds: list[str] | None = None,
    *,
    period: str | None = None,
    only: date | None = None,
    force: bool = False,
    as_of: datetime | None = None,
    by: object | None = None,
    progress: Progress = silent,
) -> list[MonitoringWindow]:
    """Look at every window of the serving models that is due (with `force`, at all of them), ring, and ask for retrainings.

    kinds: of models; None takes those that serve. period: "week", "month" or "quarter". only: the window that holds this day.
    Raises MonitoringRefused.
    """
    period = period or settings.MONITORING_PERIOD
    if period not in PERIODS:
        raise MonitoringRefused(
            gettext("There are no windows by %(period)s; there are: %(periods)s.")
            % {"period": f"{period!r}", "periods": ", ".join(PERIODS)}
        )
    unknown = [kind for kind in kinds or [] if kind not in ModelKind.values]
    if unknown:
        raise MonitoringRefused(
            gettext("There is no kind of model %(unknown)s; there are: %(values)s.")
            % {"unknown": ", ".join(unknown), "values": ", ".join(ModelKind.values)}
        )
    versions = [version for kind in kinds or ModelKind.values if (version := ModelVersion.objects.champion(kind)) is not None]
    missing = [kind for kind in kinds or [] if kind not in [version.kind for version in versions]]
    if missing or not versions:
        which = ", ".join(ModelKind(kind).label.lower() for kind in missing) or "any"
        raise MonitoringRefused(f"No model of {which} kind serves, so there is nothing to watch. Train one first: manage.py train")
    as_of = as_of or timezone.now()
    made: list[MonitoringWindow] = []
    refusals: list[MonitoringRefused] = []
    for number, version in enumerate(versions):
        watched = part(progress, number / len(versions), (number + 1) / len(versions))
        with _alone(version) as ours:
            if not ours:
                logger.info("%s is being monitored by another process; left to it.", version)
                continue
            try:
                made += _watch_version(version, period, only, force, as_of, by, watched)
                alerts.recovered(version)
            except MonitoringRefused as refusal:
                # Nothing to look at is no fault of the model's; it is an answer only for whoever asked for this very thing.
                logger.info("%s", refusal)
                refusals.append(refusal)
            except Exception as error:
                # Asked for by name, the caller hears it; in the night one unreadable model must not leave the others unwatched.
                if kinds is not None:
                    raise
                logger.exception("%s could not be monitored", version)
                alerts.failed(version, error)
    if refusals and not made and (kinds is not None or only is not None):
        raise refusals[0]
    retraining.consider(versions, now=as_of)
    alerts.tell()
    progress(1.0, "Done")
    return made


@contextmanager
def _alone(version: ModelVersion) -> Iterator[bool]:
    """Whether nobody else is looking at this version; held until the look ends, or its connection does."""
    key = f"loandesk.monitoring.{version.pk}"
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtext(%s))", [key])
        (ours,) = cursor.fetchone()
        try:
            yield ours
        finally:
            if ours:
                cursor.execute("SELECT pg_advisory_unlock(hashtext(%s))", [key])


def _watch_version(
    version: ModelVersion, period: str, only: date | None, force: bool, as_of: datetime, by: object | None, progress: Progress
) -> list[MonitoringWindow]:
    progress(0.0, gettext("%(version)s: what is on file") % {"version": version})
    reference = reference_of(version)
    spans = windows_after(reference[1], period, as_of)
    if only is not None:
        spans = [span for span in spans if span.start <= only < span.end]
        if not spans:
            raise MonitoringRefused(
                gettext(
                    "%(version)s has no finished %(period)s that holds %(only)s: its windows begin after %(reference)s, what "
                    "it learned from."
                )
                % {"version": version, "period": period, "only": only, "reference": reference[1]}
            )
    due = spans if force or only is not None else [span for span in spans if _is_due(version, span, as_of)]
    if not due:
        return []
    model = registry.load(version)
    watcher = Watcher(version, model, reference, as_of)
    watcher.learn(part(progress, 0.02, 0.4))
    made = []
    for number, span in enumerate(due):
        progress(0.4 + 0.6 * number / len(due), f"{version}: {span.start} to {span.end}")
        made.append(watcher.look(span, by))
    return made


def reference_of(version: ModelVersion) -> tuple[date, date]:
    """[start, end) of what the version learned from, at most its last two years. Raises MonitoringRefused where nothing is on file."""
    until = (version.report.get("learned_from") or {}).get("until")
    last = datetime.fromisoformat(until) if until else None
    if last is None and version.kind != ModelKind.SEGMENTS:
        last = frames.learned_until(version.created_at)
    if last is None:
        # A model that needs no labels (segments), or one that came from elsewhere: what was on file when it was made.
        last = frames.extent(None, version.created_at.date() + timedelta(days=1)).last
    if last is None:
        raise MonitoringRefused(
            gettext("%(version)s: there is no application from before it was made, so nothing to compare with.") % {"version": version}
        )
    end = last.astimezone(UTC).date() + timedelta(days=1)
    return end - timedelta(days=REFERENCE_DAYS), end


def windows_after(end: date, period: str, as_of: datetime) -> list[Span]:
    """The finished periods after the reference's end, the last `MOST_WINDOWS` of them, oldest first; those without rows too."""
    days = frames.by_day()
    start = _start_of(end, period)
    if start < end:
        start = _next(start, period)
    made = []
    while (following := _next(start, period)) <= as_of.astimezone(UTC).date():
        inside = [count for day, count in days.items() if start <= day < following]
        made.append(Span(start, following, sum(rows for rows, _ in inside), sum(finished for _, finished in inside)))
        start = following
    return made[-MOST_WINDOWS:]


def _start_of(day: date, period: str) -> date:
    if period == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1, month=day.month if period == "month" else 3 * ((day.month - 1) // 3) + 1)


def _next(start: date, period: str) -> date:
    if period == "week":
        return start + timedelta(days=7)
    months = start.month - 1 + (1 if period == "month" else 3)
    return start.replace(year=start.year + months // 12, month=months % 12 + 1)


def _is_due(version: ModelVersion, span: Span, as_of: datetime) -> bool:
    """Never looked at, or since then rows or outcomes have come in, or labels have matured."""
    last = MonitoringWindow.objects.filter(model_version=version, start=span.start, end=span.end).order_by("-pk").first()
    return last is None or last.reference.get("seen") != span.seen(as_of)
