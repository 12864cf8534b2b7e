"""When a model is trained anew without anybody asking: two breaches in a row, a level that is surely wrong, age, or enough new labels.

Opened once, however many schedulers look at the same moment: under a lock of the database, with a key that only one row can have. What
comes of it is a candidate; whether it serves is decided where promotions are.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from loans.models import ModelKind, ModelVersion, MonitoringFigure, MonitoringWindow, Retraining
from loans.queries.monitoring_labels import labels_of
from loans.services import alerts, audit, training

logger = logging.getLogger(__name__)

TESTED = ("psi", "missing", "outside", "joint_auc", "output_psi", "oe", "auc", "slope", "residual", "early_bad")
"""What a training can mend. A slow queue or a lazy reviewer is nobody's reason to fit a model."""
LEARNS = (ModelKind.DEFAULT_RISK, ModelKind.LOAN_AMOUNT)


@dataclass(frozen=True)
class Cause:
    """cause: of `Retraining.CAUSES`. key: what this very reason is called, so that it opens one retraining only."""

    cause: str
    reason: str
    key: str
    window: MonitoringWindow | None = None


def consider(versions: list[ModelVersion] | None = None, *, now: datetime | None = None, wake: bool = True) -> list[Retraining]:
    """Open a retraining of each serving model that has cause for one. Those opened are returned; a second caller gets none."""
    now = now or timezone.now()
    if versions is None:
        versions = [version for kind in ModelKind.values if (version := ModelVersion.objects.champion(kind)) is not None]
    opened = [_consider(version, now, wake) for version in versions if version.kind in LEARNS]
    return [one for one in opened if one is not None]


def _consider(version: ModelVersion, now: datetime, wake: bool) -> Retraining | None:
    rules = alerts.Rules.in_force()
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                # Held to the end of the transaction: whoever comes second finds the first one's row.
                cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"loandesk.retraining.{version.kind}"])
            if not ModelVersion.objects.filter(pk=version.pk, state="champion").exists() or _resting(version, rules, now):
                return None
            cause = cause_of(version, rules, now)
            if cause is None or Retraining.objects.filter(key=cause.key).exists():
                return None
            run = training.start_training(version.kind, by=None, wake=wake)
            made = Retraining.objects.create(
                champion=version, cause=cause.cause, reason=cause.reason[:500], key=cause.key, window=cause.window, training_run=run
            )
            audit.record("retraining.opened", subject=made, cause=cause.cause, champion=version.pk, training_run=run.pk)
            return made
    except training.TrainingAlreadyActive:
        logger.info("%s has cause for a retraining, and one is under way already.", version)
        return None


def _resting(version: ModelVersion, rules: alerts.Rules, now: datetime) -> bool:
    """Whether a retraining of this champion is so recent that what came of it has not been judged yet."""
    days = rules.limit("cooldown")
    return days is not None and Retraining.objects.filter(champion=version, created_at__gt=now - timedelta(days=days)).exists()


def cause_of(version: ModelVersion, rules: alerts.Rules, now: datetime) -> Cause | None:
    """The gravest cause there is, or None."""
    return _level(version) or _breaches(version, rules) or _age(version, rules, now) or _labels(version, rules, now)


def _looks(version: ModelVersion) -> list[MonitoringWindow]:
    """The last look at each window, the latest window first. Windows of one length only: the one that was looked at last."""
    looks = list(MonitoringWindow.objects.filter(model_version=version).order_by("-pk")[:400])
    if not looks:
        return []
    found: dict[tuple, MonitoringWindow] = {}
    length = _length(looks[0])
    for look in looks:
        if _length(look) == length:
            found.setdefault((look.start, look.end), look)
    return sorted(found.values(), key=lambda look: look.start, reverse=True)


def _length(window: MonitoringWindow) -> str:
    days = (window.end - window.start).days
    return "week" if days == 7 else "month" if days <= 31 else "quarter"


def _level(version: ModelVersion) -> Cause | None:
    """O/E of the latest window that has labels to test it by."""
    for window in _looks(version):
        figure = MonitoringFigure.objects.filter(window=window, metric="oe", p_adjusted__isnull=False).first()
        if figure is None:
            continue
        if not figure.breach:
            return None
        reason = _("Observed / expected %(value)s in %(start)s to %(end)s: its interval %(low)s to %(high)s excludes 1.") % {
            "value": f"{figure.value:.2f}",
            "start": f"{window.start:%Y-%m-%d}",
            "end": f"{window.end:%Y-%m-%d}",
            "low": f"{figure.low:.2f}",
            "high": f"{figure.high:.2f}",
        }
        return Cause("oe", reason, f"{version.kind}:{version.pk}:oe:{window.start}", window)
    return None


def _breaches(version: ModelVersion, rules: alerts.Rules) -> Cause | None:
    """The same figure off in as many of the latest windows in a row as the rule says."""
    wanted = rules.limit("consecutive")
    looks = [window for window in _looks(version) if window.rows]
    if wanted is None or len(looks) < wanted:
        return None
    latest = looks[: int(wanted)]
    rows = MonitoringFigure.objects.filter(window__in=latest, breach=True, metric__in=TESTED)
    off: dict[tuple[str, str], set[int]] = {}
    named: dict[tuple[str, str], MonitoringFigure] = {}
    for row in rows:
        off.setdefault((row.metric, row.feature), set()).add(row.window_id)
        named[row.metric, row.feature] = row
    steady = [key for key, windows in off.items() if len(windows) == len(latest)]
    if not steady:
        return None
    said = ", ".join(str(named[key]) for key in sorted(steady)[:5])
    reason = _("Off in %(latest)s windows in a row, the last from %(start)s: %(said)s.") % {
        "latest": len(latest),
        "start": f"{latest[0].start:%Y-%m-%d}",
        "said": said,
    }
    return Cause("breaches", reason, f"{version.kind}:{version.pk}:breaches:{latest[0].start}", latest[0])


def _age(version: ModelVersion, rules: alerts.Rules, now: datetime) -> Cause | None:
    days = rules.limit("model_age")
    age = (now - version.created_at).days
    if not days or age < days:
        return None
    reason = _("%(version)s was trained %(age)s days ago; the limit is %(days)s.") % {"version": version, "age": age, "days": f"{days:.0f}"}
    return Cause("age", reason, f"{version.kind}:{version.pk}:age:{int(age // days)}")


def _labels(version: ModelVersion, rules: alerts.Rules, now: datetime) -> Cause | None:
    share = rules.limit("new_labels")
    run = getattr(version, "training_run", None)
    learned = run.rows if run is not None and run.rows else int((version.report.get("data") or {}).get("rows") or 0)
    if not share or not learned:
        return None
    fresh = labels_of(now) - learned
    if fresh < share * learned:
        return None
    times = int(fresh // (share * learned))
    reason = _("%(fresh)s loans have an outcome that %(version)s has not learned from, beside the %(learned)s that it has.") % {
        "fresh": f"{fresh:,}",
        "version": version,
        "learned": f"{learned:,}",
    }
    return Cause("labels", reason, f"{version.kind}:{version.pk}:labels:{times}")
