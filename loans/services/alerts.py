"""Alerts: rung once, told to whoever asked to be told, acknowledged and closed by somebody with a reason; each step is audited."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from smtplib import SMTPException
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from loans.models import Alert, AlertRule, AlertState, ModelVersion, MonitoringFigure, MonitoringWindow
from loans.models.alert import UNCLOSED
from loans.services import audit, webhooks

if TYPE_CHECKING:
    from mlcore.monitor import Limits

logger = logging.getLogger(__name__)

MOST_IN_A_MAIL = 50


class NotAllowed(Exception):
    """The alert can't take this step; the message says why."""


@dataclass(frozen=True)
class Rules:
    """The limits in force."""

    rows: dict[tuple[str, str], AlertRule]

    @classmethod
    def in_force(cls) -> Rules:
        return cls({(rule.metric, rule.feature): rule for rule in AlertRule.objects.in_force()})

    def of(self, metric: str, feature: str = "") -> AlertRule | None:
        """The column's own rule, else the metric's; None where it is switched off or there is none."""
        return self.rows.get((metric, feature)) or self.rows.get((metric, ""))

    def limit(self, metric: str) -> float | None:
        rule = self.rows.get((metric, ""))
        return None if rule is None else rule.limit

    def limits(self) -> Limits:
        """As the numerics take them. A metric without a rule in force never breaches."""
        from mlcore.monitor import Limits
        from mlcore.monitor.figures import EFFECTS

        def keyed(metric: str, feature: str) -> object:
            return (metric, feature) if feature else metric

        effects: dict[object, float] = dict.fromkeys(EFFECTS, float("inf"))
        effects |= {keyed(*key): rule.limit for key, rule in self.rows.items()}
        grave = {keyed(*key): rule.grave for key, rule in self.rows.items() if rule.grave is not None}
        level = self.limit("level")
        return Limits(level=level, effects=effects, grave=grave) if level is not None else Limits(effects=effects, grave=grave)


def ring(window: MonitoringWindow, breaches: Iterable[MonitoringFigure], rules: Rules) -> list[Alert]:
    """Open an alert for each breach, or count it on the one that is open already. Call inside a transaction; returns those that are new."""
    new = []
    for figure in breaches:
        rule = rules.of(figure.metric, figure.feature)
        text = in_words(window, figure)
        alert = (
            Alert.objects.select_for_update()
            .filter(model_version=window.model_version, metric=figure.metric, feature=figure.feature, state__in=UNCLOSED)
            .first()
        )
        if alert is None:
            alert, made = Alert.objects.get_or_create(
                model_version=window.model_version,
                metric=figure.metric,
                feature=figure.feature,
                state=AlertState.OPEN,
                defaults={
                    "window": window,
                    "text": text,
                    "grave": figure.grave,
                    "owner": rule.owner if rule else "",
                    "last_window": window.start,
                },
            )
            if made:
                new.append(alert)
                audit.record("alert.opened", subject=alert, metric=figure.metric, feature=figure.feature, value=figure.value)
                webhooks.send("monitoring.alert", alert, text=text, metric=figure.metric, feature=figure.feature, grave=figure.grave)
            continue
        if alert.last_window is None or window.start > alert.last_window:
            alert.breaches += 1
            alert.last_window = window.start
            alert.text, alert.grave = text, alert.grave or figure.grave
            alert.save(update_fields=["breaches", "last_window", "text", "grave"])
    return new


@transaction.atomic
def failed(version: ModelVersion, error: Exception) -> None:
    """A model that can't be looked at rings too: silence would read as “nothing is off”."""
    said = str(error) if type(error).__module__.startswith(("mlcore.", "loans.")) else type(error).__name__
    _open(version, "monitoring", _("%(version)s could not be monitored: %(said)s") % {"version": version, "said": said}, grave=True)


def recovered(version: ModelVersion) -> None:
    """It can be looked at again: what `failed` opened closes by itself."""
    _settle(version, "monitoring", _("It was monitored again."))


@transaction.atomic
def waits_for_approval(version: ModelVersion, until: datetime) -> None:
    """It passed its check and nobody is asked by the clock: without this, the version would wait until the check is too old."""
    _open(
        version,
        "approval",
        _("%(version)s passed its promotion check and waits for a second person, until %(until)s.")
        % {"version": version, "until": f"{until:%Y-%m-%d}"},
        grave=False,
    )


def was_judged(version: ModelVersion, note: str) -> None:
    """Approved, refused, or checked again without passing: what `waits_for_approval` opened closes by itself."""
    _settle(version, "approval", note)


