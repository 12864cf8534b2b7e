"""What a window shows besides the model itself: decisions and overrides, forecasts, fraud flags, operations, early signals."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from loans.models import Alert, AlertState, ModelVersion
from loans.models.alert import UNCLOSED
from loans.queries import monitoring_desk as desk
from loans.services import alerts, audit, webhooks

if TYPE_CHECKING:
    from mlcore.monitor import Figure

OUTPUTS = {
    "probability": gettext_lazy("Default probability"),
    "grade": "Grade",
    "reason": gettext_lazy("Main reason against"),
    "advice": gettext_lazy("Advice (by the policy in force)"),
    "fraud_score": gettext_lazy("Fraud score"),
    "segment": "Segment",
}
EARLY_LEVEL = 0.005
LEAST_DECISIONS = 30
LEAST_FLAGS = 20


def figures(version: ModelVersion, start: date, end: date, rules: alerts.Rules, as_of: datetime) -> tuple[list[Figure], list[str]]:
    """Figures of [start, end) and what could not be said."""
    made: list[Figure] = []
    notes: list[str] = []
    for group in (_decisions, _forecasts, _fraud, _operations):
        found, said = group(start, end, rules)
        made += found
        notes += said
    found, said = _early(start, end, rules, as_of)
    return made + found, notes + said


def _share(group: str, metric: str, k: int, n: int, rule: object | None, *, worst: str = "high", **more: object) -> Figure:
    """A share with Wilson's interval; it breaches where even the interval's near end is beyond the limit."""
    from mlcore.metrics import wilson
    from mlcore.monitor import Figure

    low, high = wilson(k, n)
    breach = grave = False
    if rule is not None and low is not None and high is not None:
        breach = low >= rule.limit if worst == "high" else high < rule.limit
        grave = breach and rule.grave is not None and (low >= rule.grave if worst == "high" else high < rule.grave)
    return Figure(group, metric, value=k / n, low=low, high=high, breach=breach, grave=grave, detail={"of": n, "number": k}, **more)


def _decisions(start: date, end: date, rules: alerts.Rules) -> tuple[list[Figure], list[str]]:
    found = desk.decisions(start, end)
    if found.final < LEAST_DECISIONS:
        return [], [
            _("Decisions: %(final)s final ones in this window; %(least_decisions)s are needed for a rate.")
            % {"final": f"{found.final:,}", "least_decisions": LEAST_DECISIONS}
        ]
    made = [_share("decisions", "approval_rate", found.approved, found.final, None)]
    notes = []
    if found.advised:
        made.append(_share("decisions", "override_rate", found.overridden, found.advised, rules.of("override_rate")))
    if found.overruled_labelled:
        made.append(
            _share(
                "decisions", "override_default", found.overruled_defaults, found.overruled_labelled, None,
                baseline=found.overruled_expected,
                note=_("Approved against the advice; beside it what the model expected of these very loans."),
            )
        )  # fmt: skip
    elif found.overruled:
        notes.append(
            _("Overrides: none of the %(overruled)s loans that were approved against the advice has an outcome yet.")
            % {"overruled": f"{found.overruled:,}"}
        )
    return made, notes


def _forecasts(start: date, end: date, rules: alerts.Rules) -> tuple[list[Figure], list[str]]:
    from mlcore.monitor import Figure

    accuracy = desk.forecast_accuracy(start, end)
    if accuracy is None:
        return [], [_("Demand: no kept forecast was made in this window and has met its periods.")]
    note = _("%(origins)s vintages made in this window, against what came; beside it seasonal naive's.") % {"origins": accuracy.origins}
    return [Figure("operations", "forecast_error", value=accuracy.ours, baseline=accuracy.naive, note=note)], []


def _fraud(start: date, end: date, rules: alerts.Rules) -> tuple[list[Figure], list[str]]:
    confirmed, cleared = desk.disposed_flags(start, end)
    if confirmed + cleared < LEAST_FLAGS:
        few = _("Fraud flags: %(what)s raised in this window are disposed; %(least_flags)s are needed for a precision.") % {
            "what": f"{confirmed + cleared:,}",
            "least_flags": LEAST_FLAGS,
        }
        return [], [few]
    return [_share("decisions", "fraud_precision", confirmed, confirmed + cleared, rules.of("fraud_precision"), worst="low")], []


def _operations(start: date, end: date, rules: alerts.Rules) -> tuple[list[Figure], list[str]]:
    from mlcore.monitor import Figure

    found = desk.jobs(start, end)
    if not found.jobs:
        return [], [_("Operations: no scoring job was made in this window.")]
    made = []
    if found.p95 is not None:
        rule = rules.of("latency_p95")
        slow = rule is not None and found.p95 >= rule.limit
        made += [
            Figure("operations", "latency_p50", value=found.p50),
            Figure(
                "operations", "latency_p95", value=found.p95, baseline=rule.limit if rule else None, breach=slow,
                grave=slow and rule.grave is not None and found.p95 >= rule.grave,
            ),
        ]  # fmt: skip
    days = (end - start).days
    made.append(Figure("operations", "throughput", value=found.done / days, detail={"done": found.done}))
    made.append(_share("operations", "failures", found.failed, found.jobs, rules.of("failures")))
    made.append(_share("operations", "retries", found.retried, found.jobs, None))
    return made, []


def _early(start: date, end: date, rules: alerts.Rules, as_of: datetime) -> tuple[list[Figure], list[str]]:
    """How much of the vintage has gone bad by month on book, tested at its latest month; months before are drawn."""
    import numpy as np

    from mlcore.monitor import Figure
    from mlcore.monitor.early import by_month_on_book

    loans = desk.booked(start, as_of)
    if loans is None:
        return [], [_("Early signals: no loan on file says until when it was watched.")]
    mine = (loans.started >= np.datetime64(start)) & (loans.started < np.datetime64(end))
    if np.isnat(loans.past_due).all():
        return [], [_("Early signals: no loan on file says when it was 30 days late; import it as past_due_30_on of the outcome.")]
    months = by_month_on_book(loans.started, loans.past_due, loans.watched_until, mine)
    if not months:
        return [], [_("Early signals: fewer than 30 loans of this window were watched for a month.")]
    last = months[-1]
    rule = rules.of("early_bad")
    worse = rule is not None and last.p is not None and last.reference is not None and last.share - last.reference >= rule.limit
    made = Figure(
        "early",
        "early_bad",
        "",
        _("30 days past due after %(month)s month%(more)s") % {"month": last.month, "more": "s" if last.month > 1 else ""},
        value=last.share,
        baseline=last.reference,
        low=last.low,
        high=last.high,
        p=last.p,
        breach=bool(worse and last.p <= EARLY_LEVEL),
        note=_("%(loans)s loans were watched for that long; %(reference_loans)s of other vintages.")
        % {"loans": f"{last.loans:,}", "reference_loans": f"{last.reference_loans:,}"},
        detail={"months": [vars(one) for one in months]},
    )
    return [made], []


@transaction.atomic
def watch_queue(now: datetime | None = None) -> Alert | None:
    """Ring where the oldest waiting job is too old; close by itself what has passed. For every few minutes, not for the night."""
    now = now or timezone.now()
    rule = alerts.Rules.in_force().of("pending_age")
    oldest = desk.oldest_pending()
    age = (now - oldest).total_seconds() if oldest else 0.0
    alert = Alert.objects.select_for_update().filter(model_version=None, metric="pending_age", state__in=UNCLOSED).first()
    if rule is None or age < rule.limit:
        if alert is not None:
            alert.state, alert.closed_at = AlertState.CLOSED, now
            alert.note = (
                alert.note + _("\nThe queue is worked off again (%(moment)s UTC).") % {"moment": f"{now.astimezone(UTC):%Y-%m-%d %H:%M}"}
            ).strip()
            alert.save(update_fields=["state", "closed_at", "note"])
            audit.record("alert.closed", subject=alert, metric="pending_age")
        return None
    grave = rule.grave is not None and age >= rule.grave
    text = _("The oldest application without a score has waited %(age)s; the limit is %(limit)s s.") % {
        "age": timedelta(seconds=round(age)),
        "limit": f"{rule.limit:,.0f}",
    }
    if alert is None:
        alert = Alert.objects.create(metric="pending_age", text=text, grave=grave, owner=rule.owner)
        audit.record("alert.opened", subject=alert, metric="pending_age", value=round(age))
        webhooks.send("monitoring.alert", alert, text=text, metric="pending_age", feature="", grave=grave)
    elif grave and not alert.grave:
        alert.grave, alert.text = True, text
        alert.save(update_fields=["grave", "text"])
    return alert
