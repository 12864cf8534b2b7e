"""The first page: numbers to act on, each a link to where one acts."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from loans.admin.application import LoanApplicationAdmin
from loans.admin.base import STANDING
from loans.queries.application_page import DECIDED
from loans.queries.home import home
from loans.queries.intake_today import Intake
from loans.queries.tally import in_words
from loans.queries.words import age, code, figure, money, percent
from loans.services import audit, deadlines

TONES = {"approve": "success", "decline": "danger", "refer": "warning", "counter": "info"}


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """unfold's hook for the index page."""
    now = timezone.now()
    found = home(
        request.user,
        now=now,
        overdue=deadlines.submitted_before(-1, now=now),
        soon=deadlines.submitted_before(deadlines.SOON_DAYS, now=now),
    )
    named = [row.pk for row in found.riskiest if "applicant" in row._state.fields_cache and row.applicant]
    if named:
        audit.record("applicants.listed", actor=request.user, applications=named)
    inbox = reverse("admin:loans_loanapplication_changelist")
    context |= {
        "title": "Home",
        "home": found,
        "inbox_url": inbox,
        "waits": _waits(found.counts, inbox),
        "by_risk_url": inbox + LoanApplicationAdmin.by_risk(request.user),
        "decisions_url": reverse("admin:loans_decision_changelist"),
        "models_url": reverse("admin:loans_modelversion_changelist"),
        "champion_url": reverse("admin:loans_modelversion_change", args=[found.champion.version.pk]) if found.champion else "",
        "oldest": _("the oldest waits %(oldest)s") % {"oldest": age(found.to_decide.oldest, found.now)}
        if found.to_decide and found.to_decide.oldest
        else "",
        "riskiest": [
            {
                "url": reverse("admin:loans_loanapplication_change", args=[row.pk]),
                "reference": row.external_reference,
                "name": row.applicant.name if "applicant" in row._state.fields_cache and row.applicant else "",
                "what": " · ".join(part for part in (row.product.name if row.product_id else "", code(row.purpose)) if part),
                "amount": money(row.amount),
                "grade": row.grade,
                "percent": percent(row.default_probability),
                "age": age(row.submitted_at, found.now),
            }
            for row in found.riskiest
        ],
        "decisions": [
            {
                "url": reverse("admin:loans_loanapplication_change", args=[row.application_id]),
                "reference": row.application.external_reference,
                "amount": money(row.application.amount),
                "outcome": DECIDED[row.outcome],
                "tone": TONES[row.outcome],
                "reason": row.reason_text,
                "who": row.officer.get_full_name() or row.officer.get_username(),
                "age": age(row.created_at, found.now),
            }
            for row in found.decisions
        ],
        "health": [
            (one, *STANDING[one.state], reverse("admin:loans_monitoringwindow_model", args=[one.version.pk])) for one in found.health
        ],
        "intake": _intake(found.intake) if found.intake else None,
        "forecast_url": _forecast_url(found.intake),
        "synthetic": any(row.synthetic for row in found.riskiest) or bool(found.champion and found.champion.synthetic),
        "jobs": [
            *(_job(run, "trainingrun", run.pk) for run in found.runs),
            *(_job(batch, "importbatch", batch.pk) for batch in found.imports),
            *(_job(undo, "importbatch", undo.batch_id, "undo_progress") for undo in found.undos),
        ],
        "administers": [
            (title, reverse(f"admin:{name}_changelist"), text)
            for title, name, text, permission in (
                ("Users", "auth_user", _("Who may sign in, and in which role"), "auth.view_user"),
                ("API keys", "loans_apikey", _("Which systems may submit and read"), "loans.add_apikey"),
                ("Products", "loans_loanproduct", _("What is lent"), "loans.change_loanproduct"),
            )
            if request.user.has_perm(permission)
        ],
    }
    return context


def _intake(intake: Intake) -> dict[str, Any]:
    """Each line with its bar: how far the day is, on the band that the day is expected to end in."""
    reach = 1.08 * max([1.0, *(max(line.came, line.high or 0.0) for line in intake.lines)])

    def share(value: float | None) -> float:
        return round(100 * (value or 0.0) / reach, 1)

    return {
        "reason": intake.reason,
        "as_of": intake.forecast.as_of if intake.forecast else None,
        "lines": [
            {
                "title": line.title,
                "came": figure(line.came),
                "expected": figure(round(line.expected, 1 if line.expected < 10 else 0)) if line.expected is not None else "",
                "range": f"{figure(round(line.low))}–{figure(round(line.high))}" if line.low is not None and line.high is not None else "",
                "reason": line.reason,
                "above": line.high is not None and line.came > line.high,
                "bar": {
                    "came": share(line.came),
                    "low": share(line.low),
                    "span": share((line.high or 0.0) - (line.low or 0.0)),
                    "mark": share(line.expected),
                },
                "known": line.expected is not None,
            }
            for line in intake.lines
        ],
    }


def _forecast_url(intake: Intake | None) -> str:
    if intake is None:
        return ""
    if intake.forecast is None:
        return reverse("admin:loans_demandforecast_changelist")
    return reverse("admin:loans_demandforecast_change", args=[intake.forecast.pk])


def _waits(counts: dict[str, int], inbox: str) -> list[dict[str, str]]:
    """What waits for this person: a number, what it is, where it is, and whether it is late. What is none is left out, save one's own."""
    found = [
        ("overdue", _("Past the notice's last day"), f"{inbox}?due=-1", "danger"),
        ("soon", _("Notice due within 7 days"), f"{inbox}?due=7", "warning"),
        ("mine", _("Taken by me"), f"{inbox}?assigned=me", ""),
        ("to_confirm", _("Wait for a second person"), f"{inbox}?view=second", "primary"),
        ("promotions", _("Models to approve"), f"{reverse('admin:loans_promotioncheck_changelist')}?state__exact=open", "primary"),
        ("notices", _("Notices to send"), reverse("admin:loans_adverseactionnotice_changelist"), "warning"),
        ("flags", _("Fraud flags to look at"), reverse("admin:loans_fraudflag_changelist"), "warning"),
        ("today", _("Came in today"), f"{inbox}?view=all", ""),
    ]
    return [
        {"count": in_words(counts[name]), "text": text, "url": url, "tone": tone}
        for name, text, url, tone in found
        if counts.get(name) or (name in counts and name in ("mine", "today"))
    ]


def _job(run: Any, name: str, page: int, progress: str = "progress") -> dict[str, Any]:
    """page: the row whose page shows it."""
    return {
        "url": reverse(f"admin:loans_{name}_change", args=[page]),
        "progress_url": reverse(f"admin:loans_{name}_{progress}", args=[page]),
        "title": str(run),
        "percent": round(100 * run.share_done),
        "step": run.step or run.get_state_display(),
    }