def _open(version: ModelVersion, metric: str, text: str, *, grave: bool) -> None:
    alert, made = Alert.objects.get_or_create(
        model_version=version,
        metric=metric,
        feature="",
        state__in=UNCLOSED,
        defaults={"text": text[:500], "grave": grave, "owner": "Model owners", "state": AlertState.OPEN},
    )
    if not made and alert.text != text[:500]:
        Alert.objects.filter(pk=alert.pk).update(text=text[:500])
    if made:
        audit.record("alert.opened", subject=alert, metric=metric)
        webhooks.send("monitoring.alert", alert, text=alert.text, metric=metric, feature="", grave=grave)


@transaction.atomic
def _settle(version: ModelVersion, metric: str, note: str) -> None:
    for alert in Alert.objects.select_for_update().filter(model_version=version, metric=metric, state__in=UNCLOSED):
        alert.state, alert.closed_at = AlertState.CLOSED, timezone.now()
        alert.note = f"{alert.note}\n{note}".strip()
        alert.save(update_fields=["state", "closed_at", "note"])
        audit.record("alert.closed", subject=alert, metric=metric)


def in_words(window: MonitoringWindow, figure: MonitoringFigure) -> str:
    """What a person reads first: which model, when, what, by how much, against what."""
    what = figure.get_metric_display() + (f" of {figure.title or figure.feature}" if figure.feature else "")
    value = f"{figure.value:.3f}" if figure.value is not None else "–"
    parts = [f"{window.model_version}, {window.start:%Y-%m-%d} to {window.end:%Y-%m-%d}: {what} {value}"]
    if figure.baseline is not None:
        parts.append(f"against {figure.baseline:.3f}")
    elif figure.null_limit is not None:
        parts.append(_("where nothing changed below %(null_limit)s") % {"null_limit": f"{figure.null_limit:.3f}"})
    if figure.metric == "oe" and figure.low is not None and figure.high is not None:
        parts.append(f"interval {figure.low:.3f} to {figure.high:.3f}")
    return ", ".join(parts)[:500]


@transaction.atomic
def acknowledge(alert: Alert, *, by: object, note: str = "") -> Alert:
    """Somebody has seen it and looks into it. Raises NotAllowed."""
    alert = Alert.objects.select_for_update().get(pk=alert.pk)
    if alert.state != AlertState.OPEN:
        raise NotAllowed(_("This alert is %(lower)s already.") % {"lower": alert.get_state_display().lower()})
    alert.state, alert.acknowledged_by, alert.acknowledged_at = AlertState.ACKNOWLEDGED, by, timezone.now()
    if note.strip():
        alert.note = note.strip()
    alert.save(update_fields=["state", "acknowledged_by", "acknowledged_at", "note"])
    audit.record("alert.acknowledged", actor=by, subject=alert, metric=alert.metric, feature=alert.feature)
    return alert


@transaction.atomic
def close(alert: Alert, *, by: object, note: str) -> Alert:
    """Somebody says what it was. If the figure is off again in a later window, a new alert rings. Raises NotAllowed."""
    if not note.strip():
        raise NotAllowed(_("Say what it was, and what was done: it is kept with the alert."))
    alert = Alert.objects.select_for_update().get(pk=alert.pk)
    if not alert.is_unclosed:
        raise NotAllowed(_("This alert is closed already."))
    alert.state, alert.closed_by, alert.closed_at, alert.note = AlertState.CLOSED, by, timezone.now(), note.strip()
    alert.save(update_fields=["state", "closed_by", "closed_at", "note"])
    audit.record("alert.closed", actor=by, subject=alert, metric=alert.metric, feature=alert.feature)
    return alert


def closed_since(version: ModelVersion, window: MonitoringWindow, figure: MonitoringFigure) -> bool:
    """Whether somebody has closed an alert on this very figure of this window (or a later one): it must not ring again for it."""
    return Alert.objects.filter(
        model_version=version, metric=figure.metric, feature=figure.feature, state=AlertState.CLOSED, last_window__gte=window.start
    ).exists()


def tell() -> int:
    """Mail what nobody has been told of yet, in one letter. Returns how many alerts; a mail server that is away is tried again later."""
    if not settings.ALERT_EMAILS:
        return 0
    with transaction.atomic():
        untold = list(Alert.objects.select_for_update(skip_locked=True).filter(notified_at__isnull=True).order_by("pk")[:MOST_IN_A_MAIL])
        if not untold:
            return 0
        lines = [f"{'GRAVE: ' if alert.grave else ''}{alert.text}" for alert in untold]
        link = f"\n\n{settings.SITE_ADDRESS}/admin/loans/alert/" if settings.SITE_ADDRESS else ""
        subject = f"Loandesk: {len(untold)} alert{'s' if len(untold) > 1 else ''}"
        try:
            send_mail(subject, "\n".join(lines) + link, None, settings.ALERT_EMAILS)
        except (SMTPException, OSError) as error:
            logger.warning("Mail server away, %d alerts not mailed yet: %s", len(untold), type(error).__name__)
            return 0
        Alert.objects.filter(pk__in=[alert.pk for alert in untold]).update(notified_at=Now())
    return len(untold)
